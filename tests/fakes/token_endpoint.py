"""An OIDC token endpoint (grant client_credentials) whose tokens a secured dev stack's broker takes."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tools.devstack.security import AUDIENCE, TOKEN_KEY, password

VALID_S = 120


@contextmanager
def token_endpoint(identities: Path) -> Iterator[str]:
    """Serves until the end of the block; yields the URL. The secret of a client is the identity's password."""
    handler = type("Handler", (_Endpoint,), {"identities": identities})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/token"
        server.shutdown()


def signed_token(identities: Path, subject: str) -> str:
    """Returns a JSON Web Token (RFC 7519) about an identity."""
    key = serialization.load_pem_private_key((identities / TOKEN_KEY).read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    now_s = int(time.time())
    claims = {"iss": "dev stack", "sub": subject, "aud": AUDIENCE, "iat": now_s, "exp": now_s + VALID_S}
    head = {"alg": "RS256", "typ": "JWT", "kid": TOKEN_KEY}
    content = ".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
    return f"{content}.{_encoded(key.sign(content.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class _Endpoint(BaseHTTPRequestHandler):
    identities: Path

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        login = self.headers.get("Authorization", "")
        if login.startswith("Basic "):
            client, _, secret = base64.b64decode(login[6:]).decode().partition(":")
        else:
            client, secret = form["client_id"][0], form["client_secret"][0]
        if secret != password(self.identities, client):
            self._send(401, {"error": "invalid_client"})
            return
        token = signed_token(self.identities, client)
        self._send(200, {"access_token": token, "token_type": "Bearer", "expires_in": VALID_S})

    def _send(self, code: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Logs nothing."""
