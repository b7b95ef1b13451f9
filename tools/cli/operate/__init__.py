"""Commands for operating pmflow: they read the topics and the databases, and repair what an operator asks them to."""
