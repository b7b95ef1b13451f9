"""Errors name the line and column in the file, whatever the lane has taken out before."""

import pytest

from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.blocks import read_blocks
from tests.unit.fetcher.parse.test_safety import WHOLE

LONG = WHOLE.replace("</measInfo>", '<measValue measObjLdn="C=3"><r p="1">5</r><r p="2">Ü</r></measValue>\n</measInfo>')


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r", ""])
@pytest.mark.parametrize("damaged", ["</measInfo>", "</measData>", "</measCollecFile>", "<measType p="])
@pytest.mark.parametrize("times", [1, 3])
def test_the_place_is_where_the_damage_is(line_end: str, damaged: str, times: int) -> None:
    begin, info, end = LONG.partition("<measInfo ")
    body, close, end = (info + end).partition("</measInfo>")
    text = (begin + (body + close) * times + end).replace("\n", line_end)
    at = text.rindex(damaged)
    text = text[:at] + "&" + text[at:]
    with pytest.raises(BadFile) as caught:
        list(read_blocks([text.encode()]))
    before = text[: at + 1]  # expat points behind the ampersand
    last_line = before.rpartition(line_end)[2] if line_end else before
    lines = before.count(line_end) + 1 if line_end else 1
    assert (caught.value.line, caught.value.column) == (lines, len(last_line) + 1)
    assert str(caught.value).endswith(f"line {lines}, column {len(last_line) + 1}")
