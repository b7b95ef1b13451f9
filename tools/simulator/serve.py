"""The elements over SFTP: one server, a login an element, each in a root of its own. The only import of asyncssh."""

from collections.abc import Mapping
from pathlib import Path

import asyncssh


class Logins(asyncssh.SSHServer):
    """Passwords of the elements' logins."""

    def __init__(self, roots: Mapping[str, Path], password: str) -> None:
        self.roots = roots
        self.password = password

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return username in self.roots and password == self.password


async def serve(
    directory: Path, roots: Mapping[str, Path], password: str, host: str, port: int
) -> asyncssh.SSHAcceptor:
    """Listen; the host key is made once and kept."""
    key_file = directory / "host_key"
    if not key_file.exists():
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(key_file))

    def sftp(channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=str(roots[channel.get_extra_info("username")]).encode())

    return await asyncssh.listen(
        host,
        port,
        server_factory=lambda: Logins(roots, password),
        server_host_keys=[str(key_file)],
        sftp_factory=sftp,
        login_timeout=30,
        backlog=256,
    )


def known_hosts_line(directory: Path, host: str, port: int) -> str:
    """What clients verify the server by."""
    key = asyncssh.read_private_key(str(directory / "host_key")).export_public_key().decode().strip()
    name = host if port == 22 else f"[{host}]:{port}"
    return f"{name} {key}\n"
