from base64 import b64decode
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from services.ch_bridge.connection import Connection
from services.ch_bridge.settings import Clickhouse, address
from shared.errors import Hopeless, Unreachable
from shared.settings import BadSettings


@pytest.mark.parametrize(
    ("url", "dsn", "database"),
    [
        ("http://host:8123/pmflow", "http://host:8123", "pmflow"),
        ("http://pm:p%2Fw@host:8123/pmflow/", "http://pm:p%2Fw@host:8123", "pmflow"),
        ("https://host/pm%20flow?ca_cert=/ca.pem&compress=lz4", "https://host?ca_cert=/ca.pem&compress=lz4", "pm flow"),
        ("http://[::1]:8123", "http://[::1]:8123", "default"),
        ("chdb:///var/lib/pm", "chdb:///var/lib/pm", "default"),
        ("chdb:///var/lib/pm?database=pmflow&query_limit=5", "chdb:///var/lib/pm?query_limit=5", "pmflow"),
        ("chdb://memory/pmflow", "chdb://memory", "pmflow"),
    ],
)  # fmt: skip
def test_the_database_is_separated_from_the_rest_of_the_url(url: str, dsn: str, database: str) -> None:
    assert address(url) == (dsn, database)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x?no_such_option=1", "http://127.0.0.1:1/x?connect_timeout=soon"])
def test_an_option_unknown_to_the_client_is_a_bad_setting(url: str) -> None:
    with pytest.raises(BadSettings, match="clickhouse: url"):
        Connection(Clickhouse(url=url)).do("SELECT 1")


def test_the_error_message_does_not_contain_the_password() -> None:
    with pytest.raises(BadSettings) as told:
        Connection(Clickhouse(url="http://pm:secret@127.0.0.1:1/x?no_such_option=1")).do("SELECT 1")
    assert "secret" not in str(told.value)


def test_a_server_that_is_down_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        Connection(Clickhouse(url="http://127.0.0.1:1/x")).do("SELECT 1")


def test_the_password_of_a_file_is_the_one_that_the_server_gets(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("1e3@/%41\n")
    logins = []

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            logins.append(b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode())
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Refusing)
    thread = Thread(target=server.serve_forever)
    thread.start()
    url = f"http://pm:other@127.0.0.1:{server.server_port}/x"
    try:
        for file, password in ((str(tmp_path / "password"), "1e3@/%41"), ("", "other")):
            with pytest.raises((Unreachable, Hopeless)):
                Connection(Clickhouse(url=url, password_file=file)).do("SELECT 1")
            assert set(logins) == {f"pm:{password}"}
            logins.clear()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_password_file_that_is_missing_is_waited_for_and_named() -> None:
    with pytest.raises(Unreachable, match="No such file or directory: '/nowhere/password'"):
        Connection(Clickhouse(url="http://pm@127.0.0.1:1/x", password_file="/nowhere/password")).do("SELECT 1")
