"""Many jobs at once: what a batch is made of, what its results are called, and what each is recognised by.

Nothing in the modules below opens a medium: a batch is planned without any of the heavy libraries.
"""
