"""Faust's credentials are made of the properties of all other clients, and say no less."""

import asyncio
import ssl
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import faust
import pytest

from services.tracker.credentials import OidcTokens, faust_credentials
from shared.configuration.kafka import Kafka
from shared.configuration.resolve import BadSettings
from tools.devstack.security import make_identities


def test_no_credentials_without_login_and_tls() -> None:
    assert faust_credentials(Kafka().client()) is None


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls") / "identities"
    make_identities(folder)
    return folder


def test_a_password_over_tls_checks_the_brokers_certificate_and_host_name(identities: Path) -> None:
    login = Kafka(
        security_protocol="sasl_ssl", sasl_mechanism="SCRAM-SHA-512", username="tracker", password="p",
        ca_file=str(identities / "ca.crt"),
    )  # fmt: skip
    found = faust_credentials(login.client())
    assert isinstance(found, faust.SASLCredentials)
    assert (found.username, found.password, str(found.mechanism.value)) == ("tracker", "p", "SCRAM-SHA-512")
    assert found.ssl_context is not None
    assert (found.ssl_context.verify_mode, found.ssl_context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_password_without_tls_and_a_certificate_without_a_password(identities: Path) -> None:
    plain = Kafka(security_protocol="sasl_plaintext", sasl_mechanism="PLAIN", username="u", password="p")
    found = faust_credentials(plain.client())
    assert isinstance(found, faust.SASLCredentials)
    assert found.ssl_context is None
    mutual = Kafka(
        security_protocol="ssl", ca_file=str(identities / "ca.crt"), cert_file=str(identities / "tracker.pem")
    )
    assert isinstance(faust_credentials(mutual.client()), faust.SSLCredentials)


@pytest.mark.parametrize(
    "name", ["ssl.crl.location", "ssl.keystore.location", "sasl.kerberos.keytab", "https.ca.location"]
)
def test_a_security_property_that_faust_cannot_honour_is_refused(name: str) -> None:
    with pytest.raises(BadSettings, match=f"{name} is unknown to Faust"):
        faust_credentials(Kafka(properties={name: "x"}).client())


def test_a_property_that_is_not_about_security_is_no_concern_of_faust() -> None:
    assert faust_credentials(Kafka(properties={"client.rack": "a"}).client()) is None


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    login = Kafka(security_protocol="ssl", ca_file=str(tmp_path / "missing.crt"))
    with pytest.raises(BadSettings, match="ca-file, cert-file or key-file cannot be used"):
        faust_credentials(login.client())


class TokenEndpoint(BaseHTTPRequestHandler):
    """Counts the requests; each answer is another token."""

    asked: list[tuple[str, str]] = []  # noqa: RUF012 - reset by each test

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.asked.append((self.headers["Authorization"], body))
        answer = b'{"access_token": "token-%d", "expires_in": 3600}' % len(self.asked)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Writes no log."""


def test_a_token_is_requested_once_and_kept_until_it_ends() -> None:
    server = HTTPServer(("127.0.0.1", 0), TokenEndpoint)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        TokenEndpoint.asked = []
        tokens = OidcTokens({
            "sasl.oauthbearer.client.id": "id", "sasl.oauthbearer.client.secret": "secret",
            "sasl.oauthbearer.scope": "kafka",
            "sasl.oauthbearer.token.endpoint.url": f"http://127.0.0.1:{server.server_port}/token",
        })  # fmt: skip
        assert [asyncio.run(tokens.token()), asyncio.run(tokens.token())] == ["token-1", "token-1"]
        assert TokenEndpoint.asked == [("Basic aWQ6c2VjcmV0", "grant_type=client_credentials&scope=kafka")]
        tokens.until_s = 0.0
        assert asyncio.run(tokens.token()) == "token-2"
        assert "secret" not in repr(tokens)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
