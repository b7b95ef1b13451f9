"""pm.counters.<system> -> MySQL."""
