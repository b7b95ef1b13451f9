from services.scanner.file_producer import Known, candidates, due, found, settled
from shared.inventory import Endpoint
from shared.messages import path_bytes
from shared.remote.session import Entry

A, B = Entry(b"A.xml", 10, 100), Entry(b"B.xml", 20, 100)


def test_hidden_empty_and_unfinished_files_are_no_candidates() -> None:
    listing = [A, Entry(b".A.xml", 1, 1), Entry(b"C.xml", 0, 1), Entry(b"D.xml.part", 1, 1)]
    assert candidates(listing, (".part",)) == [A]


def test_a_file_is_settled_when_two_looks_find_it_alike() -> None:
    grown, touched = Entry(b"A.xml", 11, 100), Entry(b"B.xml", 20, 101)
    assert settled([A, B], [A, touched]) == [A]
    assert settled([A, B], [grown, B]) == [B]
    assert settled([], [A]) == []


def test_a_file_is_announced_once_until_its_lease_ends_or_it_comes_back() -> None:
    assert due(None, now_s=0.0, lease_s=600.0)
    assert due(Known("postponed", 0.0), now_s=1.0, lease_s=600.0)
    assert due(Known("lost", 0.0), now_s=1.0, lease_s=600.0)
    assert not due(Known("found", 0.0), now_s=600.0, lease_s=600.0)
    assert due(Known("found", 0.0), now_s=601.0, lease_s=600.0)
    for stage in ("parsed", "failed", "done", "error"):
        assert not due(Known(stage, 0.0), now_s=10_000.0, lease_s=600.0)


def test_a_name_of_any_bytes_is_announced_and_found_again() -> None:
    endpoint = Endpoint(name="e1", host="h", username="u", directory="/pm/")
    file = found("4ga", endpoint, Entry(b"a\xff\n%41.xml", 1, 2), epoch=7)
    assert path_bytes(file.path) == b"/pm/a\xff\n%41.xml"
    assert (file.element, file.endpoint, file.epoch) == ("e1", "e1", 7)
