"""The two gates: the tests and the linters of the root."""

import asyncio
import time
from collections.abc import Sequence
from typing import Literal

from loom_agents.workspace import Workspace, WorkspaceError

from rule_based_verifier._errors import CallError
from rule_based_verifier.gates.argument_rules import RULES
from rule_based_verifier.gates.detection import Runner, lint_runners, test_runners
from rule_based_verifier.gates.running import Progress, not_run, run_command
from rule_based_verifier.gates.trusting import RootTrust
from rule_based_verifier.gates.verdicts import Evidence, GateResult, combined
from rule_based_verifier.settings import Settings

__all__ = ["open_root", "run_lint", "run_tests"]


def open_root(settings: Settings) -> Workspace:
    """Open the root as it is now.

    Raises:
        CallError: It is no longer there.
    """
    try:
        return Workspace.at(settings.root)
    except WorkspaceError as exc:
        raise CallError(
            f"cannot use the root {settings.root}: it is no longer a folder. Restore it, or start the server with"
            " another --root."
        ) from exc


async def run_tests(
    settings: Settings, extra_args: Sequence[str] = (), *, runner: str | None = None, progress: Progress | None = None
) -> GateResult:
    """Run the tests of the root and judge them.

    Args:
        settings: Root, commands and limits.
        extra_args: Further arguments for the runner, from its list of allowed ones.
        runner: One of the runners by its name (`verifier_health` names them); None for all.
        progress: Called about once a second.

    Raises:
        ArgumentError: An argument is not allowed. Nothing was run.
        CallError: The root is gone, or there is no such runner.
    """
    return await _gate(settings, "tests", extra_args, runner, progress)


async def run_lint(
    settings: Settings, extra_args: Sequence[str] = (), *, runner: str | None = None, progress: Progress | None = None
) -> GateResult:
    """Run the linters of the root and judge them; see `run_tests`."""
    return await _gate(settings, "lint", extra_args, runner, progress)


async def _gate(
    settings: Settings,
    gate: Literal["tests", "lint"],
    extra_args: Sequence[str],
    only: str | None,
    progress: Progress | None,
) -> GateResult:
    started = time.monotonic()
    workspace = open_root(settings)
    trust = RootTrust(settings, workspace)
    objection = await asyncio.to_thread(trust.objection)
    runners = _chosen(settings, workspace, gate, only, is_trusted=objection is None)
    option = "--test-cmd" if gate == "tests" else "--lint-cmd"
    if not runners:
        reason = f"no runner for {gate} was detected in the root"
        return GateResult(gate, "cannot_tell", reason, f"Name a command with {option}.", [], 0)
    if extra_args and len(runners) > 1:
        names = ", ".join(runner.kind for runner in runners)
        raise CallError(f"cannot pass extra_args: {gate} has several runners ({names}). Name one in `runner`.")
    # All arguments are checked before anything runs.
    extra = [RULES[runner.kind].checked(runner.kind, extra_args, workspace) for runner in runners]
    evidence: list[Evidence] = []
    for runner, arguments in zip(runners, extra, strict=True):
        if objection is not None and runner.runs_code(workspace.root):
            step = f"Ask the user to read what would run, and to run `{trust.command}`."
            evidence.append(not_run(runner, (*runner.argv, *arguments), f"not run: {objection}", step))
        else:
            evidence.append(await run_command(settings, runner, arguments, progress))
    return combined(gate, evidence, round((time.monotonic() - started) * 1000))


def _chosen(
    settings: Settings, workspace: Workspace, gate: Literal["tests", "lint"], only: str | None, *, is_trusted: bool
) -> list[Runner]:
    if gate == "tests":
        runners = test_runners(workspace, settings.test_command)
    else:
        runners = lint_runners(workspace, settings.lint_command, is_trusted=is_trusted)
    if only is None:
        return runners
    chosen = [runner for runner in runners if runner.kind == only]
    if not chosen:
        names = ", ".join(runner.kind for runner in runners) or "none"
        raise CallError(f"cannot run {only!r}: the runners for {gate} are {names}.")
    return chosen
