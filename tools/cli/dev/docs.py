"""`pmflow docs`: writes the pages of docs/ that are generated from code. A test checks that they are up to date."""

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from services.ch_bridge.operate import ChBridgeSettings, Clickhouse
from services.fetcher.operate import FetcherSettings
from services.mysql_writer.operate import Mysql, MysqlWriterSettings
from services.scanner.operate import ScannerSettings, Zookeeper
from services.tracker.operate import TrackerSettings
from shared import topics
from shared.configuration.resolve import described_type
from shared.inventory import Endpoint
from shared.metrics import DECLARED, Declared
from shared.settings import SECTIONS, Schedule, System

METRICS_MODULES = (
    "services.scanner.metrics",
    "services.fetcher.metrics",
    "shared.sinks.metrics",
    "services.tracker.metrics",
    "shared.remote.metrics",
)
"""The modules that declare metrics."""
OWN_SECTIONS: dict[str, type] = {
    "zookeeper": Zookeeper,
    "mysql": Mysql,
    "clickhouse": Clickhouse,
    "scanner": ScannerSettings,
    "fetcher": FetcherSettings,
    "mysql_writer": MysqlWriterSettings,
    "ch_bridge": ChBridgeSettings,
    "tracker": TrackerSettings,
}
"""The sections in `shared.settings.OWN`; each belongs to a service."""
DOCUMENTED_SECTIONS = {
    "spring.pm": Schedule,
    "<system> (4ga, 5ga, ...)": System,
    "an entry of an inventory": Endpoint,
    **SECTIONS,
    **OWN_SECTIONS,
}


def write_docs(folder: Annotated[Path, typer.Argument(help="folder to write to")] = Path("docs")) -> None:
    """Write the reference pages of topics, settings and metrics."""
    for name, text in pages().items():
        (folder / name).write_text(text)


def pages() -> dict[str, str]:
    """Returns the content of each page by file name."""
    return {
        "topics.md": "\n".join([*_topics(), ""]),
        "settings.md": "\n".join([*_settings(), ""]),
        "metrics.md": "\n".join([*_metrics(), ""]),
    }


def _topics() -> Iterator[str]:
    yield "# Topics"
    yield ""
    dead_letters = topics.dead_letters_of("<name>")
    yield "Generated from `shared/topics.py` by `pmflow docs`. Each topic except those of the tables has a dead-letter"
    yield f"topic `{dead_letters}`, in which its readers keep what they cannot process, with the headers `reason`"
    yield "and `origin`."
    yield ""
    yield "| topic | description | messages | written by | read by | key | partitions | retention |"
    yield "|---|---|---|---|---|---|---|---|"
    known = (
        topics.FILES_FOUND,
        topics.FILES_STATUS,
        topics.FILES_SETTLE,
        topics.counters_topic("<system>"),
        topics.CYCLES,
    )
    for topic in (*known, *topics.TRACKER_TABLES):
        days = "no limit" if topic.retention_ms == topics.FOR_EVER else f"{topic.retention_ms // topics.DAY_MS} days"
        kept = days + (", compacted" if topic.compacted else "")
        messages = ", ".join(message.__name__ for message in topic.messages) or "Faust's"
        cells = (topic.about, messages, ", ".join(topic.writers), ", ".join(topic.readers), topic.key, topic.partitions)
        yield f"| `{topic.name}` | {' | '.join(map(str, cells))} | {kept} |"


def _settings() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield "Generated from the code by `pmflow docs`. `PMFLOW_CONFIG` names the configuration files, comma-separated;"
    yield "later files override earlier ones, and `PMFLOW_<SECTION>__<KEY>=...` overrides one value. A key may be"
    yield "written `consumerThreads`, `consumer-threads` or `consumer_threads`; a trailing `_s` (seconds) is optional."
    yield "A list may be written as text with commas; a later list replaces an earlier one. In a YAML file, put a"
    yield "password of digits that begins with 0 in quotes. An unknown key or an invalid value is an error."
    for section, cls in DOCUMENTED_SECTIONS.items():
        yield from ("", f"## {section}", "", f"{(cls.__doc__ or '').splitlines()[0]}", "")
        yield "| key | expected | default | description |"
        yield "|---|---|---|---|"
        hints = get_type_hints(cls, include_extras=True)
        for field in fields(cls):
            kind = hints[field.name]
            about = next(part for part in get_args(kind) if isinstance(part, str))
            yield f"| `{field.name}` | {described_type(kind)} | {_default(field)} | {about} |"


def _default(field: Field[Any]) -> str:
    return "" if field.default is MISSING else f"`{field.default!r}`"


def declared_metrics() -> list[Declared]:
    """Returns the metrics of all services, by service and name."""
    for module in METRICS_MODULES:
        import_module(module)
    return sorted(DECLARED, key=lambda metric: (metric.services, metric.name))


def _metrics() -> Iterator[str]:
    yield "# Metrics"
    yield ""
    yield "Generated from the `metrics.py` of the services and of `shared` by `pmflow docs`. Each service serves"
    yield "`/metrics`, `/healthz` (whether it makes progress) and `/readyz` (whether it has made progress since its"
    yield "start and waits for no server; if not, why) at `metrics: {host, port}`. `/metrics?name[]=<metric>` answers"
    yield "with one metric only; those with the label `host` have a line for each host. The alert rules are in"
    yield "[deploy/prometheus/alerts.yaml](../deploy/prometheus/alerts.yaml), the dashboards in"
    yield "[deploy/grafana](../deploy/grafana)."
    yield ""
    yield "A histogram `x` consists of `x_bucket`, `x_sum` and `x_count`. Only the leader of a system reports scans."
    yield ""
    yield "| metric | type | labels | description | services |"
    yield "|---|---|---|---|---|"
    for m in declared_metrics():
        yield f"| `{m.name}` | {m.kind} | {', '.join(m.labels)} | {m.about} | {m.services} |"
