from dataclasses import replace

from services.mysql_writer.settings import MysqlRules, mysql_rules
from shared.settings import System, load


def test_a_systems_section_says_how_its_counters_are_stored() -> None:
    settings = load(())
    strict = replace(settings.schedule, is_auto_adding_column=False)
    system = System(name="4ga", batch_insert_counter=False, preprocessing=("split-dn",), retention_days=9)
    found = mysql_rules(replace(settings, schedule=strict, systems=(system,)), "4ga")
    assert found == MysqlRules(add_columns=False, row_by_row=True, split_dn=True, retention_days=9)


def test_rows_of_a_removed_system_are_stored_by_the_defaults() -> None:
    assert mysql_rules(load(()), "gone") == MysqlRules()
