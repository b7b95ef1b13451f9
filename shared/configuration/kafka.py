"""The section `kafka`: the brokers, and how every client logs in to them.

librdkafka's properties are made here, once. The tracker's Faust gets its credentials from the same properties, so that
all clients of a process are the same principal.
"""

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from shared.configuration.resolve import BadSettings, Name
from shared.configuration.secret_files import secret_setting

SecurityProtocol = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
SaslMechanism = Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
DEPENDED_ON = frozenset((
    *("bootstrap.servers", "group.id", "group.protocol", "group.instance.id", "enable.auto.commit"),
    *("enable.auto.offset.store", "auto.offset.reset", "partition.assignment.strategy", "enable.idempotence", "acks"),
    *("request.required.acks", "transactional.id", "isolation.level", "max.in.flight.requests.per.connection"),
    *("max.in.flight", "message.max.bytes", "partitioner", "enable.partition.eof", "retries"),
    *("message.send.max.retries", "error_cb", "stats_cb"),
))  # fmt: skip
"""Properties on which the guarantees rest, so `properties` must not set them."""
ALIASES = {"sasl.mechanisms": "sasl.mechanism"}
"""Names of librdkafka that mean the same -> the one used here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kafka:
    """The Kafka brokers that all services use, and how to log in to them."""

    bootstrap_servers: Annotated[Name, "Brokers as host:port, comma-separated"] = "localhost:9092"
    security_protocol: Annotated[SecurityProtocol, "How the brokers are reached: TLS, a login, both or neither"] = (
        "plaintext"
    )
    sasl_mechanism: Annotated[SaslMechanism, "Mechanism of the login, with `sasl_plaintext` and `sasl_ssl`"] = ""
    username: Annotated[str, "User name of the login, or client id with OAUTHBEARER; each service has its own"] = ""
    password: Annotated[str, "Password, or client secret with OAUTHBEARER"] = field(default="", repr=False)
    password_file: Annotated[str, "File that contains the password; takes precedence over `password`"] = ""
    token_endpoint: Annotated[str, "OAUTHBEARER: URL of the token endpoint (OIDC, grant client_credentials)"] = ""
    token_scope: Annotated[str, "OAUTHBEARER: scope to request"] = ""
    ca_file: Annotated[str, "TLS: file of trusted certificates (PEM); by default the machine's"] = ""
    cert_file: Annotated[str, "TLS: file with this client's certificate (PEM)"] = ""
    key_file: Annotated[str, "TLS: file with the private key (PEM); by default the certificate's file"] = ""
    key_passphrase_file: Annotated[str, "TLS: file with the passphrase of an encrypted key"] = ""
    properties: Annotated[
        Mapping[str, str],
        "Further properties by librdkafka's names, such as client.rack; Faust takes only those of TLS and login",
    ] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise BadSettings(problem)

    def _problems(self) -> Iterator[str]:
        has_login = self.security_protocol.startswith("sasl")
        has_tls = self.security_protocol.endswith("ssl")
        given = {ALIASES.get(name, name) for name in self.properties}
        if wrong := sorted(DEPENDED_ON & given):
            yield f"properties must not set {wrong[0]}: the guarantees of pmflow depend on it"
        if self.sasl_mechanism and not has_login:
            yield "sasl-mechanism requires security-protocol sasl_ssl or sasl_plaintext"
        if has_login and not self.sasl_mechanism and "sasl.mechanism" not in given:
            yield f"security-protocol {self.security_protocol} requires sasl-mechanism"
        if not has_tls and (self.ca_file or self.cert_file or self.key_file or self.key_passphrase_file):
            yield "ca-file, cert-file and key-file require security-protocol ssl or sasl_ssl"
        if not self.cert_file and (self.key_file or self.key_passphrase_file):
            yield "key-file and key-passphrase-file require cert-file"
        if self.token_endpoint and self.sasl_mechanism != "OAUTHBEARER":
            yield "token-endpoint requires sasl-mechanism OAUTHBEARER"
        if self.sasl_mechanism == "OAUTHBEARER" and not self.token_endpoint and not _oauth(given):
            yield "sasl-mechanism OAUTHBEARER requires token-endpoint"
        if self.sasl_mechanism and not self.username and "sasl.username" not in given and not _oauth(given):
            yield f"sasl-mechanism {self.sasl_mechanism} requires username"

    @property
    def principal(self) -> str:
        """The name of the login, for messages."""
        if self.username and self.security_protocol.startswith("sasl"):
            return f"user {self.username!r}"
        return f"the owner of {self.cert_file}" if self.cert_file else "an anonymous client"

    def client(self) -> dict[str, str]:
        """Returns librdkafka's properties of every client. Files of secrets are read now.

        Raises:
            BadSettings: a file of a secret cannot be read.
        """
        named = {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": self.security_protocol,
            "sasl.mechanism": self.sasl_mechanism,
            "ssl.ca.location": self.ca_file,
            "ssl.certificate.location": self.cert_file,
            "ssl.key.location": self.key_file or self.cert_file,
            "ssl.key.password": secret_setting("kafka:", "", self.key_passphrase_file),
            **self._login(secret_setting("kafka:", self.password, self.password_file)),
        }
        given = {ALIASES.get(name, name): value for name, value in self.properties.items()}
        return {name: value for name, value in named.items() if value} | given

    def _login(self, password: str) -> dict[str, str]:
        if self.sasl_mechanism != "OAUTHBEARER":
            return {"sasl.username": self.username, "sasl.password": password}
        return {
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.client.id": self.username,
            "sasl.oauthbearer.client.secret": password,
            "sasl.oauthbearer.token.endpoint.url": self.token_endpoint,
            "sasl.oauthbearer.scope": self.token_scope,
        }


def tls_context(properties: Mapping[str, str]) -> ssl.SSLContext:
    """Returns the context that checks the broker's certificate and host name as librdkafka does.

    Raises:
        BadSettings: a file is missing or contains no certificate or key.
    """
    try:
        context = ssl.create_default_context(
            cafile=properties.get("ssl.ca.location"), cadata=properties.get("ssl.ca.pem")
        )
        if certificate := properties.get("ssl.certificate.location"):
            key = properties.get("ssl.key.location")
            context.load_cert_chain(certificate, key, properties.get("ssl.key.password", ""))
    except (OSError, ValueError) as error:
        raise BadSettings(f"kafka: ca-file, cert-file or key-file cannot be used: {error}") from error
    if properties.get("ssl.endpoint.identification.algorithm") == "none":
        context.check_hostname = False
    if properties.get("enable.ssl.certificate.verification") == "false":
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _oauth(given: set[str]) -> bool:
    return any(name.startswith("sasl.oauthbearer.") for name in given)
