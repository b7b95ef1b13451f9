"""Serves all elements by one SFTP server: each element has a login and a root directory of its own."""

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
"""Limit of connections that wait to be accepted: clients connect to every element in the same second."""


class _Logins(asyncssh.SSHServer):
    """Checks the passwords of the elements' logins."""

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
    """Starts to listen; creates the host key once and keeps it.

    Args:
        directory: folder of the host key.
        logins: logins by user name.
        host: address to listen on.
        port: port to listen on; 0: any free one.
        connected: called with each connection before its login.
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
    """Returns the line of a known_hosts file with which clients verify the server."""
    key = asyncssh.read_private_key(str(directory / "host_key")).export_public_key().decode().strip()
    name = host if port == 22 else f"[{host}]:{port}"
    return f"{name} {key}\n"
