"""The command line: serve the tools, or trust a root."""

from pathlib import Path
from typing import Any, Final

import click
from loom_agents.mcp_server import command_errors, serve_mcp, serve_mcp_options
from loom_runner.cli_base import write_line

from rule_based_verifier.settings import LINT_CMD, MAX_READ, ROOT, TEST_CMD, TIMEOUT, load_settings

__all__ = ["cli"]

_PORT: Final = 8767


@click.command(name="rule-based-verifier", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rule-based-verifier")
@click.option("--root", type=click.Path(path_type=Path), help=f"The folder to check. [{ROOT}; default: this folder]")
@click.option("--test-cmd", help=f"The command of the tests instead of the detected ones. [{TEST_CMD}]")
@click.option("--lint-cmd", help=f"The command of the linter instead of the detected ones. [{LINT_CMD}]")
@click.option("--timeout-s", type=float, help=f"Seconds until a command is killed. [{TIMEOUT}; default: 300]")
@click.option("--max-read-bytes", type=int, help=f"Bytes of text in one read. [{MAX_READ}; default: 100000]")
@click.option("--network", is_flag=True, help="Let tests and linters use the network.")
@click.option("--trust", is_flag=True, help="Trust the root as it is now, so that its code may run; then exit.")
@serve_mcp_options(port=_PORT)
def cli(
    root: Path | None,
    test_cmd: str | None,
    lint_cmd: str | None,
    timeout_s: float | None,
    max_read_bytes: int | None,
    *,
    network: bool,
    trust: bool,
    **serving: Any,
) -> None:
    """Check one repository over the Model Context Protocol: tests, linters, reads, searches and
    traces, with the verdicts pass, fail and cannot_tell.

    Code of the repository runs only after `--trust`, which is bound to its present configuration.
    """
    with command_errors():
        settings = load_settings(
            root=root,
            test_cmd=test_cmd,
            lint_cmd=lint_cmd,
            timeout_s=timeout_s,
            max_read_bytes=max_read_bytes,
            network=network,
        )
    if trust:
        from loom_agents.workspace import Workspace

        from rule_based_verifier.gates.trusting import RootTrust

        with command_errors():
            root_trust = RootTrust(settings, Workspace.at(settings.root))
            steering = root_trust.steering()
            root_trust.trust(steering)
        write_line(f"{settings.root} is trusted. This may run: {steering.shown()}")
        return
    from rule_based_verifier.server import build_server

    serve_mcp(build_server(settings), **serving)
