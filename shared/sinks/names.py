"""Names of tables and columns. They are the same in both databases, so that a query works in either."""

import re
from collections.abc import Collection
from hashlib import blake2b

LONGEST_IDENTIFIER = 64
"""Most characters of an identifier in MySQL."""
KEY_COLUMNS = ("ts", "element", "object", "obj", "gp_s", "suspect", "ver", "part")
"""Columns of pmflow's own; a counter with one of these names is stored under another name."""
OBJECT_TABLE = "pm_object"
"""The object dictionary: one row per system, element and measObjLdn."""
CYCLE_TABLE = "pm_cycle"
"""Statistics: one row per system and period."""
FILE_TABLE = "pm_file"
"""The history of the ledger: one row per file."""


def table_name(system: str, group: str) -> str:
    """Returns `<system>_<group>`; a group that is no plain word keeps its letters and gets a digest of its exact name.

    >>> table_name("4ga", "EUtranCellFDD")
    '4ga_EUtranCellFDD'
    """
    plain = re.sub("[^A-Za-z0-9]+", "_", group).strip("_")
    exact = plain == group and len(system) + 1 + len(group) <= LONGEST_IDENTIFIER
    return f"{system}_{group}" if exact else with_digest(f"{system}_{plain}", group)


def with_digest(name: str, exact: str) -> str:
    """Returns the name, shortened to fit, with six hexadecimal digits of the exact name, which make it unique."""
    return f"{name[: LONGEST_IDENTIFIER - 7]}_{blake2b(exact.encode(), digest_size=3).hexdigest()}"


def column_name(counter: str, taken: Collection[str]) -> str:
    """Returns the counter's own name if both databases accept it, else one with a digest of its exact name.

    Args:
        counter: the name that the element wrote; dots and percent signs are allowed, as both databases quote them.
        taken: names of the table's present columns in lower case, because MySQL ignores case in column names.
    """
    fits = len(counter) <= LONGEST_IDENTIFIER and counter == counter.strip() and re.fullmatch(r"[ -_a-~]+", counter)
    if fits and counter.lower() not in taken and counter.lower() not in KEY_COLUMNS:
        return counter
    return with_digest(re.sub(r"[^ -_a-~]", "_", counter).strip(), counter)
