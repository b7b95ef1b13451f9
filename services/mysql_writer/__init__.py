"""Stores the counters of pm.counters.<system> in MySQL."""
