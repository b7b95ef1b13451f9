"""Shifts the wall clock of a Python process by the seconds in a file, which may change at any time.

Python imports this module at its start if its folder is in PYTHONPATH. The monotonic clock stays as it is, as when an
operator or NTP sets a machine's clock.
"""

import mmap
import os
import struct
import time

_SECONDS = struct.Struct("<d")
_real_time, _real_time_ns = time.time, time.time_ns


def _shift(file: str) -> None:
    with open(file, "rb") as opened:  # noqa: PTH123 - before anything else is imported
        content = mmap.mmap(opened.fileno(), _SECONDS.size, access=mmap.ACCESS_READ)

    def shifted_time() -> float:
        return _real_time() + float(_SECONDS.unpack_from(content)[0])

    def shifted_time_ns() -> int:
        return _real_time_ns() + int(_SECONDS.unpack_from(content)[0] * 1e9)

    time.time, time.time_ns = shifted_time, shifted_time_ns


if "CHAOS_CLOCK" in os.environ:
    _shift(os.environ["CHAOS_CLOCK"])
