"""`pmflow doctor` on a real SFTP server reports everything that a user must mend before collecting."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from tests.fakes.elements import PASSWORD, PROTOCOLS, Element
from tools.cli.main import app

COMMAND = ("doctor", "--only", "settings,elements")


@pytest.fixture
def element(tmp_path: Path) -> Iterator[Element]:
    for folder in ("root/pm", "keys"):
        (tmp_path / folder).mkdir(parents=True)
    with PROTOCOLS["sftp"](tmp_path / "root", tmp_path / "keys") as served:
        yield served


def check(tmp_path: Path, element: Element, entry: dict[str, Any], system: dict[str, Any]) -> Result:
    at = element.endpoint
    known = {"name": "enb-1", "host": at.host, "port": at.port, "username": "pm", "password": PASSWORD}
    (tmp_path / "4ga.yaml").touch(mode=0o600)
    (tmp_path / "4ga.yaml").write_text(yaml.safe_dump([{**known, "directory": "/pm", **entry}]))
    whole = {
        "elements": {"known-hosts": element.settings.known_hosts, "timeout": 5},
        "scanner": {"settle": 0.05},
        "4ga": {"inventory": str(tmp_path / "4ga.yaml"), **system},
    }
    (tmp_path / "pmflow.yaml").write_text(yaml.safe_dump(whole))
    env = {"PMFLOW_CONFIG": str(tmp_path / "pmflow.yaml"), "COLUMNS": "200"}
    return CliRunner().invoke(app, [*COMMAND], env=env)


def test_the_numbers_of_found_matching_and_settled_files_are_shown(tmp_path: Path, element: Element) -> None:
    for name, content in {"A.xml": "a", "B.xml": "b", "B.txt": "b", "C.xml.tmp": "c"}.items():
        (element.pm / name).write_text(content)
    (tmp_path / "dictionary.yaml").write_text("pmDictionaryMeasurements: [{measType: a}, {measType: b}]")
    system = {"pattern": "*.xml", "counter-dictionary": str(tmp_path / "dictionary.yaml")}
    result = check(tmp_path, element, {}, system)
    assert result.exit_code == 0, result.output
    output = " ".join(result.output.split())
    assert "4ga: the configuration is valid; 1 elements, 2 counters in its dictionary" in output
    assert "4 files found, 2 match, 2 settled; left: 1 name does not match, 1 temporary name" in output
    assert sorted(path.name for path in element.pm.iterdir()) == ["A.xml", "B.txt", "B.xml", "C.xml.tmp"]


@pytest.mark.parametrize(
    ("entry", "system", "says"),
    [
        ({"password": "wrong"}, {}, "Authentication failed"),
        ({"directory": "/pm", "hots": "x"}, {}, "unknown key 'hots'"),
        ({"directory": "/nowhere"}, {}, "no such directory: /nowhere"),
        ({"host": "localhost"}, {}, "host key"),
        ({}, {"pattern": "regex:("}, "pattern"),
        ({}, {"rollout": ["enb-9"]}, "enb-9"),
        ({}, {"counter-dictionary": __file__}, "test_doctor_elements.py, line"),
        ({}, {"preprocessing": ["unit"]}, "did you mean 'units'?"),
    ],
)
def test_errors_are_reported_and_the_exit_code_is_1(
    tmp_path: Path, element: Element, entry: dict[str, Any], system: dict[str, Any], says: str
) -> None:
    result = check(tmp_path, element, entry, system)
    assert result.exit_code == 1
    assert says in " ".join(result.output.split())
    assert PASSWORD not in result.output


def findings(tmp_path: Path, element: Element, entry: dict[str, Any], system: dict[str, Any]) -> list[dict[str, str]]:
    check(tmp_path, element, entry, system)
    env = {"PMFLOW_CONFIG": str(tmp_path / "pmflow.yaml")}
    return [json.loads(line) for line in CliRunner().invoke(app, [*COMMAND, "--json"], env=env).stdout.splitlines()]


@pytest.mark.parametrize(
    ("entry", "remedy"),
    [
        ({"password": "wrong"}, "password-file or key-file"),
        ({"directory": "/nowhere"}, "directory of the element"),
        ({"host": "localhost"}, "ssh-keyscan -p "),
        ({"port": 1}, "host and port"),
    ],
)
def test_each_failure_of_an_element_has_its_remedy(
    tmp_path: Path, element: Element, entry: dict[str, Any], remedy: str
) -> None:
    (error,) = (one for one in findings(tmp_path, element, entry, {}) if one["severity"] == "error")
    assert error["area"] == "elements"
    assert remedy in error["remedy"]


def test_an_element_whose_clock_is_ahead_is_told_by_its_files(tmp_path: Path, element: Element) -> None:
    (element.pm / "A.xml").write_text("a")
    os.utime(element.pm / "A.xml", (time() + 7200, time() + 7200))
    (warning,) = (one for one in findings(tmp_path, element, {}, {}) if one["severity"] == "warning")
    assert "in the future" in warning["found"]
    assert "clock" in warning["remedy"]
