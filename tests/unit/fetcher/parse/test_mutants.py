"""Damaged files of all kinds are read or refused with our words, and alike by the lane and by expat."""

import pytest

from services.fetcher.assemble.batches import RAW
from services.fetcher.preprocess.steps import Preprocessing
from tests import mutants


def test_the_samples_themselves_are_read() -> None:
    outcomes = [mutants.outcome(sample, RAW) for sample in mutants.samples()]
    assert outcomes.count("read") > 20
    assert outcomes.count("BadFile") < 5


@pytest.mark.parametrize("seed", range(4))
def test_mutants_are_read_or_refused_in_our_words(seed: int) -> None:
    """`python -m tests.mutants 200000` takes about two minutes."""
    outcomes = mutants.check(1500, seed, compared=2)
    assert set(outcomes) == {"read", "set aside in part", "no values", "BadFile", "Incomplete"}
    assert outcomes["read"] + outcomes["set aside in part"] > 400


def test_an_error_that_nobody_planned_for_is_shown_with_its_mutant() -> None:
    def broken(data: bytes, _: Preprocessing) -> str:
        return {b"": "read"}[data]

    with pytest.raises(AssertionError, match="mutant 0 of seed 1: KeyError"):
        mutants.check(1, 1, read=broken)
