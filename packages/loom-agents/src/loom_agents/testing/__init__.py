"""What tests of agents need: a provider without a network, and a session that is killed wherever it can be.

`python -m loom_agents.testing --number 200` kills an agent that edits, tests and commits at random points, and
compares what it leaves with an undisturbed one.
"""

from loom_agents.testing._provider import FakeProvider

__all__ = ["FakeProvider"]
