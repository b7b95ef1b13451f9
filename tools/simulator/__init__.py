"""Elements that write 3GPP PM files, serve them by SFTP, and know the truth of every value."""
