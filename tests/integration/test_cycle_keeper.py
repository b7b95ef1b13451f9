"""Cycle statistics are stored even though the database is down at first."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from threading import Event, Thread

from services.tracker.cycles import CycleStatistics
from shared.cycle_figures import CycleFigures
from shared.errors import Hopeless, Unreachable
from shared.health import Heartbeat
from shared.kafka import admin
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.produce import Outgoing, Producer
from shared.sinks.cycles import KEPT_CYCLES
from shared.sinks.keeper import TableKeeper
from shared.topics import CYCLES
from tests.integration.test_sink_loop import eventually, read
from tools.devstack.stack import Stack


def test_figures_wait_for_the_database_and_other_messages_are_set_aside(stack: Stack) -> None:
    admin.provision(stack.kafka, [CYCLES, CYCLES.dead_letters])
    system, bad = f"s{uuid.uuid4().hex[:8]}", uuid.uuid4().bytes
    statistics = CycleStatistics(lambda _: ("mysql",), lateness_s=0, keep_s=1)
    sent = [statistics.figures(system, end_s, (), 1.0) for end_s in (900, 1800)]
    producer, away, tried, kept = Producer(stack.kafka), Event(), Event(), list[CycleFigures]()
    away.set()

    class Table:
        def keep(self, figures: Sequence[CycleFigures]) -> None:
            if away.is_set():
                tried.set()
                raise Unreachable("away")
            if any(f.system == f"{system}-refused" for f in figures):
                raise Hopeless("Out of range value for column")
            kept.extend(figure for figure in figures if figure.system == system)

        def renew(self) -> None:
            pass

    def send(value: bytes) -> None:
        producer.deliver(Outgoing(CYCLES.name, 0, system, value))

    send(bad)
    send(sent[0].encode())
    refused = replace(sent[0], system=f"{system}-refused").encode()
    send(refused)
    stop = Event()
    keeper = TableKeeper(KEPT_CYCLES, Consumer(stack.kafka, system), DeadLetters(producer), Table(), Heartbeat(""))
    thread = Thread(target=keeper.run, args=(stop,))
    thread.start()
    assert tried.wait(40)
    send(sent[1].encode())  # while it waits
    assert admin.committed(stack.kafka, system, CYCLES)[0] < 0
    away.clear()
    eventually(lambda: kept == sent)
    eventually(lambda: admin.committed(stack.kafka, system, CYCLES)[0] == admin.ends(stack.kafka, CYCLES)[0])
    stop.set()
    thread.join()
    producer.close()
    letters = read(stack.kafka, CYCLES.dead_letters)
    (letter,) = (record for record in letters if record.value == bad)
    assert letter.headers["origin"].startswith(f"{CYCLES.name}/0/")
    assert "not JSON" in letter.headers["reason"]
    (letter,) = (record for record in letters if record.value == refused)
    assert letter.headers["reason"] == "Out of range value for column"
