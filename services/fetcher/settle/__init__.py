"""Moves complete files to done/ or error/ on their element."""
