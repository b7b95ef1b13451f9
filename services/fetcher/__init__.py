"""pm.files.found -> downloads, parses -> pm.counters.<system>; pm.files.settle -> moves the file away."""
