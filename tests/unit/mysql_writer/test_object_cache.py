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
