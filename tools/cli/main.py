"""The commands of `pmflow`, each from the module that implements it."""

import logging
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from tools.cli import grants as grants_
from tools.cli import topics as topics_
from tools.cli.dev import demo as demo_
from tools.cli.dev import docs as docs_
from tools.cli.dev import parse as parse_
from tools.cli.dev import run as run_
from tools.cli.doctor import command as doctor_
from tools.cli.failures import failure_text
from tools.cli.operate import backfill as backfill_
from tools.cli.operate import cycles as cycles_
from tools.cli.operate import errors as errors_
from tools.cli.operate import partition as partition_
from tools.cli.operate import quarantine as quarantine_
from tools.cli.operate import replay as replay_
from tools.cli.operate import status as status_
from tools.cli.operate import trace as trace_
from tools.cli.operate import verify as verify_
from tools.cli.output import say
from tools.devstack.cli import app as dev
from tools.simulator.cli import simulate


class PlainErrors(TyperGroup):
    """The commands; an error is printed as one line, with its traceback only if the user asks for it."""

    def invoke(self, ctx: Any) -> Any:
        if ctx.params.get("debug"):
            logging.basicConfig(level=logging.INFO)
            return super().invoke(ctx)
        logging.getLogger().addHandler(logging.NullHandler())  # libraries log what the commands say themselves
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            say(f"pmflow: {error.format_message()}", err=True)
            raise typer.Exit(2) from None
        except (typer.Exit, typer.Abort, TyperException):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the user gets one line
            say(f"pmflow: {failure_text(error)}", err=True)
            raise typer.Exit(1) from None


app = typer.Typer(cls=PlainErrors, no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)


@app.callback()
def global_options(
    *, debug: Annotated[bool, typer.Option("--debug", help="show logs, and the traceback of an error")] = False
) -> None:
    """Operate pmflow: find out what is wrong, see what it does, and repair what needs a person."""


app.add_typer(
    dev, name="dev", help="Run the dev stack: Kafka, ZooKeeper, MySQL and the ClickHouse engine, on loopback."
)
app.add_typer(topics_.app, name="topics")
app.add_typer(grants_.app, name="grants")
app.add_typer(quarantine_.app, name="quarantine")
app.command("simulate")(simulate)
app.command("run")(run_.run_service)
app.command("doctor")(doctor_.doctor_command)
app.command("status")(status_.show_status)
app.command("cycles")(cycles_.show_cycles)
app.command("trace")(trace_.trace_files)
app.command("errors")(errors_.show_errors)
app.command("parse")(parse_.parse_files)
app.command("replay")(replay_.replay_command)
app.command("backfill")(backfill_.backfill_command)
app.command("partition")(partition_.partition_command)
app.command("verify")(verify_.verify_values)
app.command("demo")(demo_.demo_command)
app.command("docs")(docs_.write_docs)
