"""`pmflow grants`: prints the statements that create users with least privilege in the databases."""

from pathlib import Path
from typing import Annotated

import typer

import services.ch_bridge.operate as clickhouse
import services.mysql_writer.operate as mysql
from shared.configuration.secret_files import secret_setting
from shared.settings import load
from tools.cli.output import say

app = typer.Typer(
    no_args_is_help=True, help="Print the statements that create users with least privilege in MySQL and ClickHouse."
)
READER = "pmflow_reader"
RoleOption = Annotated[
    mysql.Role, typer.Option("--role", help="writer: the service and replays; reader: pmflow verify, Grafana, reports")
]
UserOption = Annotated[str, typer.Option("--user", help="by default that of the settings, or pmflow_reader")]
PasswordOption = Annotated[
    Path | None, typer.Option("--password-file", help="file with its password; without it, the user must exist")
]
SslOption = Annotated[bool, typer.Option("--require-ssl", help="the user may log in by TLS only")]


@app.command("mysql")
def mysql_grants(
    role: RoleOption = "writer",
    user: UserOption = "",
    host: Annotated[str, typer.Option(help="hosts from which it may connect, such as 10.1.%")] = "%",
    password_file: PasswordOption = None,
    require_ssl: SslOption = False,
) -> None:
    """Print the statements for MySQL and MariaDB, for an administrator: pmflow grants mysql | mysql -u root."""
    database = mysql.mysql_of(load())
    wanted = mysql.MysqlUser(
        role=role,
        database=database.database,
        user=user or (database.user if role == "writer" else READER),
        host=host,
        password=_password(password_file),
        require_ssl=require_ssl,
    )
    for statement in mysql.grant_statements(wanted):
        say(f"{statement};")


@app.command("clickhouse")
def clickhouse_grants(
    role: RoleOption = "writer",
    user: UserOption = "",
    host: Annotated[str, typer.Option(help="network, or pattern of names, from which it may connect")] = "",
    password_file: PasswordOption = None,
) -> None:
    """Print the statements for ClickHouse; a user who must use TLS needs a server without a plain port."""
    settings = clickhouse.clickhouse_of(load())
    wanted = clickhouse.ClickhouseUser(
        role=role,
        database=settings.database,
        user=user or (settings.user if role == "writer" else READER),
        host=host,
        password=_password(password_file),
        cluster=settings.cluster,
    )
    for statement in clickhouse.grant_statements(wanted):
        say(f"{statement};")


def _password(file: Path | None) -> str | None:
    return None if file is None else secret_setting("--password-file", "", str(file))
