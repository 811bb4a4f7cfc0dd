"""Training the networks: recipes, data, the loop. Needs the extra ``train``."""
