"""Simulated elements: they write 3GPP PM files, serve them by SFTP, and record the true value of every counter."""
