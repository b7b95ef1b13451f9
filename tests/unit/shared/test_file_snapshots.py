from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event

import pytest

from shared.configuration.file_snapshots import COMPARE_AFTER_S, FileSnapshots


class Store:
    """Snapshots of one file, with a clock of their own."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "file"
        self.now_s = 100.0
        self.parsed: list[bytes] = []
        self.snapshots = FileSnapshots(self.parse, lambda: self.now_s)

    def parse(self, file: Path, content: bytes) -> object:
        assert file == self.file
        self.parsed.append(content)
        return [content]

    def current(self, max_age_s: float = 0.0) -> object:
        return self.snapshots.current(self.file, max_age_s)


def test_a_file_is_parsed_once_for_each_content(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.file.write_bytes(b"1")
    first = store.current()
    store.file.write_bytes(b"1")
    assert store.current() is first
    store.file.write_bytes(b"2")  # of the same size, and within the same tick of a coarse clock
    assert store.current() == [b"2"]
    assert store.parsed == [b"1", b"2"]


def test_a_recent_snapshot_is_returned_without_reading_the_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.file.write_bytes(b"1")
    first = store.current(COMPARE_AFTER_S)
    store.file.unlink()
    store.now_s += COMPARE_AFTER_S - 0.1
    assert store.current(COMPARE_AFTER_S) is first
    store.now_s += 0.1
    with pytest.raises(FileNotFoundError):
        store.current(COMPARE_AFTER_S)


def test_a_comparison_makes_a_snapshot_recent_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.file.write_bytes(b"1")
    first = store.current()
    store.now_s += 2 * COMPARE_AFTER_S
    assert store.current(COMPARE_AFTER_S) is first
    store.file.unlink()
    store.now_s += COMPARE_AFTER_S / 2
    assert store.current(COMPARE_AFTER_S) is first


def test_many_threads_that_ask_at_once_get_one_snapshot(tmp_path: Path) -> None:
    store, together = Store(tmp_path), Barrier(8)
    store.file.write_bytes(b"1")

    def ask(_: int) -> object:
        together.wait(10)
        return store.current()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert all(one is found[0] for one in found)
    assert store.parsed == [b"1"]


def test_a_recent_snapshot_is_handed_out_while_another_file_is_parsed(tmp_path: Path) -> None:
    parsing, go_on = Event(), Event()

    def parse(file: Path, content: bytes) -> bytes:
        if file.name == "slow":
            parsing.set()
            assert go_on.wait(10)
        return content

    snapshots = FileSnapshots(parse)
    for name in ("quick", "slow"):
        (tmp_path / name).write_bytes(name.encode())
    snapshots.current(tmp_path / "quick")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(snapshots.current, tmp_path / "slow")
        assert parsing.wait(10)
        assert snapshots.current(tmp_path / "quick", COMPARE_AFTER_S) == b"quick"
        go_on.set()
        assert slow.result() == b"slow"
