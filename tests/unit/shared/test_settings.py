from pathlib import Path

import pytest

from shared.settings import STEPS, BadSettings, Settings, load

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
    assert settings.zookeeper.connection_string == "localhost:2181"
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
    assert settings.mysql.password == "12345"
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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mysql: {hots: x}", "mysql: unknown key 'hots'; did you mean 'host'?"),
        ("mysql: {port: many}", "mysql.port: 'many' is not int"),
        ("4ga: {consumerThreads: 0}", "4ga: consumerThreads must be at least 1"),
        ("4ga: {complete-on: [mysql, oracle]}", "oracle"),
        ("5ga: {complete-on: [clickhouse]}", "isUsingClickhouse is false"),
        (
            "4ga: {preprocessing: [units, split-dm]}",
            "no step 'split-dm'; did you mean 'split-dn'?",
        ),
        ("mysq: 5", "mysq: neither a section nor a system"),
        ("4ga: {batchInsertCounter: maybe}", "4ga.batchInsertCounter: 'maybe' is not bool"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadSettings, match=says.replace("?", r"\?")):
        read(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="nowhere"):
        load((tmp_path / "nowhere.yaml",))
