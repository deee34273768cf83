"""Tools for testing agents: a provider on loopback, and a session that is killed at random points.

`python -m loom_agents.testing --number 200` kills an agent that edits, tests and commits at random
points, and compares what it leaves with an undisturbed one.
"""

from loom_agents.testing._provider import FakeProvider

__all__ = ["FakeProvider"]
