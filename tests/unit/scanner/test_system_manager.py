from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import cast

import pytest

from services.scanner.performance_management import PerformanceManagement
from services.scanner.settings import ScannerSettings
from services.scanner.state import SystemState
from services.scanner.system_manager import SystemRun, changes, check_configuration, system_plans
from shared.settings import BadSettings, Schedule, System, load

SETTINGS = replace(load(()), systems=(System(name="4ga"), System(name="5ga")))


def test_only_what_changed_is_stopped_and_started() -> None:
    now = system_plans(SETTINGS)
    resized = system_plans(replace(SETTINGS, systems=(System(name="4ga", consumer_threads=9), System(name="5ga"))))
    assert changes({}, now) == ([], ["4ga", "5ga"])
    assert changes(now, now) == ([], [])
    assert changes(now, resized) == (["4ga"], ["4ga"])
    assert changes(now, system_plans(replace(SETTINGS, systems=(System(name="5ga"),)))) == (["4ga"], [])
    assert changes(now, system_plans(replace(SETTINGS, schedule=Schedule(immediate_run_delay_s=1.0)))) == (
        ["4ga", "5ga"],
        ["4ga", "5ga"],
    )


@pytest.mark.parametrize(
    ("schedule", "system", "says"),
    [
        (Schedule(schedule_scan="every day"), {}, "schedule-scan"),
        (Schedule(schedule_scan="0 0 0 31 2 *"), {}, "schedule-scan"),
        (Schedule(), {"pattern": "regex:("}, "pattern"),
        (Schedule(), {"inventory": "missing.yaml"}, "missing.yaml"),
        (Schedule(), {"rollout": ("enb-9",)}, "enb-9"),
    ],
)
def test_a_configuration_that_cannot_be_scanned_is_rejected_before_it_is_applied(
    schedule: Schedule, system: dict[str, object], says: str, tmp_path: Path
) -> None:
    (tmp_path / "4ga.yaml").write_text("- {name: enb-1}")
    wanted = System(name="4ga", **{"inventory": str(tmp_path / "4ga.yaml"), **system})  # type: ignore[arg-type]
    with pytest.raises(BadSettings, match=says):
        check_configuration(replace(SETTINGS, schedule=schedule), ScannerSettings(), [wanted])
    good = System(name="4ga", inventory=str(tmp_path / "4ga.yaml"))
    check_configuration(SETTINGS, ScannerSettings(), [good])


@dataclass
class Work:
    """Work of a system that fails unexpectedly a few times."""

    failures: int
    reported: list[str] = field(default_factory=list)
    stopping: Event = field(default_factory=Event)
    well: Event = field(default_factory=Event)

    @property
    def leadership(self) -> "Work":
        return self

    def report(self, state: SystemState) -> None:
        self.reported.append(state.state)

    def run(self) -> None:
        if len(self.reported) < self.failures:
            raise ZeroDivisionError
        self.well.set()
        self.stopping.wait()

    def stop(self) -> None:
        self.stopping.set()


def test_a_system_that_fails_is_restarted_after_a_wait_and_ends_when_it_is_stopped() -> None:
    work = Work(failures=3)
    run = SystemRun(system_plans(SETTINGS)["4ga"], cast("PerformanceManagement", work), first_wait_s=0.01)
    assert work.well.wait(10)
    assert work.reported == ["failed"] * 3
    assert run.ended()
