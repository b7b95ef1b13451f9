"""The Kubernetes objects that `kubectl apply -k` creates, as the real kustomize renders them."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.go_programs import built

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
    return shutil.which("kustomize") or str(built("sigs.k8s.io/kustomize/kustomize/v5", VERSION)), "build"
