"""Profiles: what the columns of vendors' tables mean, as YAML says it; a table's is found by its header."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from shared.settings import BadSettings

SHIPPED = Path(__file__).parent / "profiles"
_PLAIN = re.compile(r"[^a-z0-9]+")


def plain(name: str) -> str:
    """A column's name as it is compared: "Result Time" and RESULT_TIME are one, unless nothing else is left of it."""
    return _PLAIN.sub("", name.lower()) or name.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How a vendor writes a table. A role's column is the first of its names that the header has."""

    name: str
    object: tuple[str, ...]
    """All of these that are there make the object's name: alone as it is, together as column=value, comma-joined."""
    begin: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    date: tuple[str, ...] = ()
    """Of begin and end, where they tell the time of day only."""
    period: tuple[str, ...] = ()
    element: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    suspect: tuple[str, ...] = ()
    good: tuple[str, ...] = ()
    """What the suspect column says of a row that is not."""
    ignore: tuple[str, ...] = ()
    """Columns that are neither."""
    counters: str = ""
    """Names of counters, a pattern of all of the name; empty: every column without a role."""
    delimiters: str = ",;\t|"
    header_rows: int = 1
    """The header and the rows of units below it; a row without a time and without a number is one anyhow."""
    period_unit: str = "min"
    default_period: str = ""
    """ISO 8601, where no column tells it."""
    time_format: tuple[str, ...] = ()
    """As strptime has it; of several, the first that fits; none: ISO 8601 and its relatives."""
    zone: str = ""
    """Such as +08:00, of times that name none; empty: the element's."""
    missing: tuple[str, ...] = ()
    """Tokens that mean no value, besides the usual ones."""
    decimal: str = ""
    """"." or ","; empty: a comma in tables delimited by semicolons, as spreadsheets write both or neither."""
    encoding: str = ""
    """Of files that are not UTF-8; empty: cp1252 or gb18030, whichever they look like."""
    element_pattern: str = ""
    group_pattern: str = ""
    """Of the object's name: the first group is the element, or the measurement group."""
    group_by_file_name: str = ""

    def __post_init__(self) -> None:
        if not (self.begin or self.end):
            raise BadSettings(f"profile {self.name}: it must name a column for begin or end")
        if self.decimal not in ("", ".", ","):
            raise BadSettings(f"profile {self.name}: decimal must be . or , and is {self.decimal!r}")
        try:
            "".encode(self.encoding or "utf-8")
        except LookupError as error:
            raise BadSettings(f"profile {self.name}: no encoding {self.encoding!r} is known") from error
        for pattern in (self.counters, self.element_pattern, self.group_pattern, self.group_by_file_name):
            try:
                re.compile(pattern)
            except re.error as error:
                raise BadSettings(f"profile {self.name}: {pattern!r} is no pattern: {error}") from error


@dataclass(frozen=True, slots=True)
class Layout:
    """Which column of a table means what; -1: none."""

    profile: Profile
    date: int
    begin: int
    end: int
    period: int
    element: int
    group: int
    suspect: int
    objects: tuple[tuple[str, int], ...]
    counters: tuple[int, ...]
    names: tuple[str, ...]
    """Of the counters."""
    others: tuple[int, ...]
    """Columns that are nothing: not ignored, so what they hold is dropped and counted."""
    width: int
    claimed: int
    """How many columns the profile knows a role of: of several profiles, the one that knows most is right."""


def layout_of(header: Sequence[str], profile: Profile) -> Layout | None:
    """The header's columns by the profile; None when it is not a header of its."""
    names = [plain(name) for name in header]
    while names and not names[-1]:  # a delimiter behind the last column
        names.pop()
    date, begin, end, period, element, group, suspect = roles = [
        _first(names, wanted)
        for wanted in (
            profile.date,
            profile.begin,
            profile.end,
            profile.period,
            profile.element,
            profile.group,
            profile.suspect,
        )
    ]
    parts = dict.fromkeys(_first(names, (wanted,)) for wanted in profile.object)  # two spellings may be one column
    objects = tuple((header[at].strip(), at) for at in parts if at >= 0 and at not in (date, begin, end, period))
    wanted = re.compile(profile.counters, re.IGNORECASE) if profile.counters else None
    taken = {at for at in (*roles, *(at for _, at in objects)) if at >= 0}
    ignored = {plain(name) for name in profile.ignore}
    free = [at for at, name in enumerate(names) if at not in taken and name not in ignored]
    counters = tuple(at for at in free if not wanted or wanted.fullmatch(header[at].strip()))
    if (begin < 0 and end < 0) or not objects or not counters:
        return None
    return Layout(
        profile,
        date,
        begin,
        end,
        period,
        element,
        group,
        suspect,
        objects,
        counters,
        names=tuple(header[at].strip() for at in counters),
        others=tuple(at for at in free if at not in counters),
        width=len(names),
        claimed=len(taken),
    )


def _first(names: list[str], wanted: Iterable[str]) -> int:
    return next((names.index(plain(name)) for name in wanted if plain(name) in names), -1)


def read(directories: Iterable[Path]) -> Iterator[Profile]:
    """The profiles in the YAML files of the directories, those of an earlier one first.

    Raises:
        BadSettings: a file cannot be read, or a key or value in it is none.
    """
    for directory in directories:
        if not directory.is_dir():
            raise BadSettings(f"{directory}: no such directory of profiles")
        for file in sorted(directory.glob("*.yaml")):
            try:
                found = yaml.safe_load(file.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
                raise BadSettings(f"{file}: {error}") from error
            yield _profile(found, file)


def _profile(found: Any, file: Path) -> Profile:
    if not isinstance(found, dict):
        raise BadSettings(f"{file}: not a mapping")
    known = {f.name: f for f in fields(Profile)}
    given: dict[str, Any] = {}
    for key, value in found.items():
        if key not in known:
            raise BadSettings(f"{file}: unknown key {key!r}; known: {', '.join(known)}")
        if known[key].type == tuple[str, ...]:
            parts = value if isinstance(value, list) else [value]
            if not all(isinstance(part, str | int | float) for part in parts):
                raise BadSettings(f"{file}: {key} must hold texts, in quotes where YAML means something else by them")
            given[key] = tuple(map(_text, parts))
        elif isinstance(value, known[key].type):  # type: ignore[arg-type]
            given[key] = value
        else:
            raise BadSettings(f"{file}: {key} must be of type {known[key].type}, is {value!r}")
    try:
        return Profile(**given)
    except TypeError as error:
        raise BadSettings(f"{file}: {error}") from error


def _text(part: str | float) -> str:
    """As it is written in YAML."""
    return str(part).lower() if isinstance(part, bool) else str(part)
