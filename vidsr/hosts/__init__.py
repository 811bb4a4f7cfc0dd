"""Doors for other programs' pipelines: the same frames as the command line makes."""
