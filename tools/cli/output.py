"""Prints for operators: the only module that writes what commands say.

Names and reasons come from files, elements, messages and databases. They are printed as text: not as markup of rich,
not as commands of the terminal, and on one line.
"""

import sys
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.table import Column, Table
from rich.text import Text

from shared.printable import printable, printable_json


class OutputTable(Table):
    """A table whose title, column names and cells are plain text, whatever they contain."""

    def __init__(self, *columns: str, title: str = "", **options: Any) -> None:
        super().__init__(*(Column(_text(name)) for name in columns), title=_text(title) if title else None, **options)

    def add_column(self, header: object = "", *args: Any, **options: Any) -> None:
        super().add_column(_text(header), *args, **options)

    def add_row(self, *cells: object, **options: Any) -> None:
        super().add_row(*map(_text, cells), **options)


def _text(content: object) -> Text:
    return Text(printable(str(content)))


def show(*parts: RenderableType, console: Console | None = None) -> None:
    """Prints tables; a text is printed as it is, in lines as long as the terminal is wide."""
    for part in parts:
        (console or Console()).print(_text(part) if isinstance(part, str) else part, soft_wrap=isinstance(part, str))


def say(line: object, *, err: bool = False) -> None:
    """Prints one line on standard output, or on standard error."""
    typer.echo(printable(str(line)), err=err)


def say_lines(text: str, *, err: bool = False) -> None:
    """Prints text of several lines that pmflow itself composed."""
    for line in text.split("\n"):
        say(line, err=err)


def say_json(content: bytes, *, err: bool = False) -> None:
    """Prints JSON, or what should have been JSON; what a terminal would act on is escaped as JSON does."""
    out = sys.stderr if err else sys.stdout
    text = content.decode(errors="backslashreplace")
    out.write("".join(f"{printable_json(line)}\n" for line in text.rstrip("\n").split("\n")))
    out.flush()
