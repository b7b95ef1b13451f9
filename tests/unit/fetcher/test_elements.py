"""The fetcher knows a file's element as the inventory describes it now."""

from dataclasses import replace
from pathlib import Path

import pytest

from services.fetcher.elements import ConfiguredElements
from shared.errors import Unreachable
from shared.messages import FileFound
from shared.settings import load

FILE = FileFound(file_id="0" * 16, system="4ga", endpoint="e1", element="e1", path="/pm/A", size=1, mtime_s=2, epoch=3)


def test_the_aliases_of_a_files_element_are_those_of_the_inventory_as_it_is_now(tmp_path: Path) -> None:
    inventory, config = tmp_path / "4ga.yaml", tmp_path / "pmflow.yaml"
    config.write_text(f"4ga: {{inventory: {inventory}}}")
    inventory.write_text("- {name: e1, aliases: 'M=1,GNB-1'}\n- {name: e2}\n")
    elements = ConfiguredElements(lambda: load((config,)))
    assert elements.aliases(FILE) == {"M=1": "e1", "GNB-1": "e1"}
    inventory.write_text("- {name: e1}\n")
    elements.forget()
    assert elements.aliases(FILE) == {}
    inventory.write_text("- {name: e2}\n")
    elements.forget()
    with pytest.raises(Unreachable, match="'e1'"):
        elements.aliases(FILE)
    elements.close()


def test_an_element_that_was_added_is_found_at_once_and_one_that_is_unknown_ends_nothing(tmp_path: Path) -> None:
    inventory, config = tmp_path / "4ga.yaml", tmp_path / "pmflow.yaml"
    config.write_text(f"4ga: {{inventory: {inventory}}}")
    inventory.write_text("- {name: e2}\n")
    elements = ConfiguredElements(lambda: load((config,)))
    with pytest.raises(Unreachable, match="'e1'"):
        elements.zone(FILE)
    inventory.write_text("- {name: e1}\n- {name: e2}\n")
    assert elements.zone(FILE).key == "UTC"
    elements.close()


def test_a_files_zone_is_that_of_its_element(tmp_path: Path) -> None:
    inventory, config = tmp_path / "4ga.yaml", tmp_path / "pmflow.yaml"
    config.write_text(f"4ga: {{inventory: {inventory}}}")
    inventory.write_text("- {name: e1, time-zone: Europe/Rome}\n")
    elements = ConfiguredElements(lambda: load((config,)))
    for mtime_s in (0, -62_135_596_800, 253_402_300_799, 2**42):
        assert elements.zone(replace(FILE, mtime_s=mtime_s)).key == "Europe/Rome"
    elements.close()


def test_elements_behind_one_address_have_one_host_and_those_on_the_own_disk_one_each(tmp_path: Path) -> None:
    inventory, config = tmp_path / "4ga.yaml", tmp_path / "pmflow.yaml"
    config.write_text(f"4ga: {{inventory: {inventory}}}")
    inventory.write_text("- {name: e1, host: oss}\n- {name: e2, host: oss}\n- {name: e3, protocol: local}\n")
    elements = ConfiguredElements(lambda: load((config,)))
    hosts = [elements.host(replace(FILE, endpoint=name)) for name in ("e1", "e2", "e3", "unknown")]
    assert hosts == ["oss:22", "oss:22", "4ga/e3", "4ga/unknown"]
    assert elements.host(replace(FILE, system="removed")) == "removed/e1"
    inventory.write_text("- {name: e1, host: alone}\n")
    elements.refresh()
    assert elements.host(FILE) == "alone:22"
    elements.close()
