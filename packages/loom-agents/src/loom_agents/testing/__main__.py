"""`python -m loom_agents.testing --number 200 [--seed N]`: kill an agent at work, and compare what
it leaves.
"""

import sys

from loom_runner.testing import sweep_command

from loom_agents.testing._sweep import sweep


def main() -> int:
    """Run the sweep; exit code 1 when a promise was broken."""
    return sweep_command("loom_agents.testing", __doc__, sweep)


if __name__ == "__main__":
    sys.exit(main())
