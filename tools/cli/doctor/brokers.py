"""Checks the connection to the Kafka brokers: whether they answer, their version, and how the line is protected."""

import socket
import ssl
import struct
from collections.abc import Iterator, Mapping
from contextlib import closing
from ipaddress import ip_address

from shared.configuration.kafka import Kafka, tls_context
from shared.errors import Unreachable
from shared.kafka.reach import reach
from shared.kafka.record import KafkaFailure
from tools.cli.doctor.findings import Finding, Installation, of_error

REACH_S = 8.0
BROKER_ANSWER_S = 5.0
PRODUCE, FETCH, API_VERSIONS = 0, 1, 18
"""Keys of requests in Kafka's protocol."""
ZSTD_PRODUCE = 7
"""Version of Produce from which brokers accept zstd."""
VERSIONS = ((18, "4.1"), (17, "3.9"), (16, "3.7"), (14, "3.5"), (13, "3.1"), (12, "2.7"), (11, "2.3"), (10, "2.1"))
"""Highest version of Fetch -> the first version of Kafka that has it."""
OLDEST_FETCH = 12
"""Version of Fetch of the oldest Kafka that is worth trying."""
TESTED_KAFKA = "4.3"


def check_brokers(installation: Installation) -> Iterator[Finding]:
    """Yields whether the brokers answer, how the connection is protected, and their version."""
    brokers = installation.settings.kafka
    try:
        count = reach(brokers, REACH_S)
    except Unreachable as failure:
        yield of_error(failure, "services wait for the brokers, and nothing is collected")
        return
    except KafkaFailure as failure:
        yield of_error(failure, "services that use this login exit with status 70")
        return
    answering = "1 broker answers" if count == 1 else f"{count} brokers answer"
    yield Finding("ok", f"{answering} at {brokers.bootstrap_servers} to {brokers.principal}")
    yield protection(brokers)
    yield _version(brokers)
    yield Finding("ok", "clocks of the brokers: unknown, as Kafka's protocol does not tell them")


def protection(brokers: Kafka) -> Finding:
    """Returns whether others can read or write what is sent to the brokers."""
    protocol = brokers.security_protocol
    if protocol.endswith("ssl"):
        if brokers.client().get("enable.ssl.certificate.verification") == "false":
            meaning = "anybody between here and the brokers can read passwords and counters"
            return Finding("warning", "certificates of the brokers are not verified", meaning, "set kafka.ca-file")
        return Finding("ok", f"security-protocol {protocol}: encrypted, and the brokers' certificates are verified")
    if all(is_loopback(server) for server in brokers.bootstrap_servers.split(",")):
        return Finding("ok", f"security-protocol {protocol}, within this machine")
    meaning = (
        "passwords and counters can be read on the network"
        if protocol == "sasl_plaintext"
        else "anybody in the network can read, write and delete what pmflow keeps in Kafka"
    )
    remedy = "see docs/secured.md: kafka.security-protocol sasl_ssl, or ssl with a certificate"
    return Finding("warning", f"security-protocol {protocol}: the connection is not encrypted", meaning, remedy)


def is_loopback(server: str) -> bool:
    """Returns whether host:port names this machine."""
    host = server.strip().rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _version(brokers: Kafka) -> Finding:
    for server in brokers.bootstrap_servers.split(","):
        try:
            return kafka_version_finding(request_versions(brokers, server.strip()))
        except (OSError, ValueError, struct.error):
            continue
    return Finding("ok", "version of the brokers: unknown, as none told it")


def kafka_version_finding(highest: Mapping[int, int]) -> Finding:
    """Returns what the versions of the requests that a broker accepts tell about it.

    Args:
        highest: key of a request -> the highest version that the broker accepts.
    """
    fetch = highest.get(FETCH, 0)
    version = next((version for number, version in VERSIONS if fetch >= number), "")
    if highest.get(PRODUCE, 0) < ZSTD_PRODUCE or not version:
        meaning = "brokers refuse the messages, which are compressed with zstd"
        return Finding(
            "error", "the brokers are older than Kafka 2.1", meaning, f"update Kafka; {TESTED_KAFKA} is tested"
        )
    if fetch < OLDEST_FETCH:
        return Finding(
            "warning",
            f"the brokers are Kafka {version} or a little newer",
            "pmflow is not tested with it",
            f"update Kafka; {TESTED_KAFKA} is tested",
        )
    return Finding("ok", f"the brokers are Kafka {version} or newer; {TESTED_KAFKA} is tested")


def request_versions(brokers: Kafka, server: str) -> dict[int, int]:
    """Returns the highest version of each request that a broker accepts; brokers tell it before any login.

    Raises:
        OSError, ValueError, struct.error: no answer, or none that can be understood.
    """
    host, _, port = server.rpartition(":")
    with closing(socket.create_connection((host.strip("[]"), int(port)), BROKER_ANSWER_S)) as plain:
        line = plain
        if brokers.security_protocol.endswith("ssl"):
            line = tls_context(brokers.client()).wrap_socket(plain, server_hostname=host.strip("[]"))
        try:
            asked = struct.pack(">hhih", API_VERSIONS, 0, 1, 6) + b"pmflow"
            line.sendall(struct.pack(">i", len(asked)) + asked)
            with line.makefile("rb") as answer:
                (length,) = struct.unpack(">i", answer.read(4))
                return _highest(answer.read(min(length, 1 << 16)))
        finally:
            if isinstance(line, ssl.SSLSocket):
                line.close()


def _highest(answer: bytes) -> dict[int, int]:
    _, failed, count = struct.unpack_from(">ihi", answer)
    if failed:
        raise ValueError(f"error {failed}")
    listed = (struct.unpack_from(">hhh", answer, 10 + 6 * number) for number in range(count))
    return {key: highest for key, _, highest in listed}
