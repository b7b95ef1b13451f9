"""How settings come from files, the environment and inventories into frozen objects."""
