"""Which commands may be started: an allow list of whole commands, and nothing else.

Theory of operation. Commands are off unless `LOOM_OPS_ALLOW_SHELL=1` is set *and* a file of rules is there. A rule is
an argv template: a command is allowed when some rule has exactly as many words and every word matches its whole word.
In a rule, a word is fixed text with `{param}` slots, and each slot has a pattern that the whole value must match.

What makes this different from a list of prefixes: `git -c alias.x=!id x` has more words than `git status`, so it
matches nothing; so do `--help`, `--`, and every option that was not written down. A value that begins with `-` is
refused even when its pattern would let it through, and so is one with a newline or another control character. The
program is a name without a slash, looked up in the fixed folders of the rules, or an absolute path. A file that
others may write is not a rule, it is an open door: it is refused.

    allow:
      - argv: [kubectl, rollout, undo, "deployment/{service}"]
        params: {service: "api|web"}
        effect: write
        timeout: 300s
        env: [KUBECONFIG]

Not covered: what an allowed program does with what it is given. An interpreter (`sh`, `python`, `env`, `xargs`...) as
the program of a rule with a slot is refused, because its argument would be a program of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loom_ops._durations import read_duration, write_duration
from loom_ops._errors import CommandDeniedError, RulesError
from loom_ops._parse import SLOT, plain
from loom_ops._yaml import Keys, read_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loom_ops._runbook import Effect

__all__ = ["ALLOW_VARIABLE", "Allowed", "Rule", "Rules", "load_rules"]

ALLOW_VARIABLE: Final = "LOOM_OPS_ALLOW_SHELL"
DEFAULT_PATH: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
MAX_BYTES: Final = 1_000_000
MAX_WORD: Final = 4_096
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


@dataclass(frozen=True, slots=True)
class Rule:
    """One allowed form of command.

    Args:
        line: Where it stands in its file.
        argv: The template.
        params: For each slot the pattern that its whole value must match.
        effect: `read` when the command changes nothing; only such commands run without an approval.
        timeout_s: How long the command may be given.
        environment: The variables of this process that it sees beside PATH, HOME, LANG and TZ.
        folder: Where it runs, below the workspace.
    """

    line: int
    argv: tuple[str, ...]
    params: Mapping[str, re.Pattern[str]]
    effect: Effect
    timeout_s: float
    environment: tuple[str, ...] = ()
    folder: str = "."

    def matches(self, argv: Sequence[str]) -> bool:
        """Tell whether a command is exactly of this form."""
        if len(argv) != len(self.argv):
            return False
        seen: dict[str, str] = {}
        return all(self._word_matches(template, word, seen) for template, word in zip(self.argv, argv, strict=True))

    def _word_matches(self, template: str, word: str, seen: dict[str, str]) -> bool:
        slots = SLOT.findall(template)
        if not slots:
            return word == template
        fixed = SLOT.split(template)[::2]
        pattern = re.escape(fixed[0])
        for number, text in enumerate(fixed[1:]):
            pattern += f"(?P<slot_{number}>.*){re.escape(text)}"
        found = re.fullmatch(pattern, word, re.DOTALL)
        if found is None:
            return False
        for number, slot in enumerate(slots):
            value = found[f"slot_{number}"]
            if value.startswith("-") or not self.params[slot].fullmatch(value) or seen.setdefault(slot, value) != value:
                return False
        return True

    def __str__(self) -> str:
        return " ".join(self.argv)


@dataclass(frozen=True, slots=True)
class Allowed:
    """A command that may be started: the rule, and the program's file."""

    rule: Rule
    program: str


@dataclass(frozen=True, slots=True)
class Rules:
    """The allow list of one file."""

    source: str
    rules: tuple[Rule, ...]
    path: tuple[str, ...] = DEFAULT_PATH

    def rule_for(self, argv: Sequence[str]) -> Rule | None:
        """Return the first rule that a command matches exactly."""
        return next((rule for rule in self.rules if rule.matches(argv)), None)

    def check(self, argv: Sequence[str], effect: Effect, timeout_s: float) -> Allowed:
        """Return how a command may be started.

        Raises:
            CommandDeniedError: It may not.
        """
        shown = shown_argv(argv)
        for word in argv:
            if len(word) > MAX_WORD or any(ord(character) < 32 or ord(character) == 127 for character in word):
                raise CommandDeniedError(
                    f"cannot start {shown}: a word is longer than {MAX_WORD} characters or holds a control character."
                )
        rule = self.rule_for(argv)
        if rule is None:
            raise CommandDeniedError(
                f"cannot start {shown}: no rule in {self.source} allows exactly this. A person may add one."
            )
        if rule.effect == "write" and effect == "read":
            raise CommandDeniedError(
                f"cannot start {shown}: {self.source} line {rule.line} says that it writes, the step that it reads. "
                "Mend one of them."
            )
        if timeout_s > rule.timeout_s:
            raise CommandDeniedError(
                f"cannot start {shown}: its timeout of {write_duration(timeout_s)} is above the "
                f"{write_duration(rule.timeout_s)} of {self.source} line {rule.line}. Use less."
            )
        return Allowed(rule, self._program(argv[0], shown))

    def _program(self, name: str, shown: str) -> str:
        if name.startswith("/"):
            found = name if os.access(name, os.X_OK) and Path(name).is_file() else None
        else:
            found = shutil.which(name, path=os.pathsep.join(self.path))
        if found is None:
            raise CommandDeniedError(
                f"cannot start {shown}: there is no program {name!r} in {os.pathsep.join(self.path)}. "
                "Install it, or mend the rule."
            )
        return found


def load_rules(file: Path, *, environment: Mapping[str, str] | None = None) -> Rules:
    """Read the file of allow rules.

    Raises:
        RulesError: Commands are off, or the file is missing, writable by others, empty or wrong.
    """
    environment = os.environ if environment is None else environment
    if environment.get(ALLOW_VARIABLE) != "1":
        raise RulesError(f"cannot start commands: they are off. Set {ALLOW_VARIABLE}=1 to allow those of {file}.")
    try:
        with file.open("rb") as opened:
            about = os.fstat(opened.fileno())
            data = opened.read(MAX_BYTES + 1)
    except OSError as exc:
        raise RulesError(
            f"cannot start commands: {file}: {(exc.strerror or str(exc)).lower()}. Write the allow rules there."
        ) from exc
    if not stat.S_ISREG(about.st_mode) or len(data) > MAX_BYTES:
        raise RulesError(
            f"cannot start commands: {file} is no plain file of at most {MAX_BYTES:,} bytes. "
            "Write the allow rules there."
        )
    if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or about.st_uid not in (0, os.geteuid()):
        raise RulesError(f"cannot start commands: others can write {file}. Run chmod go-w {file}, and own it.")
    for folder in file.resolve().parents[:1]:
        mode = folder.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise RulesError(
                f"cannot start commands: others can replace {file}, because anybody can write its folder. "
                f"Run chmod o-w {folder}."
            )
    try:
        text = data.decode()
    except UnicodeDecodeError as exc:
        raise RulesError(f"cannot start commands: {file} is not UTF-8. Save it as UTF-8.") from exc
    return parse_rules(text, str(file))


def parse_rules(text: str, source: str) -> Rules:
    """Read allow rules from text.

    Raises:
        RulesError: The first thing that is wrong, with its line.
    """
    keys, problems = read_mapping(text, 1)
    if problems:
        raise RulesError(
            f"cannot start commands: {source} line {problems[0].line}: {problems[0].text}. {problems[0].fix}."
        )
    _known(keys, _FILE_KEYS, source)
    entries = keys.get("allow")
    if not isinstance(entries, list) or not entries:
        raise RulesError(f"cannot start commands: {source} allows nothing. Write its rules under allow:.")
    path = keys.get("path", list(DEFAULT_PATH))
    if (
        not isinstance(path, list)
        or not path
        or not all(isinstance(part, str) and part.startswith("/") for part in path)
    ):
        raise _wrong(
            source, keys.lines.get("path", 1), "path is not a list of absolute folders", "Write path: [/usr/bin, /bin]"
        )
    return Rules(source, tuple(_rule(entry, source) for entry in entries), tuple(path))


def _rule(entry: object, source: str) -> Rule:
    if not isinstance(entry, Keys):
        raise RulesError(f"cannot start commands: a rule in {source} is {entry!r}. Write - argv: [program, word, ...].")
    _known(entry, _RULE_KEYS, source)
    line = entry.line
    argv = entry.get("argv")
    if not isinstance(argv, list) or not argv or any(part is None or isinstance(part, (list, dict)) for part in argv):
        raise _wrong(source, line, "a rule has no argv", "Write argv: [program, word, ...]")
    words = tuple(plain(part) for part in argv)
    params = entry.get("params") or {}
    if not isinstance(params, dict):
        raise _wrong(source, line, "params is not a mapping", "Write params: {name: pattern}")
    slots = {slot for word in words for slot in SLOT.findall(word)}
    program = words[0]
    if SLOT.search(program) or ("/" in program.lstrip("/") and not program.startswith("/")) or not program:
        raise _wrong(source, line, f"the program {program!r} is not fixed", "Write its name, or its absolute path")
    if slots and _INTERPRETERS.fullmatch(Path(program).name):
        raise _wrong(
            source,
            line,
            f"{program} would run what is in a slot",
            "Allow a script of your own by its absolute path instead",
        )
    patterns = {}
    for slot in sorted(slots | params.keys()):
        if slot not in slots:
            raise _wrong(source, line, f"params has {slot!r}, which argv does not use", "Remove it")
        pattern = params.get(slot)
        if not isinstance(pattern, str) or not pattern:
            raise _wrong(source, line, f"{{{slot}}} has no pattern", f"Write params: {{{slot}: 'api|web'}}")
        try:
            patterns[slot] = re.compile(pattern, re.ASCII)
        except re.error as exc:
            raise _wrong(
                source, line, f"the pattern of {{{slot}}} is not a regular expression ({exc})", "Mend it"
            ) from exc
    effect = entry.get("effect", "write")
    if effect not in ("read", "write"):
        raise _wrong(source, line, f"the effect {effect!r} is unknown", "Write effect: read or effect: write")
    try:
        timeout_s = read_duration(entry["timeout"]) if "timeout" in entry else DEFAULT_TIMEOUT_S
    except ValueError as exc:
        raise _wrong(source, line, str(exc), "Write timeout: 300s") from exc
    return Rule(line, words, patterns, effect, timeout_s, _variables(entry, source), _folder(entry, source))


def _variables(entry: Keys, source: str) -> tuple[str, ...]:
    names = entry.get("env") or []
    if not isinstance(names, list) or not all(isinstance(name, str) and _VARIABLE.fullmatch(name) for name in names):
        raise _wrong(source, entry.line, "env is not a list of names", "Write env: [KUBECONFIG]")
    risky = next((name for name in names if _LOADER_VARIABLES.fullmatch(name)), None)
    if risky is not None:
        raise _wrong(source, entry.line, f"{risky} changes which code runs", "Set it in a script of your own")
    return tuple(names)


def _folder(entry: Keys, source: str) -> str:
    folder = entry.get("cwd", ".")
    if not isinstance(folder, str) or folder.startswith(("/", "~")) or ".." in Path(folder).parts:
        raise _wrong(source, entry.line, f"cwd {folder!r} is outside the workspace", "Write a folder below it")
    return folder


def _known(keys: Keys, known: set[str], source: str) -> None:
    for key in keys:
        if key not in known:
            raise _wrong(source, keys.lines[key], f"{key!r} is not known", f"Known: {', '.join(sorted(known))}")


def _wrong(source: str, line: int, text: str, fix: str) -> RulesError:
    return RulesError(f"cannot start commands: {source} line {line}: {text}. {fix}.")


def shown_argv(argv: Sequence[str]) -> str:
    """Write a command so that its words can be told apart, without control characters."""
    words = [word if re.fullmatch(r"[\w@%+=:,./-]+", word, re.ASCII) else repr(word) for word in argv]
    text = " ".join(words)
    return text if len(text) <= 200 else f"{text[:197]}..."
