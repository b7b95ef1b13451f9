"""Recognises records of files whose life is over, without decoding them: most of a ledger is history. Pure."""

import re
from typing import Final

ENDED: Final = re.compile(rb'"stage":"(?:done|error|lost)"')
END_OF_PERIOD: Final = re.compile(rb'"end_s":(\d{1,12})[,}]')
FILE_STATUS: Final = b'{"kind":"file-status",'


def has_ended(value: bytes) -> bool:
    """Returns True for the status of a file that is done, in error or lost.

    In JSON, the quotation marks of a text are escaped, so that no name of a file looks like the field.
    """
    return value.startswith(FILE_STATUS) and ENDED.search(value) is not None


def ended_in_period_before(value: bytes, time_s: float) -> bool:
    """Returns True for the status of a file that has ended and whose period ended before a time."""
    if not has_ended(value):
        return False
    found = END_OF_PERIOD.search(value)
    return found is not None and int(found[1]) <= time_s
