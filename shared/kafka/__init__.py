"""Kafka: the only package that imports confluent_kafka; none of that library's types or errors leave it.

Producers are idempotent and wait for all replicas. Consumers commit nothing by themselves: an offset is committed
only when the effect of its record is durable.
"""
