"""Measures the time that the parser spends in each of its stages.

`python -m bench.parse_stages [--rounds N]`: the files of `bench.parse`, the CPU time of the best of N rounds. A stage
is a function of the parser with a stopwatch around it; the time in other stages that it calls does not count. The
last line is a JSON object.
"""

import argparse
import gc
import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from time import process_time
from typing import Any

import zstandard

from bench.parse import ORIGIN
from bench.pm_files import SHAPES, document
from services.fetcher.assemble import batches
from services.fetcher.parse import blocks, unpack
from services.fetcher.parse.tables import delimited
from services.fetcher.parse.values import rows
from services.fetcher.parse.xml import measinfo_lane as lane
from services.fetcher.parse.xml import omes_lane, proof
from services.fetcher.parse.xml.document import Document


class Stopwatch:
    """Collects the seconds spent in each stage."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self.inner: list[float] = []

    def around(self, owner: Any, name: str, stage: str) -> None:
        """Times a function."""
        timed = getattr(owner, name)

        def stopped(*arguments: Any, **named: Any) -> Any:
            with self.stage(stage):
                return timed(*arguments, **named)

        setattr(owner, name, stopped)

    def around_each(self, owner: Any, name: str, stage: str) -> None:
        """Times each step of an iterator."""
        timed: Callable[..., Iterator[Any]] = getattr(owner, name)

        def stopped(*arguments: Any, **named: Any) -> Iterator[Any]:
            steps, end = iter(timed(*arguments, **named)), object()
            while True:
                with self.stage(stage):
                    step = next(steps, end)
                if step is end:
                    return
                yield step

        setattr(owner, name, stopped)

    def stage(self, name: str) -> "Running":
        return Running(self, name)


class Running:
    """A running stage; time in stages within it does not count as its own."""

    def __init__(self, watch: Stopwatch, name: str) -> None:
        self.watch = watch
        self.name = name

    def __enter__(self) -> None:
        self.watch.inner.append(0.0)
        self.began_s = process_time()

    def __exit__(self, *_: object) -> None:
        took_s = process_time() - self.began_s
        self.watch.spent[self.name] += took_s - self.watch.inner.pop()
        if self.watch.inner:
            self.watch.inner[-1] += took_s


def watched() -> Stopwatch:
    """Returns a stopwatch that times the parser's functions, each as a stage."""
    watch = Stopwatch()
    watch.around_each(unpack, "_inflated", "unpack")
    watch.around_each(blocks, "texts", "decode")
    watch.around(lane.MeasInfoLane, "_rows", "pattern")
    watch.around(omes_lane.OmesLane, "_run", "pattern")
    watch.around(proof, "prove_value_rows", "proof")
    watch.around(proof, "prove_list_rows", "proof")
    watch.around(lane.MeasInfoLane, "_block", "rows to lines")
    watch.around(rows, "measinfo_block", "rows to lines")
    watch.around_each(delimited._Table, "read", "table's cells")
    watch.around(Document, "feed", "expat, the rest")
    watch.around(batches._Assembler, "add", "gather")
    watch.around(batches._Assembler, "parsed", "messages")
    return watch


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=9)
    rounds = arguments.parse_args().rounds
    watch, pack = watched(), zstandard.ZstdCompressor(1)
    gc.disable()
    shares: dict[str, dict[str, float]] = {}
    for shape in SHAPES:
        packed = zlib.compress(b"".join(document(shape)), 6, 31)
        best: dict[str, float] = {}
        for _ in range(rounds):
            watch.spent.clear()
            with watch.stage("all else"):
                parsed = batches.read_file(packed, ORIGIN)
                with watch.stage("zstd"):
                    for batch in parsed.batches:
                        pack.compress(batch.value)
            if not best or sum(watch.spent.values()) < sum(best.values()):
                best = dict(watch.spent)
        total_s = sum(best.values())
        shares[shape.name] = {stage: round(seconds / total_s, 3) for stage, seconds in best.items()}
        named = sorted(best.items(), key=lambda stage: -stage[1])
        split = ", ".join(f"{stage} {seconds / total_s:.0%}" for stage, seconds in named if seconds > 0.01 * total_s)
        print(f"{shape.name}: {total_s * 1e9 / parsed.counts.values:.0f} ns per value: {split}")
    print(json.dumps(shares))


if __name__ == "__main__":
    main()
