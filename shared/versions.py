"""The version of a file's rows, by which both databases decide which of several files wins."""

import re

from shared.messages import digest_of

_PARSED_S = re.compile(rb'"parsed_s":\d+')


def version_of(file_id: str, mtime_s: int) -> int:
    """Returns `ver` of a file's rows: the newer file wins; within one second, the identity decides.

    The order of two files therefore depends only on the files, and both databases end with the same values in any
    order of delivery. The version fits a signed 64-bit integer for all times in `CalendarTime`. Up to the year 2242 it
    has 29 bits of the identity, so that it leads to one file: of files of one second, one pair in 537 million has the
    same version.
    """
    identity = int(file_id, 16)
    if mtime_s < 0:
        return (mtime_s << 20) | (identity & 0xFFFFF)
    if mtime_s < 1 << 33:
        return (mtime_s << 29) | (identity & 0x1FFFFFFF)
    return (1 << 62) + ((mtime_s - (1 << 33) << 18) | (identity & 0x3FFFF))


def content_digest(content: bytes) -> str:
    """Returns a digest of a CounterBatch that is the same when its file is parsed again with the same result."""
    return digest_of(_PARSED_S.sub(b'"parsed_s":0', content, count=1))
