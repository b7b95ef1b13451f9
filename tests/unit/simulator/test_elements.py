"""The manifest lists exactly the files on the elements, at whatever moment the simulator is killed."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.simulator.addresses import ServerAddress
from tools.simulator.anomalies import ANOMALIES, Anomaly
from tools.simulator.cli import planted
from tools.simulator.elements import SimulatedElements
from tools.simulator.generate import Shape, pm_file
from tools.simulator.truth import Manifest, Planted, TruthRow, Written, expected_rows

SHAPE = Shape(cells=1, groups=2, counters=8)
SYSTEMS = {"4ga": 2, "5ga": 2}
END_S = 1_795_526_100
ROW = {
    "element": "E", "group": "G", "object": "O=1", "end_s": 900, "gp_s": 900, "suspect": False,
    "values": {"a": "1", "b": ["1", None], "c": None},
}  # fmt: skip


def elements(directory: Path, in_place_share: float = 0.0, systems: dict[str, int] = SYSTEMS) -> SimulatedElements:
    return SimulatedElements(directory, systems, SHAPE, in_place_share, clock=lambda: float(END_S))


def visible(directory: Path) -> dict[str, bytes]:
    """Returns the content, by name, of the files that a collector would take."""
    return {path.name: path.read_bytes() for path in (directory / "files").rglob("*.xml.gz")}


def generated(directory: Path) -> Iterator[Written]:
    return (line for line in Manifest(directory).lines() if isinstance(line, Written))


def named(directory: Path) -> dict[str, bytes]:
    """Returns the content, by name, of the files in the manifest."""
    return {made.name: made.packed for made in (line.file() for line in generated(directory))}


@pytest.mark.parametrize("in_place_share", [0.0, 0.5, 1.0])
def test_the_truth_is_what_is_in_the_files(tmp_path: Path, in_place_share: float) -> None:
    written = elements(tmp_path, in_place_share)
    written.write_cycle(END_S)
    written.write_cycle(END_S + 900)
    assert visible(tmp_path) == named(tmp_path)
    assert len(visible(tmp_path)) == 8
    rows = [row for element in ("4ga-001", "4ga-002", "5ga-001", "5ga-002")
            for row in pm_file(SHAPE, element[:3], element, END_S).rows]  # fmt: skip
    assert list(expected_rows(tmp_path))[: len(rows)] == rows
    assert written.values == sum(row.present for row in expected_rows(tmp_path))


def test_nothing_can_be_seen_that_the_manifest_does_not_tell(tmp_path: Path) -> None:
    """Stops after each file in turn."""
    for files in range(5):
        looks = iter([False] * files + [True])
        written = elements(tmp_path / str(files), 0.5)
        written.write_cycle(END_S, lambda looks=looks: next(looks, True))  # type: ignore[misc]
        assert len(visible(tmp_path / str(files))) == files
        assert visible(tmp_path / str(files)) == named(tmp_path / str(files))


@pytest.mark.parametrize("in_place_share", [0.0, 1.0])
def test_a_file_that_the_manifest_cannot_take_is_not_written(tmp_path: Path, in_place_share: float) -> None:
    written = elements(tmp_path, in_place_share)
    written.manifest.path.mkdir()
    with pytest.raises(IsADirectoryError):
        written.write_cycle(END_S)
    assert visible(tmp_path) == {}


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_after_a_kill_at_any_point_the_cycle_is_completed(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("sim")
    killed = elements(directory)
    killed.write_cycle(END_S)
    killed.write_cycle(END_S + 900)
    whole, manifest = visible(directory), killed.manifest.path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(manifest) if byte == ord("\n")]
    cut = data.draw(st.integers(ends[3], len(manifest)), "bytes of the manifest that were written")
    killed.manifest.path.write_bytes(manifest[:cut])
    last = list(generated(directory))[4:]
    seen = data.draw(st.integers(max(0, len(last) - 1), len(last)), "files of the last cycle that were seen")
    half = data.draw(st.booleans(), "the next one was begun in place")
    for number, (system, element) in enumerate(killed.names()):
        path = killed.folder(system, element) / pm_file(SHAPE, system, element, END_S + 900).name
        if number >= seen:
            content = path.read_bytes()
            path.unlink()
            if half and seen == number < len(last):
                path.write_bytes(content[: len(content) // 2])
    assert visible(directory).keys() <= named(directory).keys()

    started = elements(directory)
    next_s = started.resume()

    assert next_s == END_S + (1800 if last else 900)
    if last:
        assert started.cycles == 2
        assert visible(directory) == whole
    assert visible(directory) == named(directory)
    assert len(list(generated(directory))) == started.files == started.cycles * 4
    assert started.values == sum(row.present for row in expected_rows(directory))


def test_what_a_collector_moved_away_is_not_written_again(tmp_path: Path) -> None:
    written = elements(tmp_path)
    written.write_cycle(END_S)
    for path in list((tmp_path / "files").rglob("*.xml.gz")):
        (path.parent / "done").mkdir()
        path.rename(path.parent / "done" / path.name)
    started = elements(tmp_path)
    assert started.resume() == END_S + 900
    assert {path.parent.name for path in (tmp_path / "files").rglob("*.xml.gz")} == {"done"}


def test_a_first_start_has_nothing_to_take_up(tmp_path: Path) -> None:
    assert elements(tmp_path).resume() is None


def test_new_elements_of_a_restart_join_and_the_truth_of_the_others_stays(tmp_path: Path) -> None:
    elements(tmp_path).write_cycle(END_S)
    before = list(expected_rows(tmp_path))
    more = elements(tmp_path, systems={"4ga": 3, "5ga": 2})
    assert more.resume() == END_S + 900
    assert list(expected_rows(tmp_path))[: len(before)] == before
    assert [line.element for line in generated(tmp_path)][4:] == ["4ga-003"]


def test_a_manifest_that_is_being_written_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    written = elements(tmp_path)
    written.write_cycle(END_S)
    before = list(Manifest(tmp_path).lines())
    with written.manifest.path.open("ab") as file:
        file.write(b'{"system":"4ga","elem')
    assert list(Manifest(tmp_path).lines()) == before
    assert len(list(expected_rows(tmp_path))) == len(before) * 2
    elements(tmp_path).write_cycle(END_S + 900)
    assert list(Manifest(tmp_path).lines())[: len(before)] == before
    assert len(list(Manifest(tmp_path).lines())) == 2 * len(before)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """Two real files, one with golden rows."""
    folder = tmp_path / "data" / "samples"
    folder.mkdir(parents=True)
    (folder / "A1.xml").write_text("<known/>")
    (folder / "A2.xml.gz").write_bytes(gzip.compress(b"<unknown/>"))
    (folder / "README.md").write_text("no PM file")
    golden = folder.parent / "golden"
    golden.mkdir()
    (golden / "A1.xml.jsonl").write_text(json.dumps(ROW) + "\n")
    return folder


def test_real_files_are_planted_once_and_their_golden_rows_are_the_truth(tmp_path: Path, samples: Path) -> None:
    for _ in range(2):  # the second is a restart
        found = elements(tmp_path / "sim")
        found.plant(samples, "4ga", "samples")
        assert (found.files, found.values) == (2, 2)
    folder = found.folder("4ga", "samples")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: (samples / name).read_bytes() for name in ("A1.xml", "A2.xml.gz")
    }
    assert list(expected_rows(tmp_path / "sim")) == [TruthRow(system="4ga", **ROW)]  # type: ignore[arg-type]
    assert [line.golden for line in found.manifest.lines() if isinstance(line, Planted)] == [
        "golden/A1.xml.jsonl",
        "",
    ]


def test_a_planted_file_a_kill_kept_from_being_seen_is_planted_then(tmp_path: Path, samples: Path) -> None:
    found = elements(tmp_path / "sim")
    found.plant(samples, "4ga", "samples")
    (found.folder("4ga", "samples") / "A1.xml").unlink()
    elements(tmp_path / "sim").plant(samples, "4ga", "samples")
    assert (found.folder("4ga", "samples") / "A1.xml").read_text() == "<known/>"
    assert len(list(expected_rows(tmp_path / "sim"))) == 1


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ("real", (Path("real"), "4ga", "samples")),
        ("/a/b=5ga/extra", (Path("/a/b"), "5ga", "extra")),
        ("real=5ga", (Path("real"), "5ga", "samples")),
    ],
)
def test_an_element_for_real_files_may_be_named(option: str, wanted: tuple[Path, str, str]) -> None:
    assert planted(option, "4ga") == wanted


def test_the_inventory_names_every_element_with_a_password_of_its_own(tmp_path: Path, samples: Path) -> None:
    found = elements(tmp_path / "sim")
    found.plant(samples, "5ga", "extra")
    found.write_inventory(ServerAddress("0.0.0.0", "", 40001))
    entries = {
        system: yaml.safe_load((tmp_path / "sim" / "inventory" / f"{system}.yaml").read_text()) for system in SYSTEMS
    }
    assert [entry["name"] for entry in entries["4ga"]] == ["4ga-001", "4ga-002"]
    assert [entry["name"] for entry in entries["5ga"]] == ["5ga-001", "5ga-002", "extra"]
    every = entries["4ga"] + entries["5ga"]
    assert len({entry["host"] for entry in every}) == 5
    assert len({entry["password"] for entry in every}) == 5
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "sim" / "inventory").iterdir()} == {0o600}
    passwords = {name: login.password for name, login in elements(tmp_path / "sim").logins().items()}
    assert passwords == {entry["username"]: entry["password"] for entry in every}
    fixed = {key: value for key, value in every[0].items() if key != "password"}
    assert fixed == {
        "name": "4ga-001", "host": "127.1.0.1", "port": 40001, "username": "4ga-001", "directory": "/pm",
    }  # fmt: skip


def test_what_was_written_is_told_whole(tmp_path: Path) -> None:
    found = elements(tmp_path)
    found.write_cycle(END_S)
    found.write_progress(over=True)
    told = json.loads((tmp_path / "written.json").read_text())
    assert told == {"cycles": 1, "files": 4, "values": found.values, "over": True}


class Faulty:
    """Eight elements, one for each anomaly and one without, and a clock."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now_s = END_S + 10.0
        self.elements = self.started()

    def started(self) -> SimulatedElements:
        return SimulatedElements(self.directory, {"4ga": 8}, SHAPE, 0.0, ANOMALIES, 60.0, lambda: self.now_s)

    def answer(self) -> dict[str, Any]:
        self.elements.write_progress(over=False)
        (answer,) = json.loads((self.directory / "answers.json").read_text())
        return dict(answer)

    def element(self, anomaly: Anomaly) -> str:
        turn = (ANOMALIES.index(anomaly) + END_S // 900) % 8
        return f"4ga-{turn + 1:03}"

    def files(self, anomaly: Anomaly) -> list[str]:
        return sorted(path.name for path in self.elements.folder("4ga", self.element(anomaly)).glob("*.gz"))

    def collect(self) -> None:
        for path in list((self.directory / "files").rglob("pm/*.gz")):
            (path.parent / "done").mkdir(exist_ok=True)
            path.rename(path.parent / "done" / path.name)


def test_each_anomaly_is_on_one_element_and_is_counted_in_the_answer(tmp_path: Path) -> None:
    faulty = Faulty(tmp_path)
    faulty.elements.write_cycle(END_S)
    faulty.elements.follow_up()
    assert [len(faulty.files(anomaly)) for anomaly in ANOMALIES] == [0, 2, 0, 1, 1, 1, 1]
    assert faulty.files("renamed")[0].startswith("copy of A")
    assert faulty.files("duplicate")[1].endswith(f"_{faulty.element('duplicate')}_-_2.xml.gz")
    answer = faulty.answer()
    names = ("expected", "elements", "found", "late", "error", "parsed")
    assert [answer[name] for name in names] == [8, 6, 7, 0, 1, 6]
    assert answer["missing"] == sorted([faulty.element("late"), faulty.element("missing")])
    assert answer["suspect"] >= 2


def test_late_files_and_corrections_come_in_their_time_and_once_whenever_the_simulator_is_started_again(
    tmp_path: Path,
) -> None:
    faulty = Faulty(tmp_path)
    faulty.elements.write_cycle(END_S)
    faulty.now_s = END_S + 62.0
    faulty.elements = faulty.started()
    faulty.elements.resume()
    faulty.elements.follow_up()
    assert len(faulty.files("late")) == 1
    assert faulty.files("corrected") != []
    faulty.collect()
    faulty.elements = faulty.started()
    faulty.elements.resume()
    faulty.elements.follow_up()
    faulty.elements.follow_up()
    assert len(faulty.files("corrected")) == 1
    assert not faulty.elements.pending
    answer = faulty.answer()
    assert (answer["found"], answer["late"], answer["missing"]) == (9, 2, [faulty.element("missing")])
    assert answer["values"] == sum(line.values for line in generated(tmp_path))


def test_the_truth_of_a_corrected_file_is_its_correction_and_of_a_corrupt_one_nothing(tmp_path: Path) -> None:
    faulty = Faulty(tmp_path)
    faulty.elements.write_cycle(END_S)
    faulty.collect()
    faulty.elements.follow_up()
    corrected = [line for line in generated(tmp_path) if line.element == faulty.element("corrected")]
    assert [line.kind for line in corrected] == ["", "corrected"]
    rows = list(expected_rows(tmp_path))
    assert rows[-2:] == list(corrected[1].file().rows) != list(corrected[0].file().rows)
    assert not [row for row in rows if row.element.endswith(faulty.element("corrupt"))]
