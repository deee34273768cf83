"""Read the file of allow rules.

Commands are off unless `LOOM_OPS_ALLOW_SHELL=1` is set *and* the file exists:

    allow:
      - argv: [kubectl, rollout, undo, "deployment/{service}"]
        params: {service: "api|web"}
        effect: write
        timeout: 300s
        env: {KUBECONFIG: /etc/ops/kubeconfig}
        network: true

A file that others may write is refused, because they could allow anything (see
`loom_runner.own_files`). So are, unless the rule says why in `unsafe`: an interpreter (`sh`,
`python`, `env`, `xargs`...) as the program of a rule with a slot, because its argument could be a
program; a slot with an open pattern as a word of a program that reads commands (`git`, `docker`,
`sed`...); a variable that may change which code runs. A pattern that matches more than plain values
says so in `may` (see `slot_values`).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from loom_runner.errors import NotOwnFile
from loom_runner.own_files import read_own_file

from loom_ops._commands.allow_rules import DEFAULT_PATH, Rule, Rules
from loom_ops._commands.programs import executes_its_words, is_data_variable, is_interpreter, is_loader_variable
from loom_ops._commands.slot_values import KINDS, Param, too_wide
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

_RULE_KEYS: Final = {"argv", "params", "effect", "timeout", "env", "cwd", "note", "unsafe", "network"}
_PARAM_KEYS: Final = {"pattern", "may"}
_FILE_KEYS: Final = {"allow", "path"}
_PROGRAM: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]*")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


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
    except NotOwnFile as exc:
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
    unsafe = entry.get("unsafe", "")
    if not isinstance(unsafe, str) or ("unsafe" in entry and not unsafe.strip()):
        raise _error(source, entry.line, "unsafe is not a reason", "Write unsafe: why this is meant")
    effect = entry.get("effect", "write")
    if effect not in ("read", "write"):
        raise _error(source, entry.line, f"the effect {effect!r} is unknown", "Write effect: read or effect: write")
    network = entry.get("network", True)
    if not isinstance(network, bool):
        raise _error(source, entry.line, f"network is {network!r}", "Write network: true or network: false")
    try:
        timeout_s = parse_duration(entry["timeout"]) if "timeout" in entry else DEFAULT_TIMEOUT_S
    except ValueError as exc:
        raise _error(source, entry.line, str(exc), "Write timeout: 300s") from exc
    return Rule(
        line=entry.line,
        argv=argv,
        params=_params(entry, argv, source, is_unsafe=bool(unsafe)),
        effect=cast("Effect", effect),
        timeout_s=timeout_s,
        environment=_variables(entry, source, is_unsafe=bool(unsafe)),
        folder=_folder(entry, source),
        fixed_environment=_fixed_variables(entry, source, is_unsafe=bool(unsafe)),
        unsafe=unsafe,
        network=network,
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
    is_name = _PROGRAM.fullmatch(program) is not None
    is_path = program.startswith("/") and os.path.normpath(program) == program and program.strip("/") != ""
    if not is_name and (not is_path or program.startswith("//")):
        raise _error(source, entry.line, f"the program {program!r} is no name and no absolute path", "Correct it")
    return words


def _params(entry: Keys, argv: tuple[str, ...], source: str, *, is_unsafe: bool) -> dict[str, Param]:
    params = entry.get("params") or {}
    if not isinstance(params, dict):
        raise _error(source, entry.line, "params is not a mapping", "Write params: {name: pattern}")
    slots = {slot for word in argv for slot in SLOT.findall(word)}
    if slots and not is_unsafe and is_interpreter(argv[0]):
        fix = "Allow a script by its absolute path instead, or write why in unsafe"
        raise _error(source, entry.line, f"{argv[0]} would execute the value of a slot", fix)
    patterns = {}
    for slot in sorted(slots | params.keys()):
        if slot not in slots:
            raise _error(source, entry.line, f"params has {slot!r}, which argv does not use", "Remove it")
        patterns[slot] = _param(params.get(slot), slot, entry.line, source)
    risky = [word for word in argv[1:] if (slot := SLOT.fullmatch(word)) and not patterns[slot[1]].is_closed]
    if risky and not is_unsafe and executes_its_words(argv[0]):
        text = f"{argv[0]} may execute what it reads as {risky[0]}"
        raise _error(source, entry.line, text, "List the values in its pattern ('api|web'), or write why in unsafe")
    return patterns


def _param(value: Any, slot: str, line: int, source: str) -> Param:
    may: Any = []
    if isinstance(value, Keys):
        _check_keys(value, _PARAM_KEYS, source)
        value, may = value.get("pattern"), value.get("may", [])
    if not isinstance(value, str) or not value:
        raise _error(source, line, f"{{{slot}}} has no pattern", f"Write params: {{{slot}: 'api|web'}}")
    if not isinstance(may, list) or not all(each in KINDS for each in may):
        raise _error(source, line, f"may of {{{slot}}} is not a list of kinds", f"Known: {', '.join(KINDS)}")
    try:
        pattern = re.compile(value, re.ASCII)
    except (re.error, RecursionError, OverflowError) as exc:
        text = f"the pattern of {{{slot}}} is not a regular expression ({exc})"
        raise _error(source, line, text, "Correct it") from exc
    found = too_wide(pattern, frozenset(may))
    if found is not None:
        text = f"the pattern of {{{slot}}} also matches {found[1]!r}"
        fix = f"List the values ('api|web'), write a narrower pattern, or add may: [{found[0]}]"
        raise _error(source, line, text, fix)
    return Param(pattern, frozenset(may))


def _variables(entry: Keys, source: str, *, is_unsafe: bool) -> tuple[str, ...]:
    names = entry.get("env") or []
    if isinstance(names, dict):
        return ()
    if not isinstance(names, list) or not all(isinstance(name, str) and _VARIABLE.fullmatch(name) for name in names):
        raise _error(source, entry.line, "env is not a list of names", "Write env: [API_TOKEN]")
    risky = next((name for name in names if not is_data_variable(name)), None)
    if risky is not None and not is_unsafe:
        verb = "changes" if is_loader_variable(risky) else "may be one that changes"
        fix = f"Give its value here (env: {{{risky}: value}}), or write why in unsafe"
        raise _error(source, entry.line, f"{risky} {verb} which code runs", fix)
    return tuple(names)


def _fixed_variables(entry: Keys, source: str, *, is_unsafe: bool) -> dict[str, str]:
    values = entry.get("env") or []
    if not isinstance(values, dict):
        return {}
    fixed = {
        name: value for name, value in values.items() if isinstance(value, (str, int)) and _VARIABLE.fullmatch(name)
    }
    if fixed.keys() != values.keys() or any(SLOT.search(scalar_text(value)) for value in fixed.values()):
        raise _error(source, entry.line, "env is not a mapping of names to fixed values", "Write env: {NAME: value}")
    loader = next((name for name in fixed if name.upper().startswith(("LD_", "DYLD_"))), None)
    if loader is not None and not is_unsafe:
        raise _error(source, entry.line, f"{loader} changes which code runs", "Write why in unsafe")
    return {name: scalar_text(value) for name, value in fixed.items()}


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
