"""The allow list of commands: only whole commands that a rule lists may be started.

Theory of operation. A rule is an argv template: a command is allowed when some rule has exactly as
many words and every word matches its whole word. In a rule, a word is fixed text with `{param}`
slots, and each slot has a pattern that the whole value must match.

This is not a list of prefixes: `git -c alias.x=!id x` has more words than `git status`, so it
matches nothing; neither do `--help`, `--` and any other option that no rule contains. A value
that begins with `-` is refused even when its pattern would accept it, and so is one with a newline
or another character that is not seen (see `flow_xray.terminal`); `slot_values` has the other limits
of values. The program is a name without a slash, looked up in the fixed folders of the rules, or an
absolute path; nobody but the user and root may be able to write it (see `loom_runner.own_files`).

Not covered: what an allowed program does with its arguments. `rules_file` reads the rules and
refuses files that others may write.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flow_xray.terminal import visible_line
from loom_runner.errors import NotOwnFile
from loom_runner.own_files import check_own_path

from loom_ops._commands.programs import is_interpreter
from loom_ops._errors import CommandDeniedError
from loom_ops._runbook.durations import format_duration
from loom_ops._runbook.template import SLOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from loom_ops._commands.slot_values import Param
    from loom_ops._runbook.model import Effect

__all__ = ["DEFAULT_PATH", "Allowed", "Rule", "Rules", "argv_text"]

DEFAULT_PATH: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
MAX_WORD_CHARACTERS: Final = 4_096
MAX_SHOWN_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True)
class Rule:
    """One allowed form of command.

    Args:
        line: Its line in the file of the rules.
        argv: The template.
        params: For each slot, the values that it may have.
        effect: `read` when the command changes nothing; only such commands run without an approval.
        timeout_s: The longest timeout that the command may have.
        environment: The variables of this process that it gets in addition to PATH, HOME, LANG,
            LC_ALL and TZ.
        fixed_environment: The variables whose values the rule gives.
        unsafe: Why the rule may do what rules must not: its program executes a slot, or it gets a
            variable that may change which code runs. Empty: it may not.
        folder: Its working directory, below the workspace.
        network: Whether it may use the network; without it, where the platform can do that.
    """

    line: int
    argv: tuple[str, ...]
    params: Mapping[str, Param]
    effect: Effect
    timeout_s: float
    environment: tuple[str, ...] = ()
    folder: str = "."
    fixed_environment: Mapping[str, str] = field(default_factory=dict)
    unsafe: str = ""
    network: bool = True

    def matches(self, argv: Sequence[str]) -> bool:
        """Return whether a command has exactly this form."""
        if len(argv) != len(self.argv):
            return False
        seen: dict[str, str] = {}
        return all(self._word_matches(template, word, seen) for template, word in zip(self.argv, argv, strict=True))

    def open_values(self, argv: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield slot and value of each word, or part of a word after `=`, `:` or `,`, that the rule
        leaves to whoever asks for the command.
        """
        for template, word in zip(self.argv, argv, strict=True):
            slot = SLOT.search(template)
            if slot is None or self.params[slot[1]].may_name_programs:
                continue
            before, after = template[: slot.start()], template[slot.end() :]
            if (not before or before[-1] in "=:,") and SLOT.search(after) is None:
                yield slot[1], word[len(before) : len(word) - len(after)]

    def could_match(self, template: Sequence[str]) -> bool:
        """Return whether some inputs could make an argv with slots match.

        Words with slots are not compared.
        """
        return len(self.argv) == len(template) and all(
            theirs == ours or SLOT.search(theirs) is not None or SLOT.search(ours) is not None
            for ours, theirs in zip(self.argv, template, strict=True)
        )

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
            if not self.params[slot].accepts(value) or seen.setdefault(slot, value) != value:
                return False
        return True

    def __str__(self) -> str:
        return " ".join(self.argv)


@dataclass(frozen=True, slots=True)
class Allowed:
    """A command that may be started: its rule, its program as it is started, and the file that this
    is after links.
    """

    rule: Rule
    program: str
    file: Path


@dataclass(frozen=True, slots=True)
class Rules:
    """The allow list of one file.

    Args:
        source: The file, as it is shown.
        path: The folders in which programs are looked up.
    """

    source: str
    rules: tuple[Rule, ...]
    path: tuple[str, ...] = DEFAULT_PATH

    def rule_for(self, argv: Sequence[str]) -> Rule | None:
        """Return the first rule that a command matches exactly."""
        return next((rule for rule in self.rules if rule.matches(argv)), None)

    def could_allow(self, template: Sequence[str]) -> bool:
        """Return whether some inputs could make an argv with slots match a rule."""
        return any(rule.could_match(template) for rule in self.rules)

    def check(self, argv: Sequence[str], effect: Effect, timeout_s: float) -> Allowed:
        """Return the rule and the program of a command that may be started.

        Args:
            effect: What the step declares.
            timeout_s: The timeout of the step.

        Raises:
            CommandDeniedError: The command may not be started.
        """
        shown = argv_text(argv)
        for word in argv:
            if len(word) > MAX_WORD_CHARACTERS or visible_line(word) != word:
                raise CommandDeniedError(
                    f"cannot start {shown}: a word is longer than {MAX_WORD_CHARACTERS} characters or contains a "
                    "control character or another that is not seen."
                )
        rule = self.rule_for(argv)
        if rule is None:
            raise CommandDeniedError(
                f"cannot start {shown}: no rule in {self.source} allows exactly this. Add one if it is intended."
            )
        if rule.effect == "write" and effect == "read":
            raise CommandDeniedError(
                f"cannot start {shown}: {self.source} line {rule.line} declares effect write, the step declares effect "
                "read. Correct one of them."
            )
        if timeout_s > rule.timeout_s:
            raise CommandDeniedError(
                f"cannot start {shown}: its timeout of {format_duration(timeout_s)} is longer than the "
                f"{format_duration(rule.timeout_s)} of {self.source} line {rule.line}. Use a shorter one."
            )
        for slot, value in rule.open_values(argv):
            if value and "/" not in value and shutil.which(value, path=os.pathsep.join(self.path)) is not None:
                raise CommandDeniedError(
                    f"cannot start {shown}: {value!r} is the name of a program, which {self.source} line {rule.line} "
                    f"does not mean by {{{slot}}}. List the values in its pattern ('api|web'), or add may: [program]."
                )
        program, file = self._program(argv[0], shown)
        if any(SLOT.search(word) for word in rule.argv) and not rule.unsafe and is_interpreter(str(file)):
            raise CommandDeniedError(
                f"cannot start {shown}: {argv[0]} is {file}, which would execute the value of a slot. Allow a script "
                "by its absolute path instead."
            )
        return Allowed(rule, program, file)

    def _program(self, name: str, shown: str) -> tuple[str, Path]:
        if name.startswith("/"):
            found = name if os.access(name, os.X_OK) and Path(name).is_file() else None
        else:
            found = shutil.which(name, path=os.pathsep.join(self.path))
        if found is None:
            raise CommandDeniedError(
                f"cannot start {shown}: there is no program {name!r} in {os.pathsep.join(self.path)}. "
                "Install it, or correct the rule."
            )
        try:
            return found, check_own_path(found)
        except (OSError, NotOwnFile) as exc:
            raise CommandDeniedError(f"cannot start {shown}: {exc}") from exc


def argv_text(argv: Sequence[str]) -> str:
    """Return a command as text: words quoted, control characters escaped, shortened."""
    words = [word if re.fullmatch(r"[\w@%+=:,./-]+", word, re.ASCII) else repr(word) for word in argv]
    text = " ".join(words)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[: MAX_SHOWN_CHARACTERS - 3]}..."
