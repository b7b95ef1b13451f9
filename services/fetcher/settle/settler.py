"""Settler moves complete files to done/ or error/ on their element, or deletes them, and returns their status.

Every step may be repeated: a command comes again if a fetcher died while it carried it out.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import tzinfo
from time import time

from services.fetcher import metrics
from services.fetcher.settle.destination import End, destination
from services.fetcher.settle.group import Directory, carry_out, look
from services.fetcher.settle.plan import Plan, is_same, planned, rounds
from shared.errors import Unreachable
from shared.messages import File, FileFound, FileStatus, Settle, path_bytes, status_of
from shared.settings import System
from shared.stages import SETTLED_EARLIER

log = logging.getLogger(__name__)
_ENDS: tuple[End, ...] = ("done", "error")


@dataclass(frozen=True)
class Settler:
    """Settles files."""

    session: Callable[[File], AbstractContextManager[Directory]]
    """Opens a session with a file's element. Raises Unreachable, as all three may."""
    system: Callable[[File], System]
    zone: Callable[[File], tzinfo]
    """Returns the element's time zone."""

    def settle(self, commands: Sequence[Settle]) -> list[FileStatus | Unreachable]:
        """Carries out commands for files of one endpoint over one session.

        Returns for each, in their order, the file's last status (done or error), or why it was not settled: Denied if
        the element refused this file, another Unreachable if it did not answer. The others are not affected.
        """
        plans = [self._plan(command) for command in commands]
        outcomes = self._carried_out([plan for plan in plans if isinstance(plan, Plan)])
        return [plan if isinstance(plan, Unreachable) else _answer(plan, outcomes[plan]) for plan in plans]

    def _plan(self, command: Settle) -> Plan | Unreachable:
        try:
            return planned(command, self.system(command.status), self.zone)
        except Unreachable as error:
            return error

    def _carried_out(self, plans: Sequence[Plan]) -> dict[Plan, str | Unreachable]:
        outcomes: dict[Plan, str | Unreachable] = {plan: "leave" for plan in plans if plan.action == "leave"}
        to_do = [plan for plan in plans if plan not in outcomes]
        if not to_do:
            return outcomes
        try:
            with self.session(to_do[0].status) as element:
                for independent in rounds(to_do):
                    outcomes.update(carry_out(element, independent))
        except Unreachable as error:
            return dict.fromkeys(to_do, error) | outcomes
        return outcomes

    def settled_as(self, file: FileFound) -> FileStatus | None:
        """Returns the status, without figures, of a file that an earlier command moved away; None if it is not there.

        Only for a file about which the ledger knows nothing (`history`).

        Raises:
            Unreachable: the element does not answer.
            Denied: the element refuses to tell.
        """
        places = [(self._destination(file, end, again=again), end) for end in _ENDS for again in (False, True)]
        with self.session(file) as element:
            seen = look(element, [place for place, _ in places])
        for place, end in places:
            if is_same(seen[place], file):
                return status_of(file, end, time(), SETTLED_EARLIER)
        if refused := next((entry for entry in seen.values() if isinstance(entry, Unreachable)), None):
            raise refused
        return None

    def bring_back(self, file: File) -> bool:
        """Moves a settled file back to where it was found; returns False if it is not there afterwards."""
        path = path_bytes(file.path)
        with self.session(file) as element:
            for settled in (self._destination(file, end, again=again) for end in _ENDS for again in (False, True)):
                if is_same(element.look(settled), file) and element.look(path) is None:
                    element.move(settled, path)
            return is_same(element.look(path), file)

    def _destination(self, file: File, end: End, *, again: bool = False) -> bytes:
        return destination(file, end, self.system(file), self.zone(file), again=again)


def _answer(plan: Plan, outcome: str | Unreachable) -> FileStatus | Unreachable:
    """Returns the status of a file that was settled; counts and logs it."""
    if isinstance(outcome, Unreachable):
        return outcome
    status = plan.status
    metrics.MOVES.labels(status.system, outcome).inc()
    log.log(
        logging.WARNING if outcome == "gone" else logging.INFO,
        "file settled, but not found on the element" if outcome == "gone" else "file settled",
        extra={
            "file": status.file_id,
            "system": status.system,
            "element": status.element,
            "path": status.path,
            "stage": plan.end,
            "action": outcome,
        },
    )
    return replace(status, stage=plan.end, at_s=time(), moves_refused=0, not_moved="")
