"""An incident that is killed wherever it can be, and gone on with as a person would.

`python -m loom_ops.testing --number 200` kills the command line at random points and compares what each incident
leaves with an undisturbed one.
"""

__all__: list[str] = []
