"""The reasons why values of a file are not stored. Each is a metric label and is shown by `pmflow errors`."""

from typing import Final

COUNT_MISMATCH: Final = "count mismatch"
DUPLICATE_P: Final = "duplicate p"
UNKNOWN_P: Final = "unknown p"
LATE_NAME: Final = "counter named after the first row"
NAMELESS: Final = "counter without a name"
BAD_PERIOD: Final = "bad period"
AMBIGUOUS_COMMA: Final = "ambiguous comma"
MALFORMED_ROW: Final = "malformed row"
CONFLICTING_DUPLICATE: Final = "conflicting duplicate"
NOT_CONVERTIBLE: Final = "cannot be converted to its unit"
DUPLICATE_VALUE: Final = "duplicate value"
NO_ROLE: Final = "column without a role"

DROPPED: Final = frozenset((DUPLICATE_VALUE, NO_ROLE))
"""The reasons that need no operator action: these values are dropped, all others are quarantined."""
