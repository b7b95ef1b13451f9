"""Rules for storing the counters of one system, taken from the current configuration."""

from dataclasses import dataclass

from shared.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageRules:
    """Rules for both databases. Sinks ask for them at each write, as the configuration may change at any time."""

    add_columns: bool = True
    split_dn: bool = False
    retention_days: int | None = None
    """0: rows are kept for ever; None: the system is not configured any more, so its retention stays as it was."""


def storage_rules(settings: Settings, system: str) -> StorageRules:
    """Returns the rules of a system. Rows of a system that was removed from the configuration are still stored."""
    found = settings.system(system)
    return StorageRules(
        add_columns=settings.schedule.is_auto_adding_column,
        split_dn=found is not None and "split-dn" in found.preprocessing,
        retention_days=found.retention_days if found else None,
    )
