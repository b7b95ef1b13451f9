"""Holds the rows of a file, in memory or on disk, until the whole file is read."""
