"""The command `loom-ops`."""

from loom_runner.cli_base import run_command


def main() -> None:
    """Run the command line."""
    from loom_ops._cli.main import cli

    run_command(cli, name="loom-ops")


if __name__ == "__main__":
    main()
