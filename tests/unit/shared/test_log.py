"""Lines of a service, in a process of its own: its level follows signals, and no secret is among them."""

import json
import subprocess
import sys

from shared.inventory import Endpoint
from shared.settings import Clickhouse, Mysql

TALKS = """
import logging, os, signal
from shared import log
log.setup("scanner", "INFO")
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
