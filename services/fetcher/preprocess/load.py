"""Reads the preprocessing of each system, and reads it again when one of the files it names changes."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from threading import Lock

from services.fetcher.parse.values.cells import cell
from services.fetcher.preprocess import dictionary
from services.fetcher.preprocess.steps import STEP_FUNCTIONS, Conversion, Preprocessing
from services.fetcher.preprocess.yaml_file import Node, yaml_documents
from shared.errors import Unreachable
from shared.settings import BadSettings, Settings, System

log = logging.getLogger(__name__)


def read_preprocessing(system: System) -> Preprocessing:
    """Returns the preprocessing that the system's section and the files it names describe.

    Raises:
        BadSettings: a file cannot be used; says where.
    """
    if system.counter_units and not system.counter_dictionary:
        raise BadSettings(f"{system.name}: counter-units needs a counter-dictionary, which is not configured")
    try:
        return Preprocessing(
            steps=tuple(step for step in system.preprocessing if step in STEP_FUNCTIONS),
            missing=tuple(cell(token).encode() for token in system.missing_tokens),
            renames={old: _name(new) for old, new in _mapping(system.counter_renames).items()},
            conversions={unit: _conversion(to) for unit, to in _mapping(system.counter_units).items()},
            prefix_endpoint=system.element_prefix == "endpoint",
            dictionary=dictionary.read_dictionary(map(Path, names)) if (names := system.counter_dictionary) else None,
        )
    except BadSettings as error:
        raise BadSettings(f"{system.name}: {error}") from error


def _mapping(file: str) -> dict[str, Node]:
    """Returns the mapping in the file's only document; empty if no file is named."""
    found = list(yaml_documents(Path(file))) if file else []
    if len(found) > 1:
        raise found[1].bad("expected one document, found a second one")
    return found[0].mapping() if found else {}


def _name(new: Node) -> str:
    if not new.text():
        raise new.bad("the new name of the counter is empty")
    return new.text()


def _conversion(to: Node) -> Conversion:
    """Reads a conversion such as `{to: bytes, factor: 1000}`."""
    parts = to.mapping()
    if set(parts) != {"to", "factor"}:
        raise to.bad(f"expected a conversion such as {{to: bytes, factor: 1000}}, found {{{', '.join(parts)}}}")
    try:
        factor = Decimal(parts["factor"].text())
    except InvalidOperation as error:
        raise parts["factor"].bad(f"the factor {parts['factor'].text()!r} is not a number") from error
    if not factor.is_finite() or not factor or not parts["to"].text():
        raise to.bad("a conversion needs a unit and a finite factor other than 0")
    return Conversion(parts["to"].text(), factor)


@dataclass(frozen=True, slots=True)
class _CatalogEntry:
    """The preprocessing that was read last, and the state of its sources at that time."""

    sources: tuple[System, tuple[tuple[int, int], ...]]
    preprocessing: Preprocessing


class PreprocessingCatalog:
    """Returns the current preprocessing of a system; shared by the download threads."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        """Args: settings: returns the current settings."""
        self.settings = settings
        self.entries: dict[str, _CatalogEntry] = {}
        self.lock = Lock()

    def __call__(self, system: str) -> Preprocessing:
        """Returns the same object until something changes. An unusable change is logged and the old object stays.

        Raises:
            Unreachable: the system is not configured (any more), or its preprocessing was never readable.
        """
        found = self.settings().system(system)
        if found is None:
            raise Unreachable(f"system {system!r} is not configured")
        sources = (found, tuple(map(_stamp, _files(found))))
        with self.lock:
            entry = self.entries.get(system)
            if entry is None or entry.sources != sources:
                entry = self.entries[system] = _CatalogEntry(sources, self._read(found, entry))
            return entry.preprocessing

    @staticmethod
    def _read(system: System, old: _CatalogEntry | None) -> Preprocessing:
        try:
            preprocessing = read_preprocessing(system)
        except BadSettings as error:
            if old is None:
                raise Unreachable(str(error)) from error
            log.error("preprocessing refused, old one kept", extra={"system": system.name, "reason": str(error)})  # noqa: TRY400 - the reason says it all
            return old.preprocessing
        if old is not None:
            log.info("preprocessing changed", extra={"system": system.name})
        return preprocessing


def check_preprocessing(settings: Settings) -> None:
    """Checks that the preprocessing files of all systems can be read.

    Raises:
        BadSettings: a file cannot be used; says where.
    """
    for system in settings.systems:
        read_preprocessing(system)


def _files(system: System) -> list[str]:
    return [file for file in (system.counter_renames, system.counter_units, *system.counter_dictionary) if file]


def _stamp(file: str) -> tuple[int, int]:
    """Returns the modification time and size of a file; zeros if it cannot be read."""
    try:
        found = Path(file).stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size
