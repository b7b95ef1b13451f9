import re

import pytest

from services.ch_bridge import cycles, statements
from services.ch_bridge.statements import Column, Table, Where, quoted, steps, string

CLUSTER = Where("pm", "ReplicatedReplacingMergeTree")


def table(*columns: str, days: int = 0, is_there: bool = True, viewed: tuple[str, ...] | None = ()) -> Table:
    in_view = None if viewed is None else dict.fromkeys(viewed, "number")
    return Table("s_G", "G", {c: Column("number") for c in columns}, days, is_there, in_view)  # type: ignore[arg-type]


NONE = table(is_there=False, viewed=None)


def test_a_table_is_made_with_its_columns_and_then_its_view_of_what_is_there_by_then() -> None:
    create, alter = steps(NONE, table("a", days=30), Where())
    assert create.startswith("CREATE TABLE IF NOT EXISTS `s_G_rows` (")
    assert "ENGINE = ReplacingMergeTree PARTITION BY" in create
    assert "TTL ts + INTERVAL 30 DAY SETTINGS" in create
    assert create.endswith("COMMENT 'G'")
    assert alter == "ALTER TABLE `s_G_rows` ADD COLUMN IF NOT EXISTS `a` Nullable(Float64) CODEC(ZSTD(1))"
    (view,) = steps(table("a", "of another", viewed=None), table(), Where())
    assert view.startswith("CREATE OR REPLACE VIEW `s_G` AS SELECT")
    assert "AS `a`" in view
    assert "AS `of another`" in view
    assert steps(table("a", viewed=("a",)), table(), Where()) == []


def test_a_view_that_lacks_a_column_or_has_one_of_another_type_is_made_again() -> None:
    assert steps(table("a", "b", viewed=("a",)), table(), Where())
    widened = Table("s_G", "G", {"a": Column("text")}, in_view={"a": "number"})
    assert steps(widened, table(), Where())


def test_all_changes_of_a_table_are_one_statement() -> None:
    wanted = Table("s_G", "G", {"a": Column("text"), "b": Column("integer", "it's, octets")}, 7)
    (alter,) = steps(table("a", viewed=("a",)), wanted, Where())
    assert alter == (
        "ALTER TABLE `s_G_rows` MODIFY COLUMN `a` Nullable(String), "
        "ADD COLUMN IF NOT EXISTS `b` Nullable(Int64) COMMENT 'it\\'s, octets' CODEC(ZSTD(1)), "
        "MODIFY TTL ts + INTERVAL 7 DAY"
    )


def test_a_retention_that_ends_is_removed() -> None:
    assert steps(table(days=7), table(), Where()) == ["ALTER TABLE `s_G_rows` REMOVE TTL"]


def test_in_a_cluster_every_statement_is_for_all_its_servers_and_every_engine_replicates() -> None:
    told = [
        statements.database("pm", CLUSTER),
        statements.objects(CLUSTER),
        *steps(NONE, table("a"), CLUSTER),
        *steps(table("a"), table(), CLUSTER),
        *cycles.statements(CLUSTER),
    ]
    assert len(told) == 8
    for statement in told:
        assert " ON CLUSTER `pm` " in statement + " "
        assert not re.search(r"ENGINE = (?!Replicated)", statement)


@pytest.mark.parametrize("name", ["a`b", "a\\b", "a'b", "%s", "{a:String}"])
def test_names_and_texts_end_where_they_should(name: str) -> None:
    assert quoted(name).replace("\\`", "").replace("\\\\", "").count("`") == 2
    assert string(name).replace("\\'", "").replace("\\\\", "").count("'") == 2


def test_what_the_server_says_of_a_table_is_read() -> None:
    rows = [("ts", "DateTime('UTC')", ""), ("a", "Nullable(Float64)", "s"), ("b", "Nullable(String)", "")]
    found = statements.table("s_G", "G", [("ReplacingMergeTree TTL ts + toIntervalDay(3)",)], rows, rows[:2])
    assert found == Table(
        "s_G", "G", {"a": Column("number", "s"), "b": Column("text")}, 3, is_there=True, in_view={"a": "number"}
    )
    assert statements.table("s_G", "G", [], [], []) == NONE
