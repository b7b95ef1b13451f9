"""An element behind each protocol, on a real server whose folder the test can see, and a session with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.remote.service_manager import open_session
from shared.remote.session import Session
from tests.fakes.elements import PROTOCOLS, Element


@pytest.fixture(params=PROTOCOLS)
def element(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Element]:
    root, keys = tmp_path / "root", tmp_path / "keys"
    (root / "pm").mkdir(parents=True)
    keys.mkdir()
    with PROTOCOLS[request.param](root, keys) as served:
        yield served


@pytest.fixture
def session(element: Element) -> Iterator[Session]:
    made = open_session(element.endpoint, element.settings)
    yield made
    made.close()
