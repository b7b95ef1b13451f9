"""Decides from pm.files.status when every required sink has stored a file, and commands its move in pm.files.settle."""
