"""The part of the tracker that operators' tools use. They import nothing else of it."""

from services.tracker.honoured import require_honoured
from services.tracker.settings import TrackerSettings

__all__ = ["TrackerSettings", "require_honoured"]
