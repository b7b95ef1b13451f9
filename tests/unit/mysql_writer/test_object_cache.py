from hypothesis import given
from hypothesis import strategies as st

from services.mysql_writer.object_cache import KnownObject, ObjectCache


def filled(most: int, elements: int, objects: int = 10) -> ObjectCache:
    cache = ObjectCache(most)
    for element in range(elements):
        for number in range(objects):
            cache.add("4ga", f"e{element}", f"o{number}", KnownObject(element * objects + number, ("A", "B")))
    return cache


def test_all_objects_are_remembered_up_to_half_of_the_limit() -> None:
    cache = filled(100, 5)
    assert len(cache) == 50
    assert cache.of_element("4ga", "e3")["o2"].number == 32


def test_memory_is_bounded_however_many_objects_there_are() -> None:
    assert len(filled(100, 1000)) <= 100
    assert len(filled(100, 2, 1000)) <= 2 * 1000  # an element's objects are remembered or forgotten together


def test_an_element_that_is_asked_for_is_remembered_longer_than_others() -> None:
    cache = ObjectCache(100)
    for element in range(50):
        cache.add("4ga", f"e{element}", "o", KnownObject(element, ()))
        for number in range(9):
            cache.add("4ga", f"e{element}", f"o{number}", KnownObject(number, ()))
        assert cache.of_element("4ga", "e0")["o"].number == 0
    assert cache.of_element("4ga", "e10") == {}


def test_equal_classes_are_held_once() -> None:
    cache = filled(100, 2)
    classes = {id(known.classes) for element in ("e0", "e1") for known in cache.of_element("4ga", element).values()}
    assert len(classes) == 1


def test_an_element_with_more_objects_than_the_limit_leaves_the_others_known() -> None:
    cache = ObjectCache(most=10)
    cache.add("4ga", "small", "cell", KnownObject(1, ()))
    for number in range(50):
        cache.add("4ga", "huge", str(number), KnownObject(number, ()))
    assert len(cache.of_element("4ga", "huge")) == 50
    assert set(cache.of_element("4ga", "small")) == {"cell"}


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
steps = st.lists(st.tuples(st.sampled_from(["e1", "e2", "e3", "e4"]), names, st.booleans()), max_size=60)


@given(steps=steps, most=st.integers(0, 40))
def test_what_is_remembered_is_what_was_added_last_whatever_the_names_are(
    steps: list[tuple[str, str, bool]], most: int
) -> None:
    cache, added = ObjectCache(most), dict[tuple[str, str], KnownObject]()
    for number, (element, ldn, is_added) in enumerate(steps):
        if is_added:
            added[element, ldn] = KnownObject(number, (ldn, "A"))
            cache.add("4ga", element, ldn, added[element, ldn])
            assert cache.of_element("4ga", element)[ldn] == added[element, ldn]
        found = cache.of_element("4ga", element)
        assert {ldn: added[element, ldn] for ldn in found} == found


def test_nothing_is_forgotten_below_the_limit() -> None:
    cache = filled(3000, 100)
    assert len(cache) == 1000
    for element in range(100):
        objects = cache.of_element("4ga", f"e{element}")
        assert [known.number for known in objects.values()] == list(range(element * 10, element * 10 + 10))


def test_what_is_forgotten_on_purpose_is_gone() -> None:
    cache = filled(100, 50)
    cache.clear()
    assert len(cache) == 0
    assert cache.of_element("4ga", "e49") == {}
