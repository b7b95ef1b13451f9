"""The main job with every server over TLS, with logins and rights: each service is a principal with its own rights."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pymysql
import pytest
from kazoo.exceptions import NoAuthError
from kazoo.security import make_digest_acl_credential

from services.mysql_writer.connection import connect
from services.mysql_writer.grants import MysqlUser, Role, grant_statements
from services.mysql_writer.settings import Mysql, mysql_of
from services.scanner.leader import EPOCHS_PATH, reported_states
from services.scanner.settings import Zookeeper, zookeeper_of
from services.scanner.zookeeper import session
from shared import topics
from shared.configuration.resolve import resolve
from shared.errors import Unreachable
from shared.kafka import admin
from shared.kafka.permissions import grant_rights
from shared.kafka.produce import Outgoing, Producer
from shared.rights import KAFKA_OPERATOR
from shared.settings import SERVICES, Settings
from tests.integration.mysqls import administrator
from tests.system.conftest import OVERRIDES, eventually
from tools.cli.dev.demo import wait_for_inventory, written_so_far
from tools.cli.dev.pipeline import Pipeline
from tools.cli.operate import ledger, verify
from tools.devstack import security
from tools.devstack import stack as devstack
from tools.devstack.stack import Stack, login_environment, section_environment

NOT_WRITTEN = {
    "scanner": topics.FILES_SETTLE,
    "fetcher": topics.CYCLES,
    "mysql_writer": topics.FILES_FOUND,
    "ch_bridge": topics.FILES_SETTLE,
    "tracker": topics.FILES_FOUND,
}
"""Service -> a topic of pmflow that it must not write."""


def password(stack: Stack, name: str) -> str:
    return security.password(stack.home / "identities", name)


def environments(stack: Stack) -> dict[str, dict[str, str]]:
    """Returns the logins of each service to those servers that it uses."""
    found = {service: login_environment(stack.kafka_as(service)) for service in SERVICES}
    reader = f"digest:{make_digest_acl_credential(KAFKA_OPERATOR, password(stack, KAFKA_OPERATOR))}"
    found["scanner"] |= section_environment("zookeeper", {**stack.zookeeper_section("scanner"), "readers": reader})
    found["mysql_writer"] |= section_environment("mysql", stack.mysql_section("mysql_writer"))
    found["ch_bridge"] |= section_environment("clickhouse", stack.clickhouse_section())
    return found


@pytest.fixture
def secured_pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    try:
        stack = devstack.up(tmp_path, secured=True)
        yield Pipeline(tmp_path, stack, OVERRIDES, environments=environments(stack))
    finally:
        devstack.down(tmp_path)


def root(stack: Stack) -> Mysql:
    return Mysql(host=stack.mysql_host, port=stack.mysql_port, user="root", database="mysql")


def grant_all(stack: Stack) -> None:
    """Gives each principal its rights, as `pmflow topics acls --apply` and `pmflow grants mysql` do."""
    for principal in (*SERVICES, KAFKA_OPERATOR):
        grant_rights(stack.kafka, principal, principal)
    users: dict[Role, str] = {"writer": "mysql_writer", "reader": KAFKA_OPERATOR}
    with administrator(root(stack)) as execute:
        for role, user in users.items():
            word = password(stack, user)
            wanted = MysqlUser(role=role, database="pmflow", user=user, password=word, require_ssl=True)
            for statement in grant_statements(wanted):
                execute(statement)


def as_operator(settings: Settings, stack: Stack) -> Settings:
    """Returns the settings of the person who uses `pmflow`."""
    own = {
        **settings.own,
        "mysql": stack.mysql_section(KAFKA_OPERATOR),
        "clickhouse": stack.clickhouse_section(),
        "zookeeper": stack.zookeeper_section(KAFKA_OPERATOR),
    }
    return replace(settings, kafka=stack.kafka_as(KAFKA_OPERATOR), own=own)


def test_the_main_job_runs_with_each_services_own_rights_and_nothing_is_denied(secured_pipeline: Pipeline) -> None:
    pipeline, stack = secured_pipeline, secured_pipeline.stack
    grant_all(stack)
    simulator = pipeline.simulate("--systems", "4ga:3,5ga:2", "--cycles", "2", "--cycle-s", "4")
    settings = pipeline.configure()
    wait_for_inventory(pipeline, simulator)
    operator = as_operator(settings, stack)
    admin.provision(operator.kafka, topics.provisioned(system.name for system in settings.systems))
    pipeline.start()

    def stages() -> Counter[str]:
        return Counter(file.stage for file in ledger.read_ledger(operator.kafka).files.values())

    eventually(lambda: written_so_far(pipeline).get("cycles") == 2, 60, "two cycles are written")
    files = written_so_far(pipeline)["files"]
    eventually(lambda: stages() == {"done": files}, 120, f"{files} files through")
    for outcome in verify.settled_outcomes(operator, pipeline.simulator, within_s=60):
        assert outcome.right, outcome
        assert outcome.stored == outcome.expected > 0
    assert {state.system for state in reported_states(zookeeper_of(operator))} == {"4ga", "5ga"}
    assert pipeline.ended(SERVICES) == {}
    assert denied_by_kafka(pipeline) == denied_by_mysql(stack) == []
    assert without_tls(stack) == []
    kafka_refuses_what_nobody_needs(pipeline)
    zookeeper_refuses_all_but_the_scanner(stack)
    mysql_refuses_what_nobody_needs(operator, stack)


def denied_by_kafka(pipeline: Pipeline) -> list[str]:
    """Returns what the broker's authorizer refused."""
    lines = (pipeline.home / "log" / "kafka.log").read_text(errors="replace").splitlines()
    return [line for line in lines if "is Denied" in line or "is DENIED" in line]


def denied_by_mysql(stack: Stack) -> list[str]:
    """Returns the kinds of refusals that MySQL has counted since its start."""
    with administrator(root(stack)) as execute:
        found = execute(
            "SELECT error_name FROM performance_schema.events_errors_summary_global_by_error "
            "WHERE error_name LIKE '%DENIED%' AND sum_error_raised > 0"
        )
    return [name for (name,) in found]


def without_tls(stack: Stack) -> list[str]:
    """Returns the services' users that have a connection to MySQL without TLS."""
    with administrator(root(stack)) as execute:
        found = execute(
            "SELECT t.processlist_user, s.variable_value FROM performance_schema.status_by_thread s "
            "JOIN performance_schema.threads t USING (thread_id) WHERE s.variable_name = 'Ssl_cipher'"
        )
    ciphers = [(user, cipher) for user, cipher in found if user in SERVICES]
    assert ciphers
    return [user for user, cipher in ciphers if not cipher]


def kafka_refuses_what_nobody_needs(pipeline: Pipeline) -> None:
    for service, topic in NOT_WRITTEN.items():
        before = len(denied_by_kafka(pipeline))
        producer = Producer(pipeline.stack.kafka_as(service))
        with pytest.raises(Unreachable, match="authorization failed"):
            producer.deliver(Outgoing(topic.name, 0, "key", b"{}"))
        producer.close()
        told = f"the broker's log says what it denied to {service}"
        eventually(lambda: len(denied_by_kafka(pipeline)) > before, 30, told)  # noqa: B023 - called in the loop


def zookeeper_refuses_all_but_the_scanner(stack: Stack) -> None:
    epoch = f"{EPOCHS_PATH}/4ga"
    for name in ("fetcher", "mysql_writer", "ch_bridge", "tracker", KAFKA_OPERATOR):
        with session(resolve(Zookeeper, stack.zookeeper_section(name), "zookeeper")) as client:
            with pytest.raises(NoAuthError):
                client.set(epoch, b"99")
            if name != KAFKA_OPERATOR:
                with pytest.raises(NoAuthError):
                    client.get(epoch)
    with session(Zookeeper(connection_string=stack.zookeeper)) as client, pytest.raises(NoAuthError):
        client.get(epoch)


def mysql_refuses_what_nobody_needs(operator: Settings, stack: Stack) -> None:
    reader = mysql_of(operator)
    writer = resolve(Mysql, stack.mysql_section("mysql_writer"), "mysql")
    for login, refused in (
        (writer, ("CREATE DATABASE other", "SELECT user FROM mysql.user", "SELECT 1 INTO OUTFILE '/tmp/pm'")),
        (reader, ("DELETE FROM pm_object", "CREATE TABLE t (a INT)", "DROP TABLE pm_object")),
    ):
        with connect(login, login.database) as line, line.cursor() as cursor:
            for statement in refused:
                with pytest.raises(pymysql.Error, match="denied"):
                    cursor.execute(statement)
    for name in ("scanner", "fetcher", "ch_bridge", "tracker"):
        with pytest.raises(pymysql.OperationalError, match="denied"):
            connect(replace(writer, user=name, password_file=f"{stack.home}/identities/{name}.password"), None)
    with pytest.raises(pymysql.OperationalError, match="denied"):
        connect(replace(writer, tls="off", ca_file=""), None)
