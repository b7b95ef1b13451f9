"""Downloads and parses announced files (pm.files.found -> pm.counters.<system>) and settles them (pm.files.settle)."""
