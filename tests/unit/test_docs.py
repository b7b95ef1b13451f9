"""What can be generated is, and is fresh; examples are such as can be used."""

import re
from pathlib import Path

import pytest

from shared.inventory import endpoints
from shared.settings import System
from tools.cli.docs import pages

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", pages())
def test_a_generated_page_is_fresh(page: str) -> None:
    assert (DOCS / page).read_text() == pages()[page], "run: pmflow docs"


def test_the_examples_of_inventories_can_be_used(tmp_path: Path) -> None:
    examples = [
        example
        for page in (DOCS.parent / "README.md", DOCS / "collecting.md")
        for example in re.findall(r"```yaml\n(- .*?)```", page.read_text(), re.DOTALL)
    ]
    assert len(examples) == 2
    for number, example in enumerate(examples):
        (tmp_path / f"{number}.yaml").write_text(example)
        assert len(endpoints(System(name="4ga", inventory=str(tmp_path / f"{number}.yaml")))) >= 2001
