"""PositionsMoved: the database is not in the state in which a sink left it."""

from collections.abc import Mapping

from shared.kafka.record import TopicPartition


class PositionsMoved(Exception):  # noqa: N818
    """The database has other positions than this sink left there; nothing of this write is stored.

    Rows after a lower position are lost with their commits. The sink must take the partitions over and read them again
    from the positions that the database has.
    """

    def __init__(self, moved: Mapping[TopicPartition, tuple[int, int]]) -> None:
        """`moved` maps each partition to the offset that the sink left and the one that the database has."""
        super().__init__("; ".join(f"{at.topic}/{at.partition}: {left} -> {now}" for at, (left, now) in moved.items()))
        self.moved = moved
