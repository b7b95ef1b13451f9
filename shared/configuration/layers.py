"""Reads configuration files with dynaconf and the environment without it, and merges them.

No error shows a line of a file or a value, because it may be a secret.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dynaconf import Dynaconf
from dynaconf.utils.parse_conf import converters

from shared.configuration.resolve import BadSettings, Given, plain_key

PREFIX = "PMFLOW"
SUFFIXES = (".yaml", ".yml", ".toml", ".json")
_REASONS = {"AttributeError": "must be a mapping of sections", "RecursionError": "nested too deep"}
_QUOTED = re.compile(r"""(?s)\A(["'])(.*)\1\Z""")
"""Matches a text in quotation marks, which are removed so that `"007"` is text also where a number is possible."""
_HARMLESS = re.compile(r"""(?:[^'"]|'(?:\\?.|<[a-z ]+>)'|',' or '.')*""")
"""Matches an explanation up to its first quotation of more than one character, which may be a secret."""


def read_layers(files: tuple[Path, ...]) -> dict[str, Any]:
    """Returns the sections by name in lower case; later files override earlier ones, the environment overrides all.

    Raises:
        BadSettings: a file is missing or cannot be read.
    """
    found: dict[str, Any] = {}
    for layer in (*map(read_layer, files), _environment()):
        for name, section in layer.items():
            found[name] = _overlaid(found.get(name), section)
    return found


def read_layer(file: Path) -> dict[str, Any]:
    """Returns the sections of a configuration file.

    Raises:
        BadSettings: the file is missing or cannot be read.
    """
    if not file.is_file():
        raise BadSettings(f"{file}: no such configuration file (PMFLOW_CONFIG names it)")
    if file.suffix not in SUFFIXES:
        raise BadSettings(f"{file}: the name of a configuration file must end in one of {', '.join(SUFFIXES)}")
    try:
        found = Dynaconf(envvar_prefix=None, settings_files=[str(file.resolve())], auto_cast=False).as_dict()
        command = _command_in(found)
    except Exception as error:  # noqa: BLE001 - the text of any error may contain a secret
        raise BadSettings(f"{file}{problem(error)}") from None
    if command:
        raise BadSettings(f"{file}: no value may begin with {command}; put a password that does into a password-file")
    return {str(name).lower(): section for name, section in found.items()}


def _command_in(value: Any) -> str:
    """Returns the first command, such as `@format`, that dynaconf would run for a value; empty if there is none."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return next(filter(None, map(_command_in, value)), "")
    word = value.partition(" ")[0] if isinstance(value, str) else ""
    return word if word in converters else ""


def _environment() -> dict[str, Any]:
    """Returns the settings from variables PMFLOW_<SECTION>__<KEY>; other variables are not settings.

    dynaconf never sees them: it would turn a password such as `1e3` or `true` into something else, and run `@format`.
    """
    found: dict[str, Any] = {}
    for name, text in sorted(os.environ.items()):
        prefix, _, path = name.partition("_")
        if prefix == PREFIX and "__" in path:
            section, *keys = path.lower().split("__")
            value: Any = Given(_QUOTED.sub(r"\2", text))
            for key in reversed(keys):
                value = {key: value}
            found[section] = _overlaid(found.get(section), value)
    return found


def _overlaid(below: Any, above: Any) -> Any:
    """Returns the later value, or two mappings merged, where spellings of one key count as the same key."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return below if above is None else above
    found = {plain_key(key): (key, value) for key, value in below.items()}
    for key, value in above.items():
        _, old = found.pop(plain_key(key), (key, None))
        found[plain_key(key)] = key, _overlaid(old, value) if isinstance(old, Mapping) else value
    return dict(found.values())


def problem(error: Exception) -> str:
    """Returns the position and reason of an error in a file, without any of the file's content.

    >>> problem(ValueError("bad line: password: s3cret"))
    ': cannot be read (ValueError)'
    """
    mark, why = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or why is None:
        kind = type(error).__name__
        return f": {_REASONS.get(kind, f'cannot be read ({kind})')}"
    harmless = _HARMLESS.match(why)
    return f" line {mark.line + 1}, column {mark.column + 1}: {harmless[0].strip() if harmless else 'not YAML'}"
