"""Progress of the tracker, as the broker reports it: a Faust worker that reads nothing appears healthy by itself."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from services.tracker import metrics
from shared.configuration.kafka import Kafka
from shared.errors import Unreachable
from shared.health import Heartbeat
from shared.kafka import admin
from shared.topics import FILES_STATUS

log = logging.getLogger(__name__)
GROUP = "pmflow-tracker"


def progressed(before: Mapping[int, int], now: Mapping[int, int], ends: Mapping[int, int]) -> bool:
    """Returns whether offsets moved since the last check, or nothing is left to read."""
    return now != before or all(now.get(partition, 0) >= end for partition, end in ends.items())


@dataclass
class Progress:
    """Compares the committed offsets of the tracker with those of the last check. Owned by one thread."""

    brokers: Kafka
    heartbeat: Heartbeat
    before: Mapping[int, int] = field(default_factory=dict)

    def check(self, assigned: Collection[int]) -> None:
        """Renews the heartbeat if there was progress in the assigned partitions. Blocks."""
        try:
            committed, ends = admin.committed(self.brokers, GROUP, FILES_STATUS), admin.ends(self.brokers, FILES_STATUS)
        except Unreachable as error:
            log.warning("progress unknown", extra={"reason": str(error)})
            return
        now = {p: offset for p, offset in committed.items() if p in assigned}
        to_read = {p: end for p, end in ends.items() if p in assigned}
        metrics.TRACKER_LAG.set(sum(end - max(0, now.get(p, 0)) for p, end in to_read.items()))
        if progressed(self.before, now, to_read):
            self.heartbeat.progress()
        else:
            log.warning("no progress, though records are left to read", extra={"committed": str(now)})
        self.before = now
