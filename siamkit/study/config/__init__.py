"""The study file: load it, parse it, and describe its search space."""
