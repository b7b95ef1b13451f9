"""`pmflow parse` shows a file after the preprocessing and with the dictionary of a system."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.unit.fetcher.test_batches import document, info, value
from tools.cli.main import app

DICTIONARY = "pmDictionaryMeasurements: [{measType: a, measResultType: integer, measResultUnits: kilobytes}]\n"
CONFIG = """
4ga: {counter-dictionary: DIR/dictionary.yaml, counter-units: DIR/units.yaml, missing-tokens: --}
5ga: {counter-dictionary: DIR/nowhere.yaml}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "A.xml").write_bytes(document(info(value("C=1", "1.5", "--"))))
    (tmp_path / "dictionary.yaml").write_text(DICTIONARY)
    (tmp_path / "units.yaml").write_text("kilobytes: {to: bytes, factor: 1000}\n")
    (tmp_path / "pmflow.yaml").write_text(CONFIG.replace("DIR", str(tmp_path)))
    monkeypatch.setenv("PMFLOW_CONFIG", str(tmp_path / "pmflow.yaml"))
    return tmp_path


def row(folder: Path, *options: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["parse", str(folder / "A.xml"), *options])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_file_is_shown_raw_or_with_the_preprocessing_of_a_system(folder: Path) -> None:
    assert row(folder)["values"] == {"a": 1.5, "b": "--"}
    assert "units" not in row(folder)
    shown = row(folder, "--system", "4ga")
    assert (shown["values"], shown["types"], shown["units"]) == (
        {"a": 1500, "b": None},
        {"a": "integer"},
        {"a": "bytes"},
    )


def test_a_dictionary_can_be_tried_before_it_is_configured(folder: Path) -> None:
    shown = row(folder, "--dictionary", str(folder / "dictionary.yaml"))
    assert (shown["values"], shown["units"]) == ({"a": 1.5, "b": "--"}, {"a": "kilobytes"})
    assert row(folder, "--dictionary", str(folder / "dictionary.yaml"), "--summary")["mistyped"] == {"a": 1}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--system", "6ga"], "no system '6ga'"),
        (["--system", "5ga"], "nowhere.yaml"),
        (["--dictionary", "units.yaml"], "units.yaml, line 1"),
    ],
)
def test_options_that_cannot_be_used_are_reported(
    folder: Path, options: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, ["parse", "A.xml", *options], env={"COLUMNS": "300"})
    assert result.exit_code == 2
    assert says in result.output


def test_dropped_and_quarantined_values_are_reported_on_standard_error(folder: Path) -> None:
    blocks = info(value("C=1", "1", "2")) + info(value("C=2", "1", "2", "3"), group="bad")
    (folder / "A.xml").write_bytes(document(blocks))
    result = CliRunner().invoke(app, ["parse", str(folder / "A.xml")])
    assert json.loads(result.stdout)["object"] == "C=1"
    assert json.loads(result.stderr)["reasons"] == {"unknown p": 3}
