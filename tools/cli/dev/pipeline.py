"""Runs simulator and services as processes on one machine, for the demo and the system tests."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.settings import SERVICES, Settings, load
from tools.cli.dev.run import service_command
from tools.devstack import processes
from tools.devstack.stack import REPOSITORY, Stack

USERS_YAML = REPOSITORY / "deploy" / "pmflow.yaml"


@dataclass(frozen=True)
class Pipeline:
    """The whole pipeline; its configuration, logs, pid files and simulated elements are under `home`."""

    home: Path
    stack: Stack
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Sections that override the user's YAML and the stack's overlay."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """Ports for the services' metrics; a service without one serves no metrics."""
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Service -> further variables of its environment, such as a login of its own."""

    @property
    def simulator(self) -> Path:
        return self.stack.simulator

    @property
    def config(self) -> tuple[Path, Path]:
        return USERS_YAML, self.stack.overlay_file

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "PMFLOW_CONFIG": ",".join(map(str, self.config))}

    def configure(self) -> Settings:
        """Writes the overlay; returns the settings as the services will see them."""
        self.stack.write_overlay(self.overrides)
        return load(self.config)

    def simulate(self, *options: str) -> processes.Process:
        """Starts the simulated elements."""
        argv = [sys.executable, "-m", "tools.simulator", "--dir", str(self.simulator), *options]
        return processes.start(self.home, "simulator", argv, cwd=REPOSITORY)

    def start(self, services: Sequence[str] = SERVICES) -> list[processes.Process]:
        """Starts services with `python -m services.<name>`, as everywhere."""
        return [
            processes.start(self.home, name, service_command(name), env=self._env_of(name), cwd=REPOSITORY)
            for name in services
        ]

    def _env_of(self, service: str) -> dict[str, str]:
        env = {**self.env, **self.environments.get(service, {})}
        if service not in self.ports:
            return env
        health, port = str(self.home / f"{service}.health"), str(self.ports[service])
        return {**env, "PMFLOW_METRICS__PORT": port, "PMFLOW_HEALTH__FILE": health}

    def ended(self, names: Iterable[str]) -> dict[str, Path]:
        """Returns the processes that do not run, with their logs."""
        return {name: self.home / "log" / f"{name}.log" for name in names if processes.find(self.home, name) is None}

    def process(self, name: str) -> processes.Process:
        found = processes.find(self.home, name)
        if found is None:
            raise LookupError(f"{name} is not running")
        return found
