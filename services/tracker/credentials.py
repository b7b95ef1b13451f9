"""Faust's credentials, made of the same properties as all other clients have."""

import asyncio
import base64
import json
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import time

import faust
from aiokafka.abc import AbstractTokenProvider  # type: ignore[import-untyped]
from faust.types.auth import CredentialsT

from services.tracker.honoured import require_honoured
from shared.configuration.kafka import tls_context

TOKEN_TIMEOUT_S = 10.0
RENEWED_BEFORE_S = 10.0
"""Time before the end of a token at which a new one is requested."""


def faust_credentials(properties: Mapping[str, str]) -> CredentialsT | None:
    """Returns Faust's credentials; None without TLS and login.

    Raises:
        BadSettings: Faust cannot honour a security property, or a certificate cannot be read.
    """
    require_honoured(properties)
    protocol, mechanism = properties["security.protocol"], properties.get("sasl.mechanism", "")
    tls = tls_context(properties) if protocol.endswith("ssl") else None
    if protocol == "ssl":
        return faust.SSLCredentials(tls)
    if not protocol.startswith("sasl"):
        return None
    if mechanism == "OAUTHBEARER":
        return faust.OAuthCredentials(oauth_cb=OidcTokens(properties), ssl_context=tls)
    login = {"username": properties.get("sasl.username"), "password": properties.get("sasl.password")}
    return faust.SASLCredentials(**login, mechanism=mechanism, ssl_context=tls)


@dataclass
class OidcTokens(AbstractTokenProvider):  # type: ignore[misc] # aiokafka has no types
    """Requests tokens of a client from an OIDC endpoint, as librdkafka does (RFC 6749, 4.4)."""

    properties: Mapping[str, str] = field(repr=False)
    kept: str = field(default="", repr=False)
    until_s: float = 0.0

    async def token(self) -> str:
        """Returns a valid token; called for each new connection."""
        if time() > self.until_s - RENEWED_BEFORE_S:
            self.kept, self.until_s = await asyncio.to_thread(self._requested)
        return self.kept

    def _requested(self) -> tuple[str, float]:
        form = {"grant_type": "client_credentials"}
        if scope := self.properties.get("sasl.oauthbearer.scope"):
            form["scope"] = scope
        login = ":".join(self.properties[f"sasl.oauthbearer.client.{part}"] for part in ("id", "secret"))
        request = urllib.request.Request(  # noqa: S310 - the URL is the operator's
            self.properties["sasl.oauthbearer.token.endpoint.url"],
            urllib.parse.urlencode(form).encode(),
            {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"},
        )
        with urllib.request.urlopen(request, timeout=TOKEN_TIMEOUT_S) as response:  # noqa: S310
            answer = json.loads(response.read())
        return answer["access_token"], time() + float(answer.get("expires_in", 60))
