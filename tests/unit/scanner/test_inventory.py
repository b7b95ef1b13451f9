from pathlib import Path
from typing import Any

import pytest

from services.scanner.inventory import Inventory, rolled_out
from shared.settings import BadSettings, System

ELEMENTS = {f"enb-{n}": n for n in range(1000)}


def test_a_share_takes_about_that_many_elements_and_a_larger_share_contains_a_smaller_one() -> None:
    small = rolled_out(System(name="4ga", rollout=("10%",)), ELEMENTS)
    large = rolled_out(System(name="4ga", rollout=("30%",)), ELEMENTS)
    assert 70 < len(small) < 130
    assert 250 < len(large) < 350
    assert small.keys() <= large.keys()
    assert rolled_out(System(name="4ga"), ELEMENTS) == ELEMENTS
    assert rolled_out(System(name="4ga", rollout=("0%",)), ELEMENTS) == {}


def test_a_list_takes_elements_by_name_and_an_unknown_name_is_rejected() -> None:
    assert rolled_out(System(name="4ga", rollout=("enb-7", "enb-3")), ELEMENTS) == {"enb-7": 7, "enb-3": 3}
    with pytest.raises(BadSettings, match="'enb-x'"):
        rolled_out(System(name="4ga", rollout=("enb-x",)), ELEMENTS)


@pytest.mark.parametrize("rollout", [("101%",), ("ten%",), ("10%", "enb-1")])
def test_an_invalid_share_is_rejected(rollout: tuple[str, ...]) -> None:
    with pytest.raises(BadSettings, match="rollout"):
        System(name="4ga", rollout=rollout)


def test_an_invalid_change_of_the_file_keeps_the_last_valid_elements(tmp_path: Path) -> None:
    file = tmp_path / "4ga.yaml"
    inventory = Inventory(System(name="4ga", inventory=str(file)))
    with pytest.raises(BadSettings):
        inventory.current()
    file.write_text("- {name: a}")
    assert list(inventory.current()) == ["a"]
    file.write_text("- {name: a, hots: b}")
    assert list(inventory.current()) == ["a"]
    file.write_text("- {name: b}")
    assert list(inventory.current()) == ["b"]


def refused(tmp_path: Path, directory: str, **settings: Any) -> bool:
    file = tmp_path / "4ga.yaml"
    file.write_text(f"- {{name: a, directory: {directory!r}}}")
    try:
        Inventory(System(name="4ga", inventory=str(file), **settings)).read()
    except BadSettings as error:
        return "would be collected again" in str(error)
    return False


@pytest.mark.parametrize(
    ("directory", "depth", "done", "is_refused"),
    [
        ("/pm", 0, "/pm", True),
        ("/pm/", 0, "/pm/", True),
        ("/pm", 1, "/pm/done", True),
        ("/pm", 0, "/pm/done", False),  # not listed
        ("/pm", 1, "/pm/done/%Y", False),
        ("/pm", 2, "/pm/done/%Y", True),
        ("/", 1, "/done", True),
        ("/pm", 5, "/pm2/done", False),
        ("/pm,/other", 1, "/other/done", True),
        ("/pm/%Y%m%d", 0, "/pm/%Y%m%d", True),
        ("/pm/%Y%m%d", 0, "/pm/%Y%m%d/done", False),
        ("/pm/%Y%m%d", 1, "/pm/%Y%m%d/done", True),
        ("/pm", 3, "done", False),  # skipped
        ("/pm", 3, "done/%Y%m%d", False),
        ("/pm,/pm/done", 0, "done", True),
        ("/pm,/pm/done", 0, "done/%Y%m%d", False),
    ],
)
def test_a_directory_of_finished_files_that_is_listed_is_refused(
    tmp_path: Path, directory: str, depth: int, done: str, is_refused: bool
) -> None:
    assert refused(tmp_path, directory, depth=depth, done_directory=done) is is_refused
    assert refused(tmp_path, directory, depth=depth, error_directory=done, done_directory="x") is is_refused
    assert not refused(tmp_path, directory, depth=depth, done_directory=done, on_done="leave")


def test_a_change_that_would_list_finished_files_keeps_the_last_valid_elements(tmp_path: Path) -> None:
    file = tmp_path / "4ga.yaml"
    inventory = Inventory(System(name="4ga", inventory=str(file), done_directory="/archive"))
    file.write_text("- {name: a, directory: /pm}")
    assert list(inventory.current()) == ["a"]
    file.write_text("- {name: b, directory: /archive}")
    assert list(inventory.current()) == ["a"]
