"""Measures the memory of a mysql_writer's objects: python -m bench.memory_mysql_writer [--objects 2000000]

All writer threads of one process meet all objects twice, element by element as they come. No server is needed, so an
object that is not remembered costs nothing here. The last line is JSON.
"""

import argparse
import json
import resource
from collections.abc import Iterator

from services.mysql_writer.object_cache import OBJECTS_IN_MEMORY, KnownObject, ObjectCache
from services.mysql_writer.settings import MysqlWriterSettings

OF_ELEMENT = 100
CLASSES = ("ManagedElement", "ENodeBFunction", "EUtranCellFDD")


def objects(many: int) -> Iterator[tuple[str, str, int]]:
    """Yields element, ldn and number of each object."""
    for number in range(many):
        element = f"element-{number // OF_ELEMENT:06}"
        yield element, f"ManagedElement={element},ENodeBFunction=1,EUtranCellFDD={number % OF_ELEMENT}", number


def main() -> None:
    """Feeds the caches and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--objects", type=int, default=2_000_000)
    many = parser.parse_args().objects
    caches = [ObjectCache(OBJECTS_IN_MEMORY) for _ in range(MysqlWriterSettings().writers)]
    missed = 0
    for _ in range(2):
        for element, ldn, number in objects(many):
            cache = caches[number // OF_ELEMENT % len(caches)]
            if ldn not in cache.of_element("4ga", element):
                missed += 1
                cache.add("4ga", element, ldn, KnownObject(number, CLASSES))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    known = sum(map(len, caches))
    print(f"{many:,} objects: {known:,} remembered, {missed:,} looked up; peak {peak_mb:.0f} MB with all code")
    print(json.dumps({"objects": many, "remembered": known, "looked_up": missed, "peak_mb": round(peak_mb)}))


if __name__ == "__main__":
    main()
