"""Reads configuration files and the environment with dynaconf, and lays them over each other.

Nothing here ever shows a line of a file or a value: it may be a secret.
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
"""The part of an explanation before its first quotation of more than a character: that may be a secret."""


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
        raise BadSettings(f"{file}: the name of a configuration file ends in one of {', '.join(SUFFIXES)}")
    try:
        found = Dynaconf(envvar_prefix=None, settings_files=[str(file.resolve())]).as_dict()
    except Exception as error:  # noqa: BLE001 - whatever a reader raises may show a secret: it ends here
        raise BadSettings(f"{file}{problem(error)}") from None
    return {str(name).lower(): section for name, section in found.items()}


def _environment() -> dict[str, Any]:
    """Only PMFLOW_<SECTION>__<KEY> is a setting: PMFLOW_CONFIG and the variables of the tools are not."""
    names = {name.partition("__")[0] for name in os.environ if name.startswith(f"{PREFIX}_") and "__" in name}
    try:
        found = Dynaconf(envvar_prefix=PREFIX, settings_files=[]).as_dict()
    except Exception:  # noqa: BLE001 - may show a secret
        raise BadSettings(f"environment: some {PREFIX}_<SECTION>__<KEY>=@... cannot be converted") from None
    return {
        name.removeprefix(f"{PREFIX}_").lower(): _as_written(found[section], name)
        for name in sorted(names)
        if (section := name.removeprefix(f"{PREFIX}_").upper()) in found
    }


def _as_written(value: Any, name: str) -> Any:
    """A variable's text where dynaconf made a number of it, or something else that text fields would not get back."""
    if isinstance(value, Mapping):
        return {key: _as_written(inner, f"{name}__{key}") for key, inner in value.items()}
    if isinstance(value, str):
        return Given(value)
    text = os.environ.get(name, "@")
    return value if isinstance(value, list) or text.startswith("@") else Given(text)


def _overlaid(below: Any, above: Any) -> Any:
    """The later value; of two mappings, the keys of both, a key being the same in any spelling."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return below if above is None else above
    found = {plain_key(key): (key, value) for key, value in below.items()}
    for key, value in above.items():
        _, old = found.pop(plain_key(key), (key, None))
        found[plain_key(key)] = key, _overlaid(old, value) if isinstance(old, Mapping) else value
    return dict(found.values())


def problem(error: Exception) -> str:
    """Returns where and why a file cannot be read, without anything that is written there.

    >>> problem(ValueError("bad line: password: s3cret"))
    ': cannot be read (ValueError)'
    """
    mark, why = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or why is None:
        kind = type(error).__name__
        return f": {_REASONS.get(kind, f'cannot be read ({kind})')}"
    harmless = _HARMLESS.match(why)
    return f" line {mark.line + 1}, column {mark.column + 1}: {harmless[0].strip() if harmless else 'not YAML'}"
