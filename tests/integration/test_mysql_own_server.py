"""Tests that need a MySQL or MariaDB of their own: TLS with our own certificates, and a full disk."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pymysql
import pytest

from services.mysql_writer.connection import connect
from services.mysql_writer.repository import Repository
from services.mysql_writer.settings import Mysql
from services.mysql_writer.sink import MysqlWriterWorker
from shared.errors import Unreachable
from shared.kafka.record import TopicPartition
from shared.settings import BadSettings
from tests.fakes.elements import certificate
from tests.integration import mariadb
from tests.integration.mysqls import administrator, full_disk, served
from tests.integration.test_sinks import Database
from tools.cli.operate.stored import in_mysql

SMALL_LOG = "--innodb-log-file-size=16M"
FULL_AT = 30 << 20
"""Size limit for a table's file; all other files that the server writes are smaller."""


@dataclass
class Own:
    mysql: Mysql
    kind: str
    home: Path
    pem: str
    """Returns a certificate and its key."""


@pytest.fixture(scope="module", params=["mysql", *mariadb.IF_THERE])
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    home = tmp_path_factory.mktemp(request.param)
    pem = str(certificate(home))
    options = (f"--ssl-ca={pem}", f"--ssl-cert={pem}", f"--ssl-key={pem}", SMALL_LOG)
    with served(request.param, home, *options) as mysql:
        yield Own(mysql, request.param, home, pem)


@pytest.fixture
def database(own: Own) -> Iterator[Database]:
    repository = Repository(own.mysql)
    yield Database(lambda: MysqlWriterWorker(repository), lambda _: in_mysql(own.mysql), repository.close)
    repository.close()


def verified(own: Own) -> Mysql:
    return replace(own.mysql, tls="verify", ca_file=own.pem)


def cipher(mysql: Mysql) -> str:
    with connect(mysql, None) as line, line.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        ((_, found),) = cursor.fetchall()
    return str(found)


def test_rows_are_stored_over_tls_with_a_verified_server(own: Own) -> None:
    assert cipher(verified(own))
    repository = Repository(verified(own))
    made = Database(lambda: MysqlWriterWorker(repository), lambda _: in_mysql(verified(own)))
    made.write(made.batch([["o1", 0, 1, 2]]))
    assert made.rows() == {("e1", "o1"): {"a": 1, "b": 2}}
    repository.close()


def test_tls_may_be_off_or_left_to_the_server(own: Own) -> None:
    assert cipher(replace(own.mysql, tls="off")) == ""
    assert cipher(own.mysql) != ""


def test_a_server_that_fails_verification_gets_no_password(own: Own, tmp_path: Path) -> None:
    another = replace(verified(own), ca_file=str(certificate(tmp_path)))
    by_another_name = replace(verified(own), host="localhost")
    for wrong in (another, by_another_name):
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            Repository(wrong).take_over([TopicPartition("t", 0)])


def test_a_server_that_requires_a_client_certificate_gets_it(own: Own) -> None:
    with administrator(replace(own.mysql, database="mysql")) as execute:
        execute("CREATE USER writer REQUIRE X509")
        execute("GRANT ALL ON *.* TO writer")
    asked = replace(verified(own), user="writer")
    with pytest.raises(pymysql.OperationalError, match="Access denied"):
        connect(asked, None)
    assert cipher(replace(asked, cert_file=own.pem, key_file=own.pem))


def test_certificates_without_verification_are_refused() -> None:
    with pytest.raises(BadSettings, match="tls: verify"):
        Mysql(ca_file="ca.pem")


def test_a_full_disk_stops_writes_until_it_has_space_and_nothing_is_set_aside(own: Own, database: Database) -> None:
    names = tuple(f"c{n}" for n in range(200))
    few = database.batch([["o0", 0, *range(200)]], counters=names)
    large = database.batch([[f"o{n}", 0, *range(200)] for n in range(24_000)], counters=names, ver=2)
    database.write(few)
    before = database.rows()
    with full_disk(own.home, own.kind, FULL_AT):
        for _ in range(2):
            with pytest.raises(Unreachable, match="full"):
                database.land(large)
        assert database.rows() == before
    assert database.land(large) == []
    with administrator(own.mysql) as execute:
        assert execute(f"SELECT COUNT(*), SUM(c199) FROM `4ga_{database.group.lower()}`") == ((24_000, 199 * 24_000),)
