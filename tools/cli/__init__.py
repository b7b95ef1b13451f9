"""`pmflow`, the command line: an operator's view; reads everything, owns nothing."""
