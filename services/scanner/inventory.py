"""Inventory: the elements of a system that are collected now; a bad change of its file keeps the last good one."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from zlib import crc32

from shared.inventory import Endpoint, endpoints
from shared.settings import BadSettings, System

log = logging.getLogger(__name__)
T = TypeVar("T")


def rolled_out(system: System, elements: Mapping[str, T]) -> dict[str, T]:
    """A share of the elements (`25%`) or those on a list; who is in a share is in every larger one.

    >>> list(rolled_out(System(name="4ga", rollout=("enb-2",)), {"enb-1": 1, "enb-2": 2}))
    ['enb-2']

    Raises:
        BadSettings: the list names an element the inventory does not know.
    """
    share = system.rollout_share
    if share is not None:
        return {name: element for name, element in elements.items() if crc32(name.encode()) % 10_000 < share * 10_000}
    if unknown := sorted(set(system.rollout) - elements.keys()):
        raise BadSettings(f"{system.name}: rollout names {unknown[0]!r}, which the inventory does not know")
    return {name: elements[name] for name in system.rollout}


@dataclass
class Inventory:
    """Of one system."""

    system: System
    last: Mapping[str, Endpoint] = field(default_factory=dict)

    def read(self) -> Mapping[str, Endpoint]:
        """As the file says now.

        Raises:
            BadSettings: the file is missing, an entry is wrong or comes twice, a listed element is not there.
        """
        return rolled_out(self.system, endpoints(self.system))

    def now(self) -> Mapping[str, Endpoint]:
        """As the file says now, or as it said when it was last good.

        Raises:
            BadSettings: it never was.
        """
        try:
            self.last = self.read()
        except BadSettings as error:
            if not self.last:
                raise
            extra = {"system": self.system.name, "reason": str(error)}
            log.error("inventory refused, the old one stays", extra=extra)  # noqa: TRY400 - says it all
        return self.last
