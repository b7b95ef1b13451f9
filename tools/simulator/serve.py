"""The elements over SFTP: one server, a login an element, each in a root of its own. The only import of asyncssh."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import asyncssh
from asyncssh import SSHAcceptor

from tools.simulator.elements import Login
from tools.simulator.files import save_secret

__all__ = ["SSHAcceptor", "known_hosts_line", "serve"]

LOGIN_TIMEOUT_S = 30
BACKLOG = 512
"""Connections that may wait to be accepted: collectors open one to every element at the same second."""


class _Logins(asyncssh.SSHServer):
    """Passwords of the elements' logins."""

    def __init__(self, logins: Mapping[str, Login], connected: Callable[[asyncssh.SSHServerConnection], None]) -> None:
        self.logins = logins
        self.connected = connected

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connected(conn)

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return username in self.logins and password == self.logins[username].password


async def serve(
    directory: Path,
    logins: Mapping[str, Login],
    host: str,
    port: int,
    connected: Callable[[asyncssh.SSHServerConnection], None] = lambda _: None,
) -> SSHAcceptor:
    """Listen, on a free port if it is 0; the host key is made once and kept. asyncssh sets TCP_NODELAY itself.

    Args:
        directory: where the host key lies.
        logins: by user name.
        host: address to listen on.
        port: to listen on.
        connected: told of each line, before its login.
    """
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    key_file = directory / "host_key"
    if not key_file.exists():
        save_secret(key_file, asyncssh.generate_private_key("ssh-ed25519").export_private_key())

    def sftp(channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=bytes(logins[channel.get_extra_info("username")].root))

    return await asyncssh.listen(
        host,
        port,
        server_factory=lambda: _Logins(logins, connected),
        server_host_keys=[str(key_file)],
        sftp_factory=sftp,
        login_timeout=LOGIN_TIMEOUT_S,
        backlog=BACKLOG,
        reuse_address=True,
    )


def known_hosts_line(directory: Path, host: str, port: int) -> str:
    """What clients verify the server by."""
    key = asyncssh.read_private_key(str(directory / "host_key")).export_public_key().decode().strip()
    name = host if port == 22 else f"[{host}]:{port}"
    return f"{name} {key}\n"
