"""Dead letters: what they tell, and which of them nobody has dealt with."""

from shared.kafka.dead_letters import dead_letter, settlement, unsettled
from shared.kafka.produce import Outgoing
from shared.kafka.record import Record, TopicPartition
from shared.topics import counters_topic


def read_back(offset: int, letter: Outgoing) -> Record:
    return Record(letter.topic, letter.partition, offset, letter.key.encode(), letter.value, 0.0, letter.headers)


def test_a_letter_goes_to_the_twin_of_its_topic_with_reason_and_origin() -> None:
    letter = dead_letter(TopicPartition("pm.counters.4ga", 5), "e1", b"content", "x" * 9_000, "pm.counters.4ga/5/8")
    assert (letter.topic, letter.partition, letter.key) == (counters_topic("4ga").dead_letters.name, 5, "e1")
    assert letter.value == b"content"
    assert letter.headers == {"reason": "x" * 2_000, "origin": "pm.counters.4ga/5/8"}


def test_a_letter_is_listed_until_another_one_settles_it() -> None:
    at = TopicPartition("t", 1)
    letters = [read_back(n, dead_letter(at, "e", b"", "reason", f"t/1/{n}")) for n in range(3)]
    assert unsettled(letters) == letters
    settled = read_back(3, settlement(letters[1].origin, "e"))
    assert (settled.topic, settled.partition) == ("t.dlq", 1)
    assert unsettled([*letters, settled]) == [letters[0], letters[2]]
