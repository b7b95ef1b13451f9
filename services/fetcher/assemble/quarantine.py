"""Quarantines the parts of a file that cannot be stored, as the JSON of dead letters that `pmflow quarantine` shows."""

from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from services.fetcher import reasons
from services.fetcher.assemble.collected import CollectedMeasInfo
from services.fetcher.assemble.merge import Conflict
from services.fetcher.assemble.nameless import NamelessValue
from services.fetcher.assemble.packer import Packer
from services.fetcher.assemble.result import Origin, Quarantined
from services.fetcher.parse.block import Fault
from services.fetcher.parse.values.cells import CELLS, NULL
from services.fetcher.parse.values.period import as_written
from services.fetcher.preprocess.steps import UnconvertedValue
from services.fetcher.rows.held import PeriodKey, Rows


@dataclass(frozen=True, slots=True)
class MeasInfoDetail:
    """A quarantined measInfo, without its rows."""

    system: str
    file_id: str
    ver: int
    reason: str
    element: str
    group: str
    job: str
    begin: str
    end: str
    duration: str
    why: str
    """The problem with its period, with the line of the file, if there is one."""
    line: int
    """Line of the file at which the period is given; 0: unknown."""
    types: int
    """Number of counters that are named."""
    results: int
    """Number of values in its first faulty row."""
    counters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ValuesDetail:
    """Quarantined values of rows that are stored without them."""

    system: str
    file_id: str
    ver: int
    reason: str
    element: str
    group: str
    gp_s: int
    end_s: int


@dataclass(frozen=True, slots=True)
class FaultDetail:
    """A row that does not fit its measInfo."""

    object: str
    suspect: bool
    results: tuple[str, ...]
    p: tuple[str, ...]


class FileQuarantine:
    """The quarantined parts of one file."""

    def __init__(self, origin: Origin, packer: Packer) -> None:
        self.origin = origin
        self.packer = packer
        self.blocks: list[Quarantined] = []

    def add_measinfo(self, info: CollectedMeasInfo, element: str, group: str, reason: str, why: str) -> None:
        """Quarantines a whole measInfo and releases its rows."""
        origin, head = self.origin, info.head
        detail = MeasInfoDetail(
            system=origin.system,
            file_id=origin.file_id,
            ver=origin.ver,
            reason=reason,
            element=element,
            group=group,
            job=head.job,
            begin=as_written(head.begin),
            end=as_written(head.end),
            duration=head.duration,
            why=why,
            line=head.line,
            types=len(head.counters),
            results=info.first_results,
            counters=head.counters,
        )
        self._add(detail, "faults", info.faults)
        self._add(detail, "rows", info.rows)

    def add_unconverted(self, key: PeriodKey, values: Iterable[UnconvertedValue]) -> None:
        """Quarantines values that cannot be converted to their unit."""
        self._add_values(key, reasons.NOT_CONVERTIBLE, map(_unconverted_json, values))

    def add_nameless(self, key: PeriodKey, values: Iterable[NamelessValue]) -> None:
        """Quarantines values of counters without a name."""
        self._add_values(key, reasons.NAMELESS, map(_nameless_json, values))

    def add_conflicts(self, key: PeriodKey, conflicts: Iterable[Conflict]) -> None:
        """Quarantines values that contradict a stored value of the same counter."""
        self._add_values(key, reasons.CONFLICTING_DUPLICATE, map(_conflict_json, conflicts))

    def _add_values(self, key: PeriodKey, reason: str, values: Iterable[str]) -> None:
        origin = self.origin
        detail = ValuesDetail(
            origin.system, origin.file_id, origin.ver, reason, key.element, key.group, key.gp_s, key.end_s
        )
        self._add(detail, "values", [Rows.from_lines((), [value], 1, self.packer.spool) for value in values])

    def _add(self, detail: MeasInfoDetail | ValuesDetail, list_name: str, parts: list[Rows]) -> None:
        start = orjson.dumps(detail)[:-1] + b',"' + list_name.encode() + b'":['
        for held, rows in self.packer.messages(parts, start):
            self.blocks.append(Quarantined(detail.reason, detail.group, rows.values, held))
        self.packer.release(parts)


def values_of(fault: Fault) -> int:
    """Counts the values of a faulty row."""
    return sum(CELLS[text] != NULL for text in fault.results)


def fault_json(fault: Fault) -> str:
    """Returns a faulty row as the quarantine shows it."""
    return orjson.dumps(FaultDetail(fault.object, fault.suspect, fault.results, fault.positions)).decode()


def _conflict_json(conflict: Conflict) -> str:
    counter = orjson.dumps(conflict.counter)
    return _json(object=conflict.object, counter=counter, kept=conflict.kept, aside=conflict.quarantined)


def _nameless_json(value: NamelessValue) -> str:
    return _json(object=value.object, column=str(value.column).encode(), value=value.value)


def _unconverted_json(value: UnconvertedValue) -> str:
    counter, unit, target = map(orjson.dumps, (value.counter, value.unit, value.target_unit))
    return _json(object=value.object, counter=counter, value=value.value, unit=unit, wanted=target)


def _json(**parts: bytes) -> str:
    """Returns a JSON object of parts that are JSON already."""
    return "{" + ",".join(f'"{name}":{part.decode()}' for name, part in parts.items()) + "}"
