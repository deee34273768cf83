"""Tools for tests of agents: a fake provider, and a kill sweep.

`python -m loom_agents.testing --number 200` kills an agent that edits, tests and commits at random
points, and compares the results with those of an uninterrupted run.
"""

from loom_agents.testing._provider import FakeProvider

__all__ = ["FakeProvider"]
