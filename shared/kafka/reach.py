"""Finds out why the brokers cannot be used; librdkafka says it only in callbacks, and not in words that help."""

import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from shared.configuration.kafka import Kafka, tls_context
from shared.configuration.resolve import BadSettings
from shared.errors import Unreachable
from shared.kafka.record import KafkaFailure

log = logging.getLogger(__name__)
LOGIN = frozenset((KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED))  # noqa: SLF001 - public names
TLS = frozenset((KafkaError._SSL,))  # noqa: SLF001
RIGHTS = frozenset((
    *(KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED),
    *(KafkaError.CLUSTER_AUTHORIZATION_FAILED, KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
))  # fmt: skip
SURE = 2
"""Refusals until one counts: a client that is closed during a handshake may report one that is none."""
LOG_LEVEL = 2
"""Lowest severity of librdkafka's own lines: less severe errors are logged as events."""
ASK_S = 0.5
LOG_EVERY_S = 30.0
WITHIN_S = 10.0
WATCH_S = 5.0


def reach(brokers: Kafka, within_s: float = WITHIN_S) -> int:
    """Returns the number of brokers; called once when a process starts.

    Raises:
        KafkaFailure: the login or the certificate is refused; the text says what to change.
        Unreachable: no broker answers in time.
        BadSettings: a file that the settings name cannot be used.
    """
    told: list[KafkaError] = []
    try:
        config: dict[str, Any] = {**brokers.client(), "error_cb": told.append, "log_level": 0}
        admin = AdminClient(config)
    except KafkaException as error:
        raise KafkaFailure(f"section kafka: {error.args[0].str()}") from error
    until_s = monotonic() + within_s
    while True:
        try:
            return len(admin.list_topics(timeout=ASK_S).brokers)
        except KafkaException:
            admin.poll(0)  # delivers the callbacks, which list_topics does not
        refused = [error for error in told if error.code() in LOGIN | TLS]
        if len(refused) >= SURE or (refused and monotonic() > until_s):
            raise KafkaFailure(explained(brokers, refused[-1]))
        if monotonic() > until_s:
            raise Unreachable(_silence(brokers, within_s, told))


def watch_brokers(brokers: Kafka, report: Callable[[str], object]) -> None:
    """Reports at intervals why the brokers cannot be used, an empty text if they can; runs until the process ends.

    The clients that work do not tell it: they wait, and try again for as long as it takes.
    """
    admin = AdminClient({**brokers.client(), "log_level": 0})
    while True:
        try:
            admin.describe_cluster(request_timeout=WATCH_S).result()
            reason = ""
        except KafkaException:
            reason = _why_not(brokers)
        report(reason)
        sleep(WATCH_S)


def _why_not(brokers: Kafka) -> str:
    try:
        reach(brokers, WATCH_S)
    except (KafkaFailure, Unreachable, BadSettings) as error:
        return str(error)
    return ""


def _silence(brokers: Kafka, within_s: float, told: list[KafkaError]) -> str:
    reasons = [e.str() for e in told if e.code() != KafkaError._ALL_BROKERS_DOWN]  # noqa: SLF001 - public name
    return (
        f"no broker at {brokers.bootstrap_servers} answered within {within_s:.0f} s"
        f"{f' ({reasons[-1][:200]})' if reasons else ''}; check kafka.bootstrap-servers, and whether that port expects "
        f"security-protocol {brokers.security_protocol}"
    )


def explained(brokers: Kafka, error: KafkaError, what: str = "") -> str:
    """Returns an error in words that say who was refused what, and what to do.

    Args:
        brokers: the section of the settings.
        error: the error of the client library.
        what: the topic or group it concerns, such as `group pmflow-fetcher`.
    """
    if error.code() in LOGIN:
        return (
            f"Kafka {brokers.bootstrap_servers} refused the login of {brokers.principal}: {error.str()[:300]}; "
            "check kafka.username, password-file and sasl-mechanism"
        )
    if error.code() in TLS:
        return (
            f"no TLS connection to Kafka {brokers.bootstrap_servers}: {_tls_reason(brokers) or error.str()[:300]}; "
            "check kafka.ca-file, and that bootstrap-servers names the hosts as their certificates do"
        )
    if error.code() in RIGHTS:
        return (
            f"Kafka refused {brokers.principal} the use of {what or 'a topic or group'}: {error.str()[:300]}; "
            "`pmflow topics acls` lists the rights that each service needs"
        )
    remedy = "; run `pmflow topics create`" if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART else ""
    return f"{what}: {error.str()}{remedy}" if what else f"{error.str()}{remedy}"


def _tls_reason(brokers: Kafka) -> str:
    """Returns the reason by Python's TLS, which tells an unknown authority from a wrong host name."""
    host, _, port = brokers.bootstrap_servers.split(",")[0].strip().rpartition(":")
    try:
        with (
            socket.create_connection((host, int(port)), 5) as line,
            tls_context(brokers.client()).wrap_socket(line, server_hostname=host),
        ):
            return ""
    except (OSError, ValueError, ssl.SSLError) as error:
        return str(error)


@dataclass
class ClientErrors:
    """The errors that one client reports beside its work: logs them, and keeps those from which it cannot recover."""

    brokers: Kafka
    refusals: int = 0
    failure: str = ""
    quiet_until_s: dict[int, float] = field(default_factory=dict)
    """Error code -> time until which it is not logged again."""

    def __call__(self, error: KafkaError) -> None:
        """Takes an error; called by the client library."""
        is_refused = error.code() in LOGIN | TLS
        self.refusals += is_refused
        if is_refused and self.refusals > SURE:
            return  # explaining one costs a connection
        text = explained(self.brokers, error)
        if error.fatal() or self.refusals >= SURE:
            self.failure = self.failure or text
        if monotonic() >= self.quiet_until_s.get(error.code(), 0.0):
            self.quiet_until_s[error.code()] = monotonic() + LOG_EVERY_S
            log.warning("kafka client error", extra={"reason": text})

    def check(self) -> None:
        """Raises KafkaFailure if the client cannot go on."""
        if self.failure:
            raise KafkaFailure(self.failure)
