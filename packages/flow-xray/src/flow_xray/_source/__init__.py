"""A trace beside its source: the index of functions, and what of it ran."""
