"""Lines of a service, in a process of its own: its level follows signals, and no secret is among them."""

import json
import logging
import re
import subprocess
import sys

import pytest

from services.ch_bridge.settings import Clickhouse, without_password
from services.mysql_writer.settings import Mysql
from shared.configuration.resolve import resolve
from shared.inventory import Endpoint
from shared.log import ConsoleLines, JsonLines
from shared.settings import BadSettings, Log

TALKS = """
import logging, os, signal
from shared import log
from shared.settings import Log
log.setup("scanner", Log())
say = logging.getLogger("pmflow")
say.debug("before")
os.kill(os.getpid(), signal.SIGUSR1)
say.debug("between", extra={"file": "f1"})
os.kill(os.getpid(), signal.SIGUSR2)
say.debug("after")
"""


def test_the_level_is_changed_while_running_and_back() -> None:
    ran = subprocess.run([sys.executable, "-c", TALKS], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert [(line["event"], line.get("to")) for line in lines] == [
        ("log level changed", "DEBUG"),
        ("between", None),
        ("log level changed", "INFO"),
    ]
    assert (lines[1]["level"], lines[1]["service"], lines[1]["file"]) == ("debug", "scanner", "f1")


def test_on_a_console_the_same_stands_for_people() -> None:
    talks = TALKS.replace("Log()", 'Log(form="console")')
    ran = subprocess.run([sys.executable, "-c", talks], capture_output=True, text=True, check=True)
    lines = ran.stderr.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d WARNING scanner: log level changed  to=DEBUG", lines[0])
    assert lines[1].endswith("DEBUG   scanner: between  file=f1")


def test_a_form_or_level_that_is_none_is_refused() -> None:
    with pytest.raises(BadSettings, match=r"log\.form must be json or console, found 'xml'"):
        resolve(Log, {"form": "xml"}, "log")
    with pytest.raises(BadSettings, match=r"log\.level must be DEBUG, INFO, WARNING or ERROR, found 'LOUD'"):
        resolve(Log, {"level": "LOUD"}, "log")
    assert resolve(Log, {"level": "debug"}, "log").level == "DEBUG"


URLS = (
    "http://pm:s3cret@more@h:8123/d",
    "http://pm:@s3cret@h:8123/d",
    "http://s3cret@h:8123/d",
    "http://:s3cret@h:8123/d",
    "http://pm:x?s3cret@h:8123/d",
    "http://h:8123/d?access_token=s3cret",
    "http://h:8123/d?user=a&password=s3cret",
    "http://h:8123/d?password=a&s3cret",
    "http://h:8123/d?password=a;s3cret#s3cret",
    "http://h:8123/d?password=a@s3cret",
    "http://h:8123/d?PASSWORD=s3cret&ca_cert=/ca.pem",
    "http://h:8123/d?jwt=s3cret",
)


def test_what_is_no_secret_of_a_url_stays() -> None:
    shown = {url: without_password(url) for url in ("http://h:8123/d", "https://pm:x@h/d?ca_cert=/a&password=x")}
    assert list(shown.values()) == ["http://h:8123/d", "https://pm:***@h/d?ca_cert=/a&password=***"]
    assert without_password("http://pm:se/cr@et@h:8123/d") == "http://pm:***@h:8123/d"


def test_no_secret_is_in_what_settings_and_endpoints_say_of_themselves() -> None:
    said = repr(
        (
            Mysql(password="s3cret"),
            Clickhouse(url="http://pm:s3cret@h:8123/d"),
            *map(without_password, URLS),
            Endpoint(name="e", password="s3cret"),
        )
    )
    assert "s3cret" not in said
    assert "h:8123/d" in said


HOSTILE = ("a\nINFO scanner: fake", "\x1b[2J", "\x9b31m", "\u202egpj.exe", "\u2028", "[/b]", "\ud800", "\x00\r\t")


def record(level: int = logging.INFO, **fields: object) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": "file announced", "levelno": level, "levelname": "INFO", **fields})


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("formatter", [ConsoleLines("scanner"), JsonLines("scanner")])
def test_a_line_stays_one_line_and_commands_no_terminal(formatter: logging.Formatter, name: str) -> None:
    for line in (
        formatter.format(record(element=name)),
        formatter.format(record(files=[name], why={name: name})),
        formatter.format(record(msg="said %s", args=(name,))),
    ):
        assert line.isprintable(), ascii(line)
    assert "[/b]" in formatter.format(record(element="[/b]"))


@pytest.mark.parametrize("name", HOSTILE)
def test_no_line_of_a_traceback_looks_like_an_event(name: str) -> None:
    error = ValueError(name)
    found = record(exc_info=(ValueError, error, None), stack_info=f"stack of {name}\n  more")
    first, *others = ConsoleLines("scanner").format(found).split("\n")
    assert first.endswith("file announced")
    assert len(others) >= 3
    assert all(line.startswith("    ") and line.isprintable() for line in others)
    assert JsonLines("scanner").format(found).isprintable()


def test_json_keeps_the_meaning_of_what_it_escapes_and_takes_what_is_no_json() -> None:
    formatter = JsonLines("scanner")
    for name in HOSTILE:
        assert json.loads(formatter.format(record(element=name)))["element"] == name
    for odd in (2**70, {1: "x"}, {b"x": 1}, b"\xff", {"a"}, float("nan"), object()):
        assert json.loads(formatter.format(record(odd=odd)))["event"] == "file announced"
