"""Converts the texts of a file to JSON values, periods and names."""
