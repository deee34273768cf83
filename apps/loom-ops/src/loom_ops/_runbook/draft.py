"""A runbook while it is parsed: its parts so far, every problem, typed access to YAML keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from loom_ops._errors import Problem
from loom_ops._runbook.durations import parse_duration

if TYPE_CHECKING:
    from loom_ops._runbook.model import (
        ApprovalPolicy,
        Effect,
        Input,
        RunbookKind,
        SecretSource,
        Section,
        Step,
    )
    from loom_ops._runbook.yaml_mapping import Keys

__all__ = ["Draft"]

MAX_DURATION_S: Final = 366 * 86_400.0


@dataclass(slots=True)
class Draft:
    """A runbook while it is parsed. Errors are collected as problems, not raised."""

    problems: list[Problem] = field(default_factory=list)
    title: str = ""
    summary: str = ""
    kind: RunbookKind = "remedy"
    match: tuple[str, ...] = ()
    inputs: dict[str, Input] = field(default_factory=dict)
    secrets: dict[str, SecretSource] = field(default_factory=dict)
    approvals: dict[str, ApprovalPolicy] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def error(self, line: int, text: str, fix: str) -> None:
        """Record an error; the runbook cannot be used."""
        self.problems.append(Problem(line, text, fix))

    def check_keys(self, keys: Keys, known: set[str] | frozenset[str], where: str) -> None:
        """Record every key that is not known."""
        for key in keys:
            if key not in known:
                self.error(
                    keys.lines[key], f"{key!r} is not known in {where}", f"Known there: {', '.join(sorted(known))}"
                )

    def text(self, keys: Keys, name: str) -> str:
        """Return the text of a key; empty when it is missing or not a text."""
        value = keys.get(name, "")
        if isinstance(value, str):
            return value.strip()
        self.error(keys.lines[name], f"{name} is not a text", "Put quotes around it")
        return ""

    def duration_s(self, keys: Keys, name: str) -> float | None:
        """Return the duration of a key, in seconds; None when it is missing or not a duration."""
        return self.parsed_duration_s(keys[name], keys.lines[name]) if name in keys else None

    def parsed_duration_s(self, value: object, line: int) -> float | None:
        """Return a duration in seconds; None when it is not one."""
        try:
            seconds = parse_duration(value)
        except ValueError as exc:
            self.error(line, str(exc), "Write a number with its unit: s, m, h or d")
            return None
        if seconds > MAX_DURATION_S:
            self.error(line, f"{value} is longer than a year", "Write less")
        return seconds

    def effect(self, word: str | None, line: int) -> Effect | None:
        """Return the effect that a word names; None when it is missing or unknown."""
        if word is None or word in ("read", "write"):
            return cast("Effect | None", word)
        self.error(line, f"the effect {word!r} is unknown", "Use effect=read or effect=write")
        return None
