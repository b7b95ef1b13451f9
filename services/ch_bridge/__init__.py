"""Stores the counters of pm.counters.<system> in ClickHouse, for systems with isUsingClickhouse."""
