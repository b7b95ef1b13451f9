"""A coverage-guided fuzzer over the parser: `make fuzz`, or `python -m tests.fuzz [libFuzzer's options] [corpus]`.

Any bytes, cut into chunks of any size, are refused with one of our words or read; and what the lane makes of a document
is what expat alone makes of it. Begins from the samples.
"""

import sys
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["services.fetcher"]):
    from services.fetcher.assemble.batches import gather, read_file
    from services.fetcher.assemble.result import Origin
    from services.fetcher.parse.blocks import read_blocks
    from services.fetcher.parse.unpack import Incomplete
    from shared.errors import Hopeless

ORIGIN = Origin(system="5ga", file_id="0123456789abcdef", element="gnb-1", ver=1)
SAMPLES = Path(__file__).parent / "data" / "samples"
TABLE = b"""Result Time,Granularity Period,Object Name,Reliability,1526726657,1526726658
,Minutes,,,times,
2020-05-18 16:00,15,"N1/Cell:Cell ID=1",Reliable,12,NIL
"""
_LARGEST = 20_000


def _read(data: bytes, *, fast: bool, chunk: int) -> Any:
    pieces = (data[at : at + chunk] for at in range(0, len(data), chunk))
    try:
        parsed = gather(read_blocks(pieces, fast=fast, piece=max(chunk, 64)), ORIGIN)
    except Hopeless as error:
        return type(error)
    return parsed.counts, [batch.value for batch in parsed.batches]


def once(data: bytes) -> None:
    """The first two bytes say how the rest is cut."""
    chunk, document = 1 + int.from_bytes(data[:2], "big"), data[2:]
    by_lane, by_expat = (_read(document, fast=fast, chunk=chunk) for fast in (True, False))
    if by_lane != by_expat:
        raise AssertionError(f"{by_lane!r} is not {by_expat!r}")
    try:
        read_file(document, ORIGIN)
    except (Hopeless, Incomplete):
        return


def main(arguments: list[str]) -> None:
    """Never returns."""
    if corpus := next((Path(a) for a in arguments[1:] if Path(a).is_dir()), None):
        (corpus / "table.csv").write_bytes(b"\xff\xff" + TABLE)
        for sample in SAMPLES.glob("*.xml"):
            (corpus / sample.name).write_bytes(b"\xff\xff" + sample.read_bytes()[:_LARGEST])
    atheris.Setup(arguments, once)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
