"""Turns the rows of a file into messages and accounts for every value."""
