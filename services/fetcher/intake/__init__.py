"""Reads announcements and commands from Kafka, passes each to a pool of threads, and commits offsets in order."""
