"""Carries out plans for a group of files on one element in a few round trips; each file has an outcome of its own."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import orjson

from services.fetcher.settle.plan import Plan, is_same
from shared.messages import FileStatus, path_text
from shared.remote.session import Denied, Entry, Gone

log = logging.getLogger(__name__)
Seen = Entry | Gone | Denied | None
PlanOutcome = tuple[Plan, str | Denied]
"""A plan, and what was done or why the element refused it. `gone`: the file was nowhere."""


class Directory(Protocol):
    """The part of a session that the settler needs. Blocks; raises Unreachable."""

    def look(self, path: bytes) -> Entry | None: ...
    def move(self, path: bytes, to: bytes) -> None: ...
    def write(self, path: bytes, content: bytes) -> None: ...
    def look_all(self, paths: Sequence[bytes]) -> list[Seen]: ...
    def move_all(self, pairs: Sequence[tuple[bytes, bytes]]) -> list[Gone | Denied | None]: ...
    def delete_all(self, paths: Sequence[bytes]) -> list[Gone | Denied | None]: ...
    def make_directories(self, directories: Sequence[bytes]) -> list[Gone | Denied | None]: ...


def carry_out(element: Directory, plans: Sequence[Plan]) -> Iterator[PlanOutcome]:
    """Carries out plans that do not concern each other; yields the outcome of each, in any order.

    Raises:
        Unreachable: the element does not answer; what was not yielded may or may not have been done.
    """
    paths = [plan.path for plan in plans] + [plan.places[0] for plan in plans if plan.looks_at_place]
    seen = look(element, paths)
    here = [plan for plan in plans if is_same(seen[plan.path], plan.status)]
    for plan in plans:
        if isinstance(refused := seen[plan.path], Denied):
            yield plan, refused
    # The others were moved earlier, or newer files have their names.
    yield from _settled_earlier(element, [p for p in plans if p not in here and not isinstance(seen[p.path], Denied)])
    yield from _delete(element, [plan for plan in here if plan.action == "delete"])
    yield from _move(element, [plan for plan in here if plan.action == "move"], seen)


def look(element: Directory, paths: Sequence[bytes]) -> dict[bytes, Seen]:
    """Looks at many paths at once."""
    return dict(zip(paths, element.look_all(paths), strict=True)) if paths else {}


def _settled_earlier(element: Directory, plans: Sequence[Plan]) -> Iterator[PlanOutcome]:
    seen = look(element, [place for plan in plans for place in plan.places])
    for plan in plans:
        found = [seen[place] for place in plan.places]
        if any(is_same(entry, plan.status) for entry in found):
            yield plan, "move"
        else:
            yield plan, next((refused for refused in found if isinstance(refused, Denied)), "gone")


def _delete(element: Directory, plans: Sequence[Plan]) -> Iterator[PlanOutcome]:
    if plans:
        yield from _concluded(element, plans, element.delete_all([plan.path for plan in plans]))


def _move(element: Directory, plans: Sequence[Plan], seen: Mapping[bytes, Seen]) -> Iterator[PlanOutcome]:
    """Moves files, after their directories have been created and the reasons written for those that have one."""
    refused = _without_directory(element, plans)
    taken = _taken(element, [plan for plan in plans if plan not in refused], seen, refused)
    places = {plan: plan.place(is_taken=plan in taken) for plan in plans if plan not in refused}
    for plan, place in places.items():
        why = _reason_not_written(element, place, plan.status) if plan.end == "error" else None
        if why is not None:
            refused[plan] = why
    yield from _concluded(element, list(refused), list(refused.values()))
    movable = [plan for plan in places if plan not in refused]
    if movable:
        yield from _concluded(element, movable, element.move_all([(plan.path, places[plan]) for plan in movable]))


def _without_directory(element: Directory, plans: Sequence[Plan]) -> dict[Plan, Gone | Denied]:
    """Creates the directories; returns the files that cannot be moved, with the reason."""
    directories = list(dict.fromkeys(directory for plan in plans for directory in plan.directories))
    made = dict(zip(directories, element.make_directories(directories), strict=True)) if directories else {}
    refused: dict[Plan, Gone | Denied] = {}
    for plan in plans:
        why: Gone | Denied | None = next((made[one] for one in plan.directories if made[one] is not None), None)
        if why is not None:
            refused[plan] = why
    return refused


def _taken(
    element: Directory, plans: Sequence[Plan], seen: Mapping[bytes, Seen], refused: dict[Plan, Gone | Denied]
) -> set[Plan]:
    """Returns the files whose first place another file has; adds to `refused` those for which that is not told.

    A refusal is asked again: when it was given, the directory may have been missing.
    """
    asked_again = [plan.places[0] for plan in plans if isinstance(seen.get(plan.places[0]), Denied)]
    at_place = {**seen, **look(element, asked_again)}
    for plan in plans:
        if isinstance(why := at_place.get(plan.places[0]), Denied):
            refused[plan] = why
    return {plan for plan in plans if isinstance(at_place.get(plan.places[0]), Entry)}


def _reason_not_written(element: Directory, place: bytes, status: FileStatus) -> Gone | Denied | None:
    """Writes the reason beside a file that cannot be read; returns the refusal."""
    reason = {"reason": status.reason, "file": status.file_id, "system": status.system, "path": status.path}
    try:
        element.write(place + b".reason.json", orjson.dumps(reason, option=orjson.OPT_INDENT_2))
    except (Gone, Denied) as refused:
        return refused
    return None


def _concluded(
    element: Directory, plans: Sequence[Plan], refusals: Sequence[Gone | Denied | None]
) -> Iterator[PlanOutcome]:
    """Yields the outcomes. A file that is said to be gone is looked for: it may be the directory that is missing."""
    gone = [plan for plan, refused in zip(plans, refusals, strict=True) if isinstance(refused, Gone)]
    seen = look(element, [plan.path for plan in gone])
    for plan, refused in zip(plans, refusals, strict=True):
        if not isinstance(refused, Gone):
            yield plan, refused or plan.action
        elif isinstance(entry := seen[plan.path], Denied):
            yield plan, entry
        elif is_same(entry, plan.status):
            yield plan, Denied(f"{path_text(plan.path)} is still there: {refused}")
        else:
            log.info(
                "file settled by another fetcher", extra={"file": plan.status.file_id, "path": path_text(plan.path)}
            )
            yield plan, plan.action
