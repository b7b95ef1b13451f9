"""Decides for a group of files on one element what to look at, and what follows from it. Pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import tzinfo

from services.fetcher.settle.destination import End, action, destination, parents
from shared.messages import File, FileStatus, Settle, path_bytes
from shared.remote.session import Entry
from shared.settings import System


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The treatment of one file that a command requires."""

    status: FileStatus
    end: End
    action: str
    """move, delete, or leave."""
    path: bytes
    places: tuple[bytes, bytes]
    """The path to move it to, and the one for the case that another file has the first and both are kept."""
    keeps_both: bool

    @property
    def looks_at_place(self) -> bool:
        return self.action == "move" and self.keeps_both

    def place(self, *, is_taken: bool) -> bytes:
        """Returns the path to move the file to."""
        return self.places[is_taken and self.keeps_both]

    @property
    def directories(self) -> list[bytes]:
        """The directories that both places need, the uppermost first."""
        return parents(self.places[0].rpartition(b"/")[0], above=self.path.rpartition(b"/")[0])


def planned(command: Settle, system: System, zone: Callable[[File], tzinfo]) -> Plan:
    """Returns the plan of a command.

    Args:
        command: the command.
        system: its system.
        zone: returns the element's time zone; not called for a file that stays where it is.
    """
    status, end = command.status, command.to
    what = "leave" if status.lies_at else action(system, end)
    path = path_bytes(status.path)
    if what == "leave":
        return Plan(status, end, what, path, (path, path), keeps_both=False)
    here = zone(status)
    first, second = (destination(status, end, system, here, again=again) for again in (False, True))
    return Plan(status, end, what, path, (first, second), keeps_both=system.on_conflict == "keep-both")


def rounds(plans: Iterable[Plan]) -> Iterator[list[Plan]]:
    """Splits plans so that those carried out together do not concern each other: neither one file nor one place.

    The later ones of such files are carried out afterwards, so that they find what the earlier ones left.
    """
    left = list(plans)
    while left:
        paths: set[bytes] = set()
        now: list[Plan] = []
        later: list[Plan] = []
        for plan in left:
            concerned = {plan.path, *plan.places}
            (later if paths & concerned else now).append(plan)
            paths |= concerned
        yield now
        left = later


def is_same(entry: object, file: File) -> bool:
    """Tells whether an entry is the file, by its size and time: a newer file may have its name."""
    return isinstance(entry, Entry) and (entry.size, entry.mtime_s) == (file.size, file.mtime_s)
