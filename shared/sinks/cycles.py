"""Cycle statistics as rows: the topic pm.cycles goes into the table pm_cycle, where the newest figures win."""

from collections.abc import Mapping
from typing import Any, get_origin, get_type_hints

import orjson

from shared.cycle_figures import CycleFigures
from shared.sinks.keeper import KeptTopic, OwnColumnKind
from shared.topics import CYCLES

FIGURE_KINDS: Mapping[Any, OwnColumnKind] = {int: "integer", float: "number", list: "json", dict: "json"}
CYCLE_COLUMNS: Mapping[str, OwnColumnKind] = {
    name: FIGURE_KINDS[get_origin(hint) or hint]
    for name, hint in get_type_hints(CycleFigures).items()
    if name not in {"kind", "system", "end_s"}
}
"""The columns of pm_cycle besides its key, which is `system` and `ts` (end of the period)."""


KEPT_CYCLES = KeptTopic(CYCLES.name, lambda value: CycleFigures.decode(value or b""))


def cycle_cells(figures: CycleFigures) -> dict[str, Any]:
    """Returns the cells of a row, by column."""
    found = {name: getattr(figures, name) for name in CYCLE_COLUMNS}
    return {n: orjson.dumps(value).decode() if CYCLE_COLUMNS[n] == "json" else value for n, value in found.items()}


def figures_of(system: str, end_s: int, row: Mapping[str, Any]) -> CycleFigures:
    """Returns the figures of a row that `cycle_cells` made."""
    found = {name: orjson.loads(row[name]) if kind == "json" else row[name] for name, kind in CYCLE_COLUMNS.items()}
    return CycleFigures(system=system, end_s=end_s, **found)
