from pathlib import Path

import pytest
from typer.testing import CliRunner

from tools.cli.main import app


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mysql: {hots: x}", "refused: mysql: unknown key 'hots'; did you mean 'host'?"),
        ("zookeeper: {connectionString: ''}", "refused: zookeeper.connectionString must be text, not empty"),
        ("ch_bridge: {batch-rows: 0}", "refused: ch_bridge.batch-rows must be a whole number of at least 1, found 0"),
    ],
)
def test_a_check_of_the_configuration_refuses_whatever_any_service_refuses(
    tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "pmflow.yaml").write_text(text)
    ran = CliRunner().invoke(app, ["config", "check"], env={"PMFLOW_CONFIG": str(tmp_path / "pmflow.yaml")})
    assert ran.exit_code == 1
    assert says in ran.output


def test_a_check_of_a_valid_configuration_passes(tmp_path: Path) -> None:
    (tmp_path / "pmflow.yaml").write_text("mysql: {host: db}")
    ran = CliRunner().invoke(app, ["config", "check"], env={"PMFLOW_CONFIG": str(tmp_path / "pmflow.yaml")})
    assert ran.exit_code == 0, ran.output
