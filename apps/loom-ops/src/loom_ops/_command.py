"""Run one command of a runbook under the allow rules.

The command is checked again here, at the last moment, whatever was checked before: this is the only place that starts
anything. It gets no shell, no input, its own process group, a fixed environment, limits, a folder inside the
workspace and a timeout: SIGTERM, then SIGKILL for the whole group.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from loom_agents.process import Limits, run_process

from loom_ops._durations import write_duration
from loom_ops._errors import CommandDeniedError
from loom_ops._rules import shown_argv

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from loom_ops._rules import Allowed, Rules
    from loom_ops._runbook import Effect
    from loom_ops._secrets import Vault

__all__ = ["MAX_OUTPUT_BYTES", "CommandResult", "run_command"]

MAX_OUTPUT_BYTES: Final = 64_000
GRACE_S: Final = 5.0
_PASSED_ON: Final = ("HOME", "LANG", "LC_ALL", "TZ")


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended.

    Args:
        exit_code: None when its time was over.
        output: Standard output and error as they came, without secrets; the middle is left out when it is long.
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
        return self.exit_code == 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"argv": list(self.argv), "ok": self.is_ok, "text": str(self)}

    def __str__(self) -> str:
        if self.is_ok:
            return f"{shown_argv(self.argv)}: done"
        how = "took too long" if self.exit_code is None else f"ended with {self.exit_code}"
        last = self.output.strip().splitlines()[-1:] or [""]
        return f"{shown_argv(self.argv)} {how}{': ' if last[0] else ''}{last[0][:200]}"


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
        environment: Variables of the step, with references to secrets.

    Raises:
        CommandDeniedError: No rule allows it; nothing was started.
        LoomOpsError: A secret is not there; nothing was started.
    """
    allowed = rules.check(argv, effect, timeout_s)
    folder = _folder(allowed, rules, argv, workspace)
    values = {name: vault.filled(value) for name, value in (environment or {}).items()}
    unlisted = sorted(values.keys() - set(allowed.rule.environment))
    if unlisted:
        raise CommandDeniedError(
            f"cannot start {shown_argv(argv)}: it would be given the variable {unlisted[0]!r}, which {rules.source} "
            f"line {allowed.rule.line} does not list in env."
        )
    ended = await run_process(
        (allowed.program, *argv[1:]),
        folder=folder,
        timeout_s=timeout_s,
        max_output_bytes=MAX_OUTPUT_BYTES,
        environment={"PATH": ":".join(rules.path), **values},
        passed_on=(*_PASSED_ON, *allowed.rule.environment),
        limits=Limits(cpu_s=max(1, int(timeout_s) + 1)),
        grace_s=GRACE_S,
    )
    output = vault.masked(ended.output.decode("utf-8", "replace"))
    if ended.timed_out:
        output += f"\n[stopped after {write_duration(timeout_s)}]"
    rule = f"{rules.source}:{allowed.rule.line}"
    return CommandResult(tuple(argv), ended.exit_code, output, ended.is_truncated, ended.duration_ms, rule)


def _folder(allowed: Allowed, rules: Rules, argv: Sequence[str], workspace: Path) -> Path:
    folder = (workspace / allowed.rule.folder).resolve()
    if not folder.is_relative_to(workspace.resolve()) or not folder.is_dir():
        raise CommandDeniedError(
            f"cannot start {shown_argv(argv)}: its folder {allowed.rule.folder!r} is not one inside the workspace. "
            f"Mend {rules.source} line {allowed.rule.line}."
        )
    return folder
