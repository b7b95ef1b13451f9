"""Reads what each system wants done to its counters, and reads it again when one of the files it names changes."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from threading import Lock

from services.fetcher.parse.values.cells import cell
from services.fetcher.preprocess import dictionary
from services.fetcher.preprocess.steps import STEPS, Conversion, Preprocessing
from services.fetcher.preprocess.yaml_file import Node, documents
from shared.errors import Unreachable
from shared.settings import BadSettings, Settings, System

log = logging.getLogger(__name__)


def read_preprocessing(system: System) -> Preprocessing:
    """As the system's section and the files it names have it.

    Raises:
        BadSettings: a file cannot be used; says where.
    """
    if system.counter_units and not system.counter_dictionary:
        raise BadSettings(f"{system.name}: counter-units are those of a counter-dictionary, which is not named")
    try:
        return Preprocessing(
            steps=tuple(step for step in system.preprocessing if step in STEPS),
            missing=tuple(cell(token).encode() for token in system.missing_tokens),
            renames={old: _name(new) for old, new in _mapping(system.counter_renames).items()},
            conversions={unit: _conversion(to) for unit, to in _mapping(system.counter_units).items()},
            dictionary=dictionary.read(map(Path, names)) if (names := system.counter_dictionary) else None,
        )
    except BadSettings as error:
        raise BadSettings(f"{system.name}: {error}") from error


def _mapping(file: str) -> dict[str, Node]:
    """Of the file's only document; empty when no file is named."""
    found = list(documents(Path(file))) if file else []
    if len(found) > 1:
        raise found[1].bad("a second document")
    return found[0].mapping() if found else {}


def _name(new: Node) -> str:
    if not new.text():
        raise new.bad("a counter needs a name")
    return new.text()


def _conversion(to: Node) -> Conversion:
    """`{to: bytes, factor: 1000}`."""
    parts = to.mapping()
    if set(parts) != {"to", "factor"}:
        raise to.bad(f"a conversion is like {{to: bytes, factor: 1000}}, not {{{', '.join(parts)}}}")
    try:
        factor = Decimal(parts["factor"].text())
    except InvalidOperation as error:
        raise parts["factor"].bad(f"{parts['factor'].text()!r} is no number") from error
    if not factor.is_finite() or not factor or not parts["to"].text():
        raise to.bad("a conversion needs a unit and a factor that is not 0")
    return Conversion(parts["to"].text(), factor)


@dataclass(frozen=True, slots=True)
class _Held:
    """What was read last, and what it was made of."""

    made_of: tuple[System, tuple[tuple[int, int], ...]]
    wanted: Preprocessing


class PreprocessingCatalog:
    """Shared by the download threads."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        """Args: settings: as they are now."""
        self.settings = settings
        self.held: dict[str, _Held] = {}
        self.lock = Lock()

    def __call__(self, system: str) -> Preprocessing:
        """The same object until something changes. A change that cannot be used is told of, and the old one stays.

        Raises:
            Unreachable: the system is not configured (any more), or was never readable.
        """
        found = self.settings().system(system)
        if found is None:
            raise Unreachable(f"no system {system!r} is configured")
        made_of = (found, tuple(map(_stamp, _files(found))))
        with self.lock:
            held = self.held.get(system)
            if held is None or held.made_of != made_of:
                held = self.held[system] = _Held(made_of, self._read(found, held))
            return held.wanted

    @staticmethod
    def _read(system: System, held: _Held | None) -> Preprocessing:
        try:
            wanted = read_preprocessing(system)
        except BadSettings as error:
            if held is None:
                raise Unreachable(str(error)) from error
            log.error("preprocessing refused, the old one stays", extra={"system": system.name, "reason": str(error)})  # noqa: TRY400 - says it all
            return held.wanted
        if held is not None:
            log.info("preprocessing changed", extra={"system": system.name})
        return wanted


def check_preprocessing(settings: Settings) -> None:
    """Whether the files of all systems can be read.

    Raises:
        BadSettings: one cannot be used; says where.
    """
    for system in settings.systems:
        read_preprocessing(system)


def _files(system: System) -> list[str]:
    return [file for file in (system.counter_renames, system.counter_units, *system.counter_dictionary) if file]


def _stamp(file: str) -> tuple[int, int]:
    """Of its content; a file that is not there has one too."""
    try:
        found = Path(file).stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size
