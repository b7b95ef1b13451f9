"""Texts of values become JSON: exact numbers, null, arrays or text."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.fetcher.parse.values.cells import CELLS, cell
from services.fetcher.parse.values.rows import COMMA_AND_BLANK
from services.fetcher.parse.xml import proof


@pytest.mark.parametrize(
    "text",
    ["0", "17", "-3", "0.000000", "1.50", "-0.5", "1e5", "2.5E-3", "9223372036854775807", "-9223372036854775808",
     "9223372036854775808", "18446744073709551615"],
)  # fmt: skip
def test_a_number_stays_exactly_as_it_is_written(text: str) -> None:
    assert cell(text) == text
    assert cell(f" {text}\n") == text


@pytest.mark.parametrize(
    ("text", "number"),
    [("007", "7"), ("+5", "5"), (".5", "0.5"), ("-.5", "-0.5"), ("5.", "5"), ("+0.50", "0.50"), ("-00", "-0")],
)
def test_a_number_that_json_does_not_know_is_written_as_json_does(text: str, number: str) -> None:
    assert cell(text) == number


@pytest.mark.parametrize(
    "text", ["18446744073709551616", "-9223372036854775809", "1" * 30, "1" * 5000, "1e999", "-1e999", "1" * 400 + ".5"]
)
def test_a_number_that_readers_cannot_hold_is_text(text: str) -> None:
    assert cell(text) == f'"{text}"'


def test_zeros_in_front_do_not_make_a_number_too_big() -> None:
    assert cell("0" * 30 + "5") == "5"


@pytest.mark.parametrize("text", ["", " ", "\t\r\n", "NIL", "nil", "Null", "NaN", "-", "N/A", "n/a"])
def test_a_missing_token_is_null(text: str) -> None:
    assert cell(text) == "null"


@pytest.mark.parametrize(
    "text", ["up", "1.2.3", "--5", "1-2", "0x1F", "1_000", "12\u0663", "e5", ".", "+", "Infinity", "..."]
)
def test_other_text_is_text(text: str) -> None:
    assert json.loads(cell(text)) == text


@pytest.mark.parametrize(
    ("text", "array"),
    [
        ("0,0,3", "[0,0,3]"),
        ("1,2,,3", "[1,2,null,3]"),
        (" 1 , NIL,3", "[1,null,3]"),
        ("0.5,x,+7", '[0.5,"x",7]'),
        ("1,99999999999999999999", '[1,"99999999999999999999"]'),
        ("1,1e999", '[1,"1e999"]'),
        (",5", "[null,5]"),
    ],
)
def test_a_vector_is_an_array_whose_blanks_are_null(text: str, array: str) -> None:
    assert cell(text) == array


@pytest.mark.parametrize("text", [",", " , , ", "NIL,NIL", "-,"])
def test_a_vector_of_blanks_is_null(text: str) -> None:
    assert cell(text) == "null"


@pytest.mark.parametrize("text", ["down, since noon", "a,b", "x,"])
def test_text_with_commas_but_no_number_is_text(text: str) -> None:
    assert json.loads(cell(text)) == text


@given(st.text(alphabet='0123456789+-.eENIL, \t\n"\\[]{}ünull', max_size=40))
def test_whatever_stands_there_becomes_json_that_readers_take(text: str) -> None:
    value = orjson.loads(cell(text))
    assert value is None or isinstance(value, int | float | str | list)
    assert CELLS[text] == cell(text)


texts = st.text(alphabet="0123456789+-.eEn ,[]lu", max_size=6)


@given(st.lists(st.lists(texts, min_size=2, max_size=2), min_size=1, max_size=3))
def test_what_is_proven_at_once_is_what_each_value_would_have_become(rows: list[list[str]]) -> None:
    has_brackets = any("[" in text or "]" in text for row in rows for text in row)
    found = proof.prove_value_rows([("object", *row, "tail") for row in rows], 2, has_brackets=has_brackets)
    assert found
    assert found.lines == [",".join(cell(text) for text in row) for row in rows]
    assert found.nulls == sum(cell(text) == "null" for row in rows for text in row)


@given(st.lists(st.lists(texts.filter(lambda text: text.strip() == text != ""), min_size=2, max_size=2), min_size=1))
def test_the_same_holds_for_values_in_a_list(rows: list[list[str]]) -> None:
    wanted = [row for row in rows if not any(" " in text for text in row) and not COMMA_AND_BLANK.search(" ".join(row))]
    has_brackets = any("[" in text or "]" in text for row in wanted for text in row)
    found = (
        proof.prove_list_rows([("object", " ".join(row), "tail") for row in wanted], 2, has_brackets=has_brackets)
        if wanted
        else None
    )
    assert not found or found.lines == [",".join(cell(text) for text in row) for row in wanted]
    assert bool(found) == bool(wanted)
