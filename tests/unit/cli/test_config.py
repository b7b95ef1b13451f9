import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tools.cli.main import app


def checked(folder: Path) -> tuple[int, list[dict[str, str]]]:
    env = {"PMFLOW_CONFIG": str(folder / "pmflow.yaml")}
    ran = CliRunner().invoke(app, ["doctor", "--json", "--only", "settings"], env=env)
    return ran.exit_code, [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mysql: {hots: x}", "mysql: unknown key 'hots'; did you mean 'host'?"),
        ("zookeeper: {connectionString: ''}", "zookeeper.connectionString must be text, not empty"),
        ("ch_bridge: {batch-rows: 0}", "ch_bridge.batch-rows must be a whole number of at least 1, found 0"),
    ],
)
def test_a_check_of_the_configuration_refuses_whatever_any_service_refuses(
    tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "pmflow.yaml").write_text(text)
    code, findings = checked(tmp_path)
    assert code == 1
    assert any(says in f"{one['found']}; {one['remedy']}" for one in findings)


def test_a_check_of_a_valid_configuration_passes(tmp_path: Path) -> None:
    (tmp_path / "pmflow.yaml").write_text("mysql: {host: db}")
    code, findings = checked(tmp_path)
    assert code == 0, findings
