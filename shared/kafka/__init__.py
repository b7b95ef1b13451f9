"""Access to Kafka: the only package that imports confluent_kafka. None of that library's types or errors leave it.

Producers are idempotent and wait for all replicas. Consumers do not commit automatically: an offset is
committed only when the effect of its record is durable.
"""
