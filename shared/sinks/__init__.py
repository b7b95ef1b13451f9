"""What the two sinks must keep alike: the loop, what becomes of what a database refuses, names, types, retention."""
