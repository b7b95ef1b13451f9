"""Failures of ClickHouse on the real engine: transient ones are retried; nothing is lost, half stored or doubled."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from threading import Event, Thread

import pytest

from services.ch_bridge.settings import Clickhouse
from shared.errors import Unreachable
from shared.messages import CounterBatch
from tests.fakes.elements import certificate
from tests.integration.test_clickhouse import Bridge
from tests.integration.test_clickhouse_front import Front, free_port
from tests.integration.test_sinks import Rows
from tools.devstack.processes import Process

OLD = {("e1", "o1"): {"a": 1, "b": 2}}
NEW = {("e1", "o1"): {"a": 3, "b": 4}}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Front, Process]]:
    """An engine of its own, because these tests stop it and take its space away."""
    front = Front(tmp_path_factory.mktemp("front"), free_port())
    process = front.start()
    try:
        yield front, process
    finally:
        process.stop()


@pytest.fixture
def bridge(served: tuple[Front, Process]) -> Iterator[Bridge]:
    """A sink whose database already has one row; it waits one second for answers."""
    made = Bridge(Clickhouse(url=f"http://127.0.0.1:{served[0].port}/pm?send_receive_timeout=1"))
    made.write(made.batch([["o1", 0, 1, 2]]))
    yield made
    made.clickhouse.close()


def newer(bridge: Bridge) -> CounterBatch:
    return bridge.batch([["o1", 0, 3, 4]], ver=2)


def is_stored_once(bridge: Bridge) -> bool:
    return bridge.rows() == NEW and bridge.ask("SELECT count() FROM `{table}_rows`") == [(2,)]


def test_an_insert_whose_answer_times_out_is_repeated(served: tuple[Front, Process], bridge: Bridge) -> None:
    _, process = served
    os.kill(process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(Unreachable):
            bridge.write(newer(bridge))
    finally:
        os.kill(process.pid, signal.SIGCONT)
    bridge.write(newer(bridge))
    assert is_stored_once(bridge)


def test_a_read_only_server_is_unreachable_and_stores_everything_afterwards(bridge: Bridge) -> None:
    assert bridge.clickhouse.connection.client is not None
    bridge.clickhouse.connection.client.set_client_setting("readonly", "1")
    with pytest.raises(Unreachable, match="READONLY"):
        bridge.write(newer(bridge))
    assert bridge.rows() == OLD
    bridge.write(newer(bridge))
    assert is_stored_once(bridge)


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("parts_to_throw_insert", 1, "TOO_MANY_PARTS"),
        ("min_free_disk_bytes_to_perform_insert", 2**60, "NOT_ENOUGH_SPACE"),
    ],
)
def test_a_server_without_space_is_unreachable_for_a_while(bridge: Bridge, setting: str, value: int, said: str) -> None:
    """The limits are on unmerged data parts and on disk space."""
    bridge.do("SYSTEM STOP MERGES `{table}_rows`")
    bridge.do(f"ALTER TABLE `{{table}}_rows` MODIFY SETTING {setting} = {value}")
    with pytest.raises(Unreachable, match=said):
        bridge.write(newer(bridge))
    assert bridge.rows() == OLD
    bridge.do(f"ALTER TABLE `{{table}}_rows` RESET SETTING {setting}")
    bridge.write(newer(bridge))
    assert is_stored_once(bridge)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE `{table}_rows` DROP COLUMN b",
        "DROP TABLE `{table}_rows`",
        "ALTER TABLE `{table}_rows` MODIFY COLUMN b Nullable(String)",
    ],
)
def test_a_schema_changed_by_others_is_read_again_and_repaired(bridge: Bridge, change: str) -> None:
    bridge.do(change)
    try:
        bridge.write(newer(bridge))
    except Unreachable:
        bridge.write(newer(bridge))
    assert bridge.rows() == NEW


class Relay:
    """A proxy that drops connections while `cuts` is set: in mid-statement, or between a statement and its answer."""

    def __init__(self, port: int, cut_in: str = "", tls: SSLContext | None = None) -> None:
        self.server_port, self.cut_in, self.tls, self.cuts = port, cut_in, tls, Event()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listening.getsockname()[1])
        self.lines: list[socket.socket] = []
        self.threads = [Thread(target=self._serve)]
        self.threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.listening.accept()
            except OSError:
                return  # closed
            if self.tls:
                client = self.tls.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
            server = socket.create_connection(("127.0.0.1", self.server_port))
            self.lines += client, server
            for way in (("statement", client, server), ("answer", server, client)):
                self.threads.append(Thread(target=self._carry, args=way))
                self.threads[-1].start()

    def _carry(self, what: str, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):  # cut by the other way
            while piece := source.recv(1 << 16):
                if self.cuts.is_set() and what == self.cut_in:
                    target.sendall(piece[: len(piece) // 2] if what == "statement" else b"")
                    break
                target.sendall(piece)
        _cut(source, target)

    def close(self) -> None:
        _cut(self.listening, *self.lines)
        for thread in self.threads:
            thread.join()
        for line in (self.listening, *self.lines):
            line.close()


def _cut(*lines: socket.socket) -> None:
    for line in lines:
        with suppress(OSError):  # no line any more
            line.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(("cut_in", "stored"), [("statement", OLD), ("answer", NEW)])
def test_a_lost_connection_leaves_nothing_half_stored_or_doubled(
    served: tuple[Front, Process], cut_in: str, stored: Rows
) -> None:
    relay = Relay(served[0].port, cut_in)
    bridge = Bridge(Clickhouse(url=f"http://127.0.0.1:{relay.port}/pm"))
    try:
        bridge.write(bridge.batch([["o1", 0, 1, 2]]))
        relay.cuts.set()
        with pytest.raises(Unreachable):
            bridge.write(newer(bridge))
        relay.cuts.clear()
        assert bridge.rows() == stored
        bridge.write(newer(bridge))
        assert is_stored_once(bridge)
    finally:
        bridge.clickhouse.close()
        relay.close()


def test_a_server_behind_https_gets_data_only_with_a_valid_certificate(
    served: tuple[Front, Process], tmp_path: Path
) -> None:
    file = certificate(tmp_path)
    tls = SSLContext(PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    relay = Relay(served[0].port, tls=tls)
    try:
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            Bridge(Clickhouse(url=f"https://127.0.0.1:{relay.port}/pm"))
        bridge = Bridge(Clickhouse(url=f"https://127.0.0.1:{relay.port}/pm?ca_cert={file}"))
        bridge.write(bridge.batch([["o1", 0, 1, 2]]))
        assert bridge.rows() == OLD
        bridge.clickhouse.close()
    finally:
        relay.close()


def test_a_killed_engine_keeps_what_it_acknowledged_and_accepts_the_rest_again(
    served: tuple[Front, Process], bridge: Bridge
) -> None:
    """This test must be the last, as it replaces the engine process of the others."""
    front, process = served
    process.kill()
    with pytest.raises(Unreachable):
        bridge.write(newer(bridge))
    again = front.start()
    try:
        assert bridge.rows() == OLD
        bridge.write(newer(bridge))
        assert is_stored_once(bridge)
    finally:
        bridge.clickhouse.close()
        again.stop()
