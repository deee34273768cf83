"""The command `rule-based-verifier`."""

from loom_runner.cli_base import run_command


def main() -> None:
    """Run the command line."""
    from rule_based_verifier.cli import cli

    run_command(cli, name="rule-based-verifier")


if __name__ == "__main__":
    main()
