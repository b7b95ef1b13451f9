"""Reads profiles: YAML files that describe the columns of vendors' tables. A table's header selects its profile."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from shared.settings import BadSettings

SHIPPED = Path(__file__).parent / "profiles"
_PLAIN = re.compile(r"[^a-z0-9]+")
_ROLES = ("date", "begin", "end", "period", "element", "group", "suspect")
"""Roles of which a table has at most one column."""


def comparable_name(name: str) -> str:
    """Returns the form in which column names are compared; a name without letters and digits stays as it is.

    >>> comparable_name("Result Time"), comparable_name("RESULT_TIME"), comparable_name("%")
    ('resulttime', 'resulttime', '%')
    """
    return _PLAIN.sub("", name.lower()) or name.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Describes a vendor's tables. The column of a role is the first of the role's names that the header has."""

    name: str
    object: tuple[str, ...]
    """Columns that form the object's name: a single one as it is, several as column=value joined by commas."""
    begin: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    date: tuple[str, ...] = ()
    """The date of begin and end, where those columns hold only the time of day."""
    period: tuple[str, ...] = ()
    element: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    suspect: tuple[str, ...] = ()
    good: tuple[str, ...] = ()
    """Contents of the suspect column that mark a row as not suspect."""
    ignore: tuple[str, ...] = ()
    """Columns that are neither counters nor of any role; their contents are not counted as dropped."""
    counters: str = ""
    """Pattern that matches the whole name of a counter; empty: every column without a role is a counter."""
    delimiters: str = ",;\t|"
    header_rows: int = 1
    """Number of header rows, units included; a row without a time and without a number is always one of units."""
    period_unit: str = "min"
    default_period: str = ""
    """The period in ISO 8601 for tables without a column for it."""
    time_format: tuple[str, ...] = ()
    """Formats of strptime, the first that fits is used; empty: ISO 8601 and similar."""
    zone: str = ""
    """Zone of times that name none, such as +08:00; empty: the element's zone."""
    marks_summer_time: bool = False
    """Times in summer time end with DST: of an hour that comes twice, the one without DST is the second."""
    missing: tuple[str, ...] = ()
    """Tokens for a missing value, in addition to the usual ones."""
    decimal: str = ""
    """Decimal point, "." or ","; empty: a comma in tables delimited by semicolons, as spreadsheets write them."""
    commas: str = ""
    """The meaning of commas within numbers: "thousands", "vector", or empty: texts that may be both are set aside."""
    encoding: str = ""
    """Encoding of files that are not clearly UTF-8; empty: cp1252 or gb18030, guessed from the content."""
    element_pattern: str = ""
    group_pattern: str = ""
    """Patterns for the object's name: the first group is the element, or the measurement group."""
    group_by_file_name: str = ""
    """Pattern for the file's name: the first group is the measurement group."""

    def __post_init__(self) -> None:
        if not (self.begin or self.end):
            raise BadSettings(f"profile {self.name}: a column for begin or end is required")
        if self.decimal not in ("", ".", ","):
            raise BadSettings(f"profile {self.name}: decimal must be . or , not {self.decimal!r}")
        if self.commas not in ("", "thousands", "vector"):
            raise BadSettings(f"profile {self.name}: commas must be thousands or vector, not {self.commas!r}")
        try:
            "".encode(self.encoding or "utf-8")
        except (LookupError, UnicodeError) as error:
            raise BadSettings(f"profile {self.name}: unknown encoding {self.encoding!r}") from error
        for key in ("counters", "element_pattern", "group_pattern", "group_by_file_name"):
            self._check_pattern(getattr(self, key), needs_group=key != "counters")

    def _check_pattern(self, pattern: str, *, needs_group: bool) -> None:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise BadSettings(f"profile {self.name}: {pattern!r} is not a valid pattern: {error}") from error
        if pattern and needs_group and not groups:
            raise BadSettings(f"profile {self.name}: {pattern!r} needs a group, in parentheses, for the name")


@dataclass(frozen=True, slots=True)
class Layout:
    """The indexes of a table's columns by role; -1 if the table has no such column."""

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
    """Names of the counters."""
    others: tuple[int, ...]
    """Columns without a role that are not ignored: their values are dropped and counted."""
    width: int
    claimed: int
    """Number of columns that the profile knows a role of: the profile that knows most of them is used."""


def layout_of(header: Sequence[str], profile: Profile) -> Layout | None:
    """Returns the layout of a header by the profile; None if the profile does not match it."""
    names = [comparable_name(name) for name in header]
    while names and not names[-1]:  # a delimiter behind the last column
        names.pop()
    roles = {role: _first(names, getattr(profile, role)) for role in _ROLES}
    times = {roles[role] for role in ("date", "begin", "end", "period")}
    parts = dict.fromkeys(_first(names, (name,)) for name in profile.object)  # two spellings may be one column
    objects = tuple((header[at].strip(), at) for at in parts if at >= 0 and at not in times)
    pattern = re.compile(profile.counters, re.IGNORECASE) if profile.counters else None
    taken = {at for at in (*roles.values(), *(at for _, at in objects)) if at >= 0}
    ignored = {comparable_name(name) for name in profile.ignore}
    free = [at for at, name in enumerate(names) if at not in taken and name not in ignored]
    counters = tuple(at for at in free if not pattern or pattern.fullmatch(header[at].strip()))
    if (roles["begin"] < 0 and roles["end"] < 0) or not objects or not counters:
        return None
    return Layout(
        profile=profile,
        **roles,
        objects=objects,
        counters=counters,
        names=tuple(header[at].strip() for at in counters),
        others=tuple(at for at in free if at not in counters),
        width=len(names),
        claimed=len(taken),
    )


def _first(names: list[str], spellings: Iterable[str]) -> int:
    """Returns the index of the first spelling that is one of the names; -1 if none is."""
    return next((names.index(comparable_name(name)) for name in spellings if comparable_name(name) in names), -1)


def read_profiles(directories: Iterable[Path]) -> Iterator[Profile]:
    """Yields the profiles in the YAML files of the directories, in the order of the directories.

    Raises:
        BadSettings: a file cannot be read, or holds an unknown key or a wrong value.
    """
    for directory in directories:
        if not directory.is_dir():
            raise BadSettings(f"{directory}: this directory of profiles does not exist")
        for file in sorted(directory.glob("*.yaml")):
            try:
                found = yaml.safe_load(file.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
                raise BadSettings(f"{file}: {error}") from error
            yield _profile(found, file)


def _profile(found: Any, file: Path) -> Profile:
    if not isinstance(found, dict):
        raise BadSettings(f"{file}: expected a mapping")
    known = {f.name: f for f in fields(Profile)}
    given: dict[str, Any] = {}
    for key, value in found.items():
        if key not in known:
            raise BadSettings(f"{file}: unknown key {key!r}; known: {', '.join(known)}")
        if known[key].type == tuple[str, ...]:
            parts = value if isinstance(value, list) else [value]
            if not all(isinstance(part, str | int | float) for part in parts):
                raise BadSettings(f"{file}: {key} must be a list of texts; quote those that YAML reads differently")
            given[key] = tuple(map(_text, parts))
        elif isinstance(value, known[key].type):  # type: ignore[arg-type]
            given[key] = value
        else:
            raise BadSettings(f"{file}: {key} must be of type {known[key].type}, not {value!r}")
    try:
        return Profile(**given)
    except TypeError as error:
        raise BadSettings(f"{file}: {error}") from error


def _text(part: str | float) -> str:
    """Returns a scalar as it is written in YAML."""
    return str(part).lower() if isinstance(part, bool) else str(part)
