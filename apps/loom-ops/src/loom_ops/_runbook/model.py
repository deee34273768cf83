"""A runbook as data. `parse` reads it, `lint` checks it, `render` fills in its inputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

__all__ = [
    "CHECK_KINDS",
    "DEFAULT_TTL_S",
    "STARTER_PREFIX",
    "ApprovalPolicy",
    "Check",
    "CheckKind",
    "Effect",
    "Input",
    "Instruction",
    "Run",
    "Runbook",
    "RunbookKind",
    "SecretSource",
    "Section",
    "Step",
]

DEFAULT_TTL_S: Final = 1_800.0
STARTER_PREFIX: Final = "starter:"
"""The source of a runbook that ships with this package begins with it."""

Effect = Literal["read", "write"]
RunbookKind = Literal["remedy", "change"]
CheckKind = Literal["http", "tcp", "tls", "disk", "file-age", "prometheus", "command", "mcp"]

CHECK_KINDS: Final[dict[CheckKind, tuple[frozenset[str], frozenset[str]]]] = {
    "http": (frozenset({"url"}), frozenset({"method", "headers", "status", "measure", "body", "samples"})),
    "tcp": (frozenset({"host", "port"}), frozenset()),
    "tls": (frozenset({"host", "port"}), frozenset()),
    "disk": (frozenset({"path"}), frozenset()),
    "file-age": (frozenset({"path"}), frozenset()),
    "prometheus": (frozenset({"url", "query"}), frozenset({"headers"})),
    "command": (frozenset({"argv"}), frozenset({"body"})),
    "mcp": (frozenset({"server", "tool"}), frozenset({"arguments", "measure", "result"})),
}
"""For each kind of check, its required and its optional keys, in addition to the common ones."""


@dataclass(frozen=True, slots=True)
class Input:
    """An input of the runbook; each run gives it a value.

    Args:
        type: The type of the value; an integer or a number is written into commands as in JSON.
        pattern: The pattern that the whole text of the value must match.
        enum: The allowed values; empty for any.
        default: The value when none is given; None when one must be given.
        variable: The environment variable that is read before the default is used.
    """

    name: str
    line: int
    type: Literal["string", "integer", "number", "boolean"] = "string"
    pattern: re.Pattern[str] | None = None
    enum: tuple[str, ...] = ()
    default: str | None = None
    variable: str | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class SecretSource:
    """The location of a secret, never its value.

    Args:
        location: The name of an environment variable, or the path of a file.
        hosts: The hosts that it may be sent to, each with or without a port; None when the runbook
            does not say, see `destinations`.
        commands: The programs that may get it, likewise.
    """

    name: str
    line: int
    kind: Literal["env", "file"]
    location: str
    hosts: tuple[str, ...] | None = None
    commands: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """Who must approve a step, and until when.

    Args:
        group: The name of a group of people in the configuration.
        count: How many different people must approve.
        ttl_s: Seconds until the request expires.
        not_requester: The person who requested the run may not approve it (four-eyes principle).
        on_timeout: What an expired request counts as. There is no `allow`.
        edits: Whether a person may give the inputs in a command other values, for others to
            approve; with `none` a command is approved as the runbook has it, or denied.
    """

    name: str = "default"
    group: str = "operators"
    count: int = 1
    ttl_s: float = DEFAULT_TTL_S
    not_requester: bool = False
    on_timeout: Literal["deny"] = "deny"
    edits: Literal["none", "inputs"] = "none"


@dataclass(frozen=True, slots=True)
class Check:
    """A measurement and its expectation.

    Args:
        options: The keys of its kind (see `CHECK_KINDS`), with slots.
        expect: A comparison such as `< 0.5`, with slots; None when any answer passes.
        retries: How often it is repeated while it fails, `interval_s` apart.
        hold_s: The value of `for:`. It is not evaluated; `lint` warns about it.
    """

    id: str
    line: int
    section: str
    kind: CheckKind
    options: Mapping[str, Any]
    expect: str | None
    timeout_s: float = 10.0
    retries: int = 0
    interval_s: float = 1.0
    hold_s: float = 0.0

    @property
    def effect(self) -> Effect:
        return "read"


@dataclass(frozen=True, slots=True)
class Run:
    """A command.

    Args:
        argv: Program and arguments, with slots; no shell is involved.
        effect: A `write` step always waits for an approval.
        approve: The name of its approval policy.
        undo: The id of the step that undoes it; None when nothing does.
        declares_undo: Whether `undo=` is given, including `undo=none`.
        timeout_s: Seconds that it may take; None when the runbook does not set it.
        environment: Variables for the command, with slots and references to secrets.
    """

    id: str
    line: int
    section: str
    argv: tuple[str, ...]
    effect: Effect
    approve: str
    undo: str | None
    declares_undo: bool
    timeout_s: float | None
    reason: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Instruction:
    """A numbered item of plain Markdown: a person does it by hand, then approves it."""

    id: str
    line: int
    section: str
    text: str

    @property
    def effect(self) -> Effect:
        return "write"


Step = Check | Run | Instruction


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with the prose below it, which is for people and planners."""

    id: str
    line: int
    title: str
    prose: str


@dataclass(frozen=True, slots=True)
class Runbook:
    """A runbook without errors.

    Args:
        name: The name of its file, without the suffix.
        source: Its file, as it is shown.
        kind: A `remedy` repairs something broken: it ends once every check passes. A `change` is
            made while everything works: every check must pass before it and after it.
        match: Words of the incidents that it is for.
        steps: The steps, in the order of the file.
    """

    name: str
    source: str
    kind: RunbookKind
    title: str
    summary: str
    match: tuple[str, ...]
    inputs: Mapping[str, Input]
    secrets: Mapping[str, SecretSource]
    approvals: Mapping[str, ApprovalPolicy]
    sections: tuple[Section, ...]
    steps: tuple[Step, ...]

    def step(self, step_id: str) -> Step:
        """Return the step of this id.

        Raises:
            KeyError: There is none.
        """
        for step in self.steps:
            if step.id == step_id:
                return step
        raise KeyError(step_id)

    def policy_of(self, step: Run) -> ApprovalPolicy:
        """Return the approval policy of a command; a default when the runbook has none."""
        return self.approvals.get(step.approve, ApprovalPolicy())

    @property
    def by_hand_policy(self) -> ApprovalPolicy:
        """The approval policy of the steps that people do by hand."""
        return self.approvals.get("default", ApprovalPolicy())

    @property
    def undo_only(self) -> frozenset[str]:
        """The ids of the steps that only undo others; no plan contains them."""
        return frozenset(step.undo for step in self.steps if isinstance(step, Run) and step.undo is not None)
