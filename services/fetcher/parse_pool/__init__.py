"""Runs the parser in processes of its own, one file at a time each."""
