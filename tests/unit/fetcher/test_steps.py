"""Each preprocessing step changes values and names as configured, and none loses a value."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.fetcher.assemble.batches import gather, read_file
from services.fetcher.assemble.result import Counts, Origin, Parsed
from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.blocks import read_blocks
from services.fetcher.parse.values.cells import cell
from services.fetcher.preprocess.declared import DeclaredType
from services.fetcher.preprocess.dictionary import Dictionary
from services.fetcher.preprocess.steps import STEP_FUNCTIONS, Conversion, Preprocessing, times
from shared import settings as shared_settings
from tests.unit.fetcher.parse.documents import documents
from tests.unit.fetcher.test_batches import ORIGIN, cells, document, info, messages, stored, value

KNOWN = Dictionary(by_counter={"a": DeclaredType("integer", "kilobytes"), "b": DeclaredType("number", "dBm")})
WANTED = Preprocessing(
    steps=tuple(STEP_FUNCTIONS),
    missing=(b'"--"', b"-9999"),
    renames={"b": "RSRP"},
    conversions={"kilobytes": Conversion("bytes", Decimal(1000))},
    dictionary=KNOWN,
)


def read(*rows: str, preprocessing: Preprocessing = WANTED, origin: Origin = ORIGIN, types: str = "a b") -> Parsed:
    return read_file(document(info("".join(rows), types=types)), origin, preprocessing=preprocessing)


def only(step: str) -> Preprocessing:
    return replace(WANTED, steps=(step,))


def test_the_steps_are_those_of_the_settings_but_the_one_that_is_the_sinks() -> None:
    assert (*STEP_FUNCTIONS, "split-dn") == shared_settings.STEPS


def test_without_steps_values_and_names_are_as_the_file_has_them() -> None:
    parsed = read(value("C=1", "-9999", "--"), preprocessing=replace(WANTED, steps=()))
    assert stored(parsed) == {"C=1": {"a": -9999, "b": "--"}}
    assert parsed.counts.nulls == 0


def test_a_file_is_normalised_by_all_steps_in_their_order() -> None:
    parsed = read(value("C=1", "1.5", "-9999") + value("C=2", "--", "-80.25"))
    (batch,) = messages(parsed)
    assert (batch.counters, batch.rows) == (["a", "RSRP"], [["C=1", 0, 1500, None], ["C=2", 0, None, -80.25]])
    assert batch.types == {"a": "integer", "RSRP": "number"}
    assert batch.units == {"a": "bytes", "RSRP": "dBm"}
    assert parsed.counts == Counts(groups=1, rows=2, suspect=0, values=2, nulls=2, quarantined=0, dropped=0, reasons={})


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("--", None),
        ("-9999", None),
        ("-09999", None),
        ("-9999.0", -9999.0),
        ("-99990", -99990),
        ("1,--,-9999,3", [1, None, None, 3]),
        ("--,-9999,", None),
        ("[--]", "[--]"),
        ("x--", "x--"),
    ],
)
def test_a_systems_missing_tokens_are_null(text: str, becomes: Any) -> None:
    parsed = read(value("C=1,X=--", text, "1"), preprocessing=only("missing-tokens"))
    assert stored(parsed) == {"C=1,X=--": {"a": becomes, "b": 1}}
    assert parsed.counts.nulls == (becomes is None)


def test_a_file_of_nothing_but_missing_tokens_has_no_values() -> None:
    parsed = read(value("C=1", "--", "-9999"))
    assert (parsed.counts.values, parsed.notes) == (0, ["no values"])


@pytest.mark.parametrize(
    ("called", "element"),
    [
        ("S=1,M=1", "enb-1"),
        ("M=GNB 7", "enb-1"),
        ("GNODEB-0", "enb-1"),
        ("M=2", "S=1,M=2"),
    ],
)
def test_an_element_that_its_file_calls_by_an_alias_has_its_name_of_the_inventory(called: str, element: str) -> None:
    known = replace(ORIGIN, aliases=dict.fromkeys(["S=1,M=1", "GNB 7", "GNODEB-0"], "enb-1"))
    prefix, _, local = called.rpartition(",")
    data = document(info(value("C=1", "1", "2")), local=local, prefix=prefix or "S=1")
    (batch,) = messages(read_file(data, known, preprocessing=only("element-alias")))
    assert batch.element == element
    (raw,) = messages(read_file(data, known))
    assert raw.element == f"{prefix or 'S=1'},{local}"


def test_counters_that_get_the_same_name_are_stored_once_and_no_value_is_lost() -> None:
    same = replace(only("rename-counters"), renames={"a": "x", "b": "x"})
    parsed = read(value("C=1", "1", "1") + value("C=2", "1", "2") + value("C=3", "-", "2"), preprocessing=same)
    assert stored(parsed) == {"C=1": {"x": 1}, "C=2": {"x": 1}, "C=3": {"x": 2}}
    assert parsed.counts.reasons == {"duplicate value": 1, "conflicting duplicate": 1}
    assert messages(parsed)[0].counters == ["x"]


def test_a_value_that_cannot_be_converted_is_quarantined_with_its_unit() -> None:
    parsed = read(value("C=1", "many", "1") + value("C=2", "2,x", "") + value("C=3", "2,,0.25", "3"))
    assert stored(parsed) == {
        "C=1": {"a": None, "RSRP": 1},
        "C=2": {"a": None, "RSRP": None},
        "C=3": {"a": [2000, None, 250], "RSRP": 3},
    }
    (quarantined,) = parsed.quarantined
    assert quarantined.reason == "cannot be converted to its unit"
    detail = orjson.loads(quarantined.detail)
    assert (detail["element"], detail["group"], detail["gp_s"], detail["end_s"]) == ("S=1,M=1", "A", 900, 1684134900)
    assert detail["values"] == [
        {"object": "C=1", "counter": "a", "value": "many", "unit": "kilobytes", "wanted": "bytes"},
        {"object": "C=2", "counter": "a", "value": [2, "x"], "unit": "kilobytes", "wanted": "bytes"},
    ]
    assert (parsed.counts.values, parsed.counts.quarantined, parsed.counts.nulls) == (3, 2, 1)


def test_an_integer_counter_in_a_smaller_unit_is_a_number() -> None:
    smaller = replace(only("units"), conversions={"kilobytes": Conversion("megabytes", Decimal("0.001"))})
    (batch,) = messages(read(value("C=1", "1", "2"), preprocessing=smaller))
    assert (batch.types, batch.units) == ({"a": "number", "b": "number"}, {"a": "megabytes", "b": "dBm"})
    assert batch.rows == [["C=1", 0, 0.001, 2]]


@pytest.mark.parametrize(
    ("text", "factor", "product"),
    [
        ("0.1", "3", "0.3"),
        ("1.005", "1000", "1005"),
        ("0.000000", "1000", "0"),
        ("1e3", "0.001", "1"),
        ("-7", "0.125", "-0.875"),
        ("1E+300", "10", "1.0E+301"),
        ("9007199254740993", "10", "90071992547409930"),
        ("9223372036854775807", "1000", '"9223372036854775807000"'),
        ("123456789012345678901234567890", "0.1", "12345678901234567890123456789.0"),
        ("1e999", "0.001", '"1E+996"'),
        ("0." + "123456789" * 20, "3", "0." + str(3 * int("123456789" * 20))),
        ("1,2.5,", "10", "[10,25,null]"),
        ("", "10", "null"),
    ],
)
def test_a_conversion_is_exact(text: str, factor: str, product: str) -> None:
    assert times(cell(text).encode(), Decimal(factor)) == product.encode()


@pytest.mark.parametrize(
    "text", ["up", "1_000", "Infinity", "NaNs", "0x10", "1,x", "9" * 3000, "1e99999999", "1e-9999999"]
)
def test_what_is_no_number_or_too_long_is_not_converted(text: str) -> None:
    assert times(cell(text).encode(), Decimal("0.3")) is None


@given(
    number=st.decimals(allow_nan=False, allow_infinity=False, places=4),
    factor=st.decimals(min_value="0.0001", max_value=10**9, places=4),
)
def test_a_product_is_what_arithmetic_says(number: Decimal, factor: Decimal) -> None:
    found = times(cell(str(number)).encode(), factor)
    assert found is not None
    assert Fraction(found.decode().strip('"')) == Fraction(number) * Fraction(factor)


def test_values_that_contradict_the_dictionary_are_stored_as_they_are_and_counted() -> None:
    untouched = replace(WANTED, steps=("rename-counters",))
    parsed = read(
        value("C=1", "many", "1") + value("C=2", "1.5", "2,3") + value("C=3", "-", "0.5"), preprocessing=untouched
    )
    assert stored(parsed) == {
        "C=1": {"a": "many", "RSRP": 1},
        "C=2": {"a": 1.5, "RSRP": [2, 3]},
        "C=3": {"a": None, "RSRP": 0.5},
    }
    assert parsed.counts.mistyped == {"a": 2, "RSRP": 1}
    assert (parsed.counts.values, parsed.counts.reasons) == (5, {})


def test_a_value_declared_as_text_stays_text_even_if_it_looks_like_a_number() -> None:
    texts = Preprocessing(dictionary=Dictionary(by_counter={"b": DeclaredType("text")}))
    rows = ["1.10", "21", "1,,0.50", 'a,"b",1', "NIL", "9" * 30]
    parsed = read(*(value(f"C={at}", "1", text) for at, text in enumerate(rows)), preprocessing=texts)
    found = [cells["b"] for cells in stored(parsed).values()]
    assert found == ["1.10", "21", "1,,0.50", 'a,"b",1', None, "9" * 30]
    assert all(cells["a"] == 1 for cells in stored(parsed).values())
    assert (parsed.counts.values, parsed.counts.mistyped) == (11, {})


def test_types_and_units_are_those_of_the_counters_of_the_batch() -> None:
    parsed = read_file(
        document(
            info(value("C=1", "1"), types="a"), info(value("C=2", "1"), types="c"), info(value("C=1", "1"), types="b")
        ),
        ORIGIN,
        preprocessing=replace(WANTED, steps=()),
    )
    assert {tuple(batch.counters): (batch.types, batch.units) for batch in messages(parsed)} == {
        ("a", "b"): ({"a": "integer", "b": "number"}, {"a": "kilobytes", "b": "dBm"}),
        ("c",): ({}, {}),
    }


def test_rows_go_before_types_and_units_when_a_message_has_no_room_for_both() -> None:
    names = [f"counter{at:03}" for at in range(100)]
    known = Preprocessing(dictionary=Dictionary(by_counter={name: DeclaredType("integer", "number") for name in names}))
    data = document(info("".join(value(f"C={at}", *["1"] * 100) for at in range(9)), types=" ".join(names)))
    parsed = gather(read_blocks([data]), ORIGIN, max_bytes=2500, preprocessing=known)
    assert len(stored(parsed)) == 9
    assert all(batch.types == {} for batch in messages(parsed))
    assert all(len(batch.types) == 100 for batch in messages(read_file(data, ORIGIN, preprocessing=known)))


NAMES = [*(f"pm{at}" for at in range(8)), "VS.a-b", "é&ü"]
STEP_LISTS = st.permutations(list(STEP_FUNCTIONS)).flatmap(
    lambda steps: st.integers(0, 4).map(lambda n: tuple(steps[:n]))
)
UNITS = st.sampled_from([Conversion("bytes", Decimal("0.1")), Conversion("bits", Decimal(8000))])
DECLARED = st.builds(
    DeclaredType, st.sampled_from(["", "integer", "number", "text", "vector"]), st.sampled_from(["", "kB"])
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    text=documents(),
    preprocessing=st.builds(
        Preprocessing,
        steps=STEP_LISTS,
        missing=st.sampled_from([(), (b"0",), (b"1", b'"up"')]),
        renames=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(NAMES)),
        conversions=st.builds(lambda unit: {"kB": unit}, UNITS),
        dictionary=st.builds(
            lambda known: Dictionary(by_counter=known), st.dictionaries(st.sampled_from(NAMES), DECLARED)
        ),
    ),
)
def test_no_step_loses_a_value(text: str, preprocessing: Preprocessing) -> None:
    values, _ = cells(text.lstrip().removeprefix("<?pi a?>").lstrip())
    try:
        raw = read_file(text.encode(), ORIGIN)
        parsed = read_file(text.encode(), ORIGIN, preprocessing=preprocessing)
    except BadFile as error:
        assert str(error) == "no values"  # noqa: PT017 - or there was a token in place of each
        return
    counts, known = parsed.counts, preprocessing.dictionary
    assert known
    nulled = counts.nulls - raw.counts.nulls
    assert nulled >= 0
    assert values == counts.values + counts.quarantined + counts.dropped + nulled
    assert counts.values == sum(v is not None for batch in messages(parsed) for row in batch.rows for v in row[2:])
    assert counts.quarantined + counts.dropped == sum(counts.reasons.values())
    assert counts.quarantined == sum(quarantined.values for quarantined in parsed.quarantined)
    if not preprocessing.steps and not any(declared_type.type == "text" for declared_type in known.by_counter.values()):
        assert [replace(batch, types={}, units={}) for batch in messages(parsed)] == messages(raw)
