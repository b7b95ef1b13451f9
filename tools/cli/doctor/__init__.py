"""`pmflow doctor`: finds what is wrong with an installation; one module per area."""
