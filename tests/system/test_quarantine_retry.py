"""After a fix, an operator sends quarantined items through the pipeline again; nothing else changes."""

import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from services.mysql_writer.settings import mysql_of
from shared.messages import FileStatus
from shared.settings import Settings
from tests.system.conftest import begin, eventually
from tools.cli.dev.pipeline import Pipeline
from tools.cli.operate import ledger, quarantine
from tools.cli.operate.stored import in_mysql

FOREIGN = "When;Site;Requests;Successes\n18.05.2020 16:15;S1;7;6\n18.05.2020 16:15;S2;5;void\n"
PROFILE = (
    "name: foreign\nend: When\nobject: Site\ntime_format: '%d.%m.%Y %H:%M'\ndefault_period: PT15M\nmissing: void\n"
    "group_by_file_name: '([a-z]+)'\n"
)
BLOCKS = """<measCollecFile><fileHeader/><measData><managedElement localDn="M=1"/>
<measInfo measInfoId="good"><granPeriod duration="PT15M" endTime="2020-05-18T16:15:00Z"/><measTypes>a b</measTypes>
<measValue measObjLdn="C=1"><measResults>1 NIL</measResults></measValue>
<measValue measObjLdn="C=1"><measResults>1 2</measResults></measValue></measInfo>
<measInfo measInfoId="bad"><granPeriod duration="PT15M" endTime="2020-05-18T16:15:00Z"/><measTypes>a b</measTypes>
<measValue measObjLdn="C=2"><measResults>1 2 3</measResults></measValue></measInfo>
</measData></measCollecFile>
"""
"""A file with 6 values: 2 are stored, one is a duplicate, 3 are quarantined."""


PLANTED = ("foreign.csv", "blocks.xml")


class Observer:
    """Reads everything that an operator can read."""

    def __init__(self, settings: Settings, port: int) -> None:
        self.settings = settings
        self.port = port

    def files(self) -> dict[str, FileStatus]:
        """Returns the newest status of each file by name."""
        found = ledger.read_ledger(self.settings.kafka).files.values()
        return {file.path.rpartition("/")[2]: file for file in found}

    def stages(self) -> dict[str, str]:
        """Returns the stage of each planted file and of the simulated one."""
        return {name if name in PLANTED else "simulated": file.stage for name, file in self.files().items()}

    def stored(self) -> dict[str, Any]:
        """Returns the values of the planted files by group and object."""
        rows = [row for row in in_mysql(mysql_of(self.settings)) if row.key[1] in ("good", "bad", "foreign")]
        return {f"{row.key[1]} {row.key[3]}": dict(row.values) for row in rows}

    def metered(self) -> dict[tuple[str, str], float]:
        """Returns the values counted by the fetcher's metrics, by outcome and reason."""
        with urlopen(f"http://localhost:{self.port}/metrics", timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            samples = [s for family in families for s in family.samples if s.name == "pmflow_values_total"]
        return {(s.labels["outcome"], s.labels["reason"]): s.value for s in samples if s.labels["system"] == "5ga"}

    def set_aside(self) -> list[quarantine.QuarantinedItem]:
        with closing((found := quarantine.read_quarantine(self.settings)).producer):
            return sorted(found.items.values(), key=lambda item: item.what, reverse=True)

    def retry(self, item: quarantine.QuarantinedItem) -> None:
        with closing((found := quarantine.read_quarantine(self.settings)).producer):
            assert "the next scan" in found.retry(item)


def test_a_file_and_a_block_are_retried_after_a_fix_and_every_value_is_accounted_for(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    profiles, samples = tmp_path / "profiles", tmp_path / "data" / "samples"
    profiles.mkdir()
    samples.mkdir(parents=True)
    (samples / "foreign.csv").write_text(FOREIGN)
    (samples / "blocks.xml").write_text(BLOCKS)
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
    pipeline = replace(
        pipeline,
        overrides={**pipeline.overrides, "fetcher": {"profiles": [str(profiles)]}},
        ports={"fetcher": port},
    )
    settings = begin(
        pipeline, "--systems", "5ga:1", "--cycles", "1", "--cycle-s", "4", "--plant", f"{samples}=5ga/extra"
    )
    seen = Observer(settings, port)

    away = {"foreign.csv": "error", "blocks.xml": "done", "simulated": "done"}
    eventually(lambda: seen.stages() == away, 90, "all are away")
    assert "the most likely header: 'When;Site;Requests;Successes': line 1" in seen.files()["foreign.csv"].reason
    blocks = seen.files()["blocks.xml"]
    assert (blocks.values, blocks.quarantined, blocks.dropped, blocks.nulls) == (2, 3, 1, 1)
    assert blocks.reason == "duplicate value: 1; count mismatch: 3"
    before = {"good C=1": {"a": 1, "b": 2}}
    assert seen.stored() == before
    told = {("quarantined", "count mismatch"): 3, ("dropped", "duplicate value"): 1}
    assert told.items() <= seen.metered().items()

    file, block = seen.set_aside()
    assert (file.what, block.what, block.reason) == ("file", "block", "count mismatch")

    seen.retry(file)
    eventually(lambda: len(seen.set_aside()) == 2, 60, "nothing was mended: it is set aside again, once")
    eventually(lambda: seen.stages()["foreign.csv"] == "error", 60, "and away")
    (profiles / "foreign.yaml").write_text(PROFILE)
    pipeline.process("fetcher").stop()
    pipeline.start(["fetcher"])
    seen.retry(next(item for item in seen.set_aside() if item.what == "file"))
    eventually(lambda: seen.stages()["foreign.csv"] == "done", 60, "the file is done")
    sites = {"foreign S1": {"Requests": 7, "Successes": 6}, "foreign S2": {"Requests": 5}}
    assert seen.stored() == before | sites
    assert seen.metered()["value", ""] == 3
    assert [item.what for item in seen.set_aside()] == ["block"]

    seen.retry(block)
    eventually(lambda: seen.stages()["blocks.xml"] != "done", 60, "its whole file is announced again")
    eventually(lambda: seen.stages()["blocks.xml"] == "done", 60, "and done again")
    assert seen.stored() == before | sites
    again = seen.files()["blocks.xml"]
    assert (again.file_id, again.values, again.quarantined) == (blocks.file_id, 2, 3)
    assert seen.metered() == {**told, ("value", ""): 5, ("null", ""): 2}
    (left,) = seen.set_aside()
    assert (left.what, left.reason, left.id != block.id) == ("block", "count mismatch", True)
