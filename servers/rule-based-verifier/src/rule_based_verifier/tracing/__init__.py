"""Run one function or one test of the root in a process of its own, and record its calls."""
