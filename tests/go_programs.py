"""Programs of other projects that render deployment files, built from their Go modules."""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.devstack.downloads import CACHE, MissingPrerequisite, publish


def built(module: str, version: str) -> Path:
    """Returns the program of a module; built once, then taken from the cache of the dev stack.

    Raises:
        MissingPrerequisite: Go is not installed, or cannot build it.
    """
    folder = CACHE / f"{module.replace('/', '-')}-{version}"
    if not folder.exists():
        go = shutil.which("go")
        if go is None:
            raise MissingPrerequisite(f"{module} is needed, and go, which could build it, is not installed")
        CACHE.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=CACHE) as partial:
            environment = os.environ | {"GOBIN": f"{partial}/bin"}
            argv = [go, "install", f"{module}@{version}"]
            done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise MissingPrerequisite(f"{module} is needed, and go cannot build it: {done.stderr[-500:]}")
            publish(Path(partial, "bin"), folder)
    (program,) = folder.iterdir()
    return program
