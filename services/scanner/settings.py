"""The settings of the scanner."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from shared.configuration.resolve import Name, Seconds, SecondsOrZero, Threads
from shared.settings import BadSettings, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerSettings:
    """Section `scanner`."""

    lease_s: Annotated[Seconds, "an announced file that no fetcher has taken by then is announced again"] = 600.0
    first_wait_s: Annotated[Seconds, "wait before a file that could not be fetched is announced again; doubles"] = 1.0
    longest_wait_s: Annotated[Seconds, "longest of these waits"] = 3600.0
    config_look_s: Annotated[Seconds, "interval between checks for a changed configuration"] = 5.0
    settle_s: Annotated[SecondsOrZero, "interval between the two listings in which a file must be unchanged"] = 2.0
    listing_s: Annotated[Seconds, "longest time for listing one element; then it counts as unreachable"] = 240.0
    announce_after_s: Annotated[Seconds, "interval at which a scan announces what it has found so far"] = 1.0
    listings: Annotated[
        Threads, "elements of a system that are listed at the same time, slow and silent ones apart"
    ] = 192
    unreachable_s: Annotated[
        Seconds,
        "time in which a scan tries elements that did not answer the one before; the rest is tried first next time",
    ] = 120.0
    temporary_suffixes: Annotated[tuple[Name, ...], "suffixes of files that an element is still writing"] = (
        ".part",
        ".tmp",
        ".filepart",
        ".writing",
    )


Authentication = Literal["none", "digest", "sasl"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Zookeeper:
    """The ZooKeeper servers that elect the leader of each system, and how to log in to them."""

    connection_string: Annotated[Name, "host:port, comma-separated"] = "localhost:2181"
    tls: Annotated[bool, "connect with TLS; the servers' certificates and host names are checked"] = False
    ca_file: Annotated[str, "TLS: file of trusted certificates (PEM), in addition to the machine's"] = ""
    cert_file: Annotated[str, "TLS: file with our certificate (PEM), if the servers ask for one"] = ""
    key_file: Annotated[str, "TLS: file with its private key (PEM); by default the certificate's file"] = ""
    key_passphrase_file: Annotated[str, "TLS: file with the passphrase of an encrypted key"] = ""
    authentication: Annotated[
        Authentication, "login with a password: digest sends it as it is, so it requires tls; sasl is DIGEST-MD5"
    ] = "none"
    username: Annotated[str, "user of the login, the same for all scanners: it owns the nodes"] = ""
    password: Annotated[str, "its password; better in password-file"] = field(default="", repr=False)
    password_file: Annotated[str, "file that contains the password; takes precedence over `password`"] = ""
    readers: Annotated[
        tuple[Name, ...], "others that may read the nodes, as ZooKeeper writes them in ACLs, such as sasl:operator"
    ] = ()

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise BadSettings(problem)

    def _problems(self) -> Iterator[str]:
        if not self.tls and (self.ca_file or self.cert_file or self.key_file or self.key_passphrase_file):
            yield "ca-file, cert-file and key-file require tls: true"
        if not self.cert_file and (self.key_file or self.key_passphrase_file):
            yield "key-file and key-passphrase-file require cert-file"
        has_login = self.authentication != "none"
        if not has_login and (self.username or self.password or self.password_file):
            yield "username and password require authentication digest or sasl"
        if has_login and not (self.username and (self.password or self.password_file)):
            yield f"authentication {self.authentication} requires username, and password-file or password"
        if ":" in self.username:
            yield "username must not contain a colon"
        if self.authentication == "digest" and not self.tls:
            yield "authentication digest sends the password as it is, so it requires tls: true"
        if self.readers and not self.is_identified:
            yield "readers require a login or a cert-file: without one, everybody may change the nodes"
        for reader in self.readers:
            scheme, colon, name = reader.partition(":")
            if not (scheme and colon and name):
                yield f"readers must be written scheme:id, such as sasl:operator, found {reader!r}"

    @property
    def is_identified(self) -> bool:
        """True if the servers know who connects, so that nodes can be protected."""
        return self.authentication != "none" or bool(self.cert_file)

    @property
    def principal(self) -> str:
        """The name of the login, for messages."""
        if self.username:
            return f"user {self.username!r}"
        return f"the owner of {self.cert_file}" if self.cert_file else "an anonymous client"


def zookeeper_of(settings: Settings) -> Zookeeper:
    """Returns the section `zookeeper`.

    Raises:
        BadSettings: an unknown key, or a value that is not what it must be.
    """
    return settings.section("zookeeper", Zookeeper)
