"""pm.counters.<system> -> ClickHouse, for systems with isUsingClickhouse."""
