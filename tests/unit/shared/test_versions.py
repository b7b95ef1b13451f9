from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.messages import digest_of, file_identity
from shared.versions import content_digest, version_of
from tests.unit.shared.test_messages import BATCH

EARLIEST, LATEST = -62_135_510_400, 253_402_214_400


@given(times=st.lists(st.integers(EARLIEST, LATEST), min_size=2, max_size=2, unique=True).map(sorted), a=st.binary())
def test_the_newer_file_has_the_higher_version_in_every_year(times: list[int], a: bytes) -> None:
    older, newer = (version_of(file_identity("4ga", "e1", a.hex(), 1, mtime_s), mtime_s) for mtime_s in times)
    assert -(2**63) <= older < newer < 2**63


def test_files_of_one_second_have_versions_of_their_own() -> None:
    names = [file_identity("4ga", f"e{n}", "/pm/A", 1, 1_700_000_000) for n in range(3000)]
    assert len({version_of(name, 1_700_000_000) for name in names}) == 3000


def test_the_digest_of_a_batch_is_the_same_when_its_file_is_parsed_again() -> None:
    first, again = (replace(BATCH, parsed_s=at_s).encode() for at_s in (1_700_000_000, 1_700_000_900))
    assert first != again
    assert content_digest(first) == content_digest(again)
    named = replace(BATCH, counters=["parsed_s", '"parsed_s":7'])
    assert content_digest(named.encode()) != content_digest(replace(named, counters=["a", "b"]).encode())
    assert content_digest(first) != content_digest(replace(BATCH, ver=2).encode())


@pytest.mark.parametrize(
    ("file_id", "mtime_s", "ver"),
    [
        ("0000000000000000", 0, 0),
        ("ffffffffffffffff", 0, (1 << 29) - 1),
        ("0000000000000010", 5, (5 << 29) + 16),
        ("ffffffffffffffff", (1 << 33) - 1, (1 << 62) - 1),
        ("ffffffffffffffff", 1 << 33, (1 << 62) + (1 << 18) - 1),
        ("0000000000000000", (1 << 33) + 1, (1 << 62) + (1 << 18)),
        ("ffffffffffffffff", -1, -1),
        ("0000000000000000", -2, -2 << 20),
    ],
)
def test_versions_stay_what_they_were_because_stored_rows_have_them(file_id: str, mtime_s: int, ver: int) -> None:
    assert version_of(file_id, mtime_s) == ver


def test_the_digest_stays_what_it_was_because_the_ledger_has_it() -> None:
    assert content_digest(b'{"parsed_s":1700000000,"ver":1}') == digest_of(b'{"parsed_s":0,"ver":1}')
