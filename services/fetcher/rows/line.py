"""The syntax of one row as JSON text: [object, suspect, cell, ...], as the parser writes it."""

import re

_STRING = rb'"(?:[^"\\]|\\.)*+"'
LINE = re.compile(rb"\[(" + _STRING + rb"),([01])(?:,(.*))?\]", re.DOTALL)
"""A row; its groups are the object, the suspect flag and the cells."""
CELL = re.compile(rb"null|-?[0-9][0-9.eE+-]*+|" + _STRING + rb"|\[(?:[^\]\"]++|" + _STRING + rb")*+\]")
"""One cell."""
OBJECT = re.compile(rb"\[" + _STRING)
"""The start of a row, up to its object."""
