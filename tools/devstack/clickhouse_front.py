"""Serves ClickHouse's HTTP interface from one embedded engine (chdb), enough for clickhouse-connect and curl.

Only one process can own a chdb path. Through this server, services, command line and tests all use `http://`, as with
a real server, so the tests run the production code. It is not meant for production itself.
"""

import gzip
import json
import signal
import socket
import ssl
import sys
import zlib
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

import lz4.frame
import typer
import zstandard

from tools.devstack.clickhouse_engine import FIRST_DATABASE, Engine, StatementRefused

NOT_SETTINGS = frozenset({
    "query", "database", "default_format", "session_id", "session_timeout", "query_id", "user", "password", "role",
    "client_protocol_version", "compress", "decompress", "buffer_size", "wait_end_of_query", "enable_http_compression",
    "send_progress_in_http_headers", "http_headers_progress_interval_ms",
    "cancel_http_readonly_queries_on_client_close",
})  # fmt: skip
UNPACK = {
    "": bytes,
    "identity": bytes,
    "lz4": lz4.frame.decompress,
    "zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
    "gzip": gzip.decompress,
}
UNKNOWN_TABLE, UNKNOWN_DATABASE = "60", "81"


class Front(BaseHTTPRequestHandler):
    """Handles a request: parameters in the URL, the statement there or in the body, insert data in the body."""

    protocol_version = "HTTP/1.1"
    engine: Engine

    def do_GET(self) -> None:
        if urlsplit(self.path).path == "/ping":
            self._send(200, b"Ok.\n")
        else:
            self._answer(b"")

    def do_POST(self) -> None:
        try:
            packed = self._body()
            self._answer(_unpacked(packed, self.headers.get("Content-Encoding", "")))
        except EOFError:
            self.close_connection = True  # the client is gone: its incomplete request is not executed
        except ValueError as error:
            self._send(400, f"the request cannot be read: {error}".encode())

    def _answer(self, body: bytes) -> None:
        parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        settings = {name: value for name, value in parameters.items() if name not in NOT_SETTINGS}
        statement = b"\n".join(part for part in (parameters.get("query", "").encode(), body) if part)
        output = parameters.get("default_format", "TabSeparated")
        try:
            answer = self.engine.run(statement, parameters.get("database") or FIRST_DATABASE, settings, output)
        except StatementRefused as error:
            status = 404 if error.code in {UNKNOWN_TABLE, UNKNOWN_DATABASE} else 500
            self._send(status, str(error).encode(), {"X-ClickHouse-Exception-Code": error.code})
        else:
            summary = json.dumps({"written_rows": str(answer.written_rows)})
            self._send(200, answer.content, {"X-ClickHouse-Summary": summary})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(self._chunks())
        return self._exactly(int(self.headers.get("Content-Length") or 0))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._line().split(b";")[0], 16):
            yield self._exactly(size)
            self._line()
        self._line()

    def _line(self) -> bytes:
        line = self.rfile.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return line

    def _exactly(self, size: int) -> bytes:
        body = self.rfile.read(size)
        if len(body) < size:
            raise EOFError
        return body

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
        """Logs only requests that failed."""
        if len(args) > 1 and str(args[1]) >= "400":
            sys.stderr.write(f"{format % args}\n")


def _unpacked(body: bytes, encoding: str) -> bytes:
    if encoding not in UNPACK:
        raise ValueError(f"Content-Encoding {encoding} is not among {', '.join(UNPACK)}")
    try:
        return bytes(UNPACK[encoding](body))
    except (OSError, EOFError, RuntimeError, zlib.error, zstandard.ZstdError) as error:
        raise ValueError(f"the body is not valid {encoding}: {error}") from error


class Server(ThreadingHTTPServer):
    """Serves each client in a thread of its own."""

    daemon_threads = False
    request_queue_size = 64

    def __init__(self, port: int, engine: Engine, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", port), type("Handler", (Front,), {"engine": engine}))
        if context is not None:  # the handshake is left to the thread of the client
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.lines: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.lines.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.lines.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores clients that disconnect before their answer."""
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)

    def end(self) -> None:
        """Closes the server after `serve_forever`: running statements finish, and nothing more is read."""
        for line in list(self.lines):
            try:
                line.shutdown(socket.SHUT_RD)
            except OSError:
                continue  # already closed
        self.server_close()


def main(
    path: Annotated[Path, typer.Option(help="folder of the engine's data")],
    port: Annotated[int, typer.Option(help="port on loopback")],
    tls_port: Annotated[int, typer.Option(help="second port on loopback, with TLS")] = 0,
    config: Annotated[Path | None, typer.Option(help="configuration file of the engine, such as for rights")] = None,
    identities: Annotated[Path | None, typer.Option(help="folder of the second port's server.pem and ca.crt")] = None,
) -> None:
    """Serve until SIGTERM."""
    path.mkdir(parents=True, exist_ok=True)
    engine = Engine(path, config)
    servers = [Server(port, engine)]
    if identities is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=identities / "ca.crt")
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_cert_chain(identities / "server.pem")
        servers.append(Server(tls_port, engine, context))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: Thread(target=end, args=(servers,)).start())
    serving = [Thread(target=server.serve_forever) for server in servers]
    for thread in serving:
        thread.start()
    for thread in serving:
        thread.join()
    for server in servers:
        server.end()
    engine.close()


def end(servers: Iterable[Server]) -> None:
    """Makes all servers stop serving."""
    for server in servers:
        server.shutdown()


if __name__ == "__main__":
    typer.run(main)
