"""`python -m loom_ops.testing`: kill the processes of incidents, and compare the results."""

import sys

from loom_runner.testing import sweep_command

from loom_ops.testing._sweep import sweep


def main() -> int:
    """Run the sweep; return the exit code, 1 when a guarantee was broken."""
    return sweep_command("loom_ops.testing", __doc__, sweep)


if __name__ == "__main__":
    sys.exit(main())
