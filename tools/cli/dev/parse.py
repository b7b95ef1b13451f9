"""`pmflow parse`: runs only the parser, on local files."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from services.fetcher.operate import Origin, Parsed, Preprocessing, profiles_of, read_file, read_preprocessing
from services.scanner.operate import element_of
from shared.errors import Hopeless, Unreachable
from shared.messages import file_identity, path_text
from shared.printable import printable
from shared.settings import BadSettings, System, load
from shared.versions import version_of
from tools.cli.output import say_json


def parse_files(
    files: Annotated[
        list[Path], typer.Argument(help="PM files: XML or tables, plain or compressed", exists=True, dir_okay=False)
    ],
    profiles: Annotated[
        list[Path] | None, typer.Option(help="directories of profiles, which take precedence over the shipped ones")
    ] = None,
    system: Annotated[
        str, typer.Option(help="system in PMFLOW_CONFIG whose preprocessing and dictionary are used")
    ] = "",
    dictionary: Annotated[
        list[Path] | None, typer.Option(help="VES PM Dictionaries, instead of those of the system")
    ] = None,
    summary: Annotated[
        bool, typer.Option("--summary", help="print one JSON line per file instead of its rows")
    ] = False,
) -> None:
    """Print the rows of PM files as JSON lines; exit with 1 if a file cannot be read."""
    failed = False
    try:
        known = profiles_of(profiles or ())
        preprocessing = _wanted(system, dictionary or [])
    except BadSettings as error:
        raise typer.BadParameter(printable(str(error))) from error
    for file in files:
        try:
            parsed = read_file(file.read_bytes(), _origin(file), profiles=known, preprocessing=preprocessing)
        except (Hopeless, Unreachable) as error:
            failed = True
            say_json(orjson.dumps({"file": str(file), "error": str(error)}), err=not summary)
            continue
        with closing(parsed):
            counts = {"file": str(file), **asdict(parsed.counts), "notes": parsed.notes}
            if summary:
                say_json(orjson.dumps(counts))
                continue
            for row in printed_rows(parsed):
                say_json(orjson.dumps(row))
            if parsed.notes or parsed.counts.reasons:  # information that the rows do not contain
                say_json(orjson.dumps(counts), err=True)
    raise typer.Exit(int(failed))


def _wanted(system: str, dictionaries: list[Path]) -> Preprocessing:
    """Returns the preprocessing that the options ask for.

    Raises:
        BadSettings: the system is not configured, or a file of its preprocessing cannot be used.
    """
    own = load().system(system) if system else System(name="")
    if own is None:
        raise BadSettings(f"no system {system!r} in the configuration")
    return read_preprocessing(replace(own, counter_dictionary=tuple(map(str, dictionaries))) if dictionaries else own)


def _origin(file: Path) -> Origin:
    status = file.stat()
    file_id = file_identity("", "", path_text(bytes(file)), status.st_size, int(status.st_mtime))
    element = element_of(file.name.encode(), otherwise=file.name)
    return Origin("", file_id, element, version_of(file_id, int(status.st_mtime)), file_name=file.name)


def printed_rows(parsed: Parsed) -> Iterator[dict[str, Any]]:
    """Yields one row per measured object, group and period."""
    for batch in parsed.batches:
        found = orjson.loads(batch.value)
        for ldn, suspect, *values in found["rows"]:
            yield {
                "element": found["element"],
                "group": found["group"],
                "object": ldn,
                "end_s": found["end_s"],
                "gp_s": found["gp_s"],
                "suspect": bool(suspect),
                "values": dict(zip(found["counters"], values, strict=True)),
                **{name: found[name] for name in ("types", "units") if name in found},
            }
