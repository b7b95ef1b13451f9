"""The real servers, started once for all tests that ask for them; free ports, stopped by their process ids."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.health import OBSTACLES
from tests.integration import mariadb
from tools.devstack import stack as devstack


@pytest.fixture(autouse=True)
def no_obstacles() -> None:
    """Forgets what tests before this one reported as parts of a service."""
    OBSTACLES.reasons.clear()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[devstack.Stack]:
    """Kafka, ZooKeeper, MySQL and the ClickHouse engine."""
    home: Path = tmp_path_factory.mktemp("stack")
    try:
        yield devstack.up(home)
    finally:
        devstack.down(home)


@pytest.fixture(scope="session")
def mariadb_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """MariaDB, where it is installed."""
    with mariadb.served(tmp_path_factory.mktemp("mariadb")) as port:
        yield port
