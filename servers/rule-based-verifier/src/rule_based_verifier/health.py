"""What the verifier would run, and whether it may. Nothing is run."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from loom_agents.process import can_leave_network
from loom_agents.redaction import shown_line
from loom_agents.workspace import Workspace, WorkspaceError

from rule_based_verifier.gates.argument_rules import RULES
from rule_based_verifier.gates.detection import Runner, find_program, lint_runners, python_of, test_runners
from rule_based_verifier.gates.trusting import RootTrust
from rule_based_verifier.settings import Settings

__all__ = ["Health", "RunnerState", "verifier_health"]


@dataclass(frozen=True)
class RunnerState:
    """One detected runner.

    Args:
        name: Its name, for the argument `runner`.
        gate: `tests` or `lint`.
        argv: The command.
        found_by: What it was detected by.
        installed: Whether its program exists.
        may_run: Whether it is installed, and trusted if it executes code of the root.
        allowed_options: The options that `extra_args` may have, besides paths.
    """

    name: str
    gate: Literal["tests", "lint"]
    argv: list[str]
    found_by: str
    installed: bool
    may_run: bool
    allowed_options: list[str]


@dataclass(frozen=True)
class Health:
    """The state of the server and of its root.

    Args:
        status: `ok`; `degraded` when something cannot run; `unavailable` when there is no root.
        version: The version of this package.
        root: The root.
        trusted: Whether the user trusts the root.
        problems: What cannot run, and why.
        trust_command: The command with which the user trusts the root; empty when it is trusted.
        runners: The detected runners.
        python: The Python that runs traces.
        network: Whether commands can use the network.
        timeout_s: Seconds until a command is killed.
        max_read_bytes: The most bytes of text in one answer of `read_repo_file`.
    """

    status: Literal["ok", "degraded", "unavailable"]
    version: str
    root: str
    trusted: bool
    problems: list[str]
    trust_command: str
    runners: list[RunnerState]
    python: str
    network: bool
    timeout_s: float
    max_read_bytes: int

    def as_text(self) -> str:
        """Return the state for people."""
        lines = [f"{self.status}: {self.root} ({'trusted' if self.trusted else 'not trusted'})"]
        lines += [
            f"{each.gate}: {each.name}: {' '.join(each.argv)} (by {each.found_by})"
            f"{'' if each.may_run else ', cannot run'}"
            for each in self.runners
        ]
        lines += [f"problem: {problem}" for problem in self.problems]
        if self.trust_command:
            lines.append(f"to trust the root: {self.trust_command}")
        return "\n".join(lines)


def verifier_health(settings: Settings) -> Health:
    """Describe the root, its runners, and what is missing; never raises for what the root has."""
    here = version("rule-based-verifier")
    network = settings.network or not can_leave_network()
    try:
        workspace = Workspace.at(settings.root)
    except WorkspaceError as exc:
        root, limits = str(settings.root), (network, settings.timeout_s, settings.max_read_bytes)
        return Health("unavailable", here, root, False, [shown_line(str(exc))], "", [], "", *limits)
    trust = RootTrust(settings, workspace)
    objection = trust.objection()
    runners = [
        *(_state(workspace, "tests", each, objection) for each in test_runners(workspace, settings.test_command)),
        *(
            _state(workspace, "lint", each, objection)
            for each in lint_runners(workspace, settings.lint_command, is_trusted=objection is None)
        ),
    ]
    problems = [f"{each.argv[0]} is not installed" for each in runners if not each.installed]
    problems += [
        f"no runner for {gate} was detected"
        for gate in ("tests", "lint")
        if not any(each.gate == gate for each in runners)
    ]
    if objection is not None:
        problems.insert(0, shown_line(objection))
    return Health(
        "degraded" if problems else "ok",
        here,
        str(settings.root),
        objection is None,
        problems,
        "" if objection is None else trust.command,
        runners,
        python_of(workspace),
        network,
        settings.timeout_s,
        settings.max_read_bytes,
    )


def _state(workspace: Workspace, gate: Literal["tests", "lint"], runner: Runner, objection: str | None) -> RunnerState:
    is_installed = find_program(workspace.root, runner.argv[0]) is not None
    may_run = is_installed and (objection is None or not runner.runs_code(workspace.root))
    rules = RULES[runner.kind]
    options = sorted({*rules.flags, *(rules.values or {})})
    argv = [shown_line(word) for word in runner.argv]
    return RunnerState(runner.kind, gate, argv, shown_line(runner.found_by), is_installed, may_run, options)
