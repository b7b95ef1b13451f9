"""Secures a dev stack: certificates and passwords of each service, and secured ports of the servers."""

import base64
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tools.simulator.files import save_secret

PRINCIPALS = ("scanner", "fetcher", "tracker", "mysql_writer", "ch_bridge", "operator")
"""The services, and the person who uses `pmflow`; each has a password and a certificate of its own."""
SERVER = "server"
VALID_DAYS = 365
SECURED_PORTS = {
    "kafka_scram": 19094,
    "kafka_mtls": 19095,
    "kafka_sasl": 19096,
    "kafka_oauth": 19097,
    "zookeeper_tls": 12182,
    "clickhouse_tls": 18443,
}
"""Further ports of a secured stack; Kafka has one for each kind of login."""
LISTENERS = {
    "PLAINTEXT": ("kafka", "PLAINTEXT"),
    "CONTROLLER": ("kafka_controller", "PLAINTEXT"),
    "SCRAM": ("kafka_scram", "SASL_SSL"),
    "MTLS": ("kafka_mtls", "SSL"),
    "SASL": ("kafka_sasl", "SASL_PLAINTEXT"),
    "OAUTH": ("kafka_oauth", "SASL_SSL"),
}
"""Listener of the broker -> the name of its port, and its protocol."""
SCRAM_MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256")
SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
OAUTH = "org.apache.kafka.common.security.oauthbearer"
ALLOWED = "org.apache.kafka.sasl.oauthbearer.allowed"
TOKEN_KEY, PUBLIC_KEYS, AUDIENCE = "tokens.key", "jwks.json", "kafka"
"""The key that signs the tokens of OAUTHBEARER, the file by which the broker checks them, and whom they are for."""
PLAIN_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
SASL_PLAINTEXT_MECHANISMS = ("PLAIN", "SCRAM-SHA-256")
DIGEST_LOGIN = "org.apache.zookeeper.server.auth.DigestLoginModule"
SERVER_NAMES: Sequence[x509.GeneralName] = (x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1")))

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Issued = tuple[x509.Certificate, Key]


def make_identities(folder: Path) -> None:
    """Writes ca.crt, and for each identity `<name>.crt`, `.key`, `.pem` (both) and `.password`; keeps what is there."""
    if folder.exists():
        return
    partial = folder.with_suffix(f".{os.getpid()}")
    partial.mkdir(parents=True, mode=0o700)
    authority = _issued("pmflow dev stack", None)
    (partial / "ca.crt").write_bytes(_pem(authority[0]))
    for name in (SERVER, *PRINCIPALS):
        certificate, key = _issued(name, authority, SERVER_NAMES if name == SERVER else ())
        save_secret(partial / f"{name}.key", _pkcs8(key))
        save_secret(partial / f"{name}.pem", _pkcs8(key) + _pem(certificate))
        (partial / f"{name}.crt").write_bytes(_pem(certificate))
        save_secret(partial / f"{name}.password", secrets.token_urlsafe(16).encode())
    _make_token_key(partial)
    partial.replace(folder)


def _make_token_key(folder: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    save_secret(folder / TOKEN_KEY, _pkcs8(key))
    numbers = key.public_key().public_numbers()
    public = {"kty": "RSA", "kid": TOKEN_KEY, "alg": "RS256", "use": "sig"}
    public |= {"n": _base64_number(numbers.n), "e": _base64_number(numbers.e)}
    (folder / PUBLIC_KEYS).write_text(json.dumps({"keys": [public]}))


def _base64_number(number: int) -> str:
    """Returns a number as JSON Web Keys (RFC 7518) contain it."""
    return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()


def password(folder: Path, name: str) -> str:
    """Returns the password of an identity."""
    return (folder / f"{name}.password").read_text()


def _issued(name: str, by: Issued | None, names: Sequence[x509.GeneralName] = ()) -> Issued:
    """Returns a certificate with its key, signed by an authority; without one, the certificate is an authority's."""
    key, now = _new_key(is_server=bool(names)), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, issuer_key = (by[0].subject, by[1]) if by else (subject, key)
    built = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if by is None:
        signs = {"key_cert_sign": True, "crl_sign": True}
        built = built.add_extension(x509.KeyUsage(**dict.fromkeys(_OTHER_USES, False), **signs), critical=True)
    else:
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        built = built.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    if names:
        built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return built.sign(issuer_key, hashes.SHA256()), key


def _new_key(*, is_server: bool) -> Key:
    """Returns a key; that of the servers is RSA, as MySQL 8.0.12 knows no other."""
    return rsa.generate_private_key(65537, 2048) if is_server else ec.generate_private_key(ec.SECP256R1())


_OTHER_USES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("encipher_only", "decipher_only"),
)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pkcs8(key: Key) -> bytes:
    """Returns a key in the only form that Kafka's PEM key store reads."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def is_secured(ports: Mapping[str, int]) -> bool:
    """Returns True for a stack with TLS and logins."""
    return SECURED_PORTS.keys() <= ports.keys()


def identities(data: Path) -> Path:
    """Returns the folder of the certificates and passwords that belongs to a server's data."""
    return data.parents[1] / "identities"


def scram_users(ports: Mapping[str, int], data: Path) -> list[str]:
    """Returns the options that create the users while Kafka's storage is formatted; none without security."""
    if not is_secured(ports):
        return []
    users = [(name, password(identities(data), name)) for name in PRINCIPALS]
    entries = (f"{kind}=[name={name},password={word}]" for kind in SCRAM_MECHANISMS for name, word in users)
    return [part for entry in entries for part in ("--add-scram", entry)]


def listeners(ports: Mapping[str, int], data: Path) -> dict[str, object]:
    """Returns the broker's settings of all listeners and of the authorizer; none without security.

    Whoever uses the plain listener is a super user: everything that does not ask for security works as before.
    """
    if not is_secured(ports):
        return {}
    folder = identities(data)
    users = " ".join(f'user_{name}="{password(folder, name)}"' for name in PRINCIPALS)
    return {
        "listeners": ",".join(f"{name}://127.0.0.1:{ports[port]}" for name, (port, _) in LISTENERS.items()),
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, (_, protocol) in LISTENERS.items()),
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.scram.scram-sha-512.sasl.jaas.config": SCRAM_LOGIN,
        "listener.name.sasl.sasl.enabled.mechanisms": ",".join(SASL_PLAINTEXT_MECHANISMS),
        "listener.name.sasl.scram-sha-256.sasl.jaas.config": SCRAM_LOGIN,
        "listener.name.sasl.plain.sasl.jaas.config": f"{PLAIN_LOGIN} required {users};",
        "listener.name.oauth.sasl.enabled.mechanisms": "OAUTHBEARER",
        "listener.name.oauth.oauthbearer.sasl.jaas.config": f"{OAUTH}.OAuthBearerLoginModule required;",
        "listener.name.oauth.oauthbearer.sasl.server.callback.handler.class": (
            f"{OAUTH}.OAuthBearerValidatorCallbackHandler"
        ),
        "sasl.oauthbearer.jwks.endpoint.url": (folder / PUBLIC_KEYS).as_uri(),
        "sasl.oauthbearer.expected.audience": AUDIENCE,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": folder / f"{SERVER}.pem",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": folder / "ca.crt",
        "listener.name.mtls.ssl.client.auth": "required",
        "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }


def kafka_options(ports: Mapping[str, int], data: Path) -> list[str]:
    """Returns the options of Kafka's JVM by which it may read the file of public keys; none without security."""
    if not is_secured(ports):
        return []
    file = identities(data) / PUBLIC_KEYS
    return [f"-D{ALLOWED}.urls={file.as_uri()}", f"-D{ALLOWED}.files={file}"]


def zookeeper_settings(ports: Mapping[str, int], data: Path) -> tuple[dict[str, object], list[str]]:
    """Returns ZooKeeper's settings of its port with TLS and logins, and options of its JVM; none without security.

    A certificate of the client is asked for, but not required.
    """
    if not is_secured(ports):
        return {}, []
    folder, users = identities(data), data.parent / "zookeeper.jaas"
    logins = " ".join(f'user_{name}="{password(folder, name)}"' for name in PRINCIPALS)
    save_secret(users, f"Server {{ {DIGEST_LOGIN} required {logins}; }};\n".encode())
    settings = {
        "secureClientPort": ports["zookeeper_tls"],
        "secureClientPortAddress": "127.0.0.1",
        "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
        "ssl.keyStore.type": "PEM",
        "ssl.keyStore.location": folder / f"{SERVER}.pem",
        "ssl.trustStore.type": "PEM",
        "ssl.trustStore.location": folder / "ca.crt",
        "ssl.clientAuth": "want",
        "ssl.clientHostnameVerification": "false",
        "authProvider.sasl": "org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
        "authProvider.x509": "org.apache.zookeeper.server.auth.X509AuthenticationProvider",
    }
    return settings, [f"-Djava.security.auth.login.config={users}"]


def mysql_options(ports: Mapping[str, int], data: Path) -> list[str]:
    """Returns the options by which MySQL has the stack's certificate; without security, it makes one of its own."""
    if not is_secured(ports):
        return []
    folder = identities(data)
    return [f"--ssl-ca={folder}/ca.crt", f"--ssl-cert={folder}/{SERVER}.crt", f"--ssl-key={folder}/{SERVER}.key"]


def clickhouse_options(ports: Mapping[str, int], data: Path) -> list[str]:
    """Returns the options by which the front of the engine also serves TLS; none without security."""
    if not is_secured(ports):
        return []
    return [f"--tls-port={ports['clickhouse_tls']}", f"--identities={identities(data)}"]
