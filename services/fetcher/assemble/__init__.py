"""Turns the blocks of a file into messages and accounts for every value."""
