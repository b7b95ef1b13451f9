from services.scanner.file_producer import cycle_of, due, found
from services.scanner.ledger import Known
from shared.inventory import Endpoint
from shared.messages import path_bytes
from shared.remote.session import Entry


def test_a_file_is_announced_once_until_its_lease_ends_or_it_comes_back() -> None:
    assert due(None, now_s=0.0, lease_s=600.0)
    assert due(Known("4ga", "postponed", 0.0), now_s=1.0, lease_s=600.0)
    assert due(Known("4ga", "lost", 0.0), now_s=1.0, lease_s=600.0)
    assert not due(Known("4ga", "found", 0.0), now_s=600.0, lease_s=600.0)
    assert due(Known("4ga", "found", 0.0), now_s=601.0, lease_s=600.0)
    for stage in ("parsed", "failed", "done", "error"):
        assert not due(Known("4ga", stage, 0.0), now_s=10_000.0, lease_s=600.0)


def test_a_name_of_any_bytes_is_announced_and_found_again() -> None:
    endpoint = Endpoint(name="e1", host="h", username="u", directory="/pm/")
    entry = Entry(b"a\xff\n%41.xml", 1, 2)
    file = found("4ga", endpoint, b"/pm/a\xff\n%41.xml", entry, epoch=7)
    assert path_bytes(file.path) == b"/pm/a\xff\n%41.xml"
    assert (file.element, file.endpoint, file.epoch) == ("e1", "e1", 7)


def test_the_cycle_is_the_names_or_else_when_the_file_was_written() -> None:
    endpoint = Endpoint(name="e1", host="h", username="u", directory="/pm", time_zone="Europe/Rome")
    name = b"A20230715.0700-0715_enb-7.xml"
    file = found("4ga", endpoint, b"/pm/" + name, Entry(name, 1, 2), epoch=7)
    assert (file.element, file.end_s, cycle_of(file)) == ("enb-7", 1689398100, 1689398100)
    assert cycle_of(found("4ga", endpoint, b"/pm/A.xml", Entry(b"A.xml", 1, 2), epoch=7)) == 2
