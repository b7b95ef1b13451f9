"""Commands for development: the demo, local services, the parser alone, and the generated documentation."""
