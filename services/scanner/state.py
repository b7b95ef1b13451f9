"""The records that scanners publish about their systems and `pmflow status` shows. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

import orjson


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanSummary:
    """The result of one scan of a system."""

    listed: int = 0
    """Files that the elements listed; each was announced, held back, on record, or left for a reason."""
    on_record: int = 0
    """Files that the ledger knows as in flight, finished, or waiting to be announced again."""
    elements: int = 0
    """Elements of the system."""
    unreachable: int = 0
    """Elements that could not be listed."""
    not_tried: int = 0
    """Unreachable elements that this scan did not try again; the next one tries them first."""
    announced: int = 0
    """Files announced to the fetchers."""
    held_back: int = 0
    """Files left for a later scan, as the limit of files in flight was reached."""
    waiting_for_fetchers: int = 0
    """Files announced earlier and not parsed yet."""
    waiting_for_sinks: int = 0
    """Files parsed and not stored yet."""
    left: Mapping[str, int] = field(default_factory=dict)
    """Reason -> files that were left on the elements for it."""
    took_s: float = 0.0
    troubles: Mapping[str, str] = field(default_factory=dict)
    """Element -> why it could not be listed; some of them, if there are many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemState:
    """The current activity of a scanner for one system."""

    system: str
    """Name of the system; `configuration` for a configuration that was rejected."""
    state: Literal["leading", "standby", "failed", "refused"]
    since_s: float
    scanner: str = ""
    """Name of the scanner; set by `Leadership.report`."""
    epoch: int = 0
    """Epoch of the term; 0 if the scanner does not lead the system."""
    reason: str = ""
    """Why the system failed, was not scanned, or the configuration was rejected."""
    scanned_s: float = 0.0
    """End of the last scan; 0 if there was none in this term."""
    scan: ScanSummary | None = None
    """Result of the last scan; None if there was none, or if it could not be made."""

    def encode(self) -> bytes:
        """Returns a flat JSON object: the fields that are set, and those of the last scan beside them."""
        found = asdict(self)
        scan = found.pop("scan") or {}
        return orjson.dumps({name: value for name, value in found.items() if value} | scan)

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Returns the state that `encode` wrote; fields that a newer version added are ignored."""
        found: dict[str, Any] = orjson.loads(raw)
        scan = _known(ScanSummary, found)
        return cls(**_known(cls, found), scan=ScanSummary(**scan) if scan else None)


def _known(cls: type[SystemState | ScanSummary], found: Mapping[str, Any]) -> dict[str, Any]:
    return {f.name: found[f.name] for f in fields(cls) if f.name in found}
