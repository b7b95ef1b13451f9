"""The section `kafka`: librdkafka's properties, refusals of contradictions, and no secret in any text."""

from pathlib import Path
from typing import Any

import pytest

from shared.configuration.kafka import DEPENDED_ON, Kafka
from shared.configuration.resolve import BadSettings, resolve

SASL = {"security-protocol": "sasl_ssl", "sasl-mechanism": "SCRAM-SHA-512", "username": "fetcher", "password": "secret"}


def section(**found: Any) -> Kafka:
    return resolve(Kafka, {name.replace("_", "-"): value for name, value in found.items()}, "kafka")


def test_nothing_but_the_brokers_is_said_where_nothing_else_is_set() -> None:
    assert Kafka().client() == {"bootstrap.servers": "localhost:9092", "security.protocol": "plaintext"}


def test_a_login_by_password_over_tls(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from a file\n")
    found = resolve(Kafka, {**SASL, "password-file": str(file), "ca-file": "/ca.crt"}, "kafka").client()
    assert found == {
        "bootstrap.servers": "localhost:9092",
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "fetcher",
        "sasl.password": "from a file",
        "ssl.ca.location": "/ca.crt",
    }


def test_a_certificate_may_be_in_one_file_with_its_key(tmp_path: Path) -> None:
    phrase = tmp_path / "phrase"
    phrase.write_text("words")
    found = section(security_protocol="ssl", cert_file="/me.pem", key_passphrase_file=str(phrase)).client()
    assert found["ssl.certificate.location"] == found["ssl.key.location"] == "/me.pem"
    assert found["ssl.key.password"] == "words"


def test_tokens_of_an_oidc_endpoint() -> None:
    found = section(
        security_protocol="sasl_ssl",
        sasl_mechanism="oauthbearer",
        username="id",
        password="s",
        token_endpoint="https://t",
    ).client()
    assert {name: value for name, value in found.items() if "oauthbearer" in name} == {
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": "id",
        "sasl.oauthbearer.client.secret": "s",
        "sasl.oauthbearer.token.endpoint.url": "https://t",
    }
    assert "sasl.username" not in found


def test_properties_are_passed_through_as_text_and_take_precedence() -> None:
    properties = {"client.rack": "a", "enable.ssl.certificate.verification": False, "socket.timeout.ms": 1000}
    found = resolve(Kafka, {**SASL, "properties": {**properties, "sasl.mechanisms": "PLAIN"}}, "kafka").client()
    assert found["enable.ssl.certificate.verification"] == "false"
    assert found["socket.timeout.ms"] == "1000"
    assert (found["sasl.mechanism"], "sasl.mechanisms" in found) == ("PLAIN", False)


@pytest.mark.parametrize("name", sorted(DEPENDED_ON))
def test_a_property_on_which_a_guarantee_rests_is_refused(name: str) -> None:
    with pytest.raises(BadSettings, match=f"kafka: properties must not set {name}"):
        section(properties={name: "1"})


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({"sasl_mechanism": "PLAIN", "username": "u"}, "sasl-mechanism requires security-protocol"),
        ({"security_protocol": "sasl_ssl"}, "requires sasl-mechanism"),
        ({"security_protocol": "sasl_ssl", "sasl_mechanism": "PLAIN"}, "PLAIN requires username"),
        ({"security_protocol": "sasl_ssl", "sasl_mechanism": "OAUTHBEARER"}, "requires token-endpoint"),
        ({"ca_file": "/x"}, "ca-file, cert-file and key-file require security-protocol"),
        ({"security_protocol": "ssl", "key_file": "/x"}, "require cert-file"),
        ({"token_endpoint": "https://t"}, "token-endpoint requires"),
        ({"security_protocol": "tls"}, "must be plaintext, ssl, sasl_plaintext or sasl_ssl"),
        ({"properties": "client.rack=a"}, "must be a section of texts"),
    ],
)
def test_a_contradiction_is_named(found: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadSettings, match=reason):
        section(**found)


def test_no_secret_is_in_the_text_of_a_section() -> None:
    found = resolve(Kafka, {**SASL, "properties": {"ssl.key.password": "hidden"}}, "kafka")
    assert "secret" not in repr(found)
    assert "hidden" not in repr(found)


def test_a_secret_file_that_is_missing_is_named() -> None:
    with pytest.raises(BadSettings, match="kafka: /nowhere/password: No such file"):
        resolve(Kafka, {**SASL, "password-file": "/nowhere/password"}, "kafka").client()
