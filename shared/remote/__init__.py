"""Access to the files of elements: one interface over SFTP, FTP, FTPS and local directories."""
