from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.inventory import endpoints
from shared.settings import BadSettings, System


def system(folder: Path, text: str, name: str = "elements.yaml") -> System:
    (folder / name).write_text(text)
    return System(name="4ga", inventory=str(folder / name))


def test_a_yaml_list_names_elements_one_by_one(tmp_path: Path) -> None:
    found = endpoints(system(tmp_path, "- {name: a, host: 10.0.0.1, username: pm}\n- {name: b, protocol: ftp}\n"))
    assert [(e.name, e.host, e.protocol, e.port) for e in found.values()] == [
        ("a", "10.0.0.1", "sftp", 22),
        ("b", "localhost", "ftp", 21),
    ]


def test_a_csv_file_does_too(tmp_path: Path) -> None:
    found = endpoints(system(tmp_path, "name,host,port,username\na,10.0.0.1,2222,pm\nb,10.0.0.2,,pm\n", "e.csv"))
    assert [(e.name, e.host, e.port) for e in found.values()] == [("a", "10.0.0.1", 2222), ("b", "10.0.0.2", 22)]


def test_thousands_of_elements_come_from_one_entry(tmp_path: Path) -> None:
    found = endpoints(
        system(tmp_path, '- {name: "enb-{n:05}", host: "enb{n}.ran", directory: "/{n}/pm", range: "1-3000,9001"}')
    )
    assert len(found) == 3001
    assert (found["enb-09001"].host, found["enb-09001"].directory) == ("enb9001.ran", "/9001/pm")


def test_a_directory_may_hold_the_date_in_the_elements_zone(tmp_path: Path) -> None:
    (one,) = endpoints(system(tmp_path, '- {name: a, directory: "/pm/%Y%m%d", time-zone: Asia/Tokyo}')).values()
    now = datetime(2026, 11, 24, 16, 0, tzinfo=UTC).timestamp()  # already the 25th there
    assert one.directories(now) == [b"/pm/20261125", b"/pm/20261124"]


def test_a_plain_directory_is_one(tmp_path: Path) -> None:
    (one,) = endpoints(system(tmp_path, "- {name: a, directory: /pm}")).values()
    assert one.directories(0.0) == [b"/pm"]


def test_a_password_may_lie_in_a_file_and_never_shows(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    (one,) = endpoints(
        system(tmp_path, f"- {{name: a, password-file: {tmp_path}/secret, password: other-secret}}")
    ).values()
    assert one.login_password == "hunter2"
    assert "secret" not in repr(one)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- {name: a}\n- {name: a}", "a comes twice"),
        ("- {nam: a}", "did you mean 'name'"),
        ("- {host: h}", "name is missing"),
        ("- {name: a, protocol: scp}", "there are sftp, ftp"),
        ("- {name: a, time-zone: Rome}", "tz database"),
        ("- {name: 'a{n}', range: '1..3'}", "not like 1-2000"),
        ("- {name: 'a{m}', range: '1-3'}", "alone"),
        ("name: a", "not a YAML list"),
        ("- [", "elements.yaml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadSettings, match=says):
        endpoints(system(tmp_path, text))


def test_a_missing_inventory_is_named() -> None:
    with pytest.raises(BadSettings, match="no inventory"):
        endpoints(System(name="4ga"))
    with pytest.raises(BadSettings, match="nowhere"):
        endpoints(System(name="4ga", inventory="/nowhere.yaml"))
