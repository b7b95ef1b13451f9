"""The elements' directories -> pm.files.found."""
