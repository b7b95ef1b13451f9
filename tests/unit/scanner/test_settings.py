"""The section `zookeeper`: what it refuses, and what it shows."""

import pytest

from services.scanner.settings import Zookeeper, zookeeper_of
from shared.configuration.resolve import resolve
from shared.settings import BadSettings, load

LOGIN = {"username": "scanner", "password": "s3cret"}


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"ca-file": "/ca.crt"}, "require tls: true"),
        ({"cert-file": "/tls.crt"}, "require tls: true"),
        ({"tls": True, "key-file": "/tls.key"}, "require cert-file"),
        ({"tls": True, "key-passphrase-file": "/word"}, "require cert-file"),
        (LOGIN, "require authentication digest or sasl"),
        ({"authentication": "digest", **LOGIN}, "requires tls: true"),
        ({"authentication": "sasl", "username": "scanner"}, "requires username, and password-file or password"),
        ({"authentication": "sasl", "password": "s3cret"}, "requires username, and password-file or password"),
        ({"authentication": "sasl", "username": "a:b", "password": "s3cret"}, "must not contain a colon"),
        ({"readers": "sasl:operator"}, "require a login or a cert-file"),
        ({"authentication": "sasl", **LOGIN, "readers": "operator"}, "must be written scheme:id"),
    ],
)
def test_a_combination_that_cannot_work_is_refused(section: dict[str, object], said: str) -> None:
    with pytest.raises(BadSettings, match=said):
        resolve(Zookeeper, section, "zookeeper")


@pytest.mark.parametrize(
    "section",
    [
        {"tls": True},
        {"tls": True, "ca-file": "/ca.crt", "cert-file": "/tls.pem", "readers": "x509:CN=operator"},
        {"tls": True, "authentication": "digest", **LOGIN},
        {"authentication": "sasl", **LOGIN, "readers": ["sasl:operator"]},
    ],
)
def test_a_combination_that_works_is_taken(section: dict[str, object]) -> None:
    assert resolve(Zookeeper, section, "zookeeper").is_identified == (section != {"tls": True})


def test_the_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMFLOW_ZOOKEEPER__AUTHENTICATION", "sasl")
    monkeypatch.setenv("PMFLOW_ZOOKEEPER__USERNAME", "scanner")
    monkeypatch.setenv("PMFLOW_ZOOKEEPER__PASSWORD", "s3cret")
    found = zookeeper_of(load(()))
    assert found.password == "s3cret"
    assert "s3cret" not in repr(found)
