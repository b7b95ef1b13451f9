"""The report of a run: one page of text, or JSON. Pure."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.chaos.nemesis import CarriedOut, OwnExit
from tests.chaos.verdict import Finished

MOST_LINES = 12
"""Most lines of each list in the text."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The distribution of some times, in seconds."""

    many: int
    p50_s: float
    p95_s: float
    max_s: float


@dataclass(frozen=True, slots=True)
class Report:
    """A run and its verdict."""

    seed: int
    seconds: float
    is_right: bool
    problems: Sequence[str]
    faults: Mapping[str, int]
    """Number of faults by kind."""
    recovery: Mapping[str, Spread]
    """Recovery times by kind of fault, and of all faults."""
    files: Mapping[str, int]
    latency: Spread
    """Times from the writing of a file to its end."""
    values: Sequence[Mapping[str, Any]]
    cycles: int
    caught_up_s: float
    returned: int
    """Stored files that were away when they were to be moved, and came back later."""
    set_aside: Mapping[str, int]
    own_exits: Mapping[str, int]
    """Exits of processes that no fault ended, by service and reason."""
    carried_out: Sequence[CarriedOut]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def report_of(
    seed: int, seconds: float, carried_out: Sequence[CarriedOut], exits: Iterable[OwnExit], found: Finished
) -> Report:
    """Builds the report."""
    problems = [
        *(f"fault {c.fault.number}, {c.fault.kind} {c.fault.target}: {c.problem}" for c in carried_out if c.problem)
    ]
    problems += found.problems
    return Report(
        seed=seed,
        seconds=seconds,
        is_right=not problems,
        problems=problems,
        faults=dict(sorted(Counter(c.fault.kind for c in carried_out).items())),
        recovery=recovery_times(carried_out, found.finished_s.values()),
        files=found.files,
        latency=spread([done_s - written_s for written_s, done_s in found.finished_s.values()]),
        values=found.outcomes,
        cycles=found.cycles,
        caught_up_s=round(found.caught_up_s, 1),
        returned=found.returned,
        set_aside=found.set_aside,
        own_exits=dict(Counter(f"{e.name.rpartition('-')[0] or e.name}: {e.reason}" for e in exits).most_common()),
        carried_out=carried_out,
    )


def recovery_times(carried_out: Iterable[CarriedOut], finished: Iterable[tuple[float, float]]) -> dict[str, Spread]:
    """Returns the recovery times by kind of fault.

    The recovery time of a fault is the time from its end, when the process is started again or the line is open, until
    the first file that was written after this end is finished: then the whole way works, from scan to move.
    """
    first_after = _first_finished(finished)
    times: dict[str, list[float]] = defaultdict(list)
    for fault in carried_out:
        if (done_s := first_after(fault.ended_s)) is not None:
            for name in (fault.fault.kind, "all"):
                times[name].append(done_s - fault.ended_s)
    return {kind: spread(of_kind) for kind, of_kind in sorted(times.items())}


def _first_finished(finished: Iterable[tuple[float, float]]) -> Any:
    """Returns a function from a time to the earliest end of a file that was written at this time or later."""
    ordered = sorted(finished)
    earliest: list[float] = []
    for _, done_s in reversed(ordered):
        earliest.append(min(done_s, earliest[-1]) if earliest else done_s)
    earliest.reverse()

    def first_after(at_s: float) -> float | None:
        at = bisect_left(ordered, (at_s, 0.0))
        return earliest[at] if at < len(ordered) else None

    return first_after


def spread(times_s: Sequence[float]) -> Spread:
    """Returns the distribution of times.

    >>> spread([3.0, 1.0, 2.0])
    Spread(many=3, p50_s=2.0, p95_s=3.0, max_s=3.0)
    """
    ordered = sorted(times_s) or [0.0]
    last = len(ordered) - 1
    p50, p95, most = (round(ordered[round(last * share)], 1) for share in (0.5, 0.95, 1.0))
    return Spread(len(times_s), p50, p95, most)


def page(report: Report) -> str:
    """Returns the report as text of about one page."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    total = sum(report.faults.values())
    verdict = "all right" if report.is_right else "WRONG"
    yield f"chaos: seed {report.seed}, {total} faults in {report.seconds:.0f} s: {verdict}"
    yield ""
    yield f"{'fault':<12} {'count':>6}   recovery p50, p95, max (s)"
    for kind in (*report.faults, "all"):
        count, times = report.faults.get(kind, total), report.recovery.get(kind)
        yield f"{kind:<12} {count:>6}   " + (f"{times.p50_s:>6} {times.p95_s:>6} {times.max_s:>6}" if times else "")
    yield ""
    latency = report.latency
    stages = ", ".join(f"{count:,} {stage}" for stage, count in sorted(report.files.items()))
    yield f"files: {stages}; {report.cycles} cycles; all finished {report.caught_up_s} s after the load ended"
    yield f"from written to finished: p50 {latency.p50_s}, p95 {latency.p95_s}, max {latency.max_s} s"
    if report.returned:
        yield f"stored files that were away when they were to be moved, and came back: {report.returned}"
    for o in report.values:
        yield (
            f"values in {o['sink']} {o['system']}: {o['stored']:,} of {o['expected']:,}; "
            f"{o['missing']} missing, {o['doubled']} doubled, {o['different']} different"
        )
    for title, counts in (("set aside", report.set_aside), ("exits without a fault", report.own_exits)):
        yield f"{title}: {'none' if not counts else ''}"
        yield from (f"  {count:>5}  {name[:150]}" for name, count in list(counts.items())[:MOST_LINES])
    if report.problems:
        yield f"problems: {len(report.problems)}"
        yield from (f"  {problem[:600]}" for problem in report.problems[:MOST_LINES])
