"""Incidents whose processes are killed at random points and then resumed.

`python -m loom_ops.testing --number 200` kills 200 processes of the command line, and compares each
incident with an undisturbed one.
"""

__all__: list[str] = []
