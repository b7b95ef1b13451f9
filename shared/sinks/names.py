"""Names of tables and columns: the candidates, best first, of which a catalogue allocates the first that is free.

Both databases have the same candidates, so that a query works in either. Names are ASCII and differ in more than case,
because MySQL ignores case. No allocated name has the form of a helper object or of a table of pmflow's own.
"""

import re
from collections.abc import Container, Iterable, Iterator
from hashlib import blake2b
from itertools import chain, count

import orjson

GroupKey = tuple[str, str]
"""System, measInfoId."""
LONGEST_IDENTIFIER = 64
"""Most characters of an identifier in MySQL."""
LONGEST_STORED_NAME = 1000
"""Most characters of a group or counter that the catalogues hold; one with a longer name is refused."""
LONGEST_SYSTEM = 255
"""Most characters of a system that the catalogues hold."""
KEY_COLUMNS = ("ts", "element", "object", "obj", "gp_s", "suspect", "ver", "part", "parsed_s")
"""Columns of pmflow's own; a counter with one of these names is stored under another name."""
SERVERS_COLUMNS = ("db_row_id", "db_trx_id", "db_roll_ptr", "fts_doc_id")
"""Columns of InnoDB's own. Those of ClickHouse begin with an underscore, which no allocated name does."""
OBJECT_TABLE = "pm_object"
"""The object dictionary: one row per system, element and measObjLdn."""
CYCLE_TABLE = "pm_cycle"
"""Statistics: one row per system and period."""
FILE_TABLE = "pm_file"
"""The history of the ledger: one row per file."""
OWN_PREFIX = "pm_"
"""Begins the names of pmflow's own tables, and no allocated name."""
_HELPER = re.compile(r".*_(rows|all\d*|part\d+)", re.IGNORECASE)
"""Ends the names of the objects that belong to a group's table, and no allocated name."""


def table_names(system: str, group: str) -> Iterator[str]:
    """Yields names for the table of a group, best first and without end: `<system>_<group>`, if they are plain words.

    A group that is a distinguished name is called by its last component. Every other group keeps its letters and gets
    a digest of its exact name.

    >>> next(table_names("4ga", "EUtranCellFDD")), next(table_names("5ga", "PM=1,PmGroup=NRCellCU"))
    ('4ga_EUtranCellFDD', '5ga_NRCellCU')
    """
    begin = re.sub("[^A-Za-z0-9._-]", "_", system).lstrip("._-")
    begin = f"s_{begin}" if not begin or f"{begin}_".lower().startswith(OWN_PREFIX) else begin
    _, _, last = group.rpartition(",")[2].rpartition("=")
    for word in (group, last) if begin == system else ():
        name = f"{begin}_{word}"
        fits = len(name) <= LONGEST_IDENTIFIER and not _HELPER.fullmatch(name)
        if fits and re.fullmatch("[A-Za-z0-9]+(_[A-Za-z0-9]+)*", word):
            yield name
    plain = re.sub("[^A-Za-z0-9]+", "_", group).strip("_")
    yield from _marked(f"{begin}_{plain}", f"{system}\0{group}")


def helper_names(table: str, suffix: str) -> Iterator[str]:
    """Yields names for an object that belongs to a group's table, best first and without end: `<table><suffix>`."""
    for name in chain([table], _marked(table, table)):
        yield name[: LONGEST_IDENTIFIER - len(suffix)] + suffix


def column_names(counter: str) -> Iterator[str]:
    """Yields names for the column of a counter, best first and without end: its own, if both databases accept it.

    Dots and percent signs are allowed, as both databases quote them.
    """
    fits = len(counter) <= LONGEST_IDENTIFIER and re.fullmatch("[ -^a-~][ -_a-~]*", counter)
    if fits and counter == counter.strip() and counter.lower() not in (*KEY_COLUMNS, *SERVERS_COLUMNS):
        yield counter
    yield from _marked(re.sub(r"[^ -_a-~]", "_", counter).strip(" _") or "c", counter)


def allocated(names: Iterator[str], taken: Container[str]) -> str:
    """Returns the first of these names that is not taken.

    Args:
        names: candidates without end.
        taken: names in lower case.
    """
    return next(name for name in names if name.lower() not in taken)


def _marked(name: str, exact: str) -> Iterator[str]:
    """Yields the name, shortened to fit, with six hexadecimal digits of the exact name, then also with a number."""
    marked = f"{name[: LONGEST_IDENTIFIER - 15]}_{blake2b(exact.encode(), digest_size=3).hexdigest()}"
    yield marked
    yield from (f"{marked}_{number}" for number in count(2))


def name_digest(*names: str) -> bytes:
    """Returns 16 bytes that stand for these names in a key, which has no space for the names themselves."""
    return blake2b(orjson.dumps(names), digest_size=16).digest()


def unstorable(system: str, group: str, counters: Iterable[str]) -> dict[tuple[str, str, str], str]:
    """Returns the reason for each counter that the catalogues cannot hold, because a name is too long."""
    reason = ""
    if len(system) > LONGEST_SYSTEM or len(group) > LONGEST_STORED_NAME:
        reason = f"the name of its system or group is longer than {LONGEST_SYSTEM} or {LONGEST_STORED_NAME} characters"
    own = f"its name is longer than {LONGEST_STORED_NAME} characters"
    return {(system, group, c): reason or own for c in counters if reason or len(c) > LONGEST_STORED_NAME}
