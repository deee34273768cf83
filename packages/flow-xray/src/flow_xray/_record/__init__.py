"""Recording: the `trace` object, the wrappers of traced functions, the session."""
