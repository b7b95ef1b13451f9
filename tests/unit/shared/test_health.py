import time
from pathlib import Path

from shared.health import OBSTACLES, Heartbeat, heartbeats, not_started, obstacle, process_ends, stale


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


def test_what_the_process_waits_for_is_in_the_file_until_it_is_over(tmp_path: Path) -> None:
    file, began_s = tmp_path / "health", time.time() - 1
    heart = Heartbeat(str(file))
    OBSTACLES.report("mysql 1", "MySQL refuses\nthe login")
    OBSTACLES.report("mysql 2", "MySQL refuses the login")
    heart.progress()
    assert obstacle(file) == "MySQL refuses the login"
    assert not_started(file, time.time(), began_s) == ""
    assert stale(file, time.time()) == ""
    assert "it reported: MySQL refuses the login" in stale(file, time.time() + 200)
    for source in ("mysql 1", "mysql 2"):
        OBSTACLES.report(source, "")
    heart.next_s = 0.0
    heart.progress()
    assert obstacle(file) == ""


def test_a_process_that_ends_leaves_the_reason_and_no_sign_of_life(tmp_path: Path) -> None:
    file = tmp_path / "health"
    Heartbeat(str(file)).progress()
    assert stale(file, time.time()) == ""
    process_ends("Kafka refused the login")
    assert stale(file, time.time()) == f"{file}: the process exited; it reported: Kafka refused the login"
