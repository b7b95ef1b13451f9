"""The part of the tracker that operators' tools use. They import nothing else of it."""

from services.tracker.credentials import faust_credentials
from services.tracker.settings import TrackerSettings

__all__ = ["TrackerSettings", "faust_credentials"]
