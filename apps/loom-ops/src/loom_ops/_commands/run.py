"""Run one command of a runbook under the allow rules.

The command is checked again here, directly before it starts: nothing else in this package starts
commands of a runbook. It gets no shell, no input, its own process group, a
fixed environment, limits, a folder inside the workspace and a timeout: SIGTERM, then SIGKILL for
the whole group.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from loom_agents.process import Limits, run_process

from loom_ops._commands.allow_rules import argv_text
from loom_ops._errors import CommandDeniedError
from loom_ops._runbook.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from loom_ops._commands.allow_rules import Allowed, Rules
    from loom_ops._commands.secrets import Vault
    from loom_ops._runbook.model import Effect

__all__ = ["DEFAULT_TIMEOUT_S", "CommandResult", "command_folder", "run_command"]

DEFAULT_TIMEOUT_S: Final = 300.0
"""The timeout of a step that declares none; `lint` reports such a step."""
MAX_OUTPUT_BYTES: Final = 64_000
GRACE_S: Final = 5.0
_PASSED_ON: Final = ("HOME", "LANG", "LC_ALL", "TZ")


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The result of a command.

    Args:
        exit_code: None when it was stopped after its timeout.
        output: Standard output and error in the order written, with secrets masked; the middle is
            omitted when it is long.
        truncated: Whether output was omitted.
        rule: The file and line of the rule that allowed it.
    """

    argv: tuple[str, ...]
    exit_code: int | None
    output: str
    truncated: bool
    duration_ms: int
    rule: str

    @property
    def is_ok(self) -> bool:
        """Whether it ended with exit code 0."""
        return self.exit_code == 0

    def as_json(self) -> dict[str, Any]:
        """Return the result of the tool call."""
        return asdict(self) | {"argv": list(self.argv), "ok": self.is_ok, "text": str(self)}

    def __str__(self) -> str:
        if self.is_ok:
            return f"{argv_text(self.argv)}: done"
        how = "timed out" if self.exit_code is None else f"ended with {self.exit_code}"
        last = self.output.strip().splitlines()[-1:] or [""]
        return f"{argv_text(self.argv)} {how}{': ' if last[0] else ''}{last[0][:200]}"


async def run_command(
    argv: Sequence[str],
    *,
    rules: Rules,
    effect: Effect,
    timeout_s: float,
    workspace: Path,
    vault: Vault,
    environment: Mapping[str, str] | None = None,
) -> CommandResult:
    """Run a command to its end.

    Args:
        argv: Program and arguments, rendered.
        effect: What the step declares.
        environment: Variables of the step, with references to secrets.

    Raises:
        CommandDeniedError: No rule allows it; nothing was started.
        LoomOpsError: A secret is missing; nothing was started.
    """
    allowed = rules.check(argv, effect, timeout_s)
    folder = command_folder(allowed, rules, argv, workspace)
    values = {name: vault.resolve(value, command=argv[0]) for name, value in (environment or {}).items()}
    unlisted = sorted(values.keys() - set(allowed.rule.environment))
    if unlisted:
        raise CommandDeniedError(
            f"cannot start {argv_text(argv)}: the step sets the variable {unlisted[0]!r}, which {rules.source} "
            f"line {allowed.rule.line} does not list in env."
        )
    _check_open_values(allowed, rules, argv, folder)
    ended = await run_process(
        (allowed.program, *argv[1:]),
        folder=folder,
        timeout_s=timeout_s,
        max_output_bytes=MAX_OUTPUT_BYTES,
        environment={"PATH": ":".join(rules.path), **allowed.rule.fixed_environment, **values},
        passed_on=(*_PASSED_ON, *allowed.rule.environment),
        limits=Limits(cpu_s=max(1, int(timeout_s) + 1)),
        grace_s=GRACE_S,
        network=allowed.rule.network,
    )
    output = vault.mask(ended.output.decode("utf-8", "replace"))
    if ended.timed_out:
        output += f"\n[stopped after {format_duration(timeout_s)}]"
    rule = f"{rules.source}:{allowed.rule.line}"
    return CommandResult(tuple(argv), ended.exit_code, output, ended.is_truncated, ended.duration_ms, rule)


def _check_open_values(allowed: Allowed, rules: Rules, argv: Sequence[str], folder: Path) -> None:
    for slot, value in allowed.rule.open_values(argv):
        if value and "path" not in allowed.rule.params[slot].may and (folder / value).is_file():
            raise CommandDeniedError(
                f"cannot start {argv_text(argv)}: {value!r} is a file in the folder of the command, which "
                f"{rules.source} line {allowed.rule.line} does not mean by {{{slot}}}. List the values in its pattern "
                "('api|web'), or add may: [path]."
            )


def command_folder(allowed: Allowed, rules: Rules, argv: Sequence[str], workspace: Path) -> Path:
    """Return the folder that a rule names, inside the workspace.

    Raises:
        CommandDeniedError: It does not exist there.
    """
    folder = (workspace / allowed.rule.folder).resolve()
    if not folder.is_relative_to(workspace.resolve()) or not folder.is_dir():
        raise CommandDeniedError(
            f"cannot start {argv_text(argv)}: its folder {allowed.rule.folder!r} does not exist inside the workspace. "
            f"Correct {rules.source} line {allowed.rule.line}."
        )
    return folder
