"""Shared by the tests of MySQL and MariaDB: servers of their own, and another client of them."""

import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.mysql_writer.connection import connect
from services.mysql_writer.settings import Mysql
from tests.fakes.elements import free_port
from tests.integration import mariadb
from tools.devstack import downloads, processes


@contextmanager
def served(kind: str, home: Path, *options: str) -> Iterator[Mysql]:
    """Yields a server of its own with options that the stack's server lacks; root needs no password."""
    if kind == "mariadb":
        with mariadb.served(home, *options) as port:
            yield Mysql(host="127.0.0.1", port=port, user="root")
        return
    shutil.copytree(downloads.mysql_template(), home / "data")
    with serving(home, *options) as mysql:
        yield mysql


@contextmanager
def serving(home: Path, *options: str) -> Iterator[Mysql]:
    """Yields a MySQL that serves the data directory in `home`."""
    data, port = home / "data", free_port()
    at = [f"--port={port}", "--bind-address=127.0.0.1", "--socket=mysqld.sock", f"--pid-file={data}/pid"]
    process = processes.start(
        home, "mysql", [*mariadb.UNTOLD, *downloads.mysqld(data), *at, "--mysqlx=OFF", "--skip-log-bin", *options]
    )
    try:
        mariadb.wait(process, port)
        yield Mysql(host="127.0.0.1", port=port, user="root")
    finally:
        process.stop()


@contextmanager
def administrator(mysql: Mysql) -> Iterator[Callable[[str], Any]]:
    """Executes statements as another client of the server."""
    with connect(mysql, mysql.database) as line:

        def execute(statement: str) -> Any:
            cursor = line.cursor()
            cursor.execute(statement)
            return cursor.fetchall()

        yield execute


@contextmanager
def full_disk(home: Path, kind: str, file_bytes: int) -> Iterator[None]:
    """Limits the size of every file that the server writes."""
    process = processes.find(home, kind)
    assert process is not None
    before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))
    yield
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)
