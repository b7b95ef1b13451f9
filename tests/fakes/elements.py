"""Elements for tests: a real server of each protocol on the loopback interface, for a folder that the test can see."""

import asyncio
import getpass
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from threading import Event, Thread
from typing import Any

import asyncssh
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.ioloop import IOLoop
from pyftpdlib.servers import FTPServer

from shared.inventory import Endpoint, Protocol
from shared.settings import Remote
from tools.simulator.addresses import ONE_HOST, ServerAddress
from tools.simulator.elements import Login
from tools.simulator.serve import known_hosts_lines, serve

PASSWORD = "secret"
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")


@dataclass
class Element:
    """An element: how the code under test reaches it, and what only the test can do with it."""

    root: Path
    """Local folder that contains the endpoint's directory /pm."""
    endpoint: Endpoint
    settings: Remote
    cut: Callable[[], None]
    """Aborts every open connection."""

    @property
    def pm(self) -> Path:
        """The element's folder as a local path."""
        return self.root / "pm"

    @property
    def directory(self) -> bytes:
        """The element's folder as the server names it."""
        return self.endpoint.directory.encode()


ElementServer = Callable[[Path, Path], Any]
"""Takes the root and a folder for keys; returns a context manager that yields an Element."""


@contextmanager
def local(root: Path, _keys: Path) -> Iterator[Element]:
    endpoint = Endpoint(name="e1", protocol="local", directory=str(root / "pm"))
    yield Element(root, endpoint, Remote(), cut=lambda: None)


class _SimulatorServer:
    """The simulator's SFTP server in a thread of this process."""

    def __init__(self, root: Path, keys: Path) -> None:
        self.keys = keys
        self.logins = {"pm": Login(root, PASSWORD)}
        self.connections: list[asyncssh.SSHServerConnection] = []
        self.loop = asyncio.new_event_loop()
        self.listening = Event()
        self.port = 0
        self.thread = Thread(target=self._run)
        self.thread.start()
        self.listening.wait(10)

    def _run(self) -> None:
        loop = self.loop
        server = loop.run_until_complete(
            serve(self.keys, self.logins, ServerAddress(ONE_HOST, ONE_HOST, 0), self.connections.append)
        )
        self.port = server.get_port()
        self.listening.set()
        loop.run_forever()
        server.close()
        for connection in self.connections:
            connection.abort()
            loop.run_until_complete(connection.wait_closed())
        loop.run_until_complete(server.wait_closed())
        for transport in list(loop._transports.values()):  # type: ignore[attr-defined] # accepted, but not connected yet
            transport.abort()
        for _ in range(3):
            loop.run_until_complete(asyncio.sleep(0))  # for the final callbacks of the transports
        loop.close()

    def cut(self) -> None:
        for connection in self.connections:
            self.loop.call_soon_threadsafe(connection.abort)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()


@contextmanager
def sftp(root: Path, keys: Path) -> Iterator[Element]:
    """An element behind the simulator's server."""
    server = _SimulatorServer(root, keys)
    (keys / "known_hosts").write_text(known_hosts_lines(keys, [ONE_HOST], server.port))
    endpoint = Endpoint(
        name="e1", host="127.0.0.1", port=server.port, username="pm", password=PASSWORD, directory="/pm"
    )
    yield Element(root, endpoint, Remote(known_hosts=str(keys / "known_hosts"), timeout_s=5.0), server.cut)
    server.stop()


@contextmanager
def openssh(root: Path, keys: Path) -> Iterator[Element]:
    """An element behind the OpenSSH server of this machine, with login by key."""
    port = free_port()
    _write_sshd_files(keys, port)
    Path("/run/sshd").mkdir(exist_ok=True)
    with subprocess.Popen(
        [str(SSHD), "-D", "-e", "-f", str(keys / "sshd_config")], stderr=subprocess.DEVNULL
    ) as server:
        while not listens(port):
            assert server.poll() is None
        endpoint = Endpoint(
            name="e1", host="127.0.0.1", port=port, username=getpass.getuser(), key_file=str(keys / "user"),
            directory=str(root / "pm"),
        )  # fmt: skip

        def cut() -> None:
            subprocess.run(["pkill", "-9", "-P", str(server.pid)], check=True)

        try:
            yield Element(root, endpoint, Remote(known_hosts=str(keys / "known_hosts"), timeout_s=5.0), cut)
        finally:
            server.terminate()


def _write_sshd_files(keys: Path, port: int) -> None:
    """Writes the keys, the known-hosts file and the configuration of an OpenSSH server."""
    for name in ("host", "user"):
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(keys / name))
        (keys / name).chmod(0o600)
    public = {
        name: asyncssh.read_private_key(str(keys / name)).export_public_key().decode() for name in ("host", "user")
    }
    (keys / "authorized").write_text(public["user"])
    (keys / "known_hosts").write_text(f"[127.0.0.1]:{port} {public['host']}")
    options = {
        "ListenAddress": "127.0.0.1", "Port": port, "HostKey": keys / "host", "PidFile": "none", "UsePAM": "no",
        "AuthorizedKeysFile": keys / "authorized", "StrictModes": "no", "Subsystem": "sftp internal-sftp",
        "PermitRootLogin": "yes",
    }  # fmt: skip
    (keys / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))


class _FtpServer:
    """An FTP server in a thread of this process."""

    def __init__(self, handler: type[FTPHandler], root: Path, keys: Path) -> None:
        self.handlers: list[FTPHandler] = []
        self.loop = IOLoop()
        self.server = FTPServer(("127.0.0.1", 0), _ftp_handler(handler, root, keys, self.handlers), ioloop=self.loop)
        self.port = int(self.server.address[1])
        self.stopped = Event()
        self.thread = Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while not self.stopped.is_set():
            self.loop.loop(timeout=0.05, blocking=False)
        self.server.close_all()

    def cut(self) -> None:
        for connection in self.handlers:
            self.loop.call_later(0, connection.close)

    def stop(self) -> None:
        self.stopped.set()
        self.thread.join()


def _ftp_handler(base: type[FTPHandler], root: Path, keys: Path, handlers: list[FTPHandler]) -> type[FTPHandler]:
    """Returns a handler class for one server; its instances, one per connection, add themselves to `handlers`."""

    class Handler(base):  # type: ignore[misc]
        authorizer = DummyAuthorizer()
        encoding = "utf-8"  # with surrogateescape, so that names stay bytes for the server too
        unicode_errors = "surrogateescape"
        use_sendfile = False

        def on_connect(self) -> None:
            handlers.append(self)

    Handler.authorizer.add_user("pm", PASSWORD, str(root), perm="elradfmwMT")
    if issubclass(base, TLS_FTPHandler):
        Handler.certfile = str(certificate(keys))
        Handler.tls_control_required = Handler.tls_data_required = True
    return Handler


def _ftp(protocol: Protocol, handler: type[FTPHandler]) -> ElementServer:
    @contextmanager
    def serve_element(root: Path, keys: Path) -> Iterator[Element]:
        server = _FtpServer(handler, root, keys)
        endpoint = Endpoint(
            name="e1", protocol=protocol, host="127.0.0.1", port=server.port, username="pm", password=PASSWORD,
            directory="/pm",
        )  # fmt: skip
        ca_file = str(keys / "server.pem") if issubclass(handler, TLS_FTPHandler) else ""
        yield Element(root, endpoint, Remote(ca_file=ca_file, timeout_s=5.0), server.cut)
        server.stop()

    return serve_element


class WithoutMlsd(FTPHandler):  # type: ignore[misc]
    """A server without machine listings, like vsftpd."""

    proto_cmds = {name: about for name, about in FTPHandler.proto_cmds.items() if name not in {"MLSD", "MLST"}}  # noqa: RUF012


class ImplicitTls(TLS_FTPHandler):  # type: ignore[misc]
    """A server for implicit FTPS: TLS from the first byte on."""

    def handle(self) -> None:
        self.secure_connection(self.ssl_context)

    def handle_ssl_established(self) -> None:
        super().handle()


PROTOCOLS: dict[str, ElementServer] = {
    "local": local,
    "sftp": sftp,
    "ftp": _ftp("ftp", FTPHandler),
    "ftp without MLSD": _ftp("ftp", WithoutMlsd),
    "ftps": _ftp("ftps", TLS_FTPHandler),
    "ftps-implicit": _ftp("ftps-implicit", ImplicitTls),
    **({"openssh": openssh} if SSHD else {}),
}


def certificate(folder: Path) -> Path:
    """Creates a self-signed certificate for 127.0.0.1; key and certificate are in one file."""
    key = rsa.generate_private_key(65537, 2048)  # MySQL 8.0.12 supports no other type
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(private + made.public_bytes(pem))
    return folder / "server.pem"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
