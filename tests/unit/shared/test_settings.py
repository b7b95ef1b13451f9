from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from traceback import format_exception
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mysql_writer.settings import MysqlWriterSettings, mysql_of
from services.scanner.settings import zookeeper_of
from shared.configuration.layers import read_layers
from shared.configuration.resolve import checked, resolve
from shared.inventory import Endpoint
from shared.settings import SECTIONS, STEPS, BadSettings, Schedule, Settings, System, load
from tools.cli.dev.docs import OWN_SECTIONS

NAMED = (System, Endpoint)
USERS = """
spring:
  pm:
    cron:
      schedule-scan: "50 */5 * * * *"
    immediate-run-delay: 10
    is-preprocessing-data: true
    is-auto-adding-column: true
zookeeper:
  connectionString: "localhost:2181"
4ga: {consumerThreads: 20, batchInsertCounter: true, isUsingClickhouse: true}
5ga: {consumerThreads: 15, batchInsertCounter: true, isUsingClickhouse: false}
"""


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PMFLOW_CONFIG", raising=False)


def read(folder: Path, *texts: str) -> Settings:
    files = []
    for number, text in enumerate(texts):
        file = folder / f"{number}.yaml"
        file.write_text(text)
        files.append(file)
    return load(tuple(files))


def test_the_users_yaml_loads_as_it_is(tmp_path: Path) -> None:
    settings = read(tmp_path, USERS)
    assert settings.schedule.schedule_scan == "50 */5 * * * *"
    assert settings.schedule.immediate_run_delay_s == 10.0
    assert settings.schedule.is_auto_adding_column
    assert zookeeper_of(settings).connection_string == "localhost:2181"
    four, five = settings.systems
    assert (four.name, four.consumer_threads, four.is_using_clickhouse) == ("4ga", 20, True)
    assert (five.name, five.consumer_threads, five.is_using_clickhouse) == ("5ga", 15, False)
    assert five.complete_on == ("mysql",)


def test_a_later_file_overrides_and_adds(tmp_path: Path) -> None:
    settings = read(tmp_path, USERS, "4ga: {inventory: /e.yaml}\nspring: {pm: {immediate-run-delay: 1}}\n")
    assert settings.systems[0].inventory == "/e.yaml"
    assert settings.systems[0].consumer_threads == 20
    assert settings.schedule.immediate_run_delay_s == 1.0
    assert settings.schedule.schedule_scan == "50 */5 * * * *"


def test_the_environment_overrides_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMFLOW_MYSQL__PASSWORD", "12345")
    monkeypatch.setenv("PMFLOW_KAFKA__BOOTSTRAP_SERVERS", "k:1")
    settings = read(tmp_path, USERS, "kafka: {bootstrap-servers: 'other:9'}\n")
    assert mysql_of(settings).password == "12345"
    assert settings.kafka.bootstrap_servers == "k:1"


@pytest.mark.parametrize(
    ("own", "wanted", "steps"),
    [
        ("", "true", STEPS),
        ("", "false", ()),
        ("preprocessing: [split-dn]", "false", ("split-dn",)),
        ("preprocessing: []", "true", ()),
        ("preprocessing: 'units,element-alias'", "true", ("units", "element-alias")),
    ],
)
def test_a_system_has_all_steps_of_preprocessing_or_none_or_its_own(
    tmp_path: Path, own: str, wanted: str, steps: tuple[str, ...]
) -> None:
    settings = read(tmp_path, f"spring: {{pm: {{is-preprocessing-data: {wanted}}}}}", f"4ga: {{{own}}}")
    assert settings.systems[0].preprocessing == steps


def everything(folder: Path, text: str) -> None:
    """Reads a configuration as all services together do."""
    settings = read(folder, text)
    for name, cls in OWN_SECTIONS.items():
        settings.section(name, cls)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mysql: {hots: x}", "mysql: unknown key 'hots'; did you mean 'host'?"),
        ("mysql: {xyz: x}", "mysql: unknown key 'xyz'; known: ca_file, cert_file, database, "),
        ("mysql: {port: many}", "mysql.port must be 1-65535, found 'many'"),
        ("mysql: {port: 0}", "mysql.port must be 1-65535, found 0"),
        ("mysql: {port: 3306.5}", "mysql.port must be 1-65535, found 3306.5"),
        ("mysql: {port: true}", "mysql.port must be 1-65535, found true"),
        ("mysql: {port: '3306'}", "mysql.port must be 1-65535, found 3306"),
        ("mysql: {host: ''}", "mysql.host must be text, not empty, found ''"),
        ("mysql: {host: }", "mysql.host must be text, not empty, found nothing"),
        ("mysql: {tls: maybe}", "mysql.tls must be off, prefer or verify, found 'maybe'"),
        ("mysql: {tls: verfy}", "found 'verfy'; did you mean 'verify'?"),
        ("mysql: {ca-file: x}", "mysql: ca-file and cert-file need tls: verify"),
        ("mysql: [host]", "mysql must be a section of keys and values, found a list"),
        ("kafka: 'localhost:9092'", "kafka must be a section of keys and values, found text"),
        ("kafka: {bootstrap-servers: ''}", "kafka.bootstrap-servers must be text, not empty, found ''"),
        ("zookeeper: {connectionString: ''}", "zookeeper.connectionString must be text, not empty, found ''"),
        ("clickhouse: {engine: Memory}", "clickhouse: engine must be some ReplacingMergeTree, found 'Memory'"),
        ("metrics: {port: 99999}", "metrics.port must be 0-65535, found 99999"),
        ("log: {level: LOUD}", "log.level must be DEBUG, INFO, WARNING or ERROR, found 'LOUD'"),
        ("elements: {timeout: 0}", "elements.timeout must be a number above 0, found 0"),
        ("elements: {timeout: -1}", "elements.timeout must be a number above 0, found -1"),
        ("elements: {timeout: .nan}", "elements.timeout must be a number above 0, found nan"),
        ("elements: {timeout: 10s}", "elements.timeout must be a number above 0, found '10s'"),
        ("elements: {timeout: .inf}", "elements.timeout must be a number above 0, found inf"),
        ("elements: {connections-per-host: 0}", "elements.connections-per-host must be 1-1000, found 0"),
        ("scanner: {lease-s: 0}", "scanner.lease-s must be a number above 0, found 0"),
        ("scanner: {temporary-suffixes: ['']}", "must be a list of texts, none empty, found a list"),
        ("fetcher: {attempts: 0}", "fetcher.attempts must be 1-1000, found 0"),
        ("fetcher: {spool-bytes: 1.5e6}", "fetcher.spool-bytes must be a whole number of at least 1, found 1500000.0"),
        ("mysql-writer: {batch-wait: 0}", "mysql_writer.batch-wait must be a number above 0, found 0"),
        ("ch_bridge: {batch-rows: -5}", "ch_bridge.batch-rows must be a whole number of at least 1, found -5"),
        ("tracker: {look_s: 0}", "tracker.look_s must be a number above 0, found 0"),
        ("4ga: {consumerThreads: 0}", "4ga.consumerThreads must be 1-1000, found 0"),
        ("4ga: {consumerTreads: 1}", "4ga: unknown key 'consumerTreads'; did you mean 'consumer_threads'?"),
        ("4ga: {complete-on: []}", "4ga.complete-on must be a list of one or more of mysql, clickhouse, found a list"),
        ("4ga: {complete-on: ''}", "4ga.complete-on must be a list of one or more of mysql, clickhouse"),
        ("4ga: {complete-on: [mysql, oracle]}", "one or more of mysql, clickhouse, found 'oracle'"),
        ("5ga: {complete-on: [clickhouse]}", "5ga: complete-on contains clickhouse, but isUsingClickhouse is false"),
        ("4ga: {preprocessing: [units, split-dm]}", "split-dn, found 'split-dm'; did you mean 'split-dn'?"),
        ("4ga: {batchInsertCounter: maybe}", "4ga.batchInsertCounter must be true or false, found 'maybe'"),
        ("4ga: {backlog-share: 1.5}", "4ga.backlog-share must be 0-1, found 1.5"),
        ("4ga: {on-done: shred}", "4ga.on-done must be move, delete or leave, found 'shred'"),
        ("4ga: {on-conflict: ask}", "4ga.on-conflict must be keep-both or replace, found 'ask'"),
        ("4ga: {min-age: -1}", "4ga.min-age must be a number of at least 0, found -1"),
        ("4ga: {min-age: 60, max-age: 30}", "4ga: max-age (30.0) must not be smaller than min-age (60.0)"),
        ("4ga: {max-size: 5, min-size: 6}", "4ga: max-size (5) must not be smaller than min-size (6)"),
        ("4ga: {pattern: ''}", "4ga.pattern must be text, not empty, found ''"),
        ("4ga: {done-directory: /}", "4ga: done-directory and error-directory must name a directory"),
        ("4ga: {done-directory: error}", "done-directory and error-directory must differ, found 'error' for both"),
        ("4ga: {done-directory: x/, error-directory: x}", "must differ, found 'x' for both"),
        ("4ga: {done-directory: ../done}", "must be plain paths without .., found '../done'"),
        ("4ga: {error-directory: a//b}", "must be plain paths without .., found 'a//b'"),
        ("4ga: {done-directory: ./done}", "must be plain paths without .., found './done'"),
        ('4ga: {done-directory: "a\\eb"}', "must be plain paths without .., found 'a\\x1bb'"),
        ("4ga: {rollout: []}", "4ga.rollout must be a list of one or more of texts"),
        ("clickhouse: {url: 'http://pm:se/cret@h/db'}", "clickhouse: url cannot be read; escape special characters"),
        ('4ga: {pattern: "\\ud800"}', "4ga.pattern must be text in Unicode, found half a character (a surrogate)"),
        ('4ga: {missing-tokens: [a, "\\udfff"]}', "4ga.missing-tokens must be text in Unicode, found half a character"),
        ("4ga: {retention-days: -1}", "4ga.retention-days must be 0-36500, found -1"),
        ("4ga: {rollout: 120%}", "4ga: rollout must be one share like 25%, or a list of elements, found '120%'"),
        ("4ga: {depth: -1}", "4ga.depth must be 0-100, found -1"),
        ("4ga: {name: x}", "4ga: unknown key 'name'; the section is the system's name"),
        ("'4 ga': {consumerThreads: 5}", "4 ga.name must be text that matches"),
        ("mysq: 5", "mysq: neither a known section nor a system; did you mean 'mysql'?"),
        ("mysq: {host: x}", "(mysq was read as a system; did you mean 'mysql'?)"),
        ("spring: {pn: {}}", "spring: unknown key 'pn'; known: pm"),
        ("spring: {pm: 5}", "spring.pm must be a section of keys and values, found a number"),
        ("spring: {pm: {cron: daily}}", "spring.pm.cron must be a section of keys and values, found text"),
        ("spring: {pm: {cron: {shedule-scan: x}}}", "spring.pm.cron: unknown key 'shedule-scan'; did you mean"),
        ("spring: {pm: {cron: {schedule-scan: ''}}}", "spring.pm.cron.schedule-scan must be text, not empty"),
        ("spring: {pm: {immediate-run-delay: -1}}", "spring.pm.immediate-run-delay must be a number of at least 0"),
        ("spring: {pm: {time-zone: Rome}}", "spring.pm: time-zone must be in the tz database, found 'Rome'"),
        ("- mysql", ".yaml: must be a mapping of sections"),
        ("4ga: &a {inventory: *a}", ".yaml: nested too deep"),
        ("4ga: {depth: 1", ".yaml line 1, column 15: expected"),
        ("4ga: {depth: 1, depth: 2}", ".yaml line 1, column 17: found duplicate key"),
        ("\0", ".yaml: cannot be read (ReaderError)"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_is_expected_and_found(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadSettings) as refused:
        everything(tmp_path, text)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "mysql: {password: '@format {env}'}",
        "mysql: {password: ['@none s3cret']}",
        "mysql: {s3cret}",
        "4ga: {inventory: x, s3cret}",
        "clickhouse: {url: 'http://pm:s3cret/x@h/db'}",
        "clickhouse: {url: 'http://pm:x@h:s3cret/db'}",
        "mysql: {password: s3cret, port: [}",
        "mysql:\n  password: *s3cret",
        "mysql:\n  password: !s3cret",
        "mysql:\n  password: @s3cret",
        "mysql:\n  password: s3cret: x",
        "mysql:\n  password: 's3cret",
        'mysql:\n  password: "s3cret\\q"',
        "mysql:\n\tpassword: s3cret",
        "mysql: {password: s3cret, password: s3cret2}",
        "mysql: {password:s3cret}",
        "mysql: {password s3cret}",
        "mysql: {password: [s3cret]}",
        "mysql: {password: {s3cret: s3cret}}",
        "mysql: {password: '@int s3cret'}",
        "mysql: {password: '@json s3cret'}",
        "mysql: {password: '@format {this.s3cret}'}",
        "mysql: s3cret",
        "mysql password: s3cret",
        "mysql: [s3cret]",
        "password: s3cret",
        "s3cret",
    ],
)
def test_no_error_shows_a_secret(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadSettings) as refused:
        everything(tmp_path, text)
    assert "s3cret" not in "".join(format_exception(refused.value))


@pytest.mark.parametrize(
    "name", ["PMFLOW_MYSQL__PASSWROD", "PMFLOW_MYSQL__PASSWORD__X", "PMFLOW_MYSQL__", "PMFLOW_X__Y"]
)
def test_no_error_of_the_environment_shows_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "@int s3cret")
    with pytest.raises(BadSettings) as refused:
        everything(tmp_path, USERS)
    assert "s3cret" not in "".join(format_exception(refused.value))


@pytest.mark.parametrize("key", ["consumerThreads", "consumer-threads", "CONSUMER_THREADS", "consumer_threads"])
def test_a_later_file_overrides_a_key_in_any_spelling(tmp_path: Path, key: str) -> None:
    settings = read(tmp_path, "4ga: {consumerThreads: 1}", "4ga: {consumer_threads: 2}", f"4ga: {{{key}: 3}}")
    assert settings.systems[0].consumer_threads == 3


def test_a_later_list_replaces_an_earlier_one(tmp_path: Path) -> None:
    first = "4ga: {isUsingClickhouse: true, complete-on: [mysql]}"
    assert read(tmp_path, first, "4ga: {complete-on: [clickhouse]}").systems[0].complete_on == ("clickhouse",)


@pytest.mark.parametrize("name", ["mysql_writer", "mysql-writer", "mysqlWriter", "MYSQL_WRITER"])
def test_a_section_of_a_service_is_known_in_any_spelling(tmp_path: Path, name: str) -> None:
    settings = read(tmp_path, f"{name}: {{writers: 7}}")
    assert settings.section("mysql_writer", MysqlWriterSettings).writers == 7
    assert settings.systems == ()


AS_WRITTEN = (
    "1e5", "0x1F", "1_000", "007", "0123", "true", "null", "~", "1.0", "+5", "2026-11-27", "a,b", "[a]", "[1,2]",
    "{a=1}", "{a: b}", "@format {env}", "@int 5", "@int x", "@bool x", "@none", "@merge a", "@del", "@@x",
    "@path /", "@jinja {{ 1 }}", "@read_file /etc/passwd", " sp ", "\u00b2", "1e3", '"', "a'", "a\\tb",
)  # fmt: skip
ALL_SECTIONS: dict[str, Any] = {**SECTIONS, **OWN_SECTIONS}
SECRETS = [
    (section, field.name)
    for section, cls in ALL_SECTIONS.items()
    for field in fields(cls)
    if field.name in {"password", "secret", "passphrase", "token", "url"}
]
"""Section and key of everything that the environment can set and that may be a secret."""
VARIABLES = [*((text, text) for text in AS_WRITTEN), ("12345", "12345"), ('"007"', "007")]


@pytest.mark.parametrize(("section", "key"), SECRETS)
@pytest.mark.parametrize(("variable", "password"), VARIABLES)
def test_a_secret_of_the_environment_is_taken_as_it_is_written(
    monkeypatch: pytest.MonkeyPatch, section: str, key: str, variable: str, password: str
) -> None:
    monkeypatch.setenv(f"PMFLOW_{section}__{key}".upper(), variable)
    kind = get_type_hints(ALL_SECTIONS[section], include_extras=True)[key]
    assert checked(read_layers(())[section][key], kind, key) == password


def test_the_secrets_that_are_tested_are_not_none() -> None:
    assert {("mysql", "password"), ("kafka", "password"), ("clickhouse", "url")} <= {*SECRETS}


@pytest.mark.parametrize("name", ["SASL.PASSWORD", "ssl.key.password", "sasl.oauthbearer.client.secret"])
@pytest.mark.parametrize(("variable", "password"), VARIABLES)
def test_a_secret_in_a_nested_key_of_the_environment_is_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, variable: str, password: str
) -> None:
    monkeypatch.setenv(f"PMFLOW_KAFKA__PROPERTIES__{name}", variable)
    assert read(tmp_path, USERS).kafka.client()[name.lower()] == password


def test_numbers_booleans_and_lists_come_from_the_environment_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PMFLOW_4GA__CONSUMER_THREADS", "7")
    monkeypatch.setenv("PMFLOW_4GA__IS_USING_CLICKHOUSE", "True")
    monkeypatch.setenv("PMFLOW_4GA__COMPLETE_ON", "mysql,clickhouse")
    monkeypatch.setenv("PMFLOW_4ga__depth", "3")
    monkeypatch.setenv("PMFLOW_5GA__ROLLOUT", '["e1", "e2"]')
    monkeypatch.setenv("PMFLOW_SPRING__PM__CRON__SCHEDULE_SCAN", "0 * * * * *")
    monkeypatch.setenv("PMFLOW_ELEMENTS__TIMEOUT_S", "2.5")
    settings = read(tmp_path, USERS)
    four, five = settings.systems
    assert (four.consumer_threads, four.is_using_clickhouse, four.complete_on) == (7, True, ("mysql", "clickhouse"))
    assert (four.depth, five.rollout) == (3, ("e1", "e2"))
    assert (settings.schedule.schedule_scan, settings.elements.timeout_s) == ("0 * * * * *", 2.5)


@pytest.mark.parametrize("name", ["PMFLOW_DEV_CACHE", "PMFLOW_BENCH_MYSQL", "PMFLOW_KAFKA_PORT", "DYNACONF_X__Y"])
def test_variables_of_the_tools_and_of_others_are_no_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    without = read(tmp_path, USERS)
    monkeypatch.setenv(name, "/somewhere")
    assert read(tmp_path, USERS) == without


@pytest.mark.parametrize("text", ["", "kafka:", "spring:", "spring: {pm: }", "spring: {pm: {cron: }}", "mysql:"])
def test_an_empty_section_has_its_defaults(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == load(())


def test_numbers_are_taken_where_text_is_wanted(tmp_path: Path) -> None:
    settings = read(tmp_path, "mysql: {password: 12345}\n4ga: {missing-tokens: [-1, 9999], rollout: 7}")
    assert mysql_of(settings).password == "12345"
    assert (settings.systems[0].missing_tokens, settings.systems[0].rollout) == (("-1", "9999"), ("7",))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.sampled_from(STEPS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("cls", [System, Schedule, Endpoint, *OWN_SECTIONS.values()])
@given(data=st.data())
def test_whatever_a_section_holds_it_is_taken_or_refused_as_bad_settings(cls: type, data: st.DataObject) -> None:
    names = st.sampled_from([field.name for field in fields(cls)])
    found = data.draw(st.dictionaries(names, VALUES, max_size=4) | VALUES)
    with suppress(BadSettings):  # nothing else may escape
        resolve(cls, found if not isinstance(found, dict) else {"name": "e1", **found} if cls in NAMED else found, "s")


def test_a_file_that_dynaconf_would_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text("raise SystemExit")
    with pytest.raises(BadSettings, match=r"must end in one of \.yaml"):
        load((tmp_path / "settings.py",))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="nowhere"):
        load((tmp_path / "nowhere.yaml",))


@pytest.mark.parametrize("text", ["'@format {env}'", "'@int 5'", "['@jinja {{ 1 }}']", "{x: '@read_file /etc/passwd'}"])
def test_a_file_with_a_command_for_dynaconf_is_refused_and_the_command_not_run(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadSettings, match=r"0\.yaml: no value may begin with @\w+; put a password that does into a"):
        read(tmp_path, f"mysql: {{password: {text}}}")


def test_spellings_of_one_section_in_the_environment_are_all_taken_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PMFLOW_MYSQL__PASSWORD", "0x1F")
    monkeypatch.setenv("PMFLOW_mysql__user", "1e5")
    mysql = mysql_of(read(tmp_path, USERS))
    assert (mysql.password, mysql.user) == ("0x1F", "1e5")
