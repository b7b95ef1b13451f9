import pytest

from shared.errors import Unreachable
from shared.sinks.store_version import SCHEMA_VERSION, upgrade_steps


def test_a_new_database_and_one_of_this_version_need_no_upgrade() -> None:
    assert upgrade_steps(None, {}, in_use=False) == []
    assert upgrade_steps(SCHEMA_VERSION, {}, in_use=True) == []


def test_an_older_database_is_upgraded_step_by_step() -> None:
    upgrades = {version: [f"to {version + 1}"] for version in range(SCHEMA_VERSION - 2, SCHEMA_VERSION)}
    assert upgrade_steps(SCHEMA_VERSION - 2, upgrades, in_use=True) == [*upgrades.values()]


@pytest.mark.parametrize(
    ("found", "says"),
    [(None, "tables of an older pmflow"), (SCHEMA_VERSION - 1, "needs version"), (SCHEMA_VERSION + 1, "needs version")],
)
def test_a_database_that_cannot_be_upgraded_is_refused(found: int | None, says: str) -> None:
    with pytest.raises(Unreachable, match=says):
        upgrade_steps(found, {}, in_use=True)
