"""Reloads the configuration while a service runs: a change is applied, or rejected with the reason."""

import logging
from collections.abc import Callable
from dataclasses import fields, replace
from threading import Event, Lock
from typing import Any

from shared.settings import BadSettings, Settings, load

log = logging.getLogger(__name__)
CHANGEABLE = frozenset({"systems", "schedule"})
"""Sections that may change while a service runs; all others need a restart."""


class Watch:
    """Holds the last valid configuration and checks for changes."""

    def __init__(
        self,
        settings: Settings,
        check: Callable[[Settings], None] = lambda _: None,
        read: Callable[[], Settings] = load,
    ) -> None:
        """Starts with a valid configuration.

        Args:
            settings: the configuration at the start.
            check: raises BadSettings if the service cannot work with a configuration.
            read: returns the configuration as it is now.
        """
        self.settings = settings
        self.lock = Lock()
        self.check = check
        self.read = read
        self.refused = ""
        """Reason why the current files are rejected; empty if they are valid."""
        self.waiting: frozenset[str] = frozenset()
        """Changed sections that take effect at a restart."""

    def look(self) -> Settings | None:
        """Returns the new configuration if it has changed and is valid, else None. Thread-safe."""
        with self.lock:
            return self._look()

    def _look(self) -> Settings | None:
        try:
            found = self.read()
            wanted = replace(self.settings, **{name: getattr(found, name) for name in CHANGEABLE})
            if wanted != self.settings:
                self.check(wanted)
        except BadSettings as error:
            if str(error) != self.refused:
                log.error("configuration rejected, previous one kept", extra={"reason": str(error)})  # noqa: TRY400 - the reason suffices
            self.refused = str(error)
            return None
        self.refused = ""
        self._report_restart_needed(found)
        if wanted == self.settings:
            return None
        self.settings = wanted
        log.info("configuration changed", extra={"systems": [system.name for system in wanted.systems]})
        return wanted

    def _report_restart_needed(self, found: Settings) -> None:
        now, then = _sections(found), _sections(self.settings)
        waiting = frozenset(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
        if waiting - self.waiting:
            log.warning("configuration change needs a restart", extra={"sections": sorted(waiting)})
        self.waiting = waiting

    def follow(self, look_s: float, stop: Event) -> None:
        """Checks for changes periodically until stopped."""
        while not stop.wait(look_s):
            self.look()


def _sections(settings: Settings) -> dict[str, Any]:
    """All that needs a restart, by section."""
    own = {name: section for name, section in settings.own.items() if section}
    names = {field.name for field in fields(Settings)} - CHANGEABLE - {"own"}
    return {**own, **{name: getattr(settings, name) for name in names}}
