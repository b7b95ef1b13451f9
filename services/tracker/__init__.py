"""pm.files.status -> when has every required sink a file? -> pm.files.settle."""
