"""Secures a dev stack: certificates and passwords of each service, and two more listeners of the broker."""

import os
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tools.simulator.files import save_secret

PRINCIPALS = ("scanner", "fetcher", "tracker", "mysql_writer", "ch_bridge", "operator")
"""The services, and the person who uses `pmflow`; each has a password and a certificate of its own."""
SERVER = "server"
VALID_DAYS = 365
SECURED_PORTS = {"kafka_scram": 19094, "kafka_mtls": 19095}
"""Further ports of a secured stack: login with a password over TLS, and with a certificate."""
SERVER_NAMES: Sequence[x509.GeneralName] = (x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1")))

Issued = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


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
    partial.replace(folder)


def password(folder: Path, name: str) -> str:
    """Returns the password of an identity."""
    return (folder / f"{name}.password").read_text()


def _issued(name: str, by: Issued | None, names: Sequence[x509.GeneralName] = ()) -> Issued:
    """Returns a certificate with its key, signed by an authority; without one, the certificate is an authority's."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
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


_OTHER_USES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("encipher_only", "decipher_only"),
)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pkcs8(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Returns a key in the only form that Kafka's PEM key store reads."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def identities(data: Path) -> Path:
    """Returns the folder of the certificates and passwords that belongs to a server's data."""
    return data.parents[1] / "identities"


def scram_users(ports: Mapping[str, int], data: Path) -> list[str]:
    """Returns the options that create the users while Kafka's storage is formatted; none without security."""
    if not SECURED_PORTS.keys() <= ports.keys():
        return []
    users = ((name, password(identities(data), name)) for name in PRINCIPALS)
    return [part for name, word in users for part in ("--add-scram", f"SCRAM-SHA-512=[name={name},password={word}]")]


def listeners(ports: Mapping[str, int], data: Path) -> dict[str, object]:
    """Returns the broker's settings of both listeners and of the authorizer; none without security.

    Whoever uses the plain listener is a super user: everything that does not ask for security works as before.
    """
    if not SECURED_PORTS.keys() <= ports.keys():
        return {}
    folder = identities(data)
    make_identities(folder)
    protocols = {"PLAINTEXT": "kafka", "CONTROLLER": "kafka_controller", "SCRAM": "kafka_scram", "MTLS": "kafka_mtls"}
    return {
        "listeners": ",".join(f"{name}://127.0.0.1:{ports[port]}" for name, port in protocols.items()),
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SCRAM:SASL_SSL,MTLS:SSL",
        "inter.broker.listener.name": "PLAINTEXT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.scram.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": folder / f"{SERVER}.pem",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": folder / "ca.crt",
        "listener.name.mtls.ssl.client.auth": "required",
        "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
