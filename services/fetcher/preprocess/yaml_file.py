"""Reads YAML files node by node, so that an error can name its line."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from shared.settings import BadSettings

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The loader in C where it is available: dictionaries of vendors have 100,000 lines."""
_NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a YAML file with its position. Scalars are texts, exactly as written: 1.0 is not a number here."""

    file: Path
    node: yaml.Node

    @property
    def line(self) -> int:
        """Line number, counted from 1."""
        return int(self.node.start_mark.line) + 1

    def bad(self, what: str) -> BadSettings:
        """Returns an error that names the file and the line of this node."""
        return BadSettings(f"{self.file}, line {self.line}: {what}")

    def text(self) -> str:
        """Returns the text of a scalar; empty if it is null.

        Raises:
            BadSettings: the node is not a scalar.
        """
        if not isinstance(self.node, yaml.ScalarNode):
            raise self.bad("expected a single value, found a list or a mapping")
        return "" if self.node.tag == _NULL else str(self.node.value).strip()

    def mapping(self) -> "dict[str, Node]":
        """Returns key -> value.

        Raises:
            BadSettings: the node is not a mapping, or a key comes twice.
        """
        if not isinstance(self.node, yaml.MappingNode):
            raise self.bad("expected a mapping")
        found: dict[str, Node] = {}
        for key_node, value in self.node.value:
            key = Node(self.file, key_node)
            if key.text() in found:
                raise key.bad(f"the key {key.text()!r} comes twice")
            found[key.text()] = Node(self.file, value)
        return found

    def items(self) -> "list[Node]":
        """Returns the items of a list; a node that is not a list is its own only item."""
        return [Node(self.file, item) for item in self.node.value] if self.is_list else [self]

    @property
    def is_list(self) -> bool:
        return isinstance(self.node, yaml.SequenceNode)


def yaml_documents(file: Path) -> Iterator[Node]:
    """Yields the documents of a file that are not empty.

    Raises:
        BadSettings: the file cannot be read or is not valid YAML; says where.
    """
    try:
        for node in yaml.compose_all(file.read_text(encoding="utf-8"), Loader=_LOADER):
            if node is not None and node.tag != _NULL:
                yield Node(file, node)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BadSettings(f"{file}{line}: not valid YAML: {error.problem or error.context}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadSettings(f"{file}: {error}") from error
