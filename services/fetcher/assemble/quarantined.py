"""What of a file is not stored: the reasons, and the JSON that the quarantine holds and shows."""

from typing import Any

import orjson

from services.fetcher.assemble.merge import Conflict
from services.fetcher.parse.block import Fault, Head
from services.fetcher.parse.values.cells import CELLS, NULL
from services.fetcher.preprocess.steps import Aside


def measinfo(head: Head, element: str, group: str, results: int, why: str) -> dict[str, Any]:
    """Which measInfo it was; `results`: how many values its first bad row had."""
    return {
        "element": element,
        "group": group,
        "job": head.job,
        "begin": head.begin,
        "end": head.end,
        "duration": head.duration,
        "why": why,
        "types": len(head.counters),
        "results": results,
        "counters": head.counters,
    }


def values_of(fault: Fault) -> int:
    return sum(CELLS[text] != NULL for text in fault.results)


def fault(fault: Fault) -> str:
    """A row that does not fit."""
    row = {"object": fault.object, "suspect": fault.suspect, "results": fault.results, "p": fault.positions}
    return orjson.dumps(row).decode()


def conflict(conflict: Conflict) -> str:
    """Two values of one counter."""
    counter = orjson.dumps(conflict.counter)
    return _json(object=conflict.object, counter=counter, kept=conflict.kept, aside=conflict.aside)


def value(aside: Aside) -> str:
    """A value that cannot be brought to its unit."""
    counter, unit, wanted = map(orjson.dumps, (aside.counter, aside.unit, aside.wanted))
    return _json(object=aside.object, counter=counter, value=aside.value, unit=unit, wanted=wanted)


def _json(**parts: bytes) -> str:
    """The parts are JSON already."""
    return "{" + ",".join(f'"{name}":{part.decode()}' for name, part in parts.items()) + "}"
