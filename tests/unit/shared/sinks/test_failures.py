from collections.abc import Mapping

import pytest
from pymysql.constants import ER

from services.ch_bridge import error_codes as clickhouse
from services.mysql_writer import error_codes as mysql
from shared.errors import Hopeless, Unreachable
from shared.sinks.failures import FailureClass, Failures, StaleSchema

CLASSES: Mapping[int, FailureClass] = {1: "refused", 2: "stale", 3: "passing", 4: "operator"}


class Clock:
    """A clock that is set by hand."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_an_error_is_raised_by_the_class_of_its_code() -> None:
    failures = Failures("mysql", CLASSES, patience_s=10)
    assert [type(failures.exception(code, "why")) for code in range(1, 6)] == [
        Hopeless, StaleSchema, Unreachable, Unreachable, Unreachable
    ]  # fmt: skip


@pytest.mark.parametrize("code", [2, 5])
def test_a_stale_schema_and_an_unknown_error_are_repeated_for_a_while_only(code: int) -> None:
    clock = Clock()
    failures = Failures("mysql", CLASSES, 10, clock)
    for clock.now_s in (0, 4, 9):
        assert isinstance(failures.exception(code, "why"), Unreachable)
    for clock.now_s in (10, 11, 12):  # each part of the batch meets it again
        assert str(failures.exception(code, "why")) == f"repeated for {clock.now_s} s: why"
    clock.now_s = 100
    assert isinstance(failures.exception(code, "another time"), Unreachable)


@pytest.mark.parametrize("code", [3, 4])
def test_errors_that_pass_or_that_an_operator_corrects_are_repeated_as_long_as_it_takes(code: int) -> None:
    clock = Clock()
    failures = Failures("clickhouse", CLASSES, 10, clock)
    for clock.now_s in range(0, 100_000, 1000):
        assert isinstance(failures.exception(code, "why"), Unreachable)


@pytest.mark.parametrize("codes", [clickhouse, mysql])
def test_every_code_has_one_class(codes: object) -> None:
    lists = [getattr(codes, name) for name in ("REFUSED", "STALE", "TRANSIENT", "OPERATOR")]
    assert len(set().union(*lists)) == sum(map(len, lists))


@pytest.mark.parametrize(
    ("code", "found"),
    [(15, "stale"), (16, "stale"), (44, "refused"), (60, "stale"), (62, "refused"), (115, "operator"),
     (164, "passing"), (201, "passing"), (229, "refused"), (241, "passing"), (242, "passing"), (243, "passing"),
     (252, "passing"), (497, "operator"), (516, "operator"), (999, "passing")],
)  # fmt: skip
def test_clickhouses_codes_are_classified_on_purpose(code: int, found: FailureClass) -> None:
    assert clickhouse.ERROR_CLASSES[code] == found


@pytest.mark.parametrize(
    ("code", "found"),
    [(ER.BAD_FIELD_ERROR, "stale"), (ER.NO_SUCH_TABLE, "stale"), (ER.DISK_FULL, "passing"),
     (ER.RECORD_FILE_FULL, "passing"), (ER.OPTION_PREVENTS_STATEMENT, "passing"), (ER.LOCK_DEADLOCK, "passing"),
     (ER.USER_LIMIT_REACHED, "passing"), (ER.ACCESS_DENIED_ERROR, "operator"),
     (ER.TABLEACCESS_DENIED_ERROR, "operator"),
     (ER.TOO_MANY_FIELDS, "refused"), (ER.TOO_BIG_ROWSIZE, "refused"), (ER.WRONG_COLUMN_NAME, "refused"),
     (ER.DATA_TOO_LONG, "refused"), (ER.PARSE_ERROR, "refused"), (ER.TRUNCATED_WRONG_VALUE_FOR_FIELD, "refused")],
)  # fmt: skip
def test_mysqls_codes_are_classified_on_purpose(code: int, found: FailureClass) -> None:
    assert mysql.ERROR_CLASSES[code] == found
