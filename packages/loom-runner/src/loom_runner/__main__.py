"""`loom-runner` and `python -m loom_runner`."""

from __future__ import annotations

from typing import NoReturn

from loom_runner._cli import main_group
from loom_runner.cli_base import run_command

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command and leave the process."""
    run_command(main_group, name="loom-runner")


if __name__ == "__main__":
    main()
