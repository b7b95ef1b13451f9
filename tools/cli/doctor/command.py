"""`pmflow doctor`: examines an installation, area by area, in the order in which it would fail."""

import shutil
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Annotated

import orjson
import typer

from shared.rights import KAFKA_OPERATOR
from shared.settings import SERVICES, BadSettings, load
from tools.cli.doctor.access import check_access
from tools.cli.doctor.brokers import check_brokers
from tools.cli.doctor.clickhouse import check_clickhouse
from tools.cli.doctor.configuration import NOT_STARTED, check_settings
from tools.cli.doctor.elements import check_elements
from tools.cli.doctor.findings import Area, Finding, Installation, examine
from tools.cli.doctor.groups import check_groups
from tools.cli.doctor.leadership import check_leadership
from tools.cli.doctor.machine import check_machine
from tools.cli.doctor.mysql import check_mysql
from tools.cli.doctor.topics import check_topics
from tools.cli.output import say, say_json

AREAS = (
    Area("settings", check_settings),
    Area("machine", check_machine),
    Area("brokers", check_brokers),
    Area("topics", check_topics, needs=("brokers",)),
    Area("rights", check_access, needs=("brokers",)),
    Area("groups", check_groups, needs=("brokers",)),
    Area("zookeeper", check_leadership),
    Area("mysql", check_mysql),
    Area("clickhouse", check_clickhouse),
    Area("elements", check_elements, within_s=30.0),
)
"""The areas in the order in which a new installation would fail."""
AREA_NAMES = tuple(area.name for area in AREAS)
WIDEST = 100
LABEL = 9
"""Width of the column of severities."""


def doctor_command(  # noqa: PLR0913 - the options of a command
    elements: Annotated[int, typer.Option(min=0, help="number of elements of each system to log in to")] = 5,
    system: Annotated[str, typer.Option(help="check only the elements and settings of this system")] = "",
    service: Annotated[
        str, typer.Option(help="service whose rights the login must have; run it with the login of that service")
    ] = KAFKA_OPERATOR,
    only: Annotated[str, typer.Option(help=f"areas to check, comma-separated: {', '.join(AREA_NAMES)}")] = "",
    *,
    strict: Annotated[bool, typer.Option("--strict", help="exit with 1 also if there are only warnings")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object per finding")] = False,
) -> None:
    """Find what is wrong with this installation and say how to mend it; exit with 1 if there are errors.

    It changes nothing: nothing is announced, moved, created or stored. It works without any server.
    """
    areas = _chosen(only)
    if service not in {*SERVICES, KAFKA_OPERATOR}:
        raise typer.BadParameter(f"no service {service!r}; expected {', '.join(SERVICES)} or {KAFKA_OPERATOR}")
    counts: Counter[str] = Counter()
    for area, findings in _examined(areas, elements, system, service):
        counts.update(finding.severity for finding in findings)
        _print(area, findings, as_json=as_json)
    if not as_json:
        say(", ".join(f"{counts[kind]} {kind}{'' if counts[kind] == 1 else 's'}" for kind in ("error", "warning")))
    raise typer.Exit(1 if counts["error"] or (strict and counts["warning"]) else 0)


def _examined(
    areas: Sequence[Area], elements: int, system: str, service: str
) -> Iterator[tuple[str, Sequence[Finding]]]:
    try:
        settings = load()
    except BadSettings as error:
        return _without_settings(areas, str(error))
    if system and settings.system(system) is None:
        raise typer.BadParameter(f"no system {system!r}; configured: {', '.join(s.name for s in settings.systems)}")
    return examine(areas, Installation(settings=settings, elements=elements, system=system, service=service))


def _chosen(only: str) -> Sequence[Area]:
    names = {name.strip() for name in only.split(",") if name.strip()}
    for name in names - {*AREA_NAMES}:
        raise typer.BadParameter(f"no area {name!r}; expected {', '.join(AREA_NAMES)}")
    return [area for area in AREAS if not names or area.name in names]


def _without_settings(areas: Sequence[Area], reason: str) -> Iterator[tuple[str, Sequence[Finding]]]:
    remedy = "correct the configuration that PMFLOW_CONFIG and PMFLOW_... name"
    yield "settings", [Finding("error", reason, NOT_STARTED, remedy)]
    skipped = Finding("skipped", "not checked, as it needs settings, which must be mended first")
    yield from ((area.name, [skipped]) for area in areas if area.name != "settings")


def _print(area: str, findings: Iterable[Finding], *, as_json: bool) -> None:
    if as_json:
        for finding in findings:
            say_json(orjson.dumps({"area": area, **asdict(finding)}))
        return
    say(area)
    for finding in findings:
        for line in report_lines(finding, min(WIDEST, shutil.get_terminal_size().columns)):
            say(line)


def report_lines(finding: Finding, width: int) -> Iterator[str]:
    """Yields the lines of a finding, no wider than the terminal; words that are longer are not broken."""
    indent = " " * (LABEL + 2)
    parts = [("", finding.found), ("", finding.meaning), ("-> ", finding.remedy)]
    label = f"  {finding.severity:{LABEL}}"
    for mark, text in parts:
        if text:
            yield from textwrap.wrap(
                text, width, initial_indent=label + mark, subsequent_indent=indent + " " * len(mark),
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
            label = indent
