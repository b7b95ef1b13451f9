"""Progress of the tracker: a Faust worker that reads nothing looks well, so the broker is asked how far it came."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from services.tracker import metrics
from shared.errors import Unreachable
from shared.health import Heartbeat
from shared.kafka import admin
from shared.topics import FILES_STATUS

log = logging.getLogger(__name__)
GROUP = "pmflow-tracker"


def progressed(before: Mapping[int, int], now: Mapping[int, int], ends: Mapping[int, int]) -> bool:
    """Whether offsets moved since the last look, or nothing is left to read."""
    return now != before or all(now.get(partition, 0) >= end for partition, end in ends.items())


@dataclass
class Progress:
    """Owned by one thread."""

    brokers: str
    heartbeat: Heartbeat
    before: Mapping[int, int] = field(default_factory=dict)

    def look(self, ours: Collection[int]) -> None:
        """A sign of life if there was progress in our partitions; blocks."""
        try:
            committed, ends = admin.committed(self.brokers, GROUP, FILES_STATUS), admin.ends(self.brokers, FILES_STATUS)
        except Unreachable as error:
            log.warning("progress not known", extra={"reason": str(error)})
            return
        now = {p: offset for p, offset in committed.items() if p in ours}
        to_read = {p: end for p, end in ends.items() if p in ours}
        metrics.TRACKER_LAG.set(sum(end - max(0, now.get(p, 0)) for p, end in to_read.items()))
        if progressed(self.before, now, to_read):
            self.heartbeat.progress()
        else:
            log.warning("no progress, though there is something to read", extra={"committed": str(now)})
        self.before = now
