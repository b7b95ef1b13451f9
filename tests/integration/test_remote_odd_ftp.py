"""FTP servers of many dialects: each file is found with its size and time, or left with a reason."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from shared.errors import Hopeless, Unreachable
from shared.inventory import Endpoint
from shared.remote.ftp import FtpSession, connect_ftp
from shared.remote.listing import NO_SIZE, NO_TIME, NOT_REGULAR, ODD_LINE, ListingLimits
from shared.remote.service_manager import FtpServiceManager
from shared.remote.session import Denied, Entry, Gone, Longer, OddEntry
from shared.settings import Remote
from tests.fakes.odd_ftp import CONTENT, LIST_LINE, NAME, SIZE, TIME, TIME_S, Dialect, odd_ftp

MINUTE_S = TIME_S - TIME_S % 60
"""The time as LIST tells it."""
SETTINGS = Remote(timeout_s=4.0)
PATH = b"/pm/" + NAME
GOOD = f"type=file;size={SIZE};modify={TIME}; ".encode() + NAME


@contextmanager
def session_with(dialect: Dialect) -> Iterator[FtpSession]:
    with odd_ftp(dialect) as endpoint:
        session = connect_ftp(endpoint, SETTINGS)
        try:
            yield session
        finally:
            session.close()


def facts(text: str) -> list[bytes]:
    return [text.encode() + b" " + NAME]


ASKED: dict[str, Any] = {"size": f"213 {SIZE}", "mdtm": f"213 {TIME}"}


@pytest.mark.parametrize(
    ("dialect", "mtime_s"),
    {
        "all facts": (Dialect(mlsd=[GOOD]), TIME_S),
        "no line end at the end": (Dialect(mlsd=[GOOD], end=b""), TIME_S),
        "no facts": (Dialect(mlsd=facts(""), **ASKED), TIME_S),
        "only a name": (Dialect(mlsd=[NAME], **ASKED), TIME_S),
        "no facts, LIST": (Dialect(mlsd=facts(""), long=[LIST_LINE]), MINUTE_S),
        "no modify": (Dialect(mlsd=facts(f"type=file;size={SIZE};"), **ASKED), TIME_S),
        "no modify, LIST": (Dialect(mlsd=facts(f"type=file;size={SIZE};"), long=[LIST_LINE]), MINUTE_S),
        "bad modify": (Dialect(mlsd=facts(f"type=file;size={SIZE};modify=0;"), **ASKED), TIME_S),
        "no size": (Dialect(mlsd=facts(f"type=file;modify={TIME};"), size=f"213 {SIZE}"), TIME_S),
        "size -1": (Dialect(mlsd=facts(f"type=file;size=-1;modify={TIME};"), size=f"213 {SIZE}"), TIME_S),
        "size 2^64-1": (Dialect(mlsd=facts(f"type=file;size={2**64 - 1};modify={TIME};"), size=f"213 {SIZE}"), TIME_S),
        "no type": (Dialect(mlsd=facts(f"size={SIZE};modify={TIME};")), TIME_S),
        "years since 1900": (Dialect(mlsd=facts(f"type=file;size={SIZE};modify=19126{TIME[4:]};")), TIME_S),
        "no MLSD": (Dialect(**ASKED), TIME_S),
        "MLSD refused as if forbidden": (Dialect(mlsd="550 MLSD: Operation not permitted", **ASKED), TIME_S),
        "MLSD without login": (Dialect(mlsd="530 not for you", **ASKED), TIME_S),
        "no MDTM": (Dialect(size=f"213 {SIZE}", long=[LIST_LINE]), MINUTE_S),
        "no SIZE": (Dialect(mdtm=f"213 {TIME}", long=[LIST_LINE]), TIME_S),
        "SIZE refused": (Dialect(size="550 SIZE not allowed", mdtm=f"213 {TIME}", long=[LIST_LINE]), TIME_S),
        "bare MDTM": (Dialect(size=f"213 {SIZE}", mdtm="213", long=[LIST_LINE]), MINUTE_S),
        "bare SIZE": (Dialect(size="213", mdtm=f"213 {TIME}", long=[LIST_LINE]), TIME_S),
        "MDTM in words": (Dialect(size=f"213 {SIZE}", mdtm="213 Nov 27 2026 03:15", long=[LIST_LINE]), MINUTE_S),
        "LIST and NLST alone": (Dialect(long=[b"total 4", LIST_LINE]), MINUTE_S),
        "LIST alone": (Dialect(nlst="502 no", long=[LIST_LINE]), MINUTE_S),
        "LIST, exact times": (Dialect(nlst="502 no", long=[LIST_LINE], mdtm=f"213 {TIME}"), TIME_S),
        "LIST of DOS": (Dialect(nlst="502 no", long=[b"11-27-26  03:15AM  %d %s" % (SIZE, NAME)]), MINUTE_S),
        "paths in NLST": (Dialect(nlst=[b"/pm/" + NAME], **ASKED), TIME_S),
    }.values(),
)  # fmt: skip
def test_a_server_of_any_dialect_is_collected_from_and_recognizes_its_file_later(
    dialect: Dialect, mtime_s: int
) -> None:
    with session_with(dialect) as session:
        assert list(session.tree(b"/pm", 0)) == [(b"/pm", Entry(NAME, SIZE, mtime_s))]
        assert session.read(PATH, SIZE) == CONTENT
    with session_with(dialect) as session:  # a fetcher's: it has listed nothing
        assert session.look(PATH) == Entry(PATH, SIZE, mtime_s)
        assert session.look(b"/pm/none") is None


ODD = {
    "a time that is none": (f"type=file;size={SIZE};modify=00000000000000;", NO_TIME),
    "the year 9999": (f"type=file;size={SIZE};modify=99991231235959;", NO_TIME),
    "no size at all": (f"type=file;modify={TIME};", NO_SIZE),
    "a link": ("type=OS.unix=slink:/x;size=9;modify=20261127031501;", NOT_REGULAR),
}


@pytest.mark.parametrize(("odd", "reason"), ODD.values(), ids=ODD)
def test_one_odd_entry_among_good_ones_costs_itself_alone(odd: str, reason: str) -> None:
    with session_with(Dialect(mlsd=[odd.encode() + b" B.xml", GOOD])) as session:
        found = {entry for _, entry in session.tree(b"/pm", 0)}
    assert found == {Entry(NAME, SIZE, TIME_S), OddEntry(b"B.xml", reason)}


def test_a_line_that_nobody_understands_is_counted() -> None:
    with session_with(Dialect(nlst="502 no", long=[LIST_LINE, b"what is this?"])) as session:
        found = {entry for _, entry in session.tree(b"/pm", 0)}
    assert found == {Entry(NAME, SIZE, MINUTE_S), OddEntry(b"what is this?", ODD_LINE)}


@pytest.mark.parametrize(
    "dialect",
    [
        Dialect(nlst="450 No files found"),
        Dialect(nlst="550 No files found"),
        Dialect(nlst=[]),
        Dialect(nlst="502 no", long=[]),
        Dialect(mlsd=[]),
    ],
)
def test_an_empty_directory_is_empty_and_a_missing_one_is_gone(dialect: Dialect) -> None:
    with session_with(dialect) as session:
        assert list(session.tree(b"/pm", 0)) == []
    missing = "550 No such directory." if isinstance(dialect.mlsd, list) else dialect.mlsd
    with session_with(replace(dialect, mlsd=missing, directories=("/",))) as session, pytest.raises(Gone):
        list(session.tree(b"/pm", 0))


def test_a_directory_that_may_not_be_listed_is_refused() -> None:
    forbidden = "550 Permission denied."
    with session_with(Dialect(mlsd=forbidden, nlst=forbidden, long=forbidden)) as session, pytest.raises(Denied):
        list(session.tree(b"/pm", 0))


@pytest.mark.parametrize("words", ["550 Rename failed.", "550 Permission denied.", "553 no", "550 No such file."])
def test_a_refused_move_is_not_taken_for_a_missing_file(words: str) -> None:
    with session_with(Dialect(move=words, **ASKED)) as session:
        with pytest.raises(Denied):
            session.move(PATH, b"/pm/done/A")
        assert session.read(PATH, SIZE) == CONTENT
    with session_with(Dialect(delete="550 Delete operation failed.", **ASKED)) as session, pytest.raises(Denied):
        session.delete(PATH)


def test_a_move_of_a_file_that_is_not_there_is_gone() -> None:
    with session_with(Dialect(move="550 Rename failed.", **ASKED)) as session, pytest.raises(Gone):
        session.move(b"/pm/none", b"/pm/done/none")


@pytest.mark.parametrize("words", ["450 File busy.", "451 Local error.", "550 Failed to open file.", "553 no"])
def test_a_file_that_cannot_be_read_now_costs_itself_and_the_session_goes_on(words: str) -> None:
    with session_with(Dialect(retrieve=words, **ASKED)) as session:
        ((_, refused),) = session.read_all([(PATH, SIZE)])
        assert type(refused) is Denied
        session.check()


def test_a_file_that_is_not_there_is_gone_and_a_name_that_ftp_cannot_transmit_is_refused() -> None:
    with session_with(Dialect(**ASKED)) as session:
        files = [(b"/pm/none", 1), (b"/pm/two\nlines", 1), (PATH, SIZE)]
        assert [type(found) for _, found in session.read_all(files)] == [Gone, Denied, bytes]


def listed(session: FtpSession) -> object:
    return list(session.tree(b"/pm", 0))


@pytest.mark.parametrize("answer", ["mlsd", "nlst", "long"])
def test_a_listing_that_never_ends_is_given_up(answer: str) -> None:
    lines: dict[str, Any] = {"mlsd": [GOOD], "nlst": [NAME], "long": [LIST_LINE]}
    dialect = replace(Dialect(nlst="502 no", endless=True), **{answer: lines[answer]})
    with session_with(dialect) as session:
        session.listing.limits = ListingLimits(entries=1000)
        with pytest.raises(Unreachable, match="does not end"):
            listed(session)


def test_a_line_that_never_ends_is_given_up() -> None:
    endless = Dialect(mlsd=[b"x" * 1000], end=b"", endless=True)
    with session_with(endless) as session, pytest.raises(Unreachable, match="a line of more than"):
        listed(session)


def test_a_file_that_never_ends_is_given_up() -> None:
    with session_with(Dialect(endless=True)) as session, pytest.raises(Longer):
        session.read(PATH, 10)


def test_a_session_that_takes_too_long_is_aborted() -> None:
    with odd_ftp(Dialect(mlsd=[GOOD], endless=True)) as endpoint:
        manager = FtpServiceManager(SETTINGS, at_most_s=0.2)
        with pytest.raises(Unreachable, match="not finished within"):
            check_for_ever(manager, endpoint)
        manager.close()


def check_for_ever(manager: FtpServiceManager, endpoint: Endpoint) -> None:
    with manager.session(endpoint) as session:
        while True:
            session.check()


def read(session: FtpSession) -> object:
    return session.read(PATH, SIZE)


def look(session: FtpSession) -> object:
    return session.look(PATH)


NONSENSE = [
    "",
    "213",
    "250",
    "999 x",
    "abc",
    "-1 -1",
    "226-\r\n" + "226-x\r\n" * 1100,
    "150 150",
    "\xff\xfe",
    "421 bye",
]


@pytest.mark.parametrize("act", [listed, look, read])
@pytest.mark.parametrize("nonsense", NONSENSE, ids=range(len(NONSENSE)))
@pytest.mark.parametrize("answer", ["mlsd", "size", "mdtm", "mlst", "long", "nlst"])
def test_nonsense_from_a_server_is_one_of_our_errors(
    answer: str, nonsense: str, act: Callable[[FtpSession], object]
) -> None:
    answers: dict[str, Any] = {answer: nonsense}
    with odd_ftp(Dialect(**answers)) as endpoint:
        session = connect_ftp(endpoint, Remote(timeout_s=0.2))
        with suppress(Unreachable, Hopeless):
            act(session)
        session.close()
