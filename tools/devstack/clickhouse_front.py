"""ClickHouse's HTTP interface before one embedded engine (chdb), enough for clickhouse-connect and curl.

chdb has one owner process a path; behind this front writers, command line and tests all speak `http://`, as to a
server, so the code of production is the code that is tested. Not for production itself.
"""

import gzip
import os
import re
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

import lz4.frame
import typer
import zstandard
from chdb import session

NOT_SETTINGS = frozenset({
    "query", "database", "default_format", "session_id", "session_timeout", "query_id", "user", "password", "role",
    "client_protocol_version", "compress", "decompress", "buffer_size", "wait_end_of_query", "enable_http_compression",
    "send_progress_in_http_headers", "http_headers_progress_interval_ms",
    "cancel_http_readonly_queries_on_client_close",
})  # fmt: skip
INSERT = re.compile(rb"(?is)^\s*insert\s+into\s+(?P<target>.*?)\s+format\s+(?P<format>\w+)[ \t]*(?:\r?\n|$)")
FORMAT = re.compile(r"(?is)\bformat\s+(\w+)\s*;?\s*$")
LEFT_BROKEN = re.compile(r"(?is)engine\s*=\s*kafka")
"""The embedded engine cannot, and leaves metadata behind with which the path can never be opened again."""


class Engine:
    """One chdb session; one statement at a time."""

    def __init__(self, path: Path) -> None:
        self.session: Any = session.Session(str(path))  # type: ignore[no-untyped-call]
        self.lock = Lock()

    def run(self, sql: str, database: str, settings: dict[str, str], output: str = "TabSeparated") -> bytes:
        """The answer in the format asked for.

        Raises:
            RuntimeError: what the engine refuses, in its own words.
        """
        if LEFT_BROKEN.search(sql):
            raise RuntimeError("Code: 48. the embedded engine has no Kafka tables (NOT_IMPLEMENTED)")
        set_all = "".join(f"SET {name} = {_literal(value)};" for name, value in settings.items())
        unset = "".join(f"SET {name} = DEFAULT;" for name in settings)
        with self.lock:
            self._do(f"USE {_identifier(database)}", "TabSeparated")
            try:
                if set_all:
                    self._do(set_all, "TabSeparated")
                return self._do(sql, output)
            finally:
                if unset:
                    self._do(unset, "TabSeparated")

    def _do(self, sql: str, output: str) -> bytes:
        answer: Any = self.session.query(sql, output)
        return bytes(answer.bytes()) if answer is not None else b""

    def close(self) -> None:
        with self.lock:
            self.session.close()


def _literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _identifier(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


class Front(BaseHTTPRequestHandler):
    """A request: parameters in the URL, the statement there or in the body, an insert's data in the body."""

    protocol_version = "HTTP/1.1"
    engine: Engine

    def do_GET(self) -> None:
        if urlsplit(self.path).path == "/ping":
            self._send(200, b"Ok.\n")
        else:
            self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self._body())

    def _answer(self, body: bytes) -> None:
        parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        settings = {name: value for name, value in parameters.items() if name not in NOT_SETTINGS}
        database = parameters.get("database") or "default"
        query = parameters.get("query", "")
        try:
            whole = query.encode() + b"\n" + body if query else body
            insert = INSERT.match(whole)
            if insert and insert.end() < len(whole):
                self._insert(insert, whole[insert.end() :], database, settings)
                self._send(200, b"", {"X-ClickHouse-Summary": '{"written_rows":"0"}'})
                return
            sql = whole.decode().strip()
            output = parameters.get("default_format", "TabSeparated")
            if asked := FORMAT.search(sql):
                sql, output = sql[: asked.start()], asked[1]
            self._send(200, self.engine.run(sql, database, settings, output), {"X-ClickHouse-Format": output})
        except RuntimeError as error:
            code = re.search(r"Code: (\d+)", str(error))
            headers = {"X-ClickHouse-Exception-Code": code[1] if code else "1002"}
            self._send(404 if code and code[1] in {"60", "81"} else 500, str(error).encode(), headers)

    def _insert(self, insert: re.Match[bytes], data: bytes, database: str, settings: dict[str, str]) -> None:
        """Through a file in memory: the engine reads inserts' data from files."""
        memory = os.memfd_create("insert")
        try:
            with os.fdopen(os.dup(memory), "wb") as file:
                file.write(data)
            target = insert["target"].decode()
            source = f"/proc/self/fd/{memory}"
            self.engine.run(
                f"INSERT INTO {target} FROM INFILE '{source}' FORMAT {insert['format'].decode()}", database, settings
            )
        finally:
            os.close(memory)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b"".join(self._chunks())
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match self.headers.get("Content-Encoding"):
            case "lz4":
                return bytes(lz4.frame.decompress(body))
            case "zstd":
                return zstandard.ZstdDecompressor().decompressobj().decompress(body)
            case "gzip":
                return gzip.decompress(body)
            case _:
                return body

    def _chunks(self) -> Any:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _send(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        fixed = {
            "Content-Length": str(len(body)),
            "X-ClickHouse-Server-Display-Name": "chdb",
            "X-ClickHouse-Timezone": "UTC",
        }
        for name, value in {**fixed, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Nothing of good requests."""
        if len(args) > 1 and str(args[1]) >= "400":
            sys.stderr.write(f"{format % args}\n")


class Server(ThreadingHTTPServer):
    """Requests in threads; the engine takes one at a time."""

    daemon_threads = True
    request_queue_size = 64


def main(
    path: Annotated[Path, typer.Option(help="the engine's data")],
    port: Annotated[int, typer.Option(help="on loopback")],
) -> None:
    """Serve until SIGTERM."""
    path.mkdir(parents=True, exist_ok=True)
    engine = Engine(path)
    handler = type("Handler", (Front,), {"engine": engine})
    server = Server(("127.0.0.1", port), handler)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: Thread(target=server.shutdown).start())
    server.serve_forever()
    engine.close()


if __name__ == "__main__":
    typer.run(main)
