"""Many jobs: what a batch is made of, its durable plan in a state folder, and the workers that carry it out.

Only `steps` and what imports it opens media; a batch is planned without any of the heavy libraries.
"""
