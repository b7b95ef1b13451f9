"""The dictionary of simulated elements describes their files correctly."""

from pathlib import Path

import pytest

from services.fetcher.assemble.batches import read_file
from services.fetcher.assemble.result import Origin
from services.fetcher.preprocess import dictionary as fetchers
from services.fetcher.preprocess.steps import Preprocessing
from shared.messages import CounterBatch
from tools.simulator.dictionary import dictionary
from tools.simulator.generate import Shape, pm_file

SHAPE = Shape(groups=7, counters=30)


@pytest.mark.parametrize("system", ["4ga", "5ga"])
def test_every_counter_is_in_it_and_no_value_contradicts_it(system: str, tmp_path: Path) -> None:
    file = tmp_path / "dictionary.yaml"
    file.write_bytes(dictionary(SHAPE, system))
    preprocessing = Preprocessing(dictionary=fetchers.read_dictionary([file]))
    parsed = read_file(
        pm_file(SHAPE, system, "e-1", 1_700_000_100, "").xml,
        Origin(system, "0" * 16, "e-1", 1),
        preprocessing=preprocessing,
    )
    batches = [CounterBatch.decode(batch.value) for batch in parsed.batches]
    assert all(set(batch.counters) == set(batch.types) == set(batch.units) for batch in batches)
    assert "dBm" in batches[0].units.values() or system == "4ga"
    assert parsed.counts.mistyped == {}
