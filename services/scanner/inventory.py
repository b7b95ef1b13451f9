"""Inventory: the elements of a system that are collected now; if its file is invalid, as it was when last valid."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from time import time
from typing import TypeVar
from zlib import crc32

from shared.inventory import Endpoint, endpoints
from shared.messages import path_text
from shared.settings import BadSettings, System

log = logging.getLogger(__name__)
ElementT = TypeVar("ElementT")
DAY_S = 86_400
CHECKED_DAYS = 31
"""Days before today for which a directory with a date in its name is compared with the listed ones."""


def rolled_out(system: System, elements: Mapping[str, ElementT]) -> dict[str, ElementT]:
    """Returns the elements of the system's rollout: those on its list, or a share such as `25%`.

    A larger share contains all elements of a smaller one.

    >>> list(rolled_out(System(name="4ga", rollout=("enb-2",)), {"enb-1": 1, "enb-2": 2}))
    ['enb-2']

    Raises:
        BadSettings: the list contains an element that is not in the inventory.
    """
    share = system.rollout_share
    if share is not None:
        return {name: element for name, element in elements.items() if crc32(name.encode()) % 10_000 < share * 10_000}
    if unknown := sorted(set(system.rollout) - elements.keys()):
        raise BadSettings(f"{system.name}: rollout contains {unknown[0]!r}, which is not in the inventory")
    return {name: elements[name] for name in system.rollout}


def check_finished_directories(system: System, elements: Iterable[Endpoint], now_s: float) -> None:
    """Checks that no scan lists a directory that holds finished files: they would be collected again.

    A scan skips the relative ones below a listed directory, so these must only not be listed themselves.

    Raises:
        BadSettings: done-directory or error-directory is a listed directory, or inside one and within its depth.
    """
    keys = {"error-directory": system.error_directory}
    if system.on_done == "move":
        keys["done-directory"] = system.done_directory
    for key, where in keys.items():
        days = [datetime.fromtimestamp(now_s - n * DAY_S, UTC) for n in range(-1, CHECKED_DAYS if "%" in where else 0)]
        finished = {day.strftime(where).rstrip("/").encode() for day in days}
        for endpoint in elements:
            listed = [directory.rstrip(b"/") for directory in endpoint.directories(now_s)]
            again = next(_listed_again(finished, listed, system.depth), None)
            if again is not None:
                raise BadSettings(
                    f"{system.name}: {key} {where!r} is inside the directories of {endpoint.name} that are listed "
                    f"({path_text(again) or '/'}, depth {system.depth}), so its files would be collected again; "
                    "name a directory outside, or a relative one"
                )


def _listed_again(finished: Iterable[bytes], listed: Sequence[bytes], depth: int) -> Iterator[bytes]:
    """Yields the listed directories that contain a directory of finished files, and are listed deep enough."""
    for directory, where in product(listed, finished):
        if not where.startswith(b"/"):
            if b"%s/%s" % (directory, where) in listed:
                yield b"%s/%s" % (directory, where)
        elif where == directory or (
            where.startswith(directory + b"/") and where.count(b"/") - directory.count(b"/") <= depth
        ):
            yield directory


@dataclass
class Inventory:
    """The inventory of one system, read from its file each time it is needed."""

    system: System
    last: Mapping[str, Endpoint] = field(default_factory=dict)
    """The last valid inventory."""

    def read(self) -> Mapping[str, Endpoint]:
        """Returns the elements in the file.

        Raises:
            BadSettings: the file is missing, an entry is wrong or duplicate, the rollout lists an unknown element,
                or finished files would be collected again.
        """
        found = endpoints(self.system)
        check_finished_directories(self.system, found.values(), time())
        return rolled_out(self.system, found)

    def current(self) -> Mapping[str, Endpoint]:
        """Returns the elements in the file, or the last valid ones if the file is now invalid.

        Raises:
            BadSettings: the file is invalid and was never valid.
        """
        try:
            self.last = self.read()
        except BadSettings as error:
            if not self.last:
                raise
            extra = {"system": self.system.name, "reason": str(error)}
            log.error("inventory rejected, previous one kept", extra=extra)  # noqa: TRY400 - the reason suffices
        return self.last
