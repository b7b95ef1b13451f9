"""The version of a database's schema: a database of another version is upgraded or refused, never misread."""

from collections.abc import Mapping, Sequence
from typing import Final

from shared.errors import Unreachable

SCHEMA_TABLE: Final = "pm_schema"
"""The table that holds the version."""
SCHEMA_VERSION: Final = 1
"""The version that this pmflow reads and writes."""
Upgrades = Mapping[int, Sequence[str]]
"""The statements that turn each version into the next one."""


def upgrade_steps(found: int | None, upgrades: Upgrades, *, in_use: bool) -> list[Sequence[str]]:
    """Returns the statements for each step from the version found to this one.

    Args:
        found: the version; None if the database has none.
        upgrades: the steps that exist.
        in_use: the database has tables of pmflow.

    Raises:
        Unreachable: pmflow cannot use this database; the data waits until an operator changes one of them.
    """
    if found is None and in_use:
        raise Unreachable(
            f"the database has tables of an older pmflow and no {SCHEMA_TABLE}; drop it or configure another one"
        )
    found = SCHEMA_VERSION if found is None else found
    steps = range(found, SCHEMA_VERSION)
    if found > SCHEMA_VERSION or not upgrades.keys() >= set(steps):
        raise Unreachable(f"the database has schema version {found}, this pmflow needs version {SCHEMA_VERSION}")
    return [upgrades[version] for version in steps]
