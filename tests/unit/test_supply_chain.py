"""Packages are installed as they were locked, by hash; something of ours uses each, and its licence permits that."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "tools/setup/uv.lock", "tools/setup/audit.lock")
ALLOWED = frozenset((
    *("MIT", "MIT-0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "Apache-2.0", "ISC", "PSF-2.0", "Zlib", "CC0-1.0"),
    *("Repoze", "MPL-2.0", "LGPL-2.1"),  # of files that we do not change, and of a library that we only import
    "EPL-2.0",  # asyncssh, in the simulator only
))  # fmt: skip
SPELLINGS = {
    "Apache Software License": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache 2": "Apache-2.0",
    "Apache": "Apache-2.0",
    "MIT License": "MIT",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Repoze Public License": "Repoze",
}
"""Names of licences in the metadata of packages -> in SPDX."""
BY_THEIR_FILE = {"pyftpdlib": "MIT", "atheris": "Apache-2.0"}
"""Packages whose metadata names no licence."""
Requirement = tuple[str, frozenset[str]]
"""A package, its name in one spelling, and the extras that are asked for."""


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(lock: str) -> dict[str, list[str]]:
    """Returns the lines of each package in a lock file."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in (ROOT / lock).read_text().splitlines():
        if not line.startswith(" "):
            name = line
        found.setdefault(name, []).append(line.strip())
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_one_version_and_hashes(lock: str) -> None:
    locked = entries(lock)
    assert locked
    for first, lines in locked.items():
        assert re.match(r"[a-z0-9.-]+==[\w.!+-]+ ", first), first
        assert len(lines) > 1, first
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}( \\)?", line) for line in lines[1:]), first


def test_nothing_is_installed_without_hashes_but_the_project_itself() -> None:
    for line in (ROOT / "Makefile").read_text().splitlines() + (ROOT / "tools/setup/audit.sh").read_text().splitlines():
        if "pip install" in line or '/pip" install' in line:
            assert "--require-hashes" in line or line.endswith("--no-deps --no-build-isolation -e ."), line


def named(texts: Iterable[str]) -> Iterator[Requirement]:
    for text in texts:
        match = re.match(r"([\w.-]+)\s*(?:\[([\w,\s-]+)\])?", text)
        assert match, text
        yield plain(match[1]), frozenset(plain(extra.strip()) for extra in (match[2] or "").split(",") if extra)


def declared() -> Iterator[Requirement]:
    """Yields what the project and its services declare."""
    for file in (ROOT / "pyproject.toml", ROOT / "tools/pyproject.toml", *ROOT.glob("services/*/pyproject.toml")):
        project = tomllib.loads(file.read_text())
        yield from named(project["project"]["dependencies"])
        yield from named(project.get("dependency-groups", {}).get("dev", ()))


def required(requirement: Requirement) -> Iterator[Requirement]:
    """Yields what a package requires, on any platform, with the extras that are asked for."""
    name, extras = requirement
    try:
        texts = requires(name) or []
    except PackageNotFoundError:
        return  # of another platform
    for text in texts:
        only_with = re.findall(r"extra\s*==\s*['\"]([\w-]+)['\"]", text)
        if not only_with or extras & set(map(plain, only_with)):
            yield from named([text])


def test_every_locked_package_is_required_by_one_that_is_declared() -> None:
    waiting, known = list(declared()), set[Requirement]()
    while waiting:
        one = waiting.pop()
        if one not in known:
            known.add(one)
            waiting.extend(required(one))
    locked = {plain(first.split("==")[0]) for first in entries("requirements.lock")}
    assert {name for name, _ in declared()} <= locked
    assert locked - {name for name, _ in known} == set()


def licences(name: str) -> tuple[list[str], bool]:
    """Returns the licences of an installed package, and True if one of them may be chosen."""
    about = metadata(name)
    (expression,) = about.get_all("License-Expression") or [BY_THEIR_FILE.get(name, "")]
    if not expression:
        last_words = [text.split(" :: ")[-1] for text in about.get_all("Classifier") or [] if "License ::" in text]
        if found := [SPELLINGS.get(one, one) for one in last_words if one not in {"OSI Approved", "DFSG approved"}]:
            return found, False
        expression = about["License"].splitlines()[0]
    if expression in SPELLINGS:
        return [SPELLINGS[expression]], False
    return re.split(r"\s+(?:AND|OR)\s+", re.sub(r"[()]", "", expression)), "AND" not in expression


@pytest.mark.parametrize("name", sorted({first.split("==")[0] for first in entries("requirements.lock")}))
def test_a_locked_package_has_a_licence_that_we_may_use(name: str) -> None:
    try:
        found, may_be_chosen = licences(name)
    except PackageNotFoundError:
        pytest.skip("of another platform or version of Python")
    assert bool(ALLOWED & set(found)) if may_be_chosen else set(found) <= ALLOWED, found


def test_an_audit_says_when_the_database_cannot_be_asked() -> None:
    environment = os.environ | {"OSV_URL": "http://127.0.0.1:1/v1/query"}
    argv = ["sh", "tools/setup/audit.sh", sys.executable]
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(
        r"audit: http://127\.0\.0\.1:1/v1/query does not answer \(.*refused\): nothing was checked; .+ the internet\n",
        done.stderr,
    )


@pytest.mark.parametrize("file", [".github/workflows/ci.yml", ".gitlab-ci.yml"])
def test_every_forge_audits_the_locked_packages(file: str) -> None:
    jobs = yaml.safe_load((ROOT / file).read_text())
    job = jobs.get("jobs", jobs)["audit"]
    assert "make audit" in (job.get("script") or [step.get("run") for step in job["steps"]])
