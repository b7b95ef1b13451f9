"""Dead letters: what they tell, and which of them nobody has dealt with."""

from shared.defects import Defect
from shared.kafka.dead_letters import DeadLetters, Refusal, dead_letter, settlement, unsettled
from shared.kafka.produce import Outgoing, TooLarge
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
    assert unsettled([*letters, read_back(9, dead_letter(at, "e", b"", "reason", "t/1/1"))]) == letters  # written again
    settled = read_back(3, settlement(letters[1].origin, "e"))
    assert (settled.topic, settled.partition) == ("t.dlq", 1)
    assert unsettled([*letters, settled]) == [letters[0], letters[2]]
    failed_again = read_back(9, dead_letter(at, "e", letters[1].value or b"", "reason", letters[1].headers["origin"]))
    assert unsettled([*letters, settled, failed_again]) == [letters[0], letters[2], failed_again]


class Broker:
    """Takes records up to a size; stands for a producer and its cluster."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.taken: list[Outgoing] = []
        self.waits = 0

    def deliver(self, *messages: Outgoing) -> None:
        self.waits += 1
        if any(len(message.value or b"") > self.most_bytes for message in messages):
            raise TooLarge("Kafka did not take a record")
        self.taken += messages


def test_letters_of_one_write_wait_once_and_their_headers_are_bounded() -> None:
    broker = Broker(1_000)
    record = Record("t", 1, 7, b"\xff", b"x" * 900, 1.0)
    defect = Defect(ValueError("\udc80ß" * 9_000))
    letters = DeadLetters(broker, reader="scanner")  # type: ignore[arg-type]
    letters.write([Refusal(record, "bad"), Refusal(record, defect.reason, traceback="é" * 99_999 + "end")])
    assert broker.waits == 1
    headers = broker.taken[1].headers
    assert len(headers["reason"].encode()) <= 2_000
    assert headers["reason"].startswith(r"defect: ValueError: \udc80ß")
    assert len(headers["traceback"].encode()) <= 16_000
    assert headers["traceback"].endswith("éend")
    assert headers["reader"] == "scanner"


def test_a_letter_that_no_topic_takes_leaves_its_content_at_its_origin_and_no_other_is_concerned() -> None:
    broker = Broker(1_000)
    records = [Record("t", 1, at, b"k", b"x" * size, 1.0) for at, size in ((7, 900), (8, 2_000))]
    DeadLetters(broker).write([Refusal(record, "bad") for record in records])  # type: ignore[arg-type]
    assert [(letter.value, letter.headers["origin"]) for letter in broker.taken] == [
        (b"x" * 900, "t/1/7"),
        (b"", "t/1/8"),
    ]
    assert broker.taken[1].headers["reason"].startswith("content left out, as it is too large")
