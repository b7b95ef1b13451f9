"""The doctor's judgement: each thing is broken once, and the finding names it and the remedy."""

import resource
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from services.fetcher.operate import FetcherSettings
from services.mysql_writer.operate import Mysql
from services.scanner.operate import ScanSummary, SystemState
from shared import topics
from shared.configuration.kafka import Kafka
from shared.errors import Unreachable
from shared.kafka.cluster import Granted
from shared.rights import JOINED_GROUPS, Right, rights
from shared.settings import Schedule, Settings, load
from tools.cli.doctor import clickhouse, mysql
from tools.cli.doctor.access import is_granted
from tools.cli.doctor.brokers import kafka_version_finding, protection
from tools.cli.doctor.clocks import clock_finding
from tools.cli.doctor.command import AREAS, report_lines
from tools.cli.doctor.configuration import check_settings
from tools.cli.doctor.findings import Area, Finding, Installation, examine
from tools.cli.doctor.groups import lag, lag_findings, topics_read_by
from tools.cli.doctor.leadership import findings_of_system
from tools.cli.doctor.machine import files_finding, files_needed, parser_findings
from tools.cli.doctor.topics import problems_of
from tools.cli.main import app

COUNTERS = topics.counters_topic("4ga")
NOW_S = 1_800_000_000.0


def as_seen(topic: topics.Topic, **changed: Any) -> Granted:
    return replace(Granted(replicas=(3,) * topic.partitions, in_sync=(3,) * topic.partitions), **changed)


def config(topic: topics.Topic, **changed: str) -> Mapping[str, str]:
    found = {**topic.config, "min.insync.replicas": "2", "retention.bytes": "-1"}
    return found | {name.replace("_", "."): value for name, value in changed.items()}


@pytest.mark.parametrize("topic", topics.provisioned(["4ga"]), ids=lambda topic: str(topic.name))
def test_a_topic_as_pmflow_creates_it_has_no_problem(topic: topics.Topic) -> None:
    assert list(problems_of(topic, as_seen(topic), config(topic))) == []


@pytest.mark.parametrize(
    ("topic", "seen", "has", "severity", "found", "remedy"),
    [
        (COUNTERS, None, {}, "error", "does not exist", "pmflow topics create"),
        (COUNTERS, Granted(), {}, "error", "no right to see", "pmflow topics acls"),
        (COUNTERS, {"replicas": (3,) * 11, "in_sync": (3,) * 11}, {}, "error", "11 partitions instead of 12", "delete"),
        (COUNTERS, {"in_sync": (0, *(3,) * 11)}, {}, "error", "1 partitions without a leader", "start the broker"),
        (COUNTERS, {"in_sync": (1, *(3,) * 11)}, {}, "error", "only 1 replicas in sync of the 2", "missing brokers"),
        (COUNTERS, {"in_sync": (2,) * 12}, {}, "warning", "only 2 of 3 replicas in sync", "missing brokers"),
        (COUNTERS, {"replicas": (1,) * 12, "in_sync": (1,) * 12}, {"min_insync_replicas": "1"}, "warning",
         "1 replica", "default.replication.factor=3"),
        (COUNTERS, {}, {"min_insync_replicas": "1"}, "warning", "min.insync.replicas is 1", "min.insync.replicas=2"),
        (COUNTERS, {}, {"min_insync_replicas": "3"}, "warning", "as many as there are", "min.insync.replicas=2"),
        (COUNTERS, {}, {"unclean_leader_election_enable": "true"}, "warning", "unclean", "enable=false"),
        (COUNTERS, {}, {"cleanup_policy": "compact"}, "error", "cleanup.policy is compact", "cleanup.policy=[delete]"),
        (topics.FILES_STATUS, {}, {"cleanup_policy": "delete"}, "error", "instead of compact,delete", "cleanup.policy"),
        (COUNTERS, {}, {"retention_ms": "172800000"}, "warning", "2 days instead of for 7 days", "retention.ms=6048"),
        (COUNTERS, {}, {"retention_ms": "3600000"}, "error", "1 hours instead", "retention.ms=604800000"),
        (topics.TRACKER_TABLES[0], {}, {"retention_ms": "604800000"}, "error", "without limit", "retention.ms=-1"),
        (COUNTERS, {}, {"retention_bytes": "1000000"}, "warning", "1,000,000 bytes", "retention.bytes=-1"),
        (COUNTERS, {}, {"max_message_bytes": "1048588"}, "error", "max.message.bytes", "max.message.bytes=1100000"),
        (topics.FILES_STATUS, {}, {"segment_bytes": "1073741824"}, "warning", "compaction", "segment.bytes=67108864"),
    ],
)  # fmt: skip
def test_each_problem_of_a_topic_is_found_with_its_remedy(  # noqa: PLR0917
    topic: topics.Topic, seen: Any, has: dict[str, str], severity: str, found: str, remedy: str
) -> None:
    known = as_seen(topic, **seen) if isinstance(seen, dict) else seen
    (problem,) = problems_of(topic, known, config(topic, **has))
    assert problem.severity == severity
    assert found in problem.found
    assert remedy in problem.remedy
    assert problem.meaning


def test_a_configuration_that_the_login_may_not_read_is_a_warning() -> None:
    (problem,) = problems_of(COUNTERS, as_seen(COUNTERS), None)
    assert (problem.severity, "DescribeConfigs" in problem.remedy) == ("warning", True)


@pytest.mark.parametrize(
    ("brokers", "severity"),
    [
        (Kafka(bootstrap_servers="localhost:9092,127.0.0.1:9093,[::1]:9094"), "ok"),
        (Kafka(bootstrap_servers="localhost:9092,kafka-1:9092"), "warning"),
        (Kafka(bootstrap_servers="10.0.0.1:9093", security_protocol="ssl"), "ok"),
        (Kafka(bootstrap_servers="10.0.0.1:9093", security_protocol="sasl_plaintext", sasl_mechanism="PLAIN",
               username="x"), "warning"),
        (Kafka(bootstrap_servers="10.0.0.1:9093", security_protocol="ssl",
               properties={"enable.ssl.certificate.verification": "false"}), "warning"),
    ],
)  # fmt: skip
def test_a_connection_that_others_can_read_is_a_warning(brokers: Kafka, severity: str) -> None:
    assert protection(brokers).severity == severity


@pytest.mark.parametrize(("produce", "fetch", "severity"), [(3, 6, "error"), (7, 11, "warning"), (13, 18, "ok")])
def test_an_old_kafka_is_told_by_the_requests_that_it_accepts(produce: int, fetch: int, severity: str) -> None:
    assert kafka_version_finding({0: produce, 1: fetch}).severity == severity


def test_a_right_is_granted_by_itself_by_a_prefix_and_by_one_that_implies_it() -> None:
    needed = Right("topic", "pm.cycles", "Describe")
    assert not is_granted(needed, [Right("group", "pm.cycles", "Describe"), Right("topic", "pm.cyc", "Describe")])
    for granted in (needed, Right("topic", "pm.cycles", "Read"), Right("topic", "", "Write", is_prefix=True)):
        assert is_granted(needed, [granted])
    of_all = Right("topic", "pm.counters.", "Read", is_prefix=True)
    assert not is_granted(of_all, [replace(of_all, is_prefix=False)])
    assert all(is_granted(right, rights("tracker")) for right in rights("tracker"))


def test_every_group_that_a_service_joins_is_looked_at(tmp_path: Path) -> None:
    groups = topics_read_by(configured(tmp_path, **{"4ga": {"isUsingClickhouse": True}}))
    assert groups.keys() == {group for joined in JOINED_GROUPS.values() for group in joined}


def test_lag_counts_what_is_left_to_read() -> None:
    assert lag({0: 5, 1: -1}, {0: 0, 1: 3}, {0: 8, 1: 10}) == 3 + 7


@pytest.mark.parametrize(
    ("committed", "found"),
    [(90, "removed before they were read"), (150, "more than half of the retention"), (200, ""), (250, "")],
)
def test_a_group_that_loses_records_or_soon_will_is_an_error(committed: int, found: str) -> None:
    findings = list(lag_findings("pmflow-mysql-writer", COUNTERS, {0: committed}, {0: 100}, {0: 200}))
    assert [one.severity for one in findings] == (["error"] if found else [])
    assert all(found in one.found for one in findings)


def state(kind: Any, **fields: Any) -> SystemState:
    return SystemState(**{"system": "4ga", "scanner": "s1", "state": kind, "since_s": NOW_S - 9000, **fields})


@pytest.mark.parametrize(
    ("states", "severities", "found"),
    [
        ([], ["warning"], "no scanner runs"),
        ([state("standby")], ["warning"], "1 scanners stand by"),
        ([state("failed", reason="KeyError('x')")], ["error", "warning"], "KeyError"),
        ([state("leading", scanned_s=NOW_S - 100, scan=ScanSummary(elements=2))], ["ok"], "s1 leads"),
        ([state("leading", scanned_s=NOW_S - 100, scan=ScanSummary(elements=2, unreachable=1))], ["warning"],
         "1 of 2 elements did not answer"),
        ([state("leading", scanned_s=NOW_S - 8000)], ["warning"], "overdue"),
        ([state("leading", reason="no inventory")], ["error"], "no inventory"),
        ([state("leading", scanned_s=NOW_S), state("leading", scanner="s2", scanned_s=NOW_S)],
         ["warning", "ok", "ok"], "s1, s2 lead"),
    ],
)  # fmt: skip
def test_the_leadership_of_a_system_is_judged_by_what_scanners_report(
    states: list[SystemState], severities: list[str], found: str
) -> None:
    findings = list(findings_of_system("4ga", states, Schedule(), NOW_S))
    assert [one.severity for one in findings] == severities
    assert found in findings[0].found


HEALTHY = {
    "version": "8.0.36", "max_allowed_packet": 64 << 20, "read_only": 0, "innodb_flush_log_at_trx_commit": 1,
    "system_time_zone": "UTC", "datadir": "/var/lib/mysql/", "max_connections": 151,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "severity", "found", "remedy"),
    [
        ({"version": "5.7.44-log"}, "error", "MySQL 5.7", "update MySQL"),
        ({"version": "10.3.39-MariaDB"}, "error", "MariaDB 10.3", "update MariaDB"),
        ({"max_allowed_packet": 1 << 20}, "error", "max_allowed_packet is 1,048,576", "SET PERSIST max_allowed_packet"),
        ({"max_allowed_packet": 4 << 20}, "warning", "max_allowed_packet is 4,194,304", "SET PERSIST"),
        ({"read_only": 1}, "error", "read-only", "primary"),
        ({"innodb_flush_log_at_trx_commit": 2}, "warning", "innodb_flush_log_at_trx_commit is 2", "SET PERSIST"),
    ],
)
def test_each_variable_of_mysql_that_harms_is_found(changed: Any, severity: str, found: str, remedy: str) -> None:
    assert {one.severity for one in mysql.variable_findings(HEALTHY, Mysql())} == {"ok"}
    (problem,) = (one for one in mysql.variable_findings({**HEALTHY, **changed}, Mysql()) if one.severity != "ok")
    assert problem.severity == severity
    assert found in problem.found
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    ("grants", "exists", "severity", "found"),
    [
        (["GRANT ALL PRIVILEGES ON `pmflow`.* TO `x`@`%`"], True, "ok", "exists"),
        (["GRANT ALL PRIVILEGES ON *.* TO `x`@`%` WITH GRANT OPTION"], False, "ok", "will be created"),
        (["GRANT USAGE ON *.* TO `x`@`%`"], False, "error", "does not exist"),
        (["GRANT SELECT, INSERT ON `pmflow`.* TO `x`@`%`"], True, "error", "lacks in 'pmflow': ALTER, CREATE"),
        (["GRANT SELECT ON `other`.* TO `x`@`%`", "GRANT `writer`@`%` TO `x`@`%`"], True, "warning", "has roles"),
        (["GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP ON `pm\\_f%`.* TO x"], False, "error", "pmflow"),
        (["GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP ON `pmf%`.* TO x"], True, "warning", "VIEW"),
    ],
)
def test_rights_that_are_missing_in_mysql_are_named(
    grants: list[str], *, exists: bool, severity: str, found: str
) -> None:
    (finding,) = mysql.database_findings(Mysql(), grants, exists=exists)
    assert finding.severity == severity
    assert found in finding.found


def test_rights_in_clickhouse_are_read_with_their_groups() -> None:
    missing = clickhouse.CLICKHOUSE_RIGHTS - clickhouse.clickhouse_granted(["GRANT SELECT, CREATE ON pm.* TO x"], "pm")
    assert missing == {
        "INSERT", "DROP VIEW", "ALTER ADD COLUMN", "ALTER MODIFY COLUMN", "ALTER DELETE", "ALTER TTL",
    }  # fmt: skip
    least = f"GRANT {', '.join(clickhouse.CLICKHOUSE_RIGHTS)} ON pm.* TO x"
    assert clickhouse.clickhouse_granted([least], "pm") == clickhouse.CLICKHOUSE_RIGHTS
    by_group = clickhouse.clickhouse_granted(["GRANT ALTER COLUMN ON pm.* TO x"], "pm")
    assert by_group == {"ALTER ADD COLUMN", "ALTER MODIFY COLUMN"}
    assert clickhouse.clickhouse_granted(["GRANT ALL ON *.* TO x"], "pm") >= clickhouse.CLICKHOUSE_RIGHTS
    assert clickhouse.clickhouse_granted(["GRANT ALL ON other.* TO x"], "pm") == set()
    assert clickhouse.clickhouse_version_finding("23.8.1").severity == "warning"


def test_a_disk_that_is_nearly_full_is_a_warning() -> None:
    assert mysql.space_finding("MySQL", 100 << 30, 50 << 30).severity == "ok"
    assert mysql.space_finding("MySQL", 100 << 30, 5 << 30).severity == "warning"


@pytest.mark.parametrize(
    ("skew_s", "severity", "found"),
    [(0, "ok", "agrees"), (20, "warning", "ahead of"), (-20, "warning", "behind"), (3600, "error", "3,600 s ahead")],
)
def test_a_clock_that_differs_is_found(skew_s: float, severity: str, found: str) -> None:
    now_s = time.time()
    finding = clock_finding("MySQL", now_s + skew_s, now_s)
    assert finding.severity == severity
    assert found in finding.found.replace("3,599", "3,600")


def test_too_few_open_files_are_an_error() -> None:
    needed = {"scanner": 1000, "fetcher": 600}
    assert files_finding(999, needed).severity == "error"
    assert files_finding(1000, needed).severity == "ok"
    assert files_finding(resource.RLIM_INFINITY, needed).severity == "ok"


def test_more_parsers_than_cores_and_too_little_memory_are_warnings() -> None:
    def severities(own: FetcherSettings, cores: int, limit_mb: int | None) -> list[str]:
        return [one.severity for one in parser_findings(own, cores, limit_mb)]

    assert severities(FetcherSettings(), 4, None) == ["ok", "ok"]
    assert severities(FetcherSettings(parsers=5), 4, None) == ["warning", "ok"]
    assert severities(FetcherSettings(), 2, 1024) == ["ok", "warning"]


def configured(folder: Path, **sections: Any) -> Settings:
    hosts = folder / "known_hosts"
    hosts.touch()
    inventory = folder / "4ga.yaml"
    inventory.write_text("[{name: enb-1, host: h, directory: /pm}, {name: enb-2, host: h, directory: /pm2}]")
    whole = {"elements": {"known-hosts": str(hosts)}, "4ga": {"inventory": str(inventory)}}
    for name, section in sections.items():
        whole[name] = {**whole.get(name, {}), **section}
    (folder / "pmflow.yaml").write_bytes(orjson.dumps(whole))
    return load((folder / "pmflow.yaml",))


def troubles(settings: Settings) -> list[Finding]:
    return [one for one in check_settings(Installation(settings=settings)) if one.severity != "ok"]


def test_a_good_configuration_has_no_trouble(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    assert troubles(settings) == []
    assert files_needed(settings) == {"scanner": 256 + 2 + 1, "fetcher": 256 + 4 + 2}


@pytest.mark.parametrize(
    ("sections", "severity", "found"),
    [
        ({"metrics": {"port": 9464}}, "error", "health.file is not"),
        ({"elements": {"known-hosts": ""}}, "error", "known-hosts"),
        ({"elements": {"known-hosts": "/nowhere"}}, "error", "'/nowhere'"),
        ({"elements": {"idle-s": 60}}, "warning", "a scan comes every 300 s"),
        ({"elements": {"timeout-s": 300}}, "warning", "scanner.listing-s only 240"),
        ({"mysql": {"prot": 3306}}, "error", "prot"),
        ({"kafka": {"security-protocol": "sasl_ssl", "sasl-mechanism": "PLAIN", "username": "x",
                    "password-file": "/nowhere"}}, "error", "/nowhere"),
        ({"kafka": {"security-protocol": "ssl", "properties": {"ssl.crl.location": "x"}}}, "error", "ssl.crl.location"),
        ({"kafka": {"security-protocol": "ssl", "ca-file": "/nowhere"}}, "error", "ca-file"),
        ({"4ga": {"pattern": "regex:("}}, "error", "pattern"),
        ({"4ga": {"counter-dictionary": "/nowhere"}}, "error", "/nowhere"),
        ({"4ga": {"rollout": "enb-9"}}, "error", "enb-9"),
    ],
)  # fmt: skip
def test_each_mistake_in_the_settings_is_found(tmp_path: Path, sections: Any, severity: str, found: str) -> None:
    (trouble,) = troubles(configured(tmp_path, **sections))
    assert trouble.severity == severity
    assert found in trouble.found


def test_a_secret_that_others_may_read_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("secret")
    (tmp_path / "word").chmod(0o644)
    settings = configured(tmp_path, mysql={"password-file": str(tmp_path / "word")})
    (warning,) = troubles(settings)
    assert (warning.severity, warning.remedy) == ("warning", f"chmod go= {tmp_path}/word")
    (tmp_path / "word").chmod(0o600)
    assert troubles(settings) == []


def test_two_systems_that_collect_the_same_files_are_a_warning(tmp_path: Path) -> None:
    twin = {"5ga": {"inventory": str(tmp_path / "4ga.yaml")}}
    warnings = troubles(configured(tmp_path, **twin))
    assert [one.severity for one in warnings] == ["warning", "warning"]
    assert "4ga/enb-1, 5ga/enb-1 collect the same files" in warnings[0].found


def test_a_configuration_without_any_system_is_a_warning() -> None:
    (warning,) = troubles(load(()))
    assert warning.severity == "warning"
    assert "PMFLOW_CONFIG" in warning.found


def good(_: Installation) -> Iterator[Finding]:
    yield Finding("ok", "good")


def test_an_area_that_fails_stops_only_those_that_need_it() -> None:
    def refused(_: Installation) -> Iterator[Finding]:
        yield Finding("ok", "began")
        raise Unreachable("no answer; start it")

    def broken(_: Installation) -> Iterator[Finding]:
        raise KeyError("x")

    areas = (Area("a", refused), Area("b", good, needs=("a",)), Area("c", good, needs=("b",)), Area("d", broken),
             Area("e", good))  # fmt: skip
    found = dict(examine(areas, Installation(settings=load(()))))
    assert list(found) == ["a", "b", "c", "d", "e"]
    assert found["a"] == [Finding("ok", "began"), Finding("error", "no answer", "", "start it")]
    assert [found[name][0].severity for name in "bcde"] == ["skipped", "skipped", "error", "ok"]
    assert "KeyError" in found["d"][0].found


def test_an_area_that_hangs_ends_in_time_and_the_others_go_on() -> None:
    never = Event()

    def hangs(_: Installation) -> Iterator[Finding]:
        yield Finding("ok", "began")
        never.wait(60)

    began_s = time.monotonic()
    areas = (Area("a", hangs, within_s=0.2), Area("b", good), Area("c", good, needs=("b",)))
    found = dict(examine(areas, Installation(settings=load(()))))
    never.set()
    assert time.monotonic() - began_s < 10
    assert [one.severity for one in found["a"]] == ["ok", "error"]
    assert "did not end within" in found["a"][1].found
    assert found["c"] == [Finding("ok", "good")]


def test_areas_need_only_those_before_them() -> None:
    names = [area.name for area in AREAS]
    for number, area in enumerate(AREAS):
        assert set(area.needs) <= set(names[:number])
        assert area.within_s <= 30


def test_a_report_fits_into_80_columns() -> None:
    finding = Finding("warning", "found " * 40, "means " * 40, "kafka-configs --alter " * 20)
    lines = list(report_lines(finding, 80))
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].startswith("  warning  found")
    assert sum(line.lstrip().startswith("-> ") for line in lines) == 1


def test_a_configuration_that_cannot_be_read_is_the_only_error(tmp_path: Path) -> None:
    env = {"PMFLOW_CONFIG": str(tmp_path / "none.yaml")}
    ran = CliRunner().invoke(app, ["doctor", "--json"], env=env)
    findings = [orjson.loads(line) for line in ran.stdout.splitlines()]
    assert ran.exit_code == 1
    assert [one["area"] for one in findings] == [area.name for area in AREAS]
    assert [one["severity"] for one in findings] == ["error", *["skipped"] * (len(AREAS) - 1)]


def test_warnings_fail_only_when_asked(tmp_path: Path) -> None:
    configured(tmp_path, elements={"idle-s": 60})
    env = {"PMFLOW_CONFIG": str(tmp_path / "pmflow.yaml")}
    command = ["doctor", "--only", "settings"]
    assert CliRunner().invoke(app, command, env=env).exit_code == 0
    ran = CliRunner().invoke(app, [*command, "--strict"], env=env)
    assert ran.exit_code == 1
    assert "0 errors, 1 warning\n" in ran.output
