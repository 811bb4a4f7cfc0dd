"""How fast networks and the whole pipeline are on this machine, beside what the machine itself can do."""
