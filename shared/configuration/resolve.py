"""Converts a section of a configuration, or an entry of an inventory, to a frozen object, checked by msgspec.

Keys may have any of these spellings: consumerThreads, consumer-threads, CONSUMER_THREADS.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from shared.printable import printable

_T = TypeVar("_T")

Name = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Share = Annotated[float, Meta(ge=0, le=1)]
Number = Annotated[int, Meta(ge=1, le=2**53)]
NumberOrZero = Annotated[int, Meta(ge=0, le=2**53)]
Threads = Annotated[int, Meta(ge=1, le=1000)]
ThreadsOrZero = Annotated[int, Meta(ge=0, le=1000)]
Days = Annotated[int, Meta(ge=0, le=36500)]
Seconds = Annotated[float, Meta(gt=0, le=10**9)]
SecondsOrZero = Annotated[float, Meta(ge=0, le=10**9)]

HIGH = 10**9
"""Limits of at least this size only exclude absurd values, and error messages do not mention them."""
_HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")
YES_OR_NO = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}


class BadSettings(ValueError):  # noqa: N818
    """The configuration is invalid; the text names the key, the expected value and the value found, on one line."""

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))


class Given(str):
    """A value from a source that has only text, such as the environment: it may represent a number or boolean."""

    __slots__ = ()


def resolve(cls: type[_T], found: Any, where: str, joint: str = ".") -> _T:
    """Converts a section to a frozen dataclass.

    Args:
        cls: the dataclass; its annotations declare the type and range of each key.
        found: values by key; None is an empty section.
        where: name of the section, for errors.
        joint: text between that name and a key in errors.

    Raises:
        BadSettings: a key is unknown or missing, or a value is invalid.
    """
    if found is not None and not isinstance(found, Mapping):
        raise BadSettings(f"{where} must be a section of keys and values, found {_kind(found)}")
    known, types = _keys(cls)  # type: ignore[arg-type] # a class is hashable
    given: dict[str, Any] = {}
    for key, value in (found or {}).items():
        field = known.get(plain_key(key))
        if field is None:
            hint = meant(key, [f.name for f in known.values()])
            may_be_secret = value is None and not hint.startswith("; did you mean")
            shown = "a word without a value" if may_be_secret else f"unknown key {harmless(key)!r}"
            raise BadSettings(f"{where}: {shown}{hint}")
        given[field.name] = checked(value, types[field.name], f"{where}{joint}{key}")
    missing = [f.name for f in known.values() if _required(f) and f.name not in given]
    if missing:
        raise BadSettings(f"{where}: {missing[0]} is missing")
    try:
        return cls(**given)
    except BadSettings as error:
        raise BadSettings(f"{where}: {error}") from None


def resolve_texts(cls: type[_T], found: Mapping[str, Any], where: str, joint: str = ".") -> _T:
    """Returns what `resolve` returns, by one conversion of the whole section.

    Args:
        cls: as for `resolve`, like the others.
        found: values by key, each text (`Given`), a list of texts, or None. `resolve` words the error of a wrong one.
        where: name of the section.
        joint: text between that name and a key.

    Raises:
        BadSettings: a key is unknown or missing, or a value is invalid.
    """
    types = _bare_types(cls)  # type: ignore[arg-type] # a class is hashable
    try:
        given = {name: _prepared(value, kind) for key, value in found.items() for name, kind in [types[plain_key(key)]]}
        if len(given) == len(found) and not any(map(_is_half_a_character, given.values())):
            return msgspec.convert(given, cls, strict=False)
    except (KeyError, msgspec.ValidationError):
        pass
    return resolve(cls, found, where, joint)


@cache
def _bare_types(cls: Any) -> dict[str, tuple[str, Any]]:
    """Returns the name and type of each field of a class by the spellings of its key."""
    known, types = _keys(cls)
    return {spelling: (field.name, _bare(types[field.name])) for spelling, field in known.items()}


@cache
def _keys(cls: Any) -> tuple[dict[str, Field[Any]], dict[str, Any]]:
    """Returns the fields of a class by the spellings of their keys, and their types by name."""
    known = {spelling: f for f in fields(cls) for spelling in (plain_key(f.name), plain_key(f.name.removesuffix("_s")))}
    return known, get_type_hints(cls, include_extras=True)


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def checked(value: Any, kind: Any, where: str) -> Any:
    """Converts a value to its declared type.

    Raises:
        BadSettings: the value has another type, or is out of range.
    """
    prepared = _prepared(value, _bare(kind))
    if _is_half_a_character(prepared):
        raise BadSettings(f"{where} must be text in Unicode, found half a character (a surrogate)")
    try:
        return msgspec.convert(prepared, kind, strict=not isinstance(value, Given))
    except msgspec.ValidationError:
        raise BadSettings(f"{where} must be {described_type(kind)}, found {_found(prepared, kind)}") from None


def _prepared(value: Any, kind: Any) -> Any:
    """Converts values that may have several forms to the one that msgspec accepts; returns others unchanged."""
    if kind is str and isinstance(value, str):
        return str(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and (kind is str or get_origin(kind) is tuple):
        value = str(value)  # YAML returns a password of digits as a number
    if get_origin(kind) is Mapping and isinstance(value, Mapping):
        return {str(key): _as_text(part) for key, part in value.items()}
    if get_origin(kind) is tuple:
        parts = _parts(value) if isinstance(value, str) else value
        return [_prepared(part, _bare(get_args(kind)[0])) for part in parts] if isinstance(parts, list) else parts
    if kind is bool and isinstance(value, Given):
        return YES_OR_NO.get(value.lower(), str(value))
    if isinstance(value, str):
        return next((option for option in options(kind) if option.lower() == value.lower()), str(value))
    return value


def _as_text(value: Any) -> Any:
    """Returns a number or boolean of YAML as it is written in properties; other values unchanged."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value


def _parts(text: str) -> list[str]:
    """Returns the parts of a list that is written as text: `a, b`, or `["a", "b"]` in an environment variable."""
    if text.startswith("[") and text.endswith("]"):
        return [part.strip().strip("\"'") for part in text[1:-1].split(",") if part.strip()]
    return [part.strip() for part in text.split(",") if part.strip()]


def _is_half_a_character(value: Any) -> bool:
    """Returns True if a text, or one in a list, can be written by no encoding."""
    texts = value if isinstance(value, list) else [value]
    return any(_HALF_A_CHARACTER.search(text) for text in texts if isinstance(text, str) and not text.isascii())


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def options(kind: Any) -> tuple[str, ...]:
    """Returns the values of a Literal, or of a list of them."""
    kind = _bare(kind)
    if get_origin(kind) is tuple:
        return options(get_args(kind)[0])
    return get_args(kind) if get_origin(kind) is Literal else ()


def described_type(kind: Any) -> str:
    """Returns a description of a type's values, in plain English.

    >>> described_type(Port), described_type(Seconds), described_type(tuple[Literal["mysql", "clickhouse"], ...])
    ('0-65535', 'a number above 0', 'a list of mysql, clickhouse')
    """
    metas = [part for part in get_args(kind)[1:] if isinstance(part, Meta)] if get_origin(kind) is Annotated else []
    meta, bare = (metas[0] if metas else Meta()), _bare(kind)
    if get_origin(bare) is tuple:
        part = get_args(bare)[0]
        parts = ", ".join(options(part)) or ("texts" if part is str else "texts, none empty")
        return f"a list of {'one or more of ' if meta.min_length else ''}{parts}"
    if get_origin(bare) is Mapping:
        return "a section of texts"
    if options(bare):
        *others, last = options(bare)
        return f"{', '.join(others)} or {last}"
    if bare in {int, float}:
        return _range("a whole number" if bare is int else "a number", meta)
    if bare is str and meta.pattern:
        return f"text that matches {meta.pattern}"
    return {str: "text, not empty" if meta.min_length else "text", bool: "true or false"}[bare]


def _range(kind: str, meta: Meta) -> str:
    if meta.ge is not None and meta.le is not None and meta.le < HIGH:
        return f"{meta.ge:g}-{meta.le:g}" if kind == "a number" else f"{meta.ge}-{meta.le}"
    least = f"above {meta.gt}" if meta.gt is not None else f"of at least {meta.ge}"
    return f"{kind} {least}" if meta.le is None or meta.le >= HIGH else f"{kind} {least}, at most {meta.le:g}"


def _found(value: Any, kind: Any) -> str:
    """Returns a description of a wrong value; includes text only where it cannot be a secret."""
    known = options(kind)
    if isinstance(value, list) and known:
        value = next((part for part in value if part not in known), value)
    if isinstance(value, str) and known:
        return repr(value[:80]) + meant(value, list(known), known=False)
    if value == "" or isinstance(value, bool):
        return repr(value).lower()
    if isinstance(value, (int, float)) and _bare(kind) is not str:
        return repr(value)
    if isinstance(value, str) and _bare(kind) in {int, float, bool}:
        return value[:80] if re.fullmatch(r"-?\d+(\.\d+)?", value) else repr(value[:80])
    return _kind(value)


def _kind(value: Any) -> str:
    kinds = {
        bool: "a boolean", int | float: "a number", str: "text", list | tuple: "a list", Mapping: "a section",
        type(None): "nothing",
    }  # fmt: skip
    return next((name for kind, name in kinds.items() if isinstance(value, kind)), f"a {type(value).__name__}")


@lru_cache(maxsize=4096, typed=True)
def plain_key(key: object) -> str:
    """Returns a key in the one spelling used to compare keys."""
    return re.sub("[^a-z0-9]", "", str(key).lower())


def harmless(key: object) -> str:
    """Returns the first word of a key: the rest may be a secret, as in `password:s3cret` without a space.

    >>> harmless("password:s3cret")
    'password...'
    """
    word = re.match(r"[\w-]*", str(key))
    return str(key) if word is None or word[0] == str(key) else f"{word[0]}..."


def meant(key: object, names: list[str], *, known: bool = True) -> str:
    """Returns a hint: the name that was probably meant, or else all known names."""
    close = get_close_matches(plain_key(harmless(key)), names, n=1) or get_close_matches(harmless(key), names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(sorted(set(names)))}" if known else ""


def zone(name: str) -> ZoneInfo:
    """Returns the time zone of a name.

    Raises:
        BadSettings: there is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadSettings(f"time-zone must be in the tz database, found {name!r}") from error
