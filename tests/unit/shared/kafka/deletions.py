"""Deletes records and topics, as retention and operators do."""

from collections.abc import Mapping

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from shared.configuration.kafka import Kafka
from shared.topics import Topic


def delete_records(brokers: Kafka, topic: Topic, before: Mapping[int, int]) -> None:
    """Deletes the records of each partition before an offset."""
    asked = [TopicPartition(topic.name, partition, offset) for partition, offset in before.items()]
    client = AdminClient({"bootstrap.servers": brokers.bootstrap_servers})  # its futures never end once it is gone
    for deleted in client.delete_records(asked).values():
        deleted.result(timeout=30)


def delete_topic(brokers: Kafka, topic: Topic) -> None:
    """Deletes a topic and returns when the brokers no longer know it."""
    client = AdminClient({"bootstrap.servers": brokers.bootstrap_servers})
    client.delete_topics([topic.name])[topic.name].result(timeout=30)
    while topic.name in client.list_topics(timeout=30).topics:
        pass
