"""Compare a trace with its source: the index of functions, and the coverage of a run."""
