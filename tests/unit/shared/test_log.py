"""Lines of a service, in a process of its own: its level follows signals, and no secret is among them."""

import json
import re
import subprocess
import sys

import pytest

from services.ch_bridge.settings import Clickhouse
from services.mysql_writer.settings import Mysql
from shared.configuration.resolve import resolve
from shared.inventory import Endpoint
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


def test_no_secret_is_in_what_settings_and_endpoints_say_of_themselves() -> None:
    said = repr(
        (
            Mysql(password="s3cret"),
            Clickhouse(url="http://pm:s3cret@h:8123/d"),
            Endpoint(name="e", password="s3cret"),
        )
    )
    assert "s3cret" not in said
    assert "h:8123/d" in said
