import logging
from pathlib import Path

import paramiko
import pytest

from shared.remote.known_hosts import known_keys

KEY = paramiko.ECDSAKey.generate()
LINE = f"{KEY.get_name()} {KEY.get_base64()}"


@pytest.mark.parametrize(
    "damaged",
    [
        "other ssh-rsa AAAAB3!notbase64",
        "h ssh-rsa AAAAB3!notbase64",
        "other ssh-rsa",
        "h",
        "h ssh-rsa AAAA",
        "h ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABB",
        "|1|notbase64|x ssh-rsa AAAAB3NzaC1yc2E=",
        f"h,|1||x {LINE}",
        "\x00\xff\xfe",
    ],
)
def test_a_damaged_line_is_skipped_and_named_and_the_others_count(
    damaged: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "known_hosts"
    file.write_bytes(f"# comment\n\n{damaged}\nh,x {LINE}\n@revoked h {LINE}\n".encode("latin-1"))
    with caplog.at_level(logging.WARNING):
        assert [key.asbytes() for key in known_keys("h", str(file))] == [KEY.asbytes()]
    assert known_keys("unknown", str(file)) == ()
    warnings = [vars(record) for record in caplog.records if record.msg == "known-hosts line skipped"]
    assert {(warning["file_name"], warning["line"]) for warning in warnings} == {(str(file), 3)}


def test_names_may_be_hashed_and_fields_be_separated_by_tabs(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"{paramiko.HostKeys.hash_host('[h]:2222')} {LINE}\nx\t{KEY.get_name()}\t{KEY.get_base64()}  c\n")
    assert len(known_keys("[h]:2222", str(file))) == 1
    assert len(known_keys("x", str(file))) == 1
    assert known_keys("h", str(file)) == ()


def test_a_host_may_have_several_keys_in_the_order_of_the_file(tmp_path: Path) -> None:
    file, other = tmp_path / "known_hosts", paramiko.ECDSAKey.generate()
    hashed = paramiko.HostKeys.hash_host("h")
    file.write_text(f"{hashed},h {LINE}\nx {LINE}\nh {other.get_name()} {other.get_base64()}\n")
    assert [key.asbytes() for key in known_keys("h", str(file))] == [KEY.asbytes(), other.asbytes()]


def test_the_file_is_parsed_once_and_read_again_when_asked_to(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"h {LINE}\n")
    first = known_keys("h", str(file))
    file.write_text(f"x {LINE}\n")
    assert known_keys("h", str(file)) is first
    assert known_keys("h", str(file), max_age_s=0.0) == ()
    assert len(known_keys("x", str(file))) == 1


def test_a_line_that_is_damaged_is_warned_of_once_however_often_the_file_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "known_hosts"
    with caplog.at_level(logging.WARNING):
        for comment in ("# a", "# b", "# c"):
            file.write_text(f"{comment}\nh ssh-rsa\nh {LINE}\n")
            assert len(known_keys("h", str(file), max_age_s=0.0)) == 1
    assert [vars(record)["line"] for record in caplog.records if record.msg == "known-hosts line skipped"] == [2]
