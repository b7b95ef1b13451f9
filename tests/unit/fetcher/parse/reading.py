"""Converts the product's result to the form of the reference reader."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from services.fetcher.assemble.batches import gather
from services.fetcher.assemble.result import Origin, Parsed
from services.fetcher.parse.blocks import read_blocks
from services.fetcher.parse.xml.measinfo_lane import PIECE_CHARACTERS

ORIGIN = Origin(system="5ga", file_id="0123456789abcdef", element="gnb-1", ver=1)

Row = dict[str, Any]


def cut(data: bytes, size: int) -> Iterator[bytes]:
    """Cuts bytes into chunks of the given size."""
    return (data[at : at + size] for at in range(0, len(data), size))


def parsed(data: bytes, *, fast: bool = True, chunk: int = 1 << 16, piece: int = PIECE_CHARACTERS) -> Parsed:
    """Reads one document in the given way."""
    return gather(read_blocks(cut(data, chunk), fast=fast, piece=piece), ORIGIN)


def rows(parsed: Parsed) -> list[Row]:
    """Returns the rows of all messages; numbers are the texts they are written with."""
    return sorted(_rows(parsed), key=_key)


def _rows(parsed: Parsed) -> Iterator[Row]:
    for batch in parsed.batches:
        message = json.loads(batch.value, parse_int=str, parse_float=str)
        for name, suspect, *values in message["rows"]:
            yield {
                "element": message["element"],
                "group": message["group"],
                "object": name,
                "end_s": int(message["end_s"]),
                "gp_s": int(message["gp_s"]),
                "suspect": suspect == "1",
                "values": dict(zip(message["counters"], values, strict=True)),
            }


def without_nulls(rows: Iterable[Row]) -> list[Row]:
    """Returns the rows without counters that have no value: a missing counter and null mean the same."""
    bare = [
        row | {"values": {name: value for name, value in row["values"].items() if value is not None}} for row in rows
    ]
    return sorted(bare, key=_key)


def _key(row: Row) -> tuple[Any, ...]:
    return row["element"], row["group"], row["gp_s"], row["end_s"], row["object"]
