"""The part of the fetcher that operators' tools use. They import nothing else of it."""

from collections.abc import Iterable
from pathlib import Path

from services.fetcher.assemble.batches import read_file
from services.fetcher.assemble.result import Origin, Parsed
from services.fetcher.elements import ConfiguredElements
from services.fetcher.parse.tables import profile
from services.fetcher.parse_pool.container import content_of, cores, memory_limit_mb
from services.fetcher.preprocess.load import read_preprocessing
from services.fetcher.preprocess.steps import Preprocessing
from services.fetcher.settings import FetcherSettings
from services.fetcher.settle.destination import destination
from services.fetcher.settle.settler import Settler
from shared.settings import Settings

__all__ = [
    "FetcherSettings",
    "Origin",
    "Parsed",
    "Preprocessing",
    "Settler",
    "content_of",
    "cores",
    "destination",
    "memory_limit_mb",
    "profiles_of",
    "read_file",
    "read_preprocessing",
    "settler_of",
]


def profiles_of(directories: Iterable[Path]) -> tuple[profile.Profile, ...]:
    """Returns the profiles in these directories, followed by the shipped ones.

    Raises:
        BadSettings: a profile cannot be read, or contains an invalid key or value.
    """
    return tuple(profile.read_profiles([*directories, profile.SHIPPED]))


def settler_of(settings: Settings) -> Settler:
    """Returns a settler that moves files on the elements of these settings."""
    elements = ConfiguredElements(lambda: settings)
    return Settler(elements.session, elements.system, elements.zone)
