"""Inventory: the elements of a system that are collected now; if its file is invalid, as it was when last valid."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from zlib import crc32

from shared.inventory import Endpoint, endpoints
from shared.settings import BadSettings, System

log = logging.getLogger(__name__)
ElementT = TypeVar("ElementT")


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


@dataclass
class Inventory:
    """The inventory of one system, read from its file each time it is needed."""

    system: System
    last: Mapping[str, Endpoint] = field(default_factory=dict)
    """The last valid inventory."""

    def read(self) -> Mapping[str, Endpoint]:
        """Returns the elements in the file.

        Raises:
            BadSettings: the file is missing, an entry is wrong or duplicate, or the rollout lists an unknown element.
        """
        return rolled_out(self.system, endpoints(self.system))

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
