"""An SFTP server that tells too little about its files, or nonsense."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import asyncssh
from asyncssh import SFTPAttrs, SFTPName

from shared.inventory import Endpoint
from shared.settings import Remote

NAME = b"A20261127.0300+0000-0315+0000_N1.xml"
CONTENT = b"<x>" + b"1" * 2344 + b"</x>"
LONG_NAME = b"-rw-r--r-- 1 pm pm %8d Nov 27 03:00 %s" % (len(CONTENT), NAME)


class _Login(asyncssh.SSHServer):
    def begin_auth(self, _username: str) -> bool:
        return False


def _files(root: Path, listed: Callable[[], SFTPAttrs], looked: Callable[[], SFTPAttrs], long: bytes) -> type:
    class Files(asyncssh.SFTPServer):
        def __init__(self, channel: object) -> None:
            super().__init__(channel, chroot=str(root).encode())  # type: ignore[arg-type]

        async def scandir(self, _path: bytes):  # type: ignore[no-untyped-def] # noqa: ANN202
            yield SFTPName(NAME, long, listed())

        def lstat(self, path: bytes) -> SFTPAttrs:
            if not path.endswith(NAME):
                raise asyncssh.SFTPNoSuchFile("no such file")
            return looked()

    return Files


@contextmanager
def odd_sftp(
    folder: Path, listed: SFTPAttrs, looked: SFTPAttrs | None = None, long: bytes = LONG_NAME
) -> Iterator[tuple[Endpoint, Remote]]:
    """Serves one file on the loopback interface.

    Args:
        folder: an empty folder for the file and the keys.
        listed: the attributes in a listing.
        looked: those that LSTAT tells; the same by default.
        long: the long name in a listing.
    """
    root, key = folder / "root", asyncssh.generate_private_key("ssh-ed25519")
    (root / "pm").mkdir(parents=True)
    (root / "pm" / NAME.decode()).write_bytes(CONTENT)
    loop, listening, ports = asyncio.new_event_loop(), Event(), list[int]()

    def run() -> None:
        files = _files(root, lambda: listed, lambda: looked or listed, long)
        server = loop.run_until_complete(
            asyncssh.listen("127.0.0.1", 0, server_host_keys=[key], server_factory=_Login, sftp_factory=files)
        )
        ports.append(server.get_port())
        listening.set()
        loop.run_forever()
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.close()

    thread = Thread(target=run)
    thread.start()
    assert listening.wait(10)
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{ports[0]} {key.export_public_key().decode()}")
    try:
        yield (
            Endpoint(name="odd", host="127.0.0.1", port=ports[0], username="pm", password="x", directory="/pm"),
            Remote(known_hosts=str(known), timeout_s=5.0),
        )
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
