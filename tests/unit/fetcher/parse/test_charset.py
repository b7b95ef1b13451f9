"""The bytes of a table are decoded in any encoding, wherever they are cut into chunks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.tables.charset import TableText
from services.fetcher.parse.tables.header import lines_of
from tests.unit.fetcher.parse.reading import cut

sizes = st.integers(1, 9)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff\uffff")), sizes)
def test_utf_8_is_read_as_it_is(text: str, size: int) -> None:
    read = TableText(cut(text.encode(), size))
    assert ("".join(read), read.guess) == (text, "")


@given(st.sampled_from(("utf-8-sig", "utf-16")), st.text("aü中\n", min_size=1), sizes)
def test_a_mark_tells_the_encoding(encoding: str, text: str, size: int) -> None:
    assert "".join(TableText(cut(text.encode(encoding), size))) == text


@given(st.lists(st.sampled_from(("Zelle ", "Größe,", "é,", "1,2\n", "estação ")), min_size=1).map("".join), sizes)
def test_single_letters_with_accents_are_cp1252(text: str, size: int) -> None:
    read = TableText(cut(text.encode("cp1252"), size))
    assert "".join(read) == text
    assert read.guess == ("" if text.isascii() else "cp1252")


@given(st.lists(st.sampled_from(("基站,", "Cell ", "西湖小区\n", "喆小站")), min_size=1).map("".join), sizes)
def test_chinese_words_are_gb18030(text: str, size: int) -> None:
    read = TableText(cut(text.encode("gb18030"), size))
    assert "".join(read) == text
    assert read.guess == ("" if text.isascii() else "gb18030")


@given(st.binary(), st.sampled_from(("", "cp949", "latin-1")), sizes)
def test_any_bytes_are_read_alike_however_they_are_cut(data: bytes, encoding: str, size: int) -> None:
    assert "".join(TableText(cut(data, size), encoding)) == "".join(TableText([data], encoding))


@given(st.text("a\r\n,ü"), sizes)
def test_lines_end_at_any_line_end_however_the_text_is_cut(text: str, size: int) -> None:
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert "".join(lines_of(pieces)) == text.replace("\r\n", "\n").replace("\r", "\n")


def test_what_is_no_character_is_refused_at_its_line() -> None:
    with pytest.raises(BadFile, match="line 2, column 2"):
        list(lines_of(TableText([b"\xc3\xbc\n1\xfc2\n"])))
