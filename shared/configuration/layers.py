"""Reads configuration files and the environment with dynaconf, and merges them.

No error shows a line of a file or a value, because it may be a secret.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dynaconf import Dynaconf

from shared.configuration.resolve import BadSettings, Given, plain_key

PREFIX = "PMFLOW"
SUFFIXES = (".yaml", ".yml", ".toml", ".json")
_REASONS = {"AttributeError": "must be a mapping of sections", "RecursionError": "nested too deep"}
_HARMLESS = re.compile(r"""(?:[^'"]|'(?:\\?.|<[a-z ]+>)'|',' or '.')*""")
"""Matches an explanation up to its first quotation of more than one character, which may be a secret."""


def read_layers(files: tuple[Path, ...]) -> dict[str, Any]:
    """Returns the sections by name in lower case; later files override earlier ones, the environment overrides all.

    Raises:
        BadSettings: a file is missing or cannot be read.
    """
    found: dict[str, Any] = {}
    for layer in (*map(_file, files), _environment()):
        for name, section in layer.items():
            found[name] = _overlaid(found.get(name), section)
    return found


def _file(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise BadSettings(f"{file}: no such configuration file (PMFLOW_CONFIG names it)")
    if file.suffix not in SUFFIXES:
        raise BadSettings(f"{file}: the name of a configuration file must end in one of {', '.join(SUFFIXES)}")
    try:
        found = Dynaconf(envvar_prefix=None, settings_files=[str(file.resolve())]).as_dict()
    except Exception as error:  # noqa: BLE001 - the text of any error may contain a secret
        raise BadSettings(f"{file}{problem(error)}") from None
    return {str(name).lower(): section for name, section in found.items()}


def _environment() -> dict[str, Any]:
    """Returns the settings from variables PMFLOW_<SECTION>__<KEY>; other variables are not settings."""
    names = {name.partition("__")[0] for name in os.environ if name.startswith(f"{PREFIX}_") and "__" in name}
    try:
        found = Dynaconf(envvar_prefix=PREFIX, settings_files=[]).as_dict()
    except Exception:  # noqa: BLE001 - its text may contain a secret
        raise BadSettings(f"environment: a value {PREFIX}_<SECTION>__<KEY>=@... cannot be converted") from None
    return {
        name.removeprefix(f"{PREFIX}_").lower(): _as_written(found[section], name)
        for name in sorted(names)
        if (section := name.removeprefix(f"{PREFIX}_").upper()) in found
    }


def _as_written(value: Any, name: str) -> Any:
    """Returns a variable's text where dynaconf converted it to a number or another type, which may lose characters."""
    if isinstance(value, Mapping):
        return {key: _as_written(inner, f"{name}__{key}") for key, inner in value.items()}
    if isinstance(value, str):
        return Given(value)
    text = os.environ.get(name, "@")
    return value if isinstance(value, list) or text.startswith("@") else Given(text)


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
