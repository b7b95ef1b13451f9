"""Writes the Kubernetes manifests of a release, in which each image has a digest: `-m tools.release.pin IMAGE...`

Each IMAGE is what `docker push` prints: registry.example.com/pmflow-fetcher:0.2.0@sha256:... A tag can be moved to
another image; a digest cannot.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "deploy" / "k8s"
RELEASE = ROOT / ".pmflow" / "release"
_REFERENCE = re.compile(r"(?P<repository>[\w.:/-]*?(?P<name>[\w-]+))(?::[\w.-]+)?@(?P<digest>sha256:[0-9a-f]{64})")


class NotPinned(ValueError):  # noqa: N818
    """An image of the release is missing, or named by a tag alone."""


def pinned(images: Sequence[str], wanted: Sequence[str]) -> list[Mapping[str, str]]:
    """Returns the entries of a kustomization that replace each wanted image by the given one.

    Args:
        images: references with digests.
        wanted: names of all images that the manifests use.

    Raises:
        NotPinned: a reference has no digest, or is none of the wanted images, or a wanted image is missing.
    """
    found: dict[str, Mapping[str, str]] = {}
    for image in images:
        match = _REFERENCE.fullmatch(image)
        if match is None:
            raise NotPinned(f"{image}: a release names images by digest: REPOSITORY[:TAG]@sha256:<64 digits>")
        if match["name"] not in wanted or match["name"] in found:
            raise NotPinned(f"{image}: expected each of these once: {', '.join(wanted)}")
        found[match["name"]] = {"name": match["name"], "newName": match["repository"], "digest": match["digest"]}
    if missing := [name for name in wanted if name not in found]:
        raise NotPinned(f"no digest for {', '.join(missing)}: a release names every image")
    return [found[name] for name in wanted]


def kustomization(images: Sequence[str]) -> dict[str, Any]:
    """Returns the kustomization of a release, for the folder `.pmflow/release`.

    Raises:
        NotPinned: see `pinned`.
    """
    below = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["../../deploy/k8s"],
        "images": pinned(images, [image["name"] for image in below["images"]]),
    }


if __name__ == "__main__":
    try:
        text = yaml.safe_dump(kustomization(sys.argv[1:]), sort_keys=False)
    except NotPinned as refusal:
        sys.exit(str(refusal))
    RELEASE.mkdir(parents=True, exist_ok=True)
    (RELEASE / "kustomization.yaml").write_text(text)
