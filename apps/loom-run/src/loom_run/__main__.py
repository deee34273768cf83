"""The command `loom-run`."""

from loom_runner.cli_base import run_command


def main() -> None:
    """Run the command line."""
    from loom_run._cli.group import cli

    run_command(cli, name="loom-run")


if __name__ == "__main__":
    main()
