from services.mysql_writer.ddl import CounterColumn
from services.mysql_writer.views import create_view


def test_a_view_shows_the_object_by_name_and_the_counters_of_all_tables() -> None:
    columns = [CounterColumn("4ga_g", "a", "number"), CounterColumn("4ga_g_part2", "Cell", "number")]
    assert create_view("4ga_g_all", "4ga_g", columns, ["Cell", "ENodeB"]) == (
        "CREATE OR REPLACE VIEW `4ga_g_all` AS SELECT `4ga_g`.ts AS ts, pm_object.element AS element, "
        "pm_object.ldn AS object, pm_object.`Cell` AS `_Cell`, pm_object.`ENodeB` AS `ENodeB`, "
        "`4ga_g`.gp_s AS gp_s, `4ga_g`.suspect AS suspect, `4ga_g`.ver AS ver, `4ga_g`.obj AS obj, "
        "`4ga_g`.`a` AS `a`, `4ga_g_part2`.`Cell` AS `Cell` "
        "FROM `4ga_g` LEFT JOIN `4ga_g_part2` USING (ts, obj, gp_s) JOIN pm_object ON pm_object.id = `4ga_g`.obj"
    )
