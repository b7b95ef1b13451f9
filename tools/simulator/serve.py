"""Serves all elements by one SFTP server: each element has a login and a root directory of its own."""

import logging
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Network
from pathlib import Path

import asyncssh
from asyncssh import SSHAcceptor

from tools.simulator.addresses import ServerAddress, is_accepted
from tools.simulator.elements import Login
from tools.simulator.files import save_secret

__all__ = ["SSHAcceptor", "known_hosts_lines", "serve"]

LOGIN_TIMEOUT_S = 30
BACKLOG = 512
"""Limit of connections that wait to be accepted: clients connect to every element in the same second."""


class _Logins(asyncssh.SSHServer):
    """Refuses connections to addresses that are not the elements', and checks the passwords of their logins."""

    def __init__(
        self,
        logins: Mapping[str, Login],
        accepted: IPv4Network | None,
        connected: Callable[[asyncssh.SSHServerConnection], None],
    ) -> None:
        self.logins = logins
        self.accepted = accepted
        self.connected = connected

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        if is_accepted(conn.get_extra_info("sockname"), self.accepted):
            self.connected(conn)
        else:
            conn.abort()

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return username in self.logins and password == self.logins[username].password


async def serve(
    directory: Path,
    logins: Mapping[str, Login],
    place: ServerAddress,
    connected: Callable[[asyncssh.SSHServerConnection], None] = lambda _: None,
) -> SSHAcceptor:
    """Starts to listen; creates the host key once and keeps it.

    Args:
        directory: folder of the host key.
        logins: logins by user name.
        place: address and port to listen on; port 0: any free one.
        connected: called with each connection before its login.
    """
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    key_file = directory / "host_key"
    if not key_file.exists():
        save_secret(key_file, asyncssh.generate_private_key("ssh-ed25519").export_private_key())

    def sftp(channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=bytes(logins[channel.get_extra_info("username")].root))

    return await asyncssh.listen(
        place.listen,
        place.port,
        server_factory=lambda: _Logins(logins, place.accepted, connected),
        server_host_keys=[str(key_file)],
        sftp_factory=sftp,
        login_timeout=LOGIN_TIMEOUT_S,
        backlog=BACKLOG,
        reuse_address=True,
    )


def known_hosts_lines(directory: Path, hosts: Iterable[str], port: int) -> str:
    """Returns the lines of a known_hosts file with which clients verify the server, one for each name of it."""
    key = asyncssh.read_private_key(str(directory / "host_key")).export_public_key().decode().strip()
    return "".join(f"{host if port == 22 else f'[{host}]:{port}'} {key}\n" for host in hosts)
