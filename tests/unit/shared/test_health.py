import time
from pathlib import Path

from shared.health import Heartbeat, heartbeats, stale


def age_s(file: Path) -> float:
    return time.time() - file.stat().st_mtime


def test_progress_is_seen_by_the_age_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "health"
    assert "no heartbeat" in stale(file, time.time())
    Heartbeat(str(file)).progress()
    assert stale(file, time.time()) == ""
    assert "no progress" in stale(file, time.time() + 121)


def test_without_a_file_there_is_nothing_to_touch() -> None:
    Heartbeat("").progress()


def test_one_that_never_began_is_no_sign_of_life_of_all(tmp_path: Path) -> None:
    file = tmp_path / "health"
    first, second = heartbeats(str(file), 2)
    first.progress()
    assert not file.exists()
    second.progress()
    assert age_s(file) < 60


def test_the_slowest_one_tells_the_age(tmp_path: Path) -> None:
    file = tmp_path / "health"
    first, second = heartbeats(str(file), 2)
    second.progress()
    second.last_s -= 200
    first.progress()
    assert "no progress for 20" in stale(file, time.time())
