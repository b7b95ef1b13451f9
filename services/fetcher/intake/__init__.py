"""Reads announcements and commands from Kafka and hands each to a pool of threads; commits offsets in order."""
