"""The security properties of librdkafka that Faust can honour, so that the tracker is as secure as its settings say."""

from collections.abc import Mapping

from shared.configuration.resolve import BadSettings

FAUST_HONOURS = frozenset((
    *("security.protocol", "sasl.mechanism", "sasl.username", "sasl.password"),
    *("ssl.ca.location", "ssl.ca.pem", "ssl.certificate.location", "ssl.key.location", "ssl.key.password"),
    *("ssl.endpoint.identification.algorithm", "enable.ssl.certificate.verification"),
    *("sasl.oauthbearer.method", "sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret"),
    *("sasl.oauthbearer.token.endpoint.url", "sasl.oauthbearer.scope"),
))  # fmt: skip
SECURITY = ("ssl.", "sasl.", "enable.ssl", "https.")
"""Beginnings of the properties that must mean the same to every client."""


def require_honoured(properties: Mapping[str, str]) -> None:
    """Raises BadSettings if librdkafka's properties contain one of security that Faust cannot honour."""
    lost = sorted(name for name in properties if name.startswith(SECURITY) and name not in FAUST_HONOURS)
    if lost:
        raise BadSettings(f"kafka.properties: {lost[0]} is unknown to Faust, which the tracker runs on; remove it")
