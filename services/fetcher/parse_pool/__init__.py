"""Runs the parser in separate processes, each on one file at a time."""
