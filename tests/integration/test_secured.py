"""A broker with TLS, login and an authorizer: who may do what, and what the clients say when they may not."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner

from shared import topics
from shared.configuration.kafka import Kafka, SaslMechanism
from shared.errors import Unreachable
from shared.health import stale
from shared.kafka import admin
from shared.kafka.cluster import acl_operation, topics_as_seen
from shared.kafka.consume import Consumer
from shared.kafka.permissions import grant_rights, lacking
from shared.kafka.produce import Outgoing, Producer
from shared.kafka.reach import reach
from shared.kafka.record import KafkaFailure
from shared.rights import KAFKA_OPERATOR, rights
from shared.settings import SERVICES, BadSettings
from tests.fakes.token_endpoint import token_endpoint
from tools.cli.main import app
from tools.devstack import stack as devstack
from tools.devstack.security import make_identities
from tools.devstack.stack import Stack, free_ports, login_environment

PRINCIPALS = (*SERVICES, KAFKA_OPERATOR)


def polled(consumer: Consumer) -> None:
    """Polls for half a minute at most."""
    try:
        for _ in range(60):
            consumer.poll(10, 0.5)
    finally:
        consumer.close()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka alone, with its secured listeners, topics and rights."""
    home: Path = tmp_path_factory.mktemp("secured")
    try:
        stack = devstack.up(home, secured=True)
        admin.provision(stack.kafka, topics.provisioned(["4ga"]))
        for principal in PRINCIPALS:
            grant_rights(stack.kafka, principal, principal)
        yield stack
    finally:
        devstack.down(home)


def expected_on_topics(principal: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {topic.name: set() for topic in topics.provisioned(["4ga"])}
    for right in rights(principal):
        for name in found:
            if right.resource == "topic" and (name.startswith(right.name) if right.is_prefix else name == right.name):
                found[name] |= {acl_operation(right.operation).name}
                found[name] |= {"DESCRIBE"} if right.operation in {"Read", "Write"} else set()
    return found


@pytest.mark.parametrize("by_certificate", [False, True], ids=["by password", "by certificate"])
@pytest.mark.parametrize("principal", PRINCIPALS)
def test_each_principal_may_do_what_is_listed_and_nothing_else(
    secured: Stack, principal: str, by_certificate: bool
) -> None:
    login = secured.kafka_as(principal, by_certificate=by_certificate)
    assert reach(login) == 1
    names = [topic.name for topic in topics.provisioned(["4ga"])]
    seen = {name: set(topic.operations or ()) for name, topic in topics_as_seen(login, names).items()}
    assert seen == expected_on_topics(principal)


def test_a_principal_without_rights_is_told_all_that_it_lacks(secured: Stack) -> None:
    assert lacking(secured.kafka_as("tracker"), "tracker", ["4ga"]) == []
    assert lacking(secured.kafka, "mysql_writer", ["4ga"]) == []
    assert set(lacking(secured.kafka_as("scanner"), "tracker", ["4ga"])) > {
        "Write on topic pm.files.settle",
        "Read on group pmflow-tracker",
        "Write on topic pmflow-tracker-files-changelog",
    }


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_without_rights_or_with_a_wrong_password_ends_and_says_why(secured: Stack, service: str) -> None:
    other = secured.kafka_as("scanner" if service != "scanner" else "ch_bridge")
    wrong = replace(other, username=service, password_file="", password="wrong")
    for login, said in ((other, "lacks rights in Kafka"), (wrong, f"refused the login of user '{service}'")):
        env = {**os.environ, **login_environment(login), "PMFLOW_CONFIG": ""}
        argv = [sys.executable, "-m", f"services.{service}"]
        ended = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 70, ended.stderr
        lines = [line for line in ended.stderr.splitlines() if "process exits" in line]
        assert len(lines) == 1
        assert said in lines[0]
        assert "Traceback" not in ended.stderr


def why_not(login: Kafka) -> str:
    with pytest.raises((KafkaFailure, Unreachable, BadSettings)) as refused:
        reach(login, within_s=5)
    return str(refused.value)


def test_a_wrong_password_is_named_with_the_user(secured: Stack) -> None:
    login = replace(secured.kafka_as("fetcher"), password_file="", password="wrong")
    reason = why_not(login)
    assert "refused the login of user 'fetcher'" in reason
    assert "password-file" in reason


def test_an_authority_that_is_not_trusted_is_told_from_another_hosts_certificate(
    secured: Stack, tmp_path: Path
) -> None:
    make_identities(tmp_path / "others")
    login = secured.kafka_as("fetcher")
    unknown = why_not(replace(login, ca_file=str(tmp_path / "others" / "ca.crt")))
    assert "certificate verify failed" in unknown
    assert "ca-file" in unknown
    port = login.bootstrap_servers.rpartition(":")[2]
    elsewhere = why_not(replace(login, bootstrap_servers=f"127.0.0.2:{port}"))
    assert "127.0.0.2" in elsewhere


def test_a_mechanism_that_the_broker_lacks_is_named(secured: Stack) -> None:
    assert "sasl-mechanism" in why_not(replace(secured.kafka_as("fetcher"), sasl_mechanism="SCRAM-SHA-256"))


def test_the_wrong_protocol_for_a_port_is_suspected(secured: Stack) -> None:
    login = replace(secured.kafka, bootstrap_servers=secured.kafka_as("fetcher").bootstrap_servers)
    assert "security-protocol plaintext" in why_not(login)


def test_a_consumer_without_the_right_to_its_group_or_topic_ends_with_both_names(secured: Stack) -> None:
    for group, topic, said in (
        ("pmflow-tracker", topics.FILES_FOUND.name, "group pmflow-tracker"),
        ("pmflow-fetcher", topics.CYCLES.name, f"topic {topics.CYCLES.name}"),
    ):
        consumer = Consumer(secured.kafka_as("fetcher"), group)
        consumer.subscribe([topic])
        with pytest.raises(KafkaFailure, match=said) as refused:
            polled(consumer)
        assert "user 'fetcher'" in str(refused.value)
        assert "pmflow topics acls" in str(refused.value)


def test_a_consumer_whose_password_is_wrong_ends(secured: Stack) -> None:
    consumer = Consumer(replace(secured.kafka_as("fetcher"), password_file="", password="wrong"), "pmflow-fetcher")
    consumer.subscribe([topics.FILES_FOUND.name])
    with pytest.raises(KafkaFailure, match="refused the login of user 'fetcher'"):
        polled(consumer)


def test_a_producer_without_the_right_to_write_says_so(secured: Stack) -> None:
    for principal, topic in (("fetcher", topics.CYCLES), ("tracker", topics.FILES_FOUND)):
        producer = Producer(secured.kafka_as(principal))
        with pytest.raises(Unreachable, match="authorization failed"):
            producer.deliver(Outgoing(topic.name, 0, "key", b"{}"))
        producer.close()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_a_password_without_tls_has_the_same_rights(secured: Stack, mechanism: SaslMechanism) -> None:
    login = secured.kafka_without_tls_as("fetcher", mechanism)
    assert reach(login) == 1
    assert lacking(login, "fetcher", ["4ga"]) == []
    assert "Read on group pmflow-tracker" in lacking(login, "tracker", ["4ga"])
    producer = Producer(login)
    producer.deliver(Outgoing(topics.FILES_FOUND.dead_letters.name, 0, "key", b"{}"))
    producer.close()
    assert "refused the login of user 'fetcher'" in why_not(replace(login, password_file="", password="wrong"))
    assert "sasl-mechanism" in why_not(replace(login, sasl_mechanism="SCRAM-SHA-512"))


def test_a_token_of_an_oidc_endpoint_has_the_same_rights(secured: Stack) -> None:
    with token_endpoint(secured.home / "identities") as url:
        login = secured.kafka_by_token_as("fetcher", url)
        assert reach(login) == 1
        assert lacking(login, "fetcher", ["4ga"]) == []
        assert "Read on group pmflow-tracker" in lacking(login, "tracker", ["4ga"])
        assert "refused the login of user 'fetcher'" in why_not(replace(login, password_file="", password="wrong"))


def doctor(login: Kafka, *options: str) -> list[dict[str, str]]:
    env = {**login_environment(login), "PMFLOW_CONFIG": "deploy/pmflow.yaml"}
    only = ["doctor", "--json", "--only", "brokers,topics,rights,groups", *options]
    return [json.loads(line) for line in CliRunner().invoke(app, only, env=env).stdout.splitlines()]


def test_the_doctor_tells_a_login_what_it_lacks_and_what_each_service_lacks(secured: Stack) -> None:
    admin.provision(secured.kafka, topics.provisioned(["4ga", "5ga"]))
    of_operator = doctor(secured.kafka_as(KAFKA_OPERATOR))
    assert [one for one in of_operator if one["severity"] == "error"] == []
    found = "\n".join(one["found"] for one in of_operator)
    assert "user 'operator' has the rights of operator" in found
    assert "sasl_ssl: encrypted" in found
    assert "right to read the configuration" not in found
    assert doctor(secured.kafka_as("tracker"), "--service", "tracker")[0]["severity"] == "ok"
    (lacks,) = (
        one for one in doctor(secured.kafka_as("scanner"), "--service", "tracker")
        if one["area"] == "rights" and one["severity"] == "error"
    )  # fmt: skip
    assert "Read on group pmflow-tracker" in lacks["found"]
    assert "pmflow topics acls" in lacks["remedy"]
    of_admin = [one["found"] for one in doctor(secured.kafka) if one["area"] == "rights"]
    assert [f"User:{service} has the rights of {service}" for service in SERVICES] == of_admin[1:]


def test_the_doctor_tells_a_wrong_password_from_an_unknown_authority(secured: Stack, tmp_path: Path) -> None:
    login = secured.kafka_as("fetcher")
    make_identities(tmp_path / "others")
    for broken, remedy in (
        (replace(login, password_file="", password="wrong"), "password-file"),
        (replace(login, ca_file=str(tmp_path / "others" / "ca.crt")), "kafka.ca-file"),
    ):
        refused, *rest = doctor(broken)
        assert (refused["area"], refused["severity"]) == ("brokers", "error")
        assert remedy in refused["remedy"]
        assert {one["severity"] for one in rest} == {"skipped"}


def test_a_fetcher_with_a_wrong_password_says_why_at_readyz_and_has_no_fresh_health_file(
    secured: Stack, tmp_path: Path
) -> None:
    health_file = tmp_path / "health"
    health_file.touch()  # the process before this one was healthy a moment ago
    port = free_ports({"metrics": 0})["metrics"]
    login = replace(secured.kafka_as("fetcher"), password_file="", password="wrong")
    env = {**os.environ, **login_environment(login), "PMFLOW_CONFIG": "", "PMFLOW_METRICS__PORT": str(port)}
    env["PMFLOW_HEALTH__FILE"] = str(health_file)
    process = subprocess.Popen([sys.executable, "-m", "services.fetcher"], env=env, stderr=subprocess.DEVNULL)
    try:
        said = refused_at_readyz(port)
        assert "refused the login of user 'fetcher'" in said
        assert "password-file" in said
        assert said.strip() in stale(health_file, time.time())
        assert process.wait(60) == 70
    finally:
        process.kill()
        process.wait(20)
    assert "it reported: Kafka" in stale(health_file, time.time())


def refused_at_readyz(port: int) -> str:
    """Waits for half a minute at most until /readyz tells why the service is not ready."""
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s:
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
                pass
        except HTTPError as answer:
            return answer.read().decode()
        except URLError:
            continue
    raise AssertionError("/readyz did not answer within 30 s")
