"""Upgrades the services one after the other under load: `python -m tests.upgrade --from REVISION`.

All services begin at an earlier revision of this repository. While files keep arriving, each is stopped and started
again at the present revision: first in the order in which the data flows, then, in a second run, in the opposite order.
So every pair of neighbours exchanges messages of both revisions in both directions. In the end every value is compared
in both databases, and every file must be done.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared import topics
from shared.kafka import admin
from shared.settings import SERVICES
from tests.system.conftest import OVERRIDES, eventually
from tools.cli.dev.demo import wait_for_inventory, written_so_far
from tools.cli.dev.pipeline import Pipeline
from tools.cli.dev.run import service_command
from tools.cli.operate import ledger, verify
from tools.devstack import processes
from tools.devstack import stack as devstack
from tools.devstack.stack import REPOSITORY

CYCLE_S = 4
CYCLES_PER_UPGRADE = 2


@dataclass(frozen=True)
class Upgrade:
    """A pipeline whose services may be of an earlier revision."""

    pipeline: Pipeline
    earlier: Path
    """The checked-out earlier revision."""

    def start_earlier(self, service: str) -> None:
        """Starts a service of the earlier revision."""
        env = {**self.pipeline.env, "PYTHONPATH": str(self.earlier)}
        processes.start(self.pipeline.home, service, service_command(service), env=env, cwd=self.earlier)

    def run(self, order: Sequence[str]) -> None:
        """Upgrades the services in this order while files arrive; then compares every value.

        Raises:
            AssertionError: a file is not done, or a value is missing, doubled or wrong.
        """
        cycles = CYCLES_PER_UPGRADE * (len(order) + 1)
        sizes = ("--systems", "4ga:5,5ga:5", "--cycles", str(cycles), "--cycle-s", str(CYCLE_S))
        simulator = self.pipeline.simulate(*sizes)
        settings = self.pipeline.configure()
        wait_for_inventory(self.pipeline, simulator)
        admin.provision(settings.kafka, topics.provisioned(system.name for system in settings.systems))
        for service in order:
            self.start_earlier(service)
        for number, service in enumerate(order, 1):
            self._wait_for_cycle(CYCLES_PER_UPGRADE * number)
            self.pipeline.process(service).stop()
            self.pipeline.start([service])
        self._wait_for_cycle(cycles)
        files = written_so_far(self.pipeline)["files"]

        def stages() -> Counter[str]:
            return Counter(file.stage for file in ledger.read_ledger(settings.kafka).files.values())

        eventually(lambda: stages() == {"done": files}, 240, f"{files} files done")
        for outcome in verify.settled_outcomes(settings, self.pipeline.simulator, within_s=60):
            assert outcome.right, outcome
            sys.stdout.write(f"{' > '.join(order)}: {outcome}\n")

    def _wait_for_cycle(self, number: int) -> None:
        eventually(lambda: written_so_far(self.pipeline).get("cycles", 0) >= number, 120, f"cycle {number}")
        assert not self.pipeline.ended(SERVICES), self.pipeline.ended(SERVICES)


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """Checks a revision out into a folder of its own, which is removed in the end."""
    with tempfile.TemporaryDirectory(prefix="pmflow-upgrade-") as folder:
        archive = subprocess.run(["git", "archive", revision], cwd=REPOSITORY, check=True, capture_output=True)
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


def main() -> None:
    """Runs both orders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--from", dest="revision", required=True, help="the earlier revision, as git names it")
    revision = parser.parse_args().revision
    os.chdir(REPOSITORY)
    with checked_out(revision) as earlier:
        for order in (SERVICES, SERVICES[::-1]):
            with tempfile.TemporaryDirectory(prefix="pmflow-upgrade-") as home:
                try:
                    stack = devstack.up(Path(home))
                    Upgrade(Pipeline(Path(home), stack, OVERRIDES), earlier).run(order)
                finally:
                    devstack.down(Path(home))


if __name__ == "__main__":
    main()
