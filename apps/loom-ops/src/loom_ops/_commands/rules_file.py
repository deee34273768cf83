"""Read the file of allow rules.

Commands are off unless `LOOM_OPS_ALLOW_SHELL=1` is set *and* the file exists:

    allow:
      - argv: [kubectl, rollout, undo, "deployment/{service}"]
        params: {service: "api|web"}
        effect: write
        timeout: 300s
        env: [KUBECONFIG]

A file that others may write is refused, because they could allow anything. So is an interpreter
(`sh`, `python`, `env`, `xargs`...) as the program of a rule with a slot, because its argument could
be a program.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from loom_runner.own_files import NotOwnFileError, read_own_file

from loom_ops._commands.allow_rules import DEFAULT_PATH, Rule, Rules
from loom_ops._errors import RulesError
from loom_ops._runbook.durations import parse_duration
from loom_ops._runbook.template import SLOT, scalar_text
from loom_ops._runbook.yaml_mapping import Keys, read_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loom_ops._runbook.model import Effect

__all__ = ["ALLOW_VARIABLE", "load_rules", "parse_rules"]

ALLOW_VARIABLE: Final = "LOOM_OPS_ALLOW_SHELL"
DEFAULT_TIMEOUT_S: Final = 300.0

_RULE_KEYS: Final = {"argv", "params", "effect", "timeout", "env", "cwd", "note"}
_FILE_KEYS: Final = {"allow", "path"}
_INTERPRETERS: Final = re.compile(
    r"(ba|da|z|k|c|tc|fi)?sh|env|xargs|nohup|nice|timeout|setsid|stdbuf|watch|time|sudo|doas|su|chroot|ssh|eval|exec|"
    r"(python|perl|ruby|node|php|lua|tclsh|awk|gawk|mawk|nawk|osascript|pwsh|busybox)[0-9.]*|find|parallel|script|expect|make"
)
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOADER_VARIABLES: Final = re.compile(
    r"LD_.*|DYLD_.*|BASH_ENV|ENV|IFS|PATH|PYTHON.*|PERL5?.*|RUBY.*|NODE_OPTIONS|GIT_.*|EDITOR|PAGER"
)


def load_rules(file: Path, *, environment: Mapping[str, str] | None = None) -> Rules:
    """Read the file of allow rules.

    Args:
        environment: The variables with `LOOM_OPS_ALLOW_SHELL`; None for those of this process.

    Raises:
        RulesError: Commands are off, or the file is missing, writable by others, empty or wrong.
    """
    environment = os.environ if environment is None else environment
    if environment.get(ALLOW_VARIABLE) != "1":
        raise RulesError(f"cannot start commands: they are off. Set {ALLOW_VARIABLE}=1 to allow those of {file}.")
    try:
        content = read_own_file(file)
    except NotOwnFileError as exc:
        raise RulesError(f"cannot start commands: {exc}") from exc
    except OSError as exc:
        raise RulesError(
            f"cannot start commands: {file}: {(exc.strerror or str(exc)).lower()}. Write the allow rules there."
        ) from exc
    try:
        text = content.decode()
    except UnicodeDecodeError as exc:
        raise RulesError(f"cannot start commands: {file} is not UTF-8. Save it as UTF-8.") from exc
    return parse_rules(text, str(file))


def parse_rules(text: str, source: str) -> Rules:
    """Read allow rules from text.

    Raises:
        RulesError: The first mistake, with its line.
    """
    keys, problems = read_mapping(text, 1)
    if problems:
        raise _error(source, problems[0].line, problems[0].text, problems[0].fix)
    _check_keys(keys, _FILE_KEYS, source)
    entries = keys.get("allow")
    if not isinstance(entries, list) or not entries:
        raise RulesError(f"cannot start commands: {source} allows nothing. Write its rules under allow:.")
    path = keys.get("path", list(DEFAULT_PATH))
    is_folders = isinstance(path, list) and all(isinstance(part, str) and part.startswith("/") for part in path)
    if not is_folders or not path:
        line = keys.lines.get("path", 1)
        raise _error(source, line, "path is not a list of absolute folders", "Write path: [/usr/bin, /bin]")
    return Rules(source, tuple(_rule(entry, source) for entry in entries), tuple(path))


def _rule(entry: object, source: str) -> Rule:
    if not isinstance(entry, Keys):
        raise RulesError(f"cannot start commands: a rule in {source} is {entry!r}. Write - argv: [program, word, ...].")
    _check_keys(entry, _RULE_KEYS, source)
    argv = _argv(entry, source)
    effect = entry.get("effect", "write")
    if effect not in ("read", "write"):
        raise _error(source, entry.line, f"the effect {effect!r} is unknown", "Write effect: read or effect: write")
    try:
        timeout_s = parse_duration(entry["timeout"]) if "timeout" in entry else DEFAULT_TIMEOUT_S
    except ValueError as exc:
        raise _error(source, entry.line, str(exc), "Write timeout: 300s") from exc
    return Rule(
        line=entry.line,
        argv=argv,
        params=_params(entry, argv, source),
        effect=cast("Effect", effect),
        timeout_s=timeout_s,
        environment=_variables(entry, source),
        folder=_folder(entry, source),
    )


def _argv(entry: Keys, source: str) -> tuple[str, ...]:
    argv = entry.get("argv")
    if not isinstance(argv, list) or not argv or any(part is None or isinstance(part, (list, dict)) for part in argv):
        raise _error(source, entry.line, "a rule has no argv", "Write argv: [program, word, ...]")
    words = tuple(scalar_text(part) for part in argv)
    program = words[0]
    if SLOT.search(program) or ("/" in program.lstrip("/") and not program.startswith("/")) or not program:
        fix = "Write its name, or its absolute path"
        raise _error(source, entry.line, f"the program {program!r} is not fixed", fix)
    return words


def _params(entry: Keys, argv: tuple[str, ...], source: str) -> dict[str, re.Pattern[str]]:
    params = entry.get("params") or {}
    if not isinstance(params, dict):
        raise _error(source, entry.line, "params is not a mapping", "Write params: {name: pattern}")
    slots = {slot for word in argv for slot in SLOT.findall(word)}
    if slots and _INTERPRETERS.fullmatch(Path(argv[0]).name):
        fix = "Allow a script by its absolute path instead"
        raise _error(source, entry.line, f"{argv[0]} would execute the value of a slot", fix)
    patterns = {}
    for slot in sorted(slots | params.keys()):
        if slot not in slots:
            raise _error(source, entry.line, f"params has {slot!r}, which argv does not use", "Remove it")
        pattern = params.get(slot)
        if not isinstance(pattern, str) or not pattern:
            raise _error(source, entry.line, f"{{{slot}}} has no pattern", f"Write params: {{{slot}: 'api|web'}}")
        try:
            patterns[slot] = re.compile(pattern, re.ASCII)
        except re.error as exc:
            text = f"the pattern of {{{slot}}} is not a regular expression ({exc})"
            raise _error(source, entry.line, text, "Correct it") from exc
    return patterns


def _variables(entry: Keys, source: str) -> tuple[str, ...]:
    names = entry.get("env") or []
    if not isinstance(names, list) or not all(isinstance(name, str) and _VARIABLE.fullmatch(name) for name in names):
        raise _error(source, entry.line, "env is not a list of names", "Write env: [KUBECONFIG]")
    risky = next((name for name in names if _LOADER_VARIABLES.fullmatch(name)), None)
    if risky is not None:
        raise _error(source, entry.line, f"{risky} changes which code runs", "Set it in a script instead")
    return tuple(names)


def _folder(entry: Keys, source: str) -> str:
    folder = entry.get("cwd", ".")
    if not isinstance(folder, str) or folder.startswith(("/", "~")) or ".." in Path(folder).parts:
        raise _error(source, entry.line, f"cwd {folder!r} is outside the workspace", "Write a folder below it")
    return folder


def _check_keys(keys: Keys, known: set[str], source: str) -> None:
    for key in keys:
        if key not in known:
            raise _error(source, keys.lines[key], f"{key!r} is not known", f"Known: {', '.join(sorted(known))}")


def _error(source: str, line: int, text: str, fix: str) -> RulesError:
    return RulesError(f"cannot start commands: {source} line {line}: {text}. {fix}.")
