"""The configuration while a service runs: looked at again and again; a change is taken, or refused with the reason."""

import logging
from collections.abc import Callable
from dataclasses import fields, replace
from threading import Event, Lock
from typing import Any

from shared.settings import BadSettings, Settings, load

log = logging.getLogger(__name__)
CHANGEABLE = frozenset({"systems", "schedule"})
"""What may change while a service runs; all else needs a restart."""


class Watch:
    """The last good configuration."""

    def __init__(
        self,
        settings: Settings,
        check: Callable[[Settings], None] = lambda _: None,
        read: Callable[[], Settings] = load,
    ) -> None:
        """Args: check: raises BadSettings for what a service cannot work with; read: the configuration as it is now."""
        self.settings = settings
        self.lock = Lock()
        self.check = check
        self.read = read
        self.refused = ""
        """Why the files as they are now are not taken."""
        self.waiting: frozenset[str] = frozenset()
        """Sections that changed, and need a restart."""

    def look(self) -> Settings | None:
        """The new configuration when it changed and is good; the old one stays otherwise. Any thread may ask."""
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
                log.error("configuration refused, the old one stays", extra={"reason": str(error)})  # noqa: TRY400 - says it all
            self.refused = str(error)
            return None
        self.refused = ""
        self._tell_of_others(found)
        if wanted == self.settings:
            return None
        self.settings = wanted
        log.info("configuration changed", extra={"systems": [system.name for system in wanted.systems]})
        return wanted

    def _tell_of_others(self, found: Settings) -> None:
        now, then = _sections(found), _sections(self.settings)
        waiting = frozenset(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
        if waiting - self.waiting:
            log.warning("changed, but taken only at a restart", extra={"sections": sorted(waiting)})
        self.waiting = waiting

    def follow(self, look_s: float, stop: Event) -> None:
        """Look every so often, until stopped."""
        while not stop.wait(look_s):
            self.look()


def _sections(settings: Settings) -> dict[str, Any]:
    """All that needs a restart, by section."""
    own = {name: section for name, section in settings.own.items() if section}
    names = {field.name for field in fields(Settings)} - CHANGEABLE - {"own"}
    return {**own, **{name: getattr(settings, name) for name in names}}
