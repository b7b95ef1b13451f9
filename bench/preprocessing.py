"""Measures the cost of preprocessing: the same files to compressed JSON messages, raw and preprocessed, in one run.

`python -m bench.preprocessing [--rounds N]`: the files of `bench.parse`, the least CPU time of N interleaved rounds.
The last line is a JSON object: for each shape, the time of each kind of preprocessing as a multiple of raw.
"""

import argparse
import gc
import json
import zlib
from dataclasses import replace
from decimal import Decimal
from time import process_time

import zstandard

from bench.parse import ORIGIN
from bench.pm_files import NAMES, SHAPES, document
from services.fetcher.assemble.batches import RAW, read_file
from services.fetcher.preprocess.declared import DeclaredType
from services.fetcher.preprocess.dictionary import Dictionary
from services.fetcher.preprocess.steps import STEP_FUNCTIONS, Conversion, Preprocessing
from shared.messages import CounterBatch

COUNTERS = [f"{NAMES[at % len(NAMES)]}{at}" for at in range(1500)]
STANDARD = Preprocessing(steps=tuple(STEP_FUNCTIONS))


def ways(packed: bytes) -> dict[str, Preprocessing]:
    """Returns the preprocessing to compare, by name; all dictionaries but one declare the right types."""
    kinds: dict[str, str] = {}
    for batch in map(CounterBatch.decode, (batch.value for batch in read_file(packed, ORIGIN).batches)):
        for at, name in enumerate(batch.counters, 2):
            kinds[name] = "vector" if any(isinstance(row[at], list) for row in batch.rows) else "number"
    known = Dictionary(by_counter={name: DeclaredType(kind, "number") for name, kind in kinds.items()})
    wrong = Dictionary(by_counter={name: DeclaredType("integer", "number") for name in COUNTERS})
    some = Dictionary(by_counter=known.by_counter | {name: DeclaredType("number", "kB") for name in COUNTERS[::50]})
    return {
        "raw": RAW,
        "all steps, nothing named": STANDARD,
        "all counters renamed": replace(STANDARD, renames={name: f"VS.{name}" for name in COUNTERS}),
        "missing tokens": replace(STANDARD, missing=(b'"--"', b"-9999")),
        "dictionary": replace(STANDARD, dictionary=known),
        "dictionary, all of it wrong": replace(STANDARD, dictionary=wrong),
        "units, 2 % of the counters": replace(
            STANDARD, dictionary=some, conversions={"kB": Conversion("bytes", Decimal(1000))}
        ),
    }


def took_s(packed: bytes, preprocessing: Preprocessing) -> float:
    began_s = process_time()
    parsed = read_file(packed, replace(ORIGIN, aliases={"GNODEB-1": "gnb-1"}), preprocessing=preprocessing)
    zstandard.ZstdCompressor(level=1).compress(b"".join(batch.value for batch in parsed.batches))
    return process_time() - began_s


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=9)
    rounds = arguments.parse_args().rounds
    gc.disable()
    ratios: dict[str, dict[str, float]] = {}
    for shape in SHAPES:
        packed = zlib.compress(b"".join(document(shape)), 6, 31)
        wanted_by = ways(packed)
        best = dict.fromkeys(wanted_by, float("inf"))
        for _ in range(rounds):
            for way, preprocessing in wanted_by.items():
                best[way] = min(best[way], took_s(packed, preprocessing))
            gc.collect()
        ratios[shape.name] = {way: round(seconds / best["raw"], 3) for way, seconds in best.items()}
        print(f"{shape.name}: {shape.about}")
        for way, seconds in best.items():
            print(f"  {way:26} {seconds * 1e3:7.1f} ms = {ratios[shape.name][way]:.3f} of raw")
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
