"""An entry of texts is converted at once to what its values are converted to one by one."""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.configuration.resolve import BadSettings, Given, resolve, resolve_texts
from shared.inventory import Endpoint

KEYS = (
    "name", "NAME", "protocol", "host", "port", "Port", "password-file", "passwordFile", "agent", "legacy_algorithms",
    "days-back", "time-zone", "aliases", "connections", "idle-s", "idle", "directory", "nam",
)  # fmt: skip
WORDS = (
    "a", "00123", "", " ", "SFTP", "ftp", "scp", "yes", "OFF", "TRUE", "1", "0", "-1", "1.5", "1e3", "22", " 22",
    "99999", "nan", "inf", "null", "none", "x, y", "[x, y]", "[]", "UTC", "Europe/Rome", "Rome", "a\nb", "\ud800", "²",
    "é",
)  # fmt: skip
TEXTS = st.sampled_from(WORDS) | st.text(max_size=4)
VALUES = TEXTS.map(Given) | st.none() | st.lists(TEXTS | st.none(), max_size=3) | st.just({"a": "b"})


def outcome(convert: Callable[..., Endpoint], found: dict[str, Any]) -> object:
    try:
        endpoint = convert(Endpoint, found, "e.yaml line 1", ": ")
    except BadSettings as error:
        return str(error)
    return [(type(value), value) for value in (getattr(endpoint, name) for name in Endpoint.__slots__)]


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4).map(lambda entry: {"name": Given("e"), **entry}))
def test_both_ways_accept_the_same_entries_and_refuse_the_others_for_the_same_reason(found: dict[str, Any]) -> None:
    assert outcome(resolve_texts, found) == outcome(resolve, found)
