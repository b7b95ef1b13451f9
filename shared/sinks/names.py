"""Names of tables and columns, alike in both databases, so that a query moves from one to the other."""

import re
from collections.abc import Collection
from hashlib import blake2b

LONGEST = 64
"""Characters of an identifier in MySQL."""
KEY_COLUMNS = ("ts", "element", "object", "obj", "gp_s", "suspect", "ver", "part")
"""Of pmflow's own; a counter of such a name gets another one."""


def table_name(system: str, group: str) -> str:
    """`<system>_<group>`; a group that is no plain word keeps its letters and gets a mark of its exact name.

    >>> table_name("4ga", "EUtranCellFDD")
    '4ga_EUtranCellFDD'
    """
    plain = re.sub("[^A-Za-z0-9]+", "_", group).strip("_")
    exact = plain == group and len(system) + 1 + len(group) <= LONGEST
    return f"{system}_{group}" if exact else marked(f"{system}_{plain}", group)


def marked(name: str, exact: str) -> str:
    """The name, cut to fit, with six hexadecimal digits of what it stands for: two of them never fall together."""
    return f"{name[: LONGEST - 7]}_{blake2b(exact.encode(), digest_size=3).hexdigest()}"


def column_name(counter: str, taken: Collection[str]) -> str:
    """The counter's own name where the databases take it, else one marked with its exact name.

    Args:
        counter: as the element writes it: dots and percent signs are fine, both databases quote them.
        taken: column names of the table so far, in lower case, as MySQL compares them without case.
    """
    fits = len(counter) <= LONGEST and counter == counter.strip() and re.fullmatch(r"[ -_a-~]+", counter)
    if fits and counter.lower() not in taken and counter.lower() not in KEY_COLUMNS:
        return counter
    return marked(re.sub(r"[^ -_a-~]", "_", counter).strip(), counter)
