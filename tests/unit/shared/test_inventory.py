from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from traceback import format_exception

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.inventory import Endpoint, endpoints
from shared.messages import PARTITIONS, partition_of
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


def test_empty_fields_beyond_the_last_column_are_passed_over(tmp_path: Path) -> None:
    assert list(endpoints(system(tmp_path, "name,host\na,h,,\nb\n", "e.csv"))) == ["a", "b"]


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
        ("- {name: a}\n- {name: a}", "a is listed twice"),
        ("- {nam: a}", "did you mean 'name'"),
        ("- {host: h}", "name is missing"),
        ("- {name: a, protocol: scp}", "protocol must be sftp, ftp, ftps, ftps-implicit or local, found 'scp'"),
        ("- {name: a, time-zone: Rome}", "tz database"),
        ("- {name: 'a{n}', range: '1..3'}", "must have a form like 1-2000"),
        ("- {name: 'a{m}', range: '1-3'}", "braces in a template must be {n}"),
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


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("e.yaml", "- {name: a}\n- name: b\n  port: 99999\n", " line 2: port must be 0-65535, found 99999"),
        ("e.yaml", "- {name: a}\n\n- {name: b, prot: 1}", " line 3: unknown key 'prot'; did you mean 'port'?"),
        ("e.yaml", "- {name: ''}", " line 1: name must be text, not empty, found ''"),
        ("e.yaml", "- {name: a, port: ssh}", " line 1: port must be 0-65535, found 'ssh'"),
        ("e.yaml", "- {name: a, agent: maybe}", " line 1: agent must be true or false, found 'maybe'"),
        ("e.yaml", "- {name: a, days-back: -1}", " line 1: days-back must be 0-36500, found -1"),
        ("e.yaml", "- {name: a, connections: 1.5}", " line 1: connections must be 0-1000, found 1.5"),
        ("e.yaml", "- {name: a, host: [h]}", " line 1: host must be text, not empty, found a list"),
        ("e.yaml", "- {name: a, time-zone: Rome}", " line 1: time-zone must be in the tz database, found 'Rome'"),
        ("e.yaml", "- {name: a}\n- b\n", " line 2: an element must be a mapping of keys and values"),
        ("e.yaml", "- {name: 'a{n}', range: 5-1}", " line 1: range '5-1' must increase and contain at most 100,000"),
        ("e.yaml", "- {name: 'a{n}', range: 1-9999999999}", "contain at most 100,000 numbers"),
        ("e.yaml", "- {name: 'a{n}', range: 1, password: '{s3cret}'}", " line 1: braces in a template must be {n}"),
        ("e.yaml", "- {name: 'a{n.x}', range: 1}", " line 1: braces in a template must be {n} or a form like {n:04}"),
        ("e.yaml", "- {name: a, password: s3cret: x}", ", column 29: expected ',' or '}'"),
        ("e.yaml", "- {name: a, password: *s3cret}", " line 1, column 23: found undefined alias"),
        ("e.yaml", "- {name: a, password: {s3cret: 1}}", " line 1: password must be text, found a section"),
        ("e.yaml", "- {name: a, password:s3cret}", " line 1: unknown key 'password...'; did you mean 'password'?"),
        ("e.yaml", "- &a [*a]", " line 1, column 3: found unconstructable recursive node"),
        ("e.yaml", "\0", ": cannot be read (ReaderError)"),
        ("e.csv", "name,port\na,22\n\nb,99999\n", " line 4: port must be 0-65535, found 99999"),
        ("e.csv", "name,prot\na,22\n", " line 2: unknown key 'prot'; did you mean 'port'?"),
        ("e.csv", "name\na,s3cret\n", " line 2: more fields than column names in the first line"),
        ("e.csv", "name,port\na,\u00b2\n", " line 2: port must be 0-65535, found '\u00b2'"),
        ("e.csv", "name,port\na,\u0662\u0662\n", " line 2: port must be 0-65535, found"),
        ("e.csv", "name,range\na{n},\u0661-\u0663\n", " line 2: range '\u0661-\u0663' must have a form like 1-2000"),
        ("e.csv", "name,range\na{n},\u00b2\n", " line 2: range '\u00b2' must have a form like 1-2000"),
        ("e.yaml", "- {name: a, s3cret}", " line 1: a word without a value; known: active_mode"),
        ("e.yaml", "- {name: a, passwort}", " line 1: unknown key 'passwort'; did you mean 'password'?"),
        ("e.yaml", '- {name: "a\\nb"}', " line 1: name must not contain control characters, such as line ends"),
        ("e.yaml", '- {name: a, username: "pm\\r\\nDELE x"}', "username must not contain control characters"),
        ("e.yaml", '- {name: a, password: "s3cret\\n"}', "password must not contain control characters"),
        ("e.yaml", '- {name: a, directory: "/pm\\0"}', "directory must not contain control characters"),
        ("e.yaml", '- {name: "a\\ud800"}', " line 1: name must be text in Unicode, found half a character"),
        ("e.csv", "name,agent\na,maybe\n", " line 2: agent must be true or false, found 'maybe'"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_file_and_line(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(BadSettings) as refused:
        endpoints(system(tmp_path, text, name))
    assert name in str(refused.value)
    assert says in str(refused.value)
    assert "s3cret" not in "".join(format_exception(refused.value))


@pytest.mark.parametrize("name", ["e.yaml", "e.csv"])
def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"name\n\xff\xfe")
    with pytest.raises(BadSettings, match=rf"{name}: cannot be read \(UnicodeDecodeError\)"):
        endpoints(System(name="4ga", inventory=str(tmp_path / name)))


def test_names_and_passwords_stay_as_they_are_written(tmp_path: Path) -> None:
    wanted = {"00123": "007", "no": "1e5", "2026-11-27": "0x1F", "12:30:00": "true", "1_000": "\u00b2", "\u0661": "1.0"}
    table = "\ufeffname,password\n" + "".join(f"{name},{password}\n" for name, password in wanted.items())
    entries = "".join(f"- {{name: {name}, password: {password}}}\n" for name, password in wanted.items())
    for text, file in ((table, "e.csv"), (entries, "e.yaml")):
        found = endpoints(system(tmp_path, text, file))
        assert {endpoint.name: endpoint.password for endpoint in found.values()} == wanted


@pytest.mark.parametrize(("said", "agent"), [("true", True), ("yes", True), ("1", True), ("no", False), ("off", False)])
def test_a_boolean_may_be_written_as_people_do(tmp_path: Path, said: str, agent: bool) -> None:
    for text, file in ((f"name,agent\na,{said}\n", "e.csv"), (f"- {{name: a, agent: {said}}}", "e.yaml")):
        assert endpoints(system(tmp_path, text, file))["a"].agent is agent


def test_an_inventory_is_one_immutable_snapshot_until_its_content_changes(tmp_path: Path) -> None:
    elements = system(tmp_path, "- {name: a}")
    found = endpoints(elements)
    assert endpoints(elements) is found
    with pytest.raises(TypeError):
        found["b"] = found["a"]  # type: ignore[index]
    system(tmp_path, "- {name: b}")
    assert list(endpoints(elements)) == ["b"]
    assert list(found) == ["a"]


def test_entries_may_share_keys_by_yamls_anchors(tmp_path: Path) -> None:
    text = "- &first {name: a, host: h, port: 23, aliases: [x, 7]}\n- {<<: *first, name: b, aliases: 'y, z'}\n"
    a, b = endpoints(system(tmp_path, text)).values()
    assert (a.host, a.port, a.aliases) == (b.host, b.port, ("x", "7"))
    assert b.aliases == ("y", "z")


HOSTS = st.sampled_from(["10.0.0.1", "oss", "OSS-2.example.org", "fe80::1"])
REMOTE = st.builds(
    Endpoint,
    name=st.text("abc", min_size=1),
    host=HOSTS,
    port=st.sampled_from([0, 22, 2222]),
    protocol=st.sampled_from(["sftp", "ftp", "ftps", "ftps-implicit"]),
    username=st.sampled_from(["", "pm"]),
    directory=st.sampled_from(["/", "/pm/%Y%m%d"]),
)


@given(one=REMOTE, other=REMOTE, element=st.text(), another=st.text())
def test_all_elements_behind_one_address_are_announced_in_one_partition(
    one: Endpoint, other: Endpoint, element: str, another: str
) -> None:
    """Whatever their system, login and directory are: one fetcher has all of them."""
    assert 0 <= one.announcement_partition(element) < PARTITIONS
    if (one.host, one.port) == (other.host, other.port):
        assert one.announcement_partition(element) == other.announcement_partition(another)


@given(element=st.text())
def test_elements_on_the_fetchers_own_disks_are_announced_each_in_the_partition_of_its_name(element: str) -> None:
    endpoint = Endpoint(name="e", protocol="local")
    assert endpoint.announcement_partition(element) == partition_of(element)


def test_a_thousand_hosts_are_spread_over_all_partitions() -> None:
    hosts = [Endpoint(name="e", host=f"10.1.{n >> 8}.{n & 255}") for n in range(1000)]
    found = Counter(host.announcement_partition("e") for host in hosts)
    assert len(found) == PARTITIONS
    assert max(found.values()) < 1000 / PARTITIONS * 1.5
