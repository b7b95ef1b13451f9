"""The command line `pmflow`, for operators and developers; it reads everything and owns nothing."""
