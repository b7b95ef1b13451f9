"""The dev stack: the real servers on loopback, without root and without containers."""
