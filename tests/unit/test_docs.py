"""What can be generated is, and is fresh."""

from pathlib import Path

import pytest

from tools.cli.docs import pages

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", pages())
def test_a_generated_page_is_fresh(page: str) -> None:
    assert (DOCS / page).read_text() == pages()[page], "run: pmflow docs"
