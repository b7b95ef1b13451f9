"""Files of secrets: read in one way, and told of where other users of the machine can read them."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.mysql_writer.settings import Mysql
from shared.configuration.kafka import Kafka
from shared.configuration.secret_files import rights_of_others, secret, secret_files, warn_of_readable
from shared.inventory import files_with_logins
from shared.settings import SERVICES, System, files_with_secrets

ROOT = Path(__file__).parents[3]


def written(file: Path, text: str, mode: int) -> Path:
    file.write_text(text)
    file.chmod(mode)
    return file


def test_a_file_takes_precedence_and_only_the_end_of_its_line_is_removed(tmp_path: Path) -> None:
    assert secret("in the settings", str(written(tmp_path / "a", " 1e3 \r\n", 0o600))) == " 1e3 "
    assert secret(" in the settings\n", "") == " in the settings\n"


def test_a_file_that_cannot_be_used_is_an_error_of_the_system_whatever_is_wrong_with_it(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(OSError, match=r"not text in UTF-8: '.*binary'"):
        secret("", str(tmp_path / "binary"))
    with pytest.raises(OSError, match="No such file"):
        secret("", str(tmp_path / "missing"))


def test_sections_name_files_of_passwords_and_of_private_keys() -> None:
    kafka = Kafka(security_protocol="ssl", cert_file="/c", key_file="/k", key_passphrase_file="/p", ca_file="/ca")
    mysql = Mysql(tls="verify", password_file="/m", cert_file="/with-its-key", ca_file="/ca")
    assert secret_files(kafka, mysql) == {"/k", "/p", "/m", "/with-its-key"}
    assert secret_files(Kafka()) == set()


def test_files_of_elements_and_inventories_with_passwords_are_secret(tmp_path: Path) -> None:
    keys, words = tmp_path / "keys.yaml", tmp_path / "words.yaml"
    keys.write_text("- {name: a, key-file: /k, passphrase-file: /p}\n- {name: b, password-file: /w}")
    words.write_text("- {name: c, password: word}")
    systems = [System(name="4ga", inventory=str(keys)), System(name="5ga", inventory=str(words)), System(name="6ga")]
    assert files_with_logins(systems) == {"/k", "/p", "/w", str(words)}


@pytest.mark.parametrize(
    ("text", "is_secret"),
    [
        ("mysql: {password: x}", True),
        ("MYSQL: {Password: x}", True),
        ("kafka: {properties: {sasl.oauthbearer.client.secret: x}}", True),
        ("kafka: {properties: {ssl.key.password: x}}", True),
        ("clickhouse: {url: 'http://pm:x@h/db'}", True),
        ("clickhouse: {url: 'http://h/db'}", False),
        ("mysql: {password: '', password-file: /x}", False),
        ("4ga: {consumerThreads: 5}", False),
    ],
)
def test_a_configuration_file_is_secret_if_it_contains_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, is_secret: bool
) -> None:
    file = written(tmp_path / "pmflow.yaml", text, 0o644)
    monkeypatch.setenv("PMFLOW_CONFIG", str(file))
    assert files_with_secrets() == ([str(file)] if is_secret else [])


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o602])
def test_a_file_that_others_can_use_is_told_of_with_the_command_that_mends_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    file = written(tmp_path / "pass word", "x", mode)
    warn_of_readable([str(file), str(file)])
    (told,) = caplog.records
    assert (told.levelno, told.message) == (logging.WARNING, "secret file accessible to others")
    assert (told.__dict__["file"], told.__dict__["mode"]) == (str(file), f"{mode:04o}")
    assert os.system(told.__dict__["remedy"]) == 0
    assert file.stat().st_mode & 0o777 == mode & 0o700
    warn_of_readable([str(file)])
    assert len(caplog.records) == 1


def test_what_is_not_ours_to_change_is_not_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    private = written(tmp_path / "private", "x", 0o400)
    warn_of_readable([str(private), str(tmp_path / "missing"), str(tmp_path)])
    assert caplog.records == []
    others = written(tmp_path / "of-root", "x", 0o444)
    assert rights_of_others(others, os.getuid()) == 0o044
    assert rights_of_others(others, os.getuid() + 1) == 0  # as a Secret of Kubernetes, which belongs to root


def test_a_secret_as_kubernetes_mounts_it_is_not_told_of_even_to_root(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Lays the files out as the kubelet does: name -> ..data/name, ..data -> a folder of the time of the change."""
    version = tmp_path / "..2026_11_27_12_00_00.123"
    version.mkdir()
    written(version / "password", "x", 0o444)
    (tmp_path / "..data").symlink_to(version.name)
    (tmp_path / "password").symlink_to("..data/password")
    warn_of_readable([str(tmp_path / "password")])
    assert caplog.records == []
    assert secret("", str(tmp_path / "password")) == "x"


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_tells_of_open_files_when_it_starts_even_if_no_broker_answers(
    service: str, tmp_path: Path
) -> None:
    settings = "kafka: {bootstrap-servers: '127.0.0.1:1'}\nmysql: {password: word}"
    file = written(tmp_path / "pmflow.yaml", settings, 0o644)
    argv = [sys.executable, "-m", f"services.{service}"]
    environment = os.environ | {"PMFLOW_CONFIG": str(file), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True) as started:
        try:
            assert started.stderr
            told = json.loads(next(line for line in started.stderr if "secret file" in line))
        finally:
            started.kill()
    assert (told["level"], told["event"], told["file"]) == ("warning", "secret file accessible to others", str(file))
    assert "word" not in told.values()
