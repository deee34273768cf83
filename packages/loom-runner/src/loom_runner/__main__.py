"""`loom-runner` and `python -m loom_runner`."""

from __future__ import annotations

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command and exit."""
    try:
        from loom_runner._cli.base import run_command
        from loom_runner._cli.main import main_group
    except KeyboardInterrupt:
        print("interrupted.", file=sys.stderr)
        sys.exit(130)
    run_command(main_group, name="loom-runner")


if __name__ == "__main__":
    main()
