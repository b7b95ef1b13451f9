"""Reads vendors' delimited tables (CSV) by profiles."""
