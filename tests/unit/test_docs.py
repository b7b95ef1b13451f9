"""What can be generated is, and is fresh."""

from pathlib import Path

from shared import topics

DOCS = Path(__file__).parents[2] / "docs"


def test_the_reference_of_the_topics_is_fresh() -> None:
    assert (DOCS / "topics.md").read_text() == topics.reference(), "run: pmflow topics docs"
