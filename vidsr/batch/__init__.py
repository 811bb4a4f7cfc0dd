"""Many jobs: a durable plan in a state folder, and the workers that carry it out."""
