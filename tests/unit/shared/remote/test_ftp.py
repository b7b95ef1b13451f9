import fcntl
import ftplib
import resource
import socket
from collections.abc import Iterator

import pytest

from shared.remote.ftp import FtpSession


@pytest.fixture
def many_files() -> Iterator[None]:
    """Lets the process open more files than `select.select` can watch."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip("the hard limit of open files is too low")
    if soft != resource.RLIM_INFINITY and soft < 2048:
        resource.setrlimit(resource.RLIMIT_NOFILE, (2048, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_an_idle_session_with_a_high_file_descriptor_is_alive_until_its_server_closes_it(many_files: None) -> None:
    here, server = socket.socketpair()
    client = ftplib.FTP()
    client.sock = socket.socket(fileno=fcntl.fcntl(here.fileno(), fcntl.F_DUPFD, 1024))
    here.close()
    session = FtpSession(client, timeout_s=1.0)
    assert session.alive()
    server.close()
    assert not session.alive()
    client.sock.close()
    assert not session.alive()
