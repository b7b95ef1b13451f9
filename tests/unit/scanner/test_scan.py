"""One scan of a system: a failing element costs itself, and every listed file has an outcome."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from threading import Event
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.scanner.allowance import InFlightAllowance
from services.scanner.element_looks import ElementLooks, ScanEnd
from services.scanner.file_producer import FileProducer, outcomes
from services.scanner.leader import Term
from services.scanner.ledger import FilesInFlight, KnownFile, LedgerFollower
from services.scanner.look_queue import TRIALS_PER_LISTING, Look
from services.scanner.scan import Announcing, Scan
from services.scanner.settings import ScannerSettings
from services.scanner.silent_elements import SilentElements
from services.scanner.state import ScanSummary
from services.scanner.workers import Workers
from shared.errors import Unreachable
from shared.inventory import Endpoint
from shared.kafka.produce import Producer
from shared.remote.listing import NO_TIME, NOT_REGULAR
from shared.remote.service_manager import FtpServiceManager
from shared.remote.session import Denied, Entry, Gone, LoginRefused, OddEntry
from shared.settings import System

GOOD = Entry(b"A20261125.0700-0715_ok.xml", 5, 1_700_000_000)
Listed = Entry | OddEntry | Denied | Exception


class ListedSession:
    """An element that lists what a test says; an error of its listing ends it."""

    def __init__(self, found: Sequence[Listed]) -> None:
        self.found = found

    def tree(self, directory: bytes, _depth: int, _skip: object) -> Iterator[tuple[bytes, Entry | OddEntry | Denied]]:
        for entry in self.found:
            if isinstance(entry, Exception) and not isinstance(entry, Denied):
                raise entry
            yield directory, entry


class EndlessSession:
    """An element whose listing never ends."""

    def tree(self, directory: bytes, _depth: int, _skip: object) -> Iterator[tuple[bytes, Entry]]:
        while True:
            yield directory, GOOD


@dataclass
class Silent:
    """An element that does not answer: an attempt to connect fails when the test says so."""

    timed_out: Event
    tried: list[str] = field(default_factory=list)

    def try_to_connect(self, name: str) -> None:
        self.tried.append(name)
        assert self.timed_out.wait(10)
        raise Unreachable("no answer")


@dataclass
class Surroundings:
    """Everything around a FileProducer: sessions, ledger and producer."""

    sessions: Mapping[str, Any]
    in_flight_limit: int = 1000
    directory: str = "/"
    files: dict[str, KnownFile] = field(default_factory=dict)
    sent: list[Any] = field(default_factory=list)
    first_sent: Event = field(default_factory=Event)
    settings: ScannerSettings = field(default_factory=lambda: ScannerSettings(settle_s=0.0))
    silent: SilentElements = field(default_factory=SilentElements)
    beats: int = 0

    def scan(self, term: Term | None = None, next_s: float = inf) -> ScanSummary:
        files = FileProducer(
            System(name="4ga", in_flight_limit=self.in_flight_limit),
            self.settings,
            cast("FtpServiceManager", self),
            cast("Producer", self),
            cast("LedgerFollower", self),
            silent=self.silent,
        )
        endpoints = {name: Endpoint(name=name, host=name, directory=self.directory) for name in self.sessions}
        return files.scan(endpoints, term or Term(1), self.beat, next_s)

    def beat(self) -> None:
        self.beats += 1

    def limit(self, _endpoint: Endpoint) -> int:
        return 8

    @contextmanager
    def session(self, endpoint: Endpoint) -> Iterator[Any]:
        session = self.sessions[endpoint.name]
        if isinstance(session, Silent):
            session.try_to_connect(endpoint.name)
        yield session

    def in_flight(self, _system: str, _complete_on: object = ()) -> FilesInFlight:
        return FilesInFlight(0, 0, Counter())

    def record(self, status: object) -> None:
        pass

    def deliver(self, *messages: object) -> None:
        self.sent += messages
        self.first_sent.set()


FAILURES = [KeyError("modify"), IndexError(), OverflowError(), RuntimeError("?"), Unreachable("silent"), ValueError()]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
def test_an_element_that_fails_in_any_way_costs_itself_and_is_named(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        summary = Surroundings({"bad": ListedSession([GOOD, failure]), "good": ListedSession([GOOD])}).scan()
    assert (summary.announced, summary.elements, summary.unreachable) == (1, 2, 1)
    assert list(summary.troubles) == ["bad"]
    (failed,) = [vars(record) for record in caplog.records if record.msg.startswith("element not scanned")]
    assert failed["element"] == "bad"
    assert bool(failed["exc_info"]) == (not isinstance(failure, Unreachable))


def test_a_refused_directory_costs_itself_unless_the_element_has_no_other() -> None:
    class PartlyRefused:
        def tree(self, directory: bytes, _depth: int, _skip: object) -> Iterator[tuple[bytes, Entry]]:
            if directory == b"/secret":
                raise Denied("no")
            yield directory, GOOD

    around = Surroundings({"e1": PartlyRefused()})
    for directory, announced, unreachable in (("/secret,/pm", 1, 0), ("/secret", 0, 1)):
        around.directory = directory
        summary = around.scan()
        assert (summary.announced, summary.unreachable) == (announced, unreachable)


def test_an_endless_listing_is_given_up_and_the_others_are_announced() -> None:
    around = Surroundings({"bad": EndlessSession(), "good": ListedSession([GOOD])})
    around.settings = ScannerSettings(settle_s=0.0, listing_s=0.3)
    summary = around.scan()
    assert summary.announced == 1
    assert "does not end" in summary.troubles["bad"]


def test_an_element_that_takes_long_keeps_no_other_waiting() -> None:
    class SlowSession:
        def tree(self, directory: bytes, _depth: int, _skip: object) -> Iterator[tuple[bytes, Entry]]:
            assert around.first_sent.wait(10)  # the others are announced meanwhile
            yield directory, GOOD

    around = Surroundings({"slow": SlowSession(), "good": ListedSession([GOOD])})
    around.settings = ScannerSettings(settle_s=0.0, announce_after_s=0.05)
    summary = around.scan()
    assert (summary.announced, summary.unreachable) == (2, 0)


def test_silent_elements_keep_no_living_one_waiting_however_many_they_are() -> None:
    around = Surroundings({f"silent{n}": Silent(Event()) for n in range(20)} | {"good": ListedSession([GOOD])})
    around.settings = ScannerSettings(settle_s=0.0, announce_after_s=0.05, listings=1)
    for name in around.sessions:
        if name != "good":
            around.sessions[name].timed_out = around.first_sent
            around.silent.failed(Endpoint(name=name, host=name), "silent")
    summary = around.scan()  # the attempts time out only after the announcement
    assert (summary.announced, summary.elements, summary.unreachable, summary.not_tried) == (1, 21, 20, 0)
    assert set(summary.troubles.values()) == {"no answer"}


def test_a_scan_ends_without_the_silent_elements_and_tries_those_left_over_first_next_time() -> None:
    tried: list[str] = []
    silent = {f"silent{n}": Silent(Event(), tried) for n in range(10)}
    around = Surroundings(silent | {"good": ListedSession([GOOD])})
    around.settings = ScannerSettings(settle_s=0.0, listings=1, unreachable_s=1e-9)
    for name in silent:
        around.silent.failed(Endpoint(name=name, host=name), "silent")
    for _ in range(5):
        summary = around.scan()
        assert (summary.announced, summary.elements, summary.unreachable) == (1, 11, 10)
        assert summary.not_tried == 10 - TRIALS_PER_LISTING
        whys = Counter(why.partition(":")[0] for why in summary.troubles.values())
        assert whys == {"not answered yet": TRIALS_PER_LISTING, "not tried in this scan": 10 - TRIALS_PER_LISTING}
        _time_out(around, silent)
    assert sorted(tried) == sorted(silent)


def test_silent_elements_do_not_delay_the_next_scan() -> None:
    silent = {"silent": Silent(Event())}
    around = Surroundings(silent | {"good": ListedSession([GOOD])})
    around.silent.failed(Endpoint(name="silent", host="silent"), "silent")
    summary = around.scan(next_s=0.0)
    assert (summary.announced, summary.unreachable, summary.not_tried) == (1, 1, 0)
    assert around.silent.under_trial == {"silent"}
    _time_out(around, silent)


def test_attempts_of_an_earlier_scan_that_still_last_take_the_places_of_new_ones() -> None:
    tried: list[str] = []
    silent = {f"silent{n}": Silent(Event(), tried) for n in range(10)}
    around = Surroundings(silent, settings=ScannerSettings(settle_s=0.0, listings=1, unreachable_s=1e-9))
    for name in silent:
        around.silent.failed(Endpoint(name=name, host=name), "silent")
    for not_tried in (10 - TRIALS_PER_LISTING, 10 - TRIALS_PER_LISTING):
        summary = around.scan()
        assert (summary.elements, summary.unreachable, summary.not_tried) == (10, 10, not_tried)
    _time_out(around, silent)
    assert len(tried) == TRIALS_PER_LISTING


def test_an_element_that_answers_again_is_announced_in_the_scan_that_tries_it() -> None:
    around = Surroundings({"e1": ListedSession([GOOD, Unreachable("cut")])})
    assert around.scan().unreachable == 1
    around.sessions = {"e1": ListedSession([GOOD])}
    assert (around.scan().announced, around.silent.silences) == (1, {})


@pytest.mark.parametrize("answer", [Denied("no"), LoginRefused("no"), KeyError("defect")])
def test_an_element_that_answers_with_a_refusal_is_not_silent(answer: Exception) -> None:
    class Refusing:
        def tree(self, _directory: bytes, _depth: int, _skip: object) -> Iterator[tuple[bytes, Entry]]:
            raise answer

    around = Surroundings({"e1": Refusing()})
    assert (around.scan().unreachable, around.silent.silences) == (1, {})


def test_a_look_that_ends_is_a_sign_of_life_and_waiting_for_one_is_none() -> None:
    @dataclass
    class Ended:
        looks: list[Look]

        def ended(self, _timeout_s: float) -> list[Look]:
            return self.looks

    beats: list[int] = []
    nothing, elements = cast("Any", None), cast("FtpServiceManager", Surroundings({}))
    looks = ElementLooks("4ga", nothing, elements, SilentElements(), ScanEnd(Term(1), lambda: beats.append(1)))
    announcing = Announcing(lambda: InFlightAllowance(1, lambda _host: 1), len, 0.0)
    scan = Scan({"e1": Endpoint(name="e1")}, ScannerSettings(), announcing, looks, inf)
    scan._fill()
    (look,) = scan.queue.startable(0.0, 1, 0)
    scan._receive(cast("Workers[Look]", Ended([])))
    assert beats == []
    scan._receive(cast("Workers[Look]", Ended([look])))
    assert beats == [1]


def test_a_scan_fails_when_its_files_cannot_be_announced() -> None:
    around = Surroundings({"e1": ListedSession([GOOD])})

    def refuse(*_messages: object) -> None:
        raise Unreachable("Kafka")

    around.deliver = refuse  # type: ignore[method-assign]
    with pytest.raises(Unreachable, match="Kafka"):
        around.scan()


def test_a_leadership_that_ends_during_the_second_listing_announces_nothing() -> None:
    term, listings = Term(1), []

    class LosingSession:
        def tree(self, directory: bytes, _depth: int, _skip: object) -> Iterator[tuple[bytes, Entry]]:
            listings.append(directory)
            if len(listings) == 2:
                term.over.set()
            yield directory, GOOD

    around = Surroundings({"losing": LosingSession()})
    around.scan(term)
    assert (len(listings), around.sent, around.silent.silences) == (2, [], {})


def _time_out(around: Surroundings, silent: Mapping[str, Silent]) -> None:
    """Lets the attempts under way fail."""
    for one in silent.values():
        one.timed_out.set()
    while around.silent.under_trial:
        pass
    for one in silent.values():
        one.timed_out.clear()


def test_a_listing_under_way_ends_with_the_leadership() -> None:
    term = Term(1)

    class LosingSession:
        def tree(self, directory: bytes, _depth: int, _skip: object) -> Iterator[tuple[bytes, Entry]]:
            term.over.set()
            while True:
                yield directory, GOOD

    around = Surroundings({"losing": LosingSession()})
    assert around.scan(term).announced == 0
    assert around.sent == []


def test_a_file_that_meets_a_defect_costs_itself() -> None:
    defective = Entry(b"bad.xml", cast("int", "5"), 1)
    summary = Surroundings({"e1": ListedSession([GOOD, defective])}).scan()
    assert (summary.announced, summary.left) == (1, {"defect": 1})


def test_a_file_on_record_is_counted_as_such() -> None:
    around = Surroundings({"e1": ListedSession([GOOD])})
    around.scan()
    around.files[around.sent[0].key] = KnownFile("4ga", "e1", "done", 0.0)
    assert outcomes(around.scan()) == {"on record": 1}


@pytest.mark.parametrize("name", [b"A99991231.2345-0000_x.xml", b"A00010101.0000+0100-0015+0100_x.xml"])
def test_a_name_of_an_impossible_year_tells_no_time_and_its_file_is_announced(name: bytes) -> None:
    assert Surroundings({"e1": ListedSession([Entry(name, 5, 1_700_000_000), GOOD])}).scan().announced == 2


names = st.sampled_from(
    (GOOD.name, b"A.xml", b".hidden", b"B.part", b"A99991231.2345-0000_x.xml", b"x" * 256, b"\xff\n", b"C.csv")
) | st.binary(min_size=1, max_size=300)
entries = st.builds(Entry, names, st.integers(0, 1 << 50), st.integers(0, 4_102_444_799))
odd = st.builds(OddEntry, names, st.sampled_from((NO_TIME, NOT_REGULAR)))
failures = st.sampled_from((Gone("gone"), Unreachable("cut"), KeyError("size")))
listings = st.lists(entries | odd | st.just(Denied("no")), max_size=20)


@settings(deadline=None)
@given(
    elements=st.lists(st.tuples(listings, st.none() | failures), max_size=4),
    limit=st.integers(0, 12),
    known=st.booleans(),
)
def test_every_listed_file_is_announced_held_back_on_record_or_left_for_a_reason(
    elements: list[tuple[list[Entry | OddEntry | Denied], Exception | None]], limit: int, known: bool
) -> None:
    sessions = {
        f"e{number}": ListedSession([*found, *([failure] if failure else [])])
        for number, (found, failure) in enumerate(elements)
    }
    around = Surroundings(sessions, in_flight_limit=max(limit, 1))
    if known:  # every file of the first scan is on record in the second
        first = around.scan()
        for message in around.sent[: first.announced]:
            around.files[message.key] = KnownFile("4ga", "e0", "done", 0.0)
    summary = around.scan()
    files = sum(
        not isinstance(entry, Denied)
        for found, failure in elements
        if not isinstance(failure, Unreachable | KeyError)
        for entry in found
    )
    assert summary.listed == files
    assert sum(outcomes(summary).values()) == files
