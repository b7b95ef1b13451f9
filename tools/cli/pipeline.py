"""The whole pipeline on one machine: simulator and services as processes, for the demo and the system tests."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from shared.settings import SERVICES, Settings, load
from tools.cli.run import command
from tools.devstack import processes
from tools.devstack.stack import Stack

ROOT = Path(__file__).parents[2]
USERS_YAML = ROOT / "deploy" / "pmflow.yaml"


@dataclass(frozen=True)
class Pipeline:
    """Everything lies under `home`: configuration, logs, pid files, the simulator's elements."""

    home: Path
    stack: Stack
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Sections over the user's YAML and the addresses of the stack."""

    @property
    def simulator(self) -> Path:
        return self.home / "simulator"

    @property
    def config(self) -> tuple[Path, Path]:
        return USERS_YAML, self.home / "overlay.yaml"

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "PMFLOW_CONFIG": ",".join(map(str, self.config))}

    def configure(self) -> Settings:
        """Write the overlay; the settings as the services will see them."""
        overlay = {
            **self.stack.overlay(),
            "sftp": {"known-hosts": str(self.simulator / "known_hosts")},
            "4ga": {"inventory": str(self.simulator / "inventory" / "4ga.yaml")},
            "5ga": {"inventory": str(self.simulator / "inventory" / "5ga.yaml")},
        }
        for section, values in self.overrides.items():
            overlay[section] = {**overlay.get(section, {}), **values}
        self.config[1].parent.mkdir(parents=True, exist_ok=True)
        self.config[1].write_text(yaml.safe_dump(overlay))
        return load(self.config)

    def simulate(self, *options: str) -> processes.Process:
        """Start the elements."""
        argv = [sys.executable, "-m", "tools.simulator", "--dir", str(self.simulator), *options]
        return processes.start(self.home, "simulator", argv, cwd=ROOT)

    def start(self, services: Sequence[str] = SERVICES) -> list[processes.Process]:
        """Start services as everybody does, `python -m services.<name>`."""
        return [processes.start(self.home, name, command(name), env=self.env, cwd=ROOT) for name in services]

    def process(self, name: str) -> processes.Process:
        found = processes.find(self.home, name)
        if found is None:
            raise LookupError(f"{name} is not running")
        return found
