"""The parser: bytes of a PM file in, blocks of JSON rows out; knows neither Kafka nor files."""
