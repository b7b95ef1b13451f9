"""The nemesis' plan: a seed gives a timed list of faults, always the same one. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

LineKind = Literal["cut", "stall", "mute", "throttle", "delay", "half-close", "garble"]
"""A fault of the connections between one kind of client and one server.

cut         all connections break, and new ones are refused
stall       connections stay, but no byte passes in either direction
mute        requests arrive, and no answer comes back
throttle    few bytes pass per second
delay       every piece of data is late
half-close  one direction of every connection is closed, the other stays open
garble      answers are random bytes; for elements only, as the other protocols trust TCP
"""
LINE_KINDS: tuple[LineKind, ...] = get_args(LineKind)
LONGEST_S = 24.0
"""Longest planned fault: a process frozen for so long is replaced in every group, and wakes up as a zombie."""
REST_S = 1.0
"""Pause between two faults of the same target."""
ELEMENTS = "elements"
"""The SFTP server of all elements."""
FILES = "files"
"""The files that lie on the elements."""
ROLL_S = 12.0
"""Time that a plan allows for the restarts of all instances of a service, one after the other."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One planned fault."""

    number: int
    at_s: float
    """Begin, in seconds since the nemesis started."""
    kind: str
    target: str
    lasts_s: float
    victims: tuple[str, ...]
    """All processes, or the line, that must not have another fault at the same time."""

    @property
    def ends_s(self) -> float:
        return self.at_s + self.lasts_s


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One kind of fault, with its targets."""

    name: str
    targets: Mapping[str, Sequence[str]]
    """Target -> the victims that it occupies."""
    share: float
    """Weight in the choice of the next fault."""
    shortest_s: float
    longest_s: float


def planned(seed: int, seconds: float, mean_gap_s: float, kinds: Sequence[FaultKind]) -> list[Fault]:
    """Returns the faults in the order of their begins; none lasts beyond the end.

    Faults of different victims overlap; those of one victim have a pause between them.

    Args:
        seed: the same seed gives the same plan.
        seconds: duration of the whole plan.
        mean_gap_s: mean time between the begins of two faults.
        kinds: the kinds to choose from.
    """
    return list(_faults(Random(seed), seconds, mean_gap_s, kinds))


def _faults(random: Random, seconds: float, mean_gap_s: float, kinds: Sequence[FaultKind]) -> Iterator[Fault]:
    busy_until_s: dict[str, float] = {}
    at_s, number = 0.0, 0
    while (at_s := round(at_s + random.expovariate(1 / mean_gap_s), 2)) < seconds:
        kind = random.choices(kinds, [kind.share for kind in kinds])[0]
        lasts_s = round(min(_duration(random, kind), seconds - at_s), 2)
        target = random.choice(sorted(kind.targets))
        victims = tuple(kind.targets[target])
        if any(busy_until_s.get(victim, 0.0) > at_s for victim in victims):
            continue
        busy_until_s |= dict.fromkeys(victims, at_s + lasts_s + REST_S)
        number += 1
        yield Fault(number, at_s, kind.name, target, lasts_s, victims)


def _duration(random: Random, kind: FaultKind) -> float:
    """Returns a duration between the bounds of a kind; half of them lie in the first fifth between them."""
    return kind.shortest_s + (kind.longest_s - kind.shortest_s) * float(random.random() ** 2.3)


def usual_kinds(services: Mapping[str, Sequence[str]], servers: Sequence[str], lines: Sequence[str]) -> list[FaultKind]:
    """Returns all kinds of faults for a deployment.

    Args:
        services: names of the instances by service.
        servers: names of the servers, the elements among them.
        lines: names of the lines.
    """
    instances = [name for names in services.values() for name in names]
    processes = _alone(*instances, *servers)
    return [
        FaultKind("kill", processes, 5, 0.1, 8.0),
        FaultKind("terminate", processes, 3, 0.1, 8.0),
        FaultKind("freeze", processes, 4, 0.5, LONGEST_S),
        FaultKind("roll", dict(services), 1, ROLL_S, ROLL_S),
        *(FaultKind(kind, _alone(*lines), 2, 0.5, 15.0) for kind in LINE_KINDS if kind != "garble"),
        FaultKind("garble", _alone(*(name for name in lines if name.endswith(f">{ELEMENTS}"))), 1, 0.5, 15.0),
        FaultKind("wipe", _alone("zookeeper"), 0.5, 0.1, 3.0),
        FaultKind("forget-groups", {name: of for name, of in services.items() if name != "scanner"}, 0.5, 0.1, 3.0),
        FaultKind("clock", _alone(*instances), 2, 0.5, 15.0),
        FaultKind("disk-full", _alone(*(name for name in processes if name != ELEMENTS)), 2, 0.5, 8.0),
        FaultKind("vanish", _alone(FILES), 2, 0.5, 12.0),
        FaultKind("host-key", _alone(ELEMENTS), 0.5, 0.5, 8.0),
    ]


def _alone(*names: str) -> dict[str, tuple[str, ...]]:
    """Returns targets that are their only victims."""
    return {name: (name,) for name in names}
