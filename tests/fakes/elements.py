"""Elements in this process: real servers of each protocol on loopback, over a folder the test can see."""

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
from tools.simulator.elements import Login
from tools.simulator.serve import known_hosts_line, serve

PASSWORD = "secret"
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")


@dataclass
class Element:
    """How it is reached, and what only the test can do."""

    root: Path
    """What the endpoint's directory /pm lies in."""
    endpoint: Endpoint
    settings: Remote
    cut: Callable[[], None]
    """Ends every open line, at once."""

    @property
    def pm(self) -> Path:
        """The element's folder, on this side."""
        return self.root / "pm"

    @property
    def directory(self) -> bytes:
        """The element's folder, on the other side."""
        return self.endpoint.directory.encode()


Serve = Callable[[Path, Path], Any]
"""Root and a folder for keys -> a context of an Element."""


@contextmanager
def local(root: Path, _keys: Path) -> Iterator[Element]:
    endpoint = Endpoint(name="e1", protocol="local", directory=str(root / "pm"))
    yield Element(root, endpoint, Remote(), cut=lambda: None)


@contextmanager
def sftp(root: Path, keys: Path) -> Iterator[Element]:
    """The simulator's server, in this process."""
    loop, ready, ports = asyncio.new_event_loop(), Event(), []
    connections: list[asyncssh.SSHServerConnection] = []
    logins = {"pm": Login(root, PASSWORD)}

    def run() -> None:
        server = loop.run_until_complete(serve(keys, logins, "127.0.0.1", 0, connections.append))
        ports.append(server.get_port())
        ready.set()
        loop.run_forever()
        server.close()
        for connection in connections:
            connection.abort()
            loop.run_until_complete(connection.wait_closed())
        loop.run_until_complete(server.wait_closed())
        for line in list(loop._transports.values()):  # type: ignore[attr-defined] # accepted, but never made a connection
            line.abort()
        for _ in range(3):
            loop.run_until_complete(asyncio.sleep(0))  # the lines' last calls
        loop.close()

    def cut() -> None:
        for connection in connections:
            loop.call_soon_threadsafe(connection.abort)

    thread = Thread(target=run)
    thread.start()
    ready.wait(10)
    (keys / "known_hosts").write_text(known_hosts_line(keys, "127.0.0.1", ports[0]))
    endpoint = Endpoint(name="e1", host="127.0.0.1", port=ports[0], username="pm", password=PASSWORD, directory="/pm")
    yield Element(root, endpoint, Remote(known_hosts=str(keys / "known_hosts"), timeout_s=5.0), cut)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@contextmanager
def openssh(root: Path, keys: Path) -> Iterator[Element]:
    """The machine's OpenSSH, login by key."""
    for name in ("host", "user"):
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(keys / name))
        (keys / name).chmod(0o600)
    public = {
        name: asyncssh.read_private_key(str(keys / name)).export_public_key().decode() for name in ("host", "user")
    }
    (keys / "authorized").write_text(public["user"])
    port = free_port()
    (keys / "known_hosts").write_text(f"[127.0.0.1]:{port} {public['host']}")
    options = {
        "ListenAddress": "127.0.0.1", "Port": port, "HostKey": keys / "host", "PidFile": "none", "UsePAM": "no",
        "AuthorizedKeysFile": keys / "authorized", "StrictModes": "no", "Subsystem": "sftp internal-sftp",
        "PermitRootLogin": "yes",
    }  # fmt: skip
    (keys / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
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


def _ftp(protocol: Protocol, handler: type[FTPHandler]) -> Serve:
    @contextmanager
    def serve(root: Path, keys: Path) -> Iterator[Element]:
        handlers: list[FTPHandler] = []

        class Handler(handler):  # type: ignore[misc]
            authorizer = DummyAuthorizer()
            encoding = "utf-8"  # with surrogates: names are bytes to it too
            unicode_errors = "surrogateescape"
            use_sendfile = False

            def on_connect(self) -> None:
                handlers.append(self)

        Handler.authorizer.add_user("pm", PASSWORD, str(root), perm="elradfmwMT")
        if issubclass(handler, TLS_FTPHandler):
            Handler.certfile = str(certificate(keys))
            Handler.tls_control_required = Handler.tls_data_required = True
        loop = IOLoop()
        server = FTPServer(("127.0.0.1", 0), Handler, ioloop=loop)
        stop = Event()

        def run() -> None:
            while not stop.is_set():
                loop.loop(timeout=0.05, blocking=False)
            server.close_all()

        thread = Thread(target=run)
        thread.start()
        endpoint = Endpoint(
            name="e1", protocol=protocol, host="127.0.0.1", port=server.address[1], username="pm", password=PASSWORD,
            directory="/pm",
        )  # fmt: skip
        settings = Remote(
            ca_file=str(keys / "server.pem") if issubclass(handler, TLS_FTPHandler) else "", timeout_s=5.0
        )

        def cut() -> None:
            for open_line in handlers:
                loop.call_later(0, open_line.close)

        yield Element(root, endpoint, settings, cut)
        stop.set()
        thread.join()

    return serve


class WithoutMlsd(FTPHandler):  # type: ignore[misc]
    """As vsftpd: no machine listing."""

    proto_cmds = {name: about for name, about in FTPHandler.proto_cmds.items() if name not in {"MLSD", "MLST"}}  # noqa: RUF012


class ImplicitTls(TLS_FTPHandler):  # type: ignore[misc]
    """TLS from the first byte on."""

    def handle(self) -> None:
        self.secure_connection(self.ssl_context)

    def handle_ssl_established(self) -> None:
        super().handle()


PROTOCOLS: dict[str, Serve] = {
    "local": local,
    "sftp": sftp,
    "ftp": _ftp("ftp", FTPHandler),
    "ftp without MLSD": _ftp("ftp", WithoutMlsd),
    "ftps": _ftp("ftps", TLS_FTPHandler),
    "ftps-implicit": _ftp("ftps-implicit", ImplicitTls),
    **({"openssh": openssh} if SSHD else {}),
}


def certificate(folder: Path) -> Path:
    """Self-signed, for 127.0.0.1; key and certificate in one file."""
    key = rsa.generate_private_key(65537, 2048)  # MySQL 8.0.12 knows no other
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
