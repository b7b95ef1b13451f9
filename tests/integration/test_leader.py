"""Leadership on a real ZooKeeper."""

import socket
import uuid
from collections.abc import Iterator
from threading import Event, Thread

import pytest

from services.fetcher.intake.epochs import Epochs
from services.scanner.leader import EPOCHS_PATH, Leadership, Term
from services.scanner.settings import Zookeeper
from tools.devstack.stack import Stack

WAIT_S = 20.0


class Candidate:
    """A scanner's leadership of one system, held until `go` is called."""

    def __init__(self, zookeeper: str, system: str, name: str) -> None:
        self.leadership = Leadership(Zookeeper(connection_string=zookeeper), name)
        self.terms: list[Term] = []
        self.leads = Event()
        self.waits = Event()
        self.stop = Event()
        self.thread = Thread(target=self._hold, args=(system,), daemon=True)
        self.thread.start()

    def _hold(self, system: str) -> None:
        while not self.stop.is_set():
            self.leadership.hold(system, self._work, self.stop, self.waits.set)

    def _work(self, term: Term) -> None:
        self.terms.append(term)
        self.leads.set()
        while not (self.stop.is_set() or term.over.wait(0.05)):
            pass
        self.leads.clear()

    def go(self) -> None:
        self.stop.set()
        self.thread.join(WAIT_S)
        self.leadership.close()


@pytest.fixture
def two(stack: Stack) -> Iterator[tuple[Candidate, Candidate]]:
    system = uuid.uuid4().hex
    first = Candidate(stack.zookeeper, system, "first")
    assert first.leads.wait(WAIT_S)
    second = Candidate(stack.zookeeper, system, "second")
    yield first, second
    for candidate in (first, second):
        candidate.go()


def test_one_leads_and_the_next_has_a_higher_epoch(two: tuple[Candidate, Candidate]) -> None:
    first, second = two
    assert not second.leads.wait(1.0)
    first.go()
    assert second.leads.wait(WAIT_S)
    assert second.terms[0].epoch > first.terms[0].epoch


def test_a_standby_calls_its_heartbeat(two: tuple[Candidate, Candidate]) -> None:
    _, second = two
    second.waits.clear()
    assert second.waits.wait(WAIT_S)
    assert not second.leads.is_set()


def test_a_suspended_connection_ends_the_term_at_once(two: tuple[Candidate, Candidate]) -> None:
    first, _ = two
    term = first.terms[0]
    first.leadership.client._connection._socket.shutdown(socket.SHUT_RDWR)  # the line is cut under it
    assert term.over.wait(WAIT_S)


def test_a_lost_session_hands_over(two: tuple[Candidate, Candidate]) -> None:
    first, second = two
    first.stop.set()
    first.leadership.client.stop()
    assert first.terms[0].over.wait(WAIT_S)
    assert second.leads.wait(WAIT_S)


def test_an_epoch_stays_above_all_earlier_ones_even_if_zookeeper_was_wiped(stack: Stack) -> None:
    leadership, system = Leadership(Zookeeper(connection_string=stack.zookeeper), "one"), uuid.uuid4().hex
    assert leadership.raised(system, Term(7), known_epoch=0).epoch == 7
    assert leadership.raised(system, Term(3), known_epoch=0).epoch == 8  # of this ZooKeeper
    ahead = 4_294_967_400
    leadership.client.delete(f"{EPOCHS_PATH}/{system}")
    raised = leadership.raised(system, Term(5), known_epoch=ahead)  # of the ledger, after a wipe
    assert raised.epoch == ahead + 1
    next_one = leadership.raised(system, Term(9), known_epoch=ahead)
    assert next_one.epoch == ahead + 2  # also if the term before announced nothing
    epochs = Epochs()
    assert [epochs.current("4ga", 0, epoch) for epoch in (ahead, raised.epoch, next_one.epoch)] == [True] * 3
    leadership.client.set(f"{EPOCHS_PATH}/{system}", b"not a number")
    assert leadership.raised(system, Term(2**63 - 1), known_epoch=2**63 - 1).epoch == 2**63 - 1
    leadership.close()
