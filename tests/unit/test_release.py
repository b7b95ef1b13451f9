"""A release names every image by its digest, and is refused otherwise."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from shared.settings import SERVICES
from tests.kustomize import deployed
from tools.devstack.downloads import MissingPrerequisite
from tools.release.pin import RELEASE, NotPinned, kustomization, pinned

ROOT = Path(__file__).parents[2]
NAMES = (*(f"pmflow-{service.replace('_', '-')}" for service in SERVICES), "pmflow-tools")
DIGESTS = {name: f"sha256:{number:064x}" for number, name in enumerate(NAMES)}
IMAGES = [f"registry.example.com:5000/team/{name}:0.2.0@{digest}" for name, digest in DIGESTS.items()]


def test_every_container_of_a_release_runs_the_image_of_its_digest(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy" / "k8s", tmp_path / "deploy" / "k8s")
    release = tmp_path / RELEASE.relative_to(ROOT)
    release.mkdir(parents=True)
    (release / "kustomization.yaml").write_text(yaml.safe_dump(kustomization(IMAGES)))
    try:
        objects = deployed(release)
    except MissingPrerequisite as missing:
        pytest.skip(str(missing))
    pods = [one["spec"]["template"]["spec"] for one in objects.values() if one["kind"] in {"Deployment", "Job"}]
    images = [one["image"] for pod in pods for one in (*pod["containers"], *pod.get("initContainers", ()))]
    assert len(images) == len(SERVICES) + 2
    assert set(images) == {f"registry.example.com:5000/team/{name}@{digest}" for name, digest in DIGESTS.items()}


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("registry.example.com/pmflow-fetcher:0.2.0", "a release names images by digest"),
        ("pmflow-fetcher", "a release names images by digest"),
        ("pmflow-fetcher@sha256:" + "0" * 63, "a release names images by digest"),
        ("pmflow-fetcher@md5:" + "0" * 64, "a release names images by digest"),
        ("pmflow-fetcher:0.2.0@sha256:" + "0" * 64 + " ", "a release names images by digest"),
        ("nginx@sha256:" + "0" * 64, "expected each of these once: pmflow-scanner, "),
        ("pmflow-scanner@sha256:" + "0" * 64, "expected each of these once"),
    ],
)
def test_an_image_that_could_become_another_one_is_refused(image: str, says: str) -> None:
    others = [one for one in IMAGES if "/pmflow-fetcher:" not in one]
    with pytest.raises(NotPinned, match=re.escape(says)):
        pinned([*others, image], NAMES)


def test_a_release_without_one_of_its_images_is_refused_and_nothing_is_written() -> None:
    before = RELEASE.exists()
    argv = [sys.executable, "-m", "tools.release.pin", *IMAGES[1:]]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "no digest for pmflow-scanner: a release names every image\n")
    assert RELEASE.exists() == before
