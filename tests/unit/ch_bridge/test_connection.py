import pytest

from services.ch_bridge.connection import Connection
from services.ch_bridge.settings import Clickhouse, address
from shared.errors import Unreachable
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
