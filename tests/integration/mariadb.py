"""The MariaDB installed on this machine, if any: it must give the same guarantees as MySQL."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pymysql

from tests.fakes.elements import free_port
from tools.devstack import processes

PROGRAM = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin")
UNTOLD = ("sh", "-c", """trap '' XFSZ; exec "$0" "$@" """)
"""Makes exceeding a file size limit a write error, as a full disk is, instead of ending the process."""
IF_THERE = ("mariadb",) if PROGRAM else ()
SYSTEM_TABLES = ("mysql_system_tables", "mysql_performance_tables", "mysql_system_tables_data")


@contextmanager
def served(home: Path, *options: str) -> Iterator[int]:
    """Yields its port while it runs; root needs no password, on loopback only."""
    program = Path(PROGRAM or "mariadbd").resolve()
    base = next(parent for parent in program.parents if (parent / "share" / "mysql").is_dir())
    share, data = base / "share" / "mysql", home / "data"
    (data / "mysql").mkdir(parents=True)
    argv = [str(program), "--no-defaults", "--user=root", f"--datadir={data}", f"--basedir={base}"]
    argv.append(f"--lc-messages-dir={share}")
    sql = "USE mysql;\nSET @auth_root_socket = NULL;\n"
    sql += "".join((share / f"{name}.sql").read_text() for name in SYSTEM_TABLES)
    subprocess.run([*argv, *options, "--bootstrap"], input=sql, text=True, check=True, capture_output=True)
    port = free_port()
    at = [f"--port={port}", "--bind-address=127.0.0.1", "--socket=mariadb.sock", f"--pid-file={data}/pid"]
    process = processes.start(home, "mariadb", [*UNTOLD, *argv, *at, *options])
    try:
        wait(process, port)
        yield port
    finally:
        process.stop()


def wait(process: processes.Process, port: int) -> None:
    until_s = monotonic() + 60
    while True:
        try:
            pymysql.connect(host="127.0.0.1", port=port, user="root").close()
        except pymysql.OperationalError:
            assert process.alive() and monotonic() < until_s, process.log_tail()  # noqa: PT018
            sleep(0.1)
        else:
            return
