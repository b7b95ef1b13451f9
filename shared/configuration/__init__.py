"""Converts files, environment variables and inventory entries to frozen, checked objects."""
