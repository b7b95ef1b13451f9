"""Normalises counters, units and names as each system configures it."""
