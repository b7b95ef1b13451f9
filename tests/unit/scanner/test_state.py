from typing import Any

import orjson
import pytest

from services.scanner.state import ScanSummary, SystemState

SCAN = ScanSummary(elements=3, unreachable=1, announced=0, held_back=2, left={"too young": 4}, took_s=0.5)
LEADING = SystemState(
    system="4ga", scanner="host-1", state="leading", since_s=1.0, epoch=7, scanned_s=2.0, scan=SCAN
)  # fmt: skip


@pytest.mark.parametrize(
    "state",
    [
        LEADING,
        SystemState(system="4ga", state="standby", since_s=1.0),
        SystemState(system="configuration", state="refused", since_s=1.0, reason="a reason"),
    ],
)
def test_a_reported_state_is_read_as_it_was_written(state: SystemState) -> None:
    assert SystemState.decode(state.encode()) == state


def test_the_report_is_a_flat_object_with_every_figure_of_the_scan() -> None:
    found: dict[str, Any] = orjson.loads(LEADING.encode())
    assert found == {
        "system": "4ga", "scanner": "host-1", "state": "leading", "since_s": 1.0, "epoch": 7, "scanned_s": 2.0,
        "elements": 3, "unreachable": 1, "not_tried": 0, "announced": 0, "held_back": 2, "waiting_for_fetchers": 0,
        "waiting_for_sinks": 0, "left": {"too young": 4}, "took_s": 0.5, "listed": 0, "on_record": 0, "troubles": {},
    }  # fmt: skip


def test_fields_of_a_newer_version_are_ignored() -> None:
    raw = orjson.dumps(orjson.loads(LEADING.encode()) | {"of_a_newer_version": 1})
    assert SystemState.decode(raw) == LEADING
