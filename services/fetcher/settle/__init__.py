"""Moves finished files to done/ or error/ on their element."""
