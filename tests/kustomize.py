"""The Kubernetes objects that `kubectl apply -k` creates, as the real kustomize renders them."""

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tools.devstack.downloads import CACHE, MissingPrerequisite, publish

VERSION = "v5.8.1"
Objects = dict[str, dict[str, Any]]
"""Kubernetes objects by kind and name, as in Deployment/pmflow-scanner."""


@cache
def deployed(kustomization: Path) -> Objects:
    """Returns what `kubectl apply -k` creates; without the hash at the end of generated names.

    Raises:
        MissingPrerequisite: There is no kustomize on this machine, and none can be built.
    """
    rendered = render(kustomization)
    found = {f"{one['kind']}/{re.sub(r'-[a-z0-9]{10}$', '', one['metadata']['name'])}": one for one in rendered}
    assert len(found) == len(rendered)
    return found


def render(kustomization: Path) -> list[dict[str, Any]]:
    """Returns the objects of a kustomization.

    Raises:
        MissingPrerequisite: There is no kustomize on this machine, and none can be built.
    """
    rendered = subprocess.run([*_command(), str(kustomization)], capture_output=True, text=True, check=False)
    assert rendered.returncode == 0, rendered.stderr
    return list(yaml.safe_load_all(rendered.stdout))


def _command() -> tuple[str, str]:
    """Returns the command to render with. kubectl comes first: its own kustomize is what `kubectl apply -k` uses."""
    if kubectl := shutil.which("kubectl"):
        return kubectl, "kustomize"
    return shutil.which("kustomize") or str(_built()), "build"


def _built() -> Path:
    """Returns kustomize built from its Go module; built once, then taken from the cache of the dev stack."""
    folder = CACHE / f"kustomize-{VERSION}"
    if not folder.exists():
        go = shutil.which("go")
        if go is None:
            raise MissingPrerequisite("none of kubectl, kustomize and go is installed")
        CACHE.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=CACHE) as partial:
            argv = [go, "install", f"sigs.k8s.io/kustomize/kustomize/v5@{VERSION}"]
            environment = os.environ | {"GOBIN": f"{partial}/bin"}
            done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise MissingPrerequisite(
                    f"neither kubectl nor kustomize is installed, and go cannot build it: {done.stderr[-500:]}"
                )
            publish(Path(partial, "bin"), folder)
    return folder / "kustomize"
