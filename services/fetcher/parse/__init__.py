"""The parser: bytes of a PM file in, blocks of JSON rows out. It knows neither Kafka nor where files come from."""
