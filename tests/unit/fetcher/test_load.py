"""The preprocessing of systems is read from their files, refused with a position, and reloaded at run time."""

import logging
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.fetcher.assemble.result import Origin
from services.fetcher.parse.blocks import shipped
from services.fetcher.parse_pool.pool import ParserPool, ParserPoolLimits
from services.fetcher.preprocess.declared import DeclaredType
from services.fetcher.preprocess.load import PreprocessingCatalog, check_preprocessing, read_preprocessing
from services.fetcher.preprocess.steps import Conversion
from shared.errors import Unreachable
from shared.messages import CounterBatch
from shared.settings import STEPS, BadSettings, Settings, System, load
from shared.watch import Watch
from tests.unit.fetcher.test_batches import document, info, value

DICTIONARY = "pmDictionaryMeasurements: [{measType: a, measResultType: integer, measResultUnits: kilobytes}]\n"
RENAMES = "b: RSRP\n"
UNITS = "kilobytes: {to: bytes, factor: 1000}\n"
ORIGIN = Origin(system="4ga", file_id="00000000000000aa", element="enb-1", ver=7)
DATA = document(info(value("C=1", "1", "-9999")))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PMFLOW_CONFIG", raising=False)


def system(folder: Path, **texts: str) -> System:
    """Returns a system with one file for each text."""
    files: dict[str, Any] = {}
    for name, text in texts.items():
        file = folder / f"{name}.yaml"
        file.write_text(text)
        files[name] = (str(file),) if name == "counter_dictionary" else str(file)
    return System(name="4ga", preprocessing=STEPS, missing_tokens=("-9999", "n.a."), **files)


def all_of(folder: Path) -> System:
    return system(folder, counter_dictionary=DICTIONARY, counter_renames=RENAMES, counter_units=UNITS)


def test_a_system_is_read_from_its_section_and_its_files(tmp_path: Path) -> None:
    preprocessing = read_preprocessing(all_of(tmp_path))
    assert preprocessing.steps == STEPS[:-1]
    assert preprocessing.missing == (b"-9999", b'"n.a."')
    assert preprocessing.renames == {"b": "RSRP"}
    assert preprocessing.conversions == {"kilobytes": Conversion("bytes", Decimal(1000))}
    assert preprocessing.dictionary
    assert preprocessing.dictionary.declared("", "a") == (DeclaredType("integer", "kilobytes"),)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ({"counter_dictionary": "a: b"}, "4ga: /.*counter_dictionary.yaml, line 1: expected pmDictionaryMeasurements"),
        ({"counter_renames": "a: b\na: c\n"}, "counter_renames.yaml, line 2: the key 'a' comes twice"),
        ({"counter_renames": "- a\n"}, "line 1: expected a mapping"),
        ({"counter_renames": "a: b\nc:\n"}, "line 2: the new name of the counter is empty"),
        ({"counter_renames": "a: b\n---\nc: d\n"}, "line 3: expected one document"),
        ({"counter_units": UNITS}, "which is not configured"),
        ({"counter_dictionary": DICTIONARY, "counter_units": "kB: 1000"}, "line 1: expected a mapping"),
        (
            {"counter_dictionary": DICTIONARY, "counter_units": "\nkB: {to: B, by: 1}"},
            "line 2: expected a conversion such as",
        ),
        (
            {"counter_dictionary": DICTIONARY, "counter_units": "kB: {to: B, factor: k}"},
            "line 1: the factor 'k' is not a number",
        ),
        ({"counter_dictionary": DICTIONARY, "counter_units": "kB: {to: B, factor: 0}"}, "other than 0"),
        ({"counter_dictionary": DICTIONARY, "counter_units": "kB: {to: B, factor: nan}"}, "other than 0"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_line(tmp_path: Path, texts: dict[str, str], says: str) -> None:
    with pytest.raises(BadSettings, match=says):
        read_preprocessing(system(tmp_path, **texts))


class Running:
    """A fetcher's view of a configuration that changes while it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        all_of(folder)
        self.configure("")
        self.catalog = PreprocessingCatalog(self.settings)

    def configure(self, more: str) -> None:
        files = {name: self.folder / f"{name}.yaml" for name in ("counter_dictionary", "counter_renames")}
        section = ", ".join([*(f"{name}: {file}" for name, file in files.items()), more])
        (self.folder / "pmflow.yaml").write_text(f"4ga: {{{section}}}\n")

    def settings(self) -> Settings:
        return load((self.folder / "pmflow.yaml",))

    def write(self, name: str, text: str) -> None:
        file = self.folder / f"{name}.yaml"
        before = file.stat().st_mtime_ns
        file.write_text(text)
        os.utime(file, ns=(before + 10**9, before + 10**9))


@pytest.fixture
def running(tmp_path: Path) -> Running:
    return Running(tmp_path)


def test_nothing_is_read_again_until_something_changes(running: Running) -> None:
    assert running.catalog("4ga") is running.catalog("4ga")


@pytest.mark.parametrize(
    ("change", "renames"),
    [
        (lambda running: running.write("counter_renames", "b: SINR\n"), {"b": "SINR"}),
        (lambda running: running.configure("preprocessing: []"), {"b": "RSRP"}),
    ],
)
def test_a_change_is_taken_without_a_restart(
    running: Running, change: Callable[[Running], None], renames: dict[str, str]
) -> None:
    before = running.catalog("4ga")
    change(running)
    after = running.catalog("4ga")
    assert after is not before
    assert after != before
    assert after.renames == renames


def test_an_unusable_change_is_logged_once_and_the_old_one_stays(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    before = running.catalog("4ga")
    running.write("counter_dictionary", DICTIONARY + "- what\n")
    with caplog.at_level(logging.INFO):
        assert running.catalog("4ga") is before
        assert running.catalog("4ga") is before
        running.write("counter_dictionary", DICTIONARY.replace("integer", "float"))
        assert running.catalog("4ga") is not before
    assert [record.message for record in caplog.records] == [
        "preprocessing refused, old one kept",
        "preprocessing changed",
    ]
    assert "counter_dictionary.yaml, line 2" in caplog.records[0].__dict__["reason"]


def test_a_changed_section_that_names_what_cannot_be_used_is_refused_as_a_whole(running: Running) -> None:
    watch = Watch(running.settings(), check_preprocessing, running.settings)
    running.configure("counter_units: nowhere.yaml, consumerThreads: 9")
    assert watch.look() is None
    assert "nowhere.yaml" in watch.refused
    assert watch.settings.systems[0].consumer_threads != 9


def test_a_system_nobody_can_read_is_tried_again_later(running: Running) -> None:
    with pytest.raises(Unreachable, match="system '5ga' is not configured"):
        running.catalog("5ga")
    running.write("counter_dictionary", "[")
    with pytest.raises(Unreachable, match="counter_dictionary"):
        running.catalog("4ga")


def test_the_processes_that_parse_know_what_is_wanted_and_each_change(running: Running) -> None:
    pool = ParserPool(ParserPoolLimits(processes=1), shipped(), running.catalog)

    def counters() -> tuple[list[str], dict[str, str]]:
        (batch,) = pool(DATA, ORIGIN).batches
        found = CounterBatch.decode(batch.value)
        return found.counters, found.units

    try:
        assert counters() == counters() == (["a", "RSRP"], {"a": "kilobytes"})
        running.write("counter_renames", "b: SINR\n")
        assert counters() == (["a", "SINR"], {"a": "kilobytes"})
        running.write("counter_dictionary", DICTIONARY.replace("kilobytes", "bits"))
        assert counters() == (["a", "SINR"], {"a": "bits"})
        process = pool.idle.get()
        assert process
        process.end()  # what the next one does not know is told again
        pool.idle.put(process)
        assert counters() == (["a", "SINR"], {"a": "bits"})
    finally:
        pool.close()
