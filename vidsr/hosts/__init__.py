"""vidsr inside other people's programs."""
