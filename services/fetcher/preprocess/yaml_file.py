"""YAML files that people write: read node by node, so that what is wrong is told with its line."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from shared.settings import BadSettings

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""In C where it is there: dictionaries of vendors have 100,000 lines."""
_NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True, slots=True)
class Node:
    """Something in a file, and where. Scalars are texts, exactly as they are written: 1.0 is no number here."""

    file: Path
    node: yaml.Node

    @property
    def line(self) -> int:
        """Counts from 1."""
        return int(self.node.start_mark.line) + 1

    def bad(self, what: str) -> BadSettings:
        return BadSettings(f"{self.file}, line {self.line}: {what}")

    def text(self) -> str:
        """Nothing when it is null.

        Raises:
            BadSettings: not a scalar.
        """
        if not isinstance(self.node, yaml.ScalarNode):
            raise self.bad("a list or a mapping where a single value is expected")
        return "" if self.node.tag == _NULL else str(self.node.value).strip()

    def mapping(self) -> "dict[str, Node]":
        """Key -> value.

        Raises:
            BadSettings: not a mapping, or a key comes twice.
        """
        if not isinstance(self.node, yaml.MappingNode):
            raise self.bad("not a mapping")
        found: dict[str, Node] = {}
        for key_node, value in self.node.value:
            key = Node(self.file, key_node)
            if key.text() in found:
                raise key.bad(f"{key.text()!r} comes twice")
            found[key.text()] = Node(self.file, value)
        return found

    def items(self) -> "list[Node]":
        """Those of a list; itself when it is none."""
        return [Node(self.file, item) for item in self.node.value] if self.is_list else [self]

    @property
    def is_list(self) -> bool:
        return isinstance(self.node, yaml.SequenceNode)


def documents(file: Path) -> Iterator[Node]:
    """Those of a file that are not empty.

    Raises:
        BadSettings: it cannot be read, or is no YAML; says where.
    """
    try:
        for node in yaml.compose_all(file.read_text(encoding="utf-8"), Loader=_LOADER):
            if node is not None and node.tag != _NULL:
                yield Node(file, node)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BadSettings(f"{file}{line}: no YAML: {error.problem or error.context}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadSettings(f"{file}: {error}") from error
