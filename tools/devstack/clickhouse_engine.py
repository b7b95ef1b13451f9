"""Runs statements in the embedded ClickHouse (chdb) as a server would: with database, settings and insert data."""

import os
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chdb

ANY_TEXT = rb"""(?:'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|"(?:[^"\\]|\\.)*"|--[^\n]*|/\*.*?\*/|[^'`"])*?"""
"""Matches as little of a statement as possible; a string, quoted name or comment is matched as a whole."""
INSERT = re.compile(
    rb"(?is)\s*insert\s+into\b(?P<target>" + ANY_TEXT + rb")(?P<settings>\bsettings\b" + ANY_TEXT + rb")?"
    rb"\bformat\s+(?P<format>\w+)[ \t]*\r?\n?(?P<data>.*)"
)
TEXT_OR_COMMENT = re.compile(r"(?s)'(?:[^'\\]|\\.)*'|--[^\n]*|/\*.*?\*/")
KAFKA_ENGINE = re.compile(r"(?i)\bengine\s*=?\s*`?kafka\b")
"""A Kafka table: the engine cannot create one, and leaves metadata behind with which its path cannot be opened."""


class StatementRefused(Exception):  # noqa: N818
    """The engine refused a statement; the text is the engine's and begins with `Code: <number>.`."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        found = re.match(r"Code: (\d+)", message)
        self.code = found[1] if found else "1002"


@dataclass(frozen=True, slots=True)
class StatementResult:
    """The result of a statement."""

    content: bytes
    written_rows: int


FIRST_DATABASE = "default"
"""The database in which a connection begins."""


class Engine:
    """The only owner of a path; runs any number of statements at once."""

    def __init__(self, path: Path, config: Path | None = None) -> None:
        """Opens a path, with a configuration file of ClickHouse's if one is given."""
        self.path = f"{path}?config-file={config}" if config else str(path)
        self.held = self._line()  # keeps the engine while no statement runs

    def run(self, statement: bytes, database: str, settings: Mapping[str, str], output: str) -> StatementResult:
        """Runs a statement on a connection of its own, so that its settings end with it.

        Raises:
            StatementRefused: the engine refused the statement.
            ValueError: the statement is not UTF-8 text.
        """
        with closing(self._line()) as line:
            if database != FIRST_DATABASE:  # to enter it explicitly would need a right that a server does not ask for
                _ask(line, f"USE {_identifier(database)}")
            for name, value in settings.items():
                _ask(line, f"SET {_identifier(name)} = {_literal(value)}")
            insert = INSERT.fullmatch(statement)
            if insert and insert["data"].strip():
                return _insert(line, insert)
            return _ask(line, statement.decode(), output)

    def _line(self) -> Any:
        return chdb.connect(self.path)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self.held.close()


def _insert(line: Any, insert: re.Match[bytes]) -> StatementResult:
    """Inserts data through a file in memory: a statement must be text, but its data may be any bytes."""
    target, settings, form = ((insert[part] or b"").decode() for part in ("target", "settings", "format"))
    memory = os.memfd_create("insert")
    try:
        with os.fdopen(os.dup(memory), "wb") as file:
            file.write(insert["data"])
        return _ask(line, f"INSERT INTO {target} FROM INFILE '/proc/self/fd/{memory}' {settings} FORMAT {form}")
    finally:
        os.close(memory)


def _ask(line: Any, statement: str, output: str = "TabSeparated") -> StatementResult:
    if KAFKA_ENGINE.search(TEXT_OR_COMMENT.sub(" ", statement)):
        raise StatementRefused("Code: 48. DB::Exception: the embedded engine has no Kafka tables. (NOT_IMPLEMENTED)")
    try:
        answer = line.query(statement, output)
    except RuntimeError as error:
        raise StatementRefused(str(error)) from error
    return StatementResult(bytes(answer.bytes()), answer.rows_written())


def _literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _identifier(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
