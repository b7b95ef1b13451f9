"""Elements as files on the other side of a line: one interface over SFTP, FTP, FTPS and local directories."""
