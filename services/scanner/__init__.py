"""Lists the directories of the elements and announces new files in pm.files.found."""
