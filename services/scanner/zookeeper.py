"""Connects to ZooKeeper with TLS and a login, protects the nodes with ACLs, and says why something is refused."""

import logging
import socket
import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec

from kazoo.client import KazooClient
from kazoo.exceptions import AuthFailedError, KazooException, NoAuthError, NoNodeError
from kazoo.hosts import collect_hosts
from kazoo.security import ACL, Id, Permissions, make_digest_acl_credential

from services.scanner.settings import Zookeeper
from shared.configuration.secret_files import secret_setting
from shared.crash import EXIT_CRASHED
from shared.errors import Unreachable
from shared.settings import BadSettings

log = logging.getLogger(__name__)
ROOT_PATH = "/pmflow"
SESSION_S = 10.0
"""Longest time without an answer until the session, and with it the leadership, ends."""
PROBE_S = 3.0
ALERT_S = 1.0
"""Longest wait for the alert by which a server refuses a client's certificate: it comes after the handshake."""
ANYONE = Id("world", "anyone")


class ZookeeperRefused(Unreachable):
    """ZooKeeper refused the login, the certificate or a right; the text names the setting to change."""


def zookeeper_client(settings: Zookeeper, timeout_s: float = SESSION_S) -> KazooClient:
    """Returns a client that is not started yet; nodes that it creates get the ACL of its login.

    Raises:
        BadSettings: a file cannot be used, or a library is missing.
    """
    options: dict[str, object] = {"default_acl": acl_of(settings)}
    if settings.tls:
        _ = _tls_context(settings)
        options |= {"use_ssl": True, "verify_certs": True, "check_hostname": True, "ca": settings.ca_file or None}
    if settings.cert_file:
        options |= {"certfile": settings.cert_file, "keyfile": settings.key_file or settings.cert_file}
        options["keyfile_password"] = secret_setting("zookeeper:", "", settings.key_passphrase_file) or None
    if settings.authentication == "digest":
        options["auth_data"] = [("digest", f"{settings.username}:{_password(settings)}")]
    elif settings.authentication == "sasl":
        if find_spec("puresasl") is None:
            raise BadSettings("zookeeper: authentication sasl requires the Python package pure-sasl; or use digest")
        login = {"mechanism": "DIGEST-MD5", "username": settings.username, "password": _password(settings)}
        options["sasl_options"] = login
    return KazooClient(settings.connection_string, timeout=timeout_s, **options)


def acl_of(settings: Zookeeper) -> list[ACL] | None:
    """Returns the ACL of all nodes: everything to our login, and reading to the readers; None without a login."""
    if not settings.is_identified:
        return None
    readers = (reader.partition(":") for reader in settings.readers)
    return [ACL(Permissions.ALL, _own_id(settings)), *(ACL(Permissions.READ, Id(s, name)) for s, _, name in readers)]


def _own_id(settings: Zookeeper) -> Id:
    if settings.authentication == "digest":
        return Id("digest", make_digest_acl_credential(settings.username, _password(settings)))
    if settings.authentication == "sasl":
        return Id("sasl", settings.username)
    return Id("auth", "")  # the server puts the certificate's name in its place


@contextmanager
def session(settings: Zookeeper, timeout_s: float = SESSION_S) -> Iterator[KazooClient]:
    """Starts a client, and closes it at the end of the block.

    Raises:
        ZookeeperRefused: the login, the certificate or a right is refused.
        Unreachable: no server answers in time.
        BadSettings: a file that the settings name cannot be used.
    """
    client = zookeeper_client(settings, timeout_s)
    try:
        client.start(timeout_s)
        yield client
    except (KazooException, client.handler.timeout_exception) as error:
        raise why_refused(settings, error) from error
    finally:
        client.stop()
        client.close()


def require_zookeeper(settings: Zookeeper) -> None:
    """Ends the process if ZooKeeper refuses its login, its certificate or the nodes; protects nodes that are open.

    Servers that do not answer are only warned of: they may start later, and the scanner goes on trying.
    """
    try:
        with session(settings) as client:
            protect(client, settings)
    except (ZookeeperRefused, BadSettings) as error:
        log.error("process exits, as ZooKeeper refused it", extra={"reason": str(error)})  # noqa: TRY400 - the reason suffices
        sys.exit(EXIT_CRASHED)
    except Unreachable as error:
        log.warning("ZooKeeper does not answer yet", extra={"reason": str(error)})


def protect(client: KazooClient, settings: Zookeeper) -> None:
    """Gives our ACL to the nodes that everybody may change, such as those from before there was a login.

    Raises:
        NoAuthError: a node belongs to another login.
    """
    wanted, changed = acl_of(settings), 0
    for path in _nodes(client, ROOT_PATH):
        with suppress(NoNodeError):
            found, _ = client.get_acls(path)
            if _must_change(path, found, wanted):
                client.set_acls(path, wanted)
                changed += 1
    if changed:
        log.warning("open nodes in ZooKeeper protected", extra={"nodes": changed, "owner": settings.principal})


def _must_change(path: str, found: Sequence[ACL], wanted: Sequence[ACL] | None) -> bool:
    is_open = any(acl.id == ANYONE and acl.perms & ~Permissions.READ for acl in found)
    if wanted is None:
        if not is_open:
            raise NoAuthError(path)
        return False
    if wanted[0].id.scheme == "auth":
        return is_open
    if not is_open and wanted[0] not in found:
        raise NoAuthError(path)
    return set(found) != set(wanted)


def _nodes(client: KazooClient, path: str) -> Iterator[str]:
    try:
        names = client.get_children(path)
    except NoNodeError:
        return
    yield path
    for name in names:
        yield from _nodes(client, f"{path}/{name}")


def why_refused(settings: Zookeeper, error: Exception) -> Unreachable:
    """Returns an error in words that say who was refused what, and what to do."""
    servers, who = f"ZooKeeper {settings.connection_string}", settings.principal
    if isinstance(error, AuthFailedError):
        text = f"{servers} refused the login of {who}; check zookeeper.username and password-file"
        return ZookeeperRefused(f"{text}, and that the servers admit authentication {settings.authentication}")
    if isinstance(error, NoAuthError):
        return ZookeeperRefused(
            f"{servers} refused {who} a node below {ROOT_PATH}, as its ACL names another login; "
            "check zookeeper.username and password-file, or delete the nodes with the login that owns them"
        )
    if settings.tls and (reason := _tls_reason(settings)):
        return ZookeeperRefused(
            f"no TLS connection to {servers}: {reason}; check zookeeper.ca-file and cert-file, that connectionString "
            "names the hosts as their certificates do, and that the port expects TLS"
        )
    port = "TLS, which zookeeper.tls switches on" if not settings.tls else "TLS"
    return Unreachable(
        f"{servers} did not answer ({error!r}); check zookeeper.connectionString, and whether the port expects {port}"
    )


def _tls_reason(settings: Zookeeper) -> str:
    """Returns why TLS fails at the first server for which it does: kazoo reports only a timeout."""
    context = _tls_context(settings)
    for host, port in collect_hosts(settings.connection_string)[0]:
        try:
            with (
                socket.create_connection((host, port), PROBE_S) as line,
                context.wrap_socket(line, server_hostname=host) as secured,
            ):
                secured.settimeout(ALERT_S)
                secured.recv(1)
        except ssl.SSLError as error:
            return str(error)
        except OSError:
            continue  # silence says nothing about TLS
    return ""


def _tls_context(settings: Zookeeper) -> ssl.SSLContext:
    """Returns a context that checks the server as kazoo does.

    Raises:
        BadSettings: a file is missing or contains no certificate or key.
    """
    try:
        context = ssl.create_default_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if settings.ca_file:
            context.load_verify_locations(settings.ca_file)
        if settings.cert_file:
            passphrase = secret_setting("zookeeper:", "", settings.key_passphrase_file)
            context.load_cert_chain(settings.cert_file, settings.key_file or None, passphrase)
    except (OSError, ValueError) as error:
        raise BadSettings(f"zookeeper: ca-file, cert-file or key-file cannot be used: {error}") from error
    return context


def _password(settings: Zookeeper) -> str:
    return secret_setting("zookeeper:", settings.password, settings.password_file)
