"""A runbook as data. `_parse` reads it from Markdown, `_lint` judges it, `_render` fills in its inputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

__all__ = [
    "CHECK_KINDS",
    "DEFAULT_TTL_S",
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

Effect = Literal["read", "write"]
RunbookKind = Literal["remedy", "change"]
CheckKind = Literal["http", "tcp", "tls", "disk", "file-age", "prometheus", "command"]

CHECK_KINDS: Final[dict[CheckKind, tuple[frozenset[str], frozenset[str]]]] = {
    "http": (frozenset({"url"}), frozenset({"method", "headers", "status", "measure", "body", "samples"})),
    "tcp": (frozenset({"host", "port"}), frozenset()),
    "tls": (frozenset({"host", "port"}), frozenset()),
    "disk": (frozenset({"path"}), frozenset()),
    "file-age": (frozenset({"path"}), frozenset()),
    "prometheus": (frozenset({"url", "query"}), frozenset({"headers"})),
    "command": (frozenset({"argv"}), frozenset({"body"})),
}
"""For each kind of check the keys that it must have and those that it may have, beside `kind`, `expect` and so on."""


@dataclass(frozen=True, slots=True)
class Input:
    """A value that a run of the runbook is given.

    Args:
        type: What it is; an integer or a number is written into commands as it would be in JSON.
        pattern: What the whole text of it must match.
        enum: What it may be; empty for anything.
        default: What it is when it is not given; None when it must be given.
        variable: The environment variable that gives it before the default does.
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
    """Where a secret is, never what it is: an environment variable or a file."""

    name: str
    line: int
    kind: Literal["env", "file"]
    place: str


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """Who must agree to a step, and until when.

    Args:
        group: The name of a group of people in the configuration.
        count: How many of them, each once.
        ttl_s: How long the question stands.
        not_requester: Who asked for the run may not answer (four eyes).
        on_timeout: What an unanswered question becomes. There is no `allow`.
    """

    name: str = "default"
    group: str = "operators"
    count: int = 1
    ttl_s: float = DEFAULT_TTL_S
    not_requester: bool = False
    on_timeout: Literal["deny"] = "deny"


@dataclass(frozen=True, slots=True)
class Check:
    """A question to the world, with the answer that is wanted.

    Args:
        options: The keys of its kind (see `CHECK_KINDS`), with slots.
        expect: A comparison such as `< 0.5`, with slots; None when being there is enough.
        hold_s: How long the answer must stay as wanted when a verifier watches.
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
        argv: Program and arguments, with slots; no shell reads them.
        effect: A `write` step waits for an approval, always.
        undo: The id of the step that takes it back; None for `undo=none`.
        environment: Variables for the command, with slots and references to secrets.
    """

    id: str
    line: int
    section: str
    argv: tuple[str, ...]
    effect: Effect
    approve: str
    undo: str | None
    says_undo: bool
    timeout_s: float | None
    reason: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Instruction:
    """A numbered item of plain Markdown: the executor must be told how to do it, or asks."""

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
        name: Its short name, which is its file's name without the ending.
        kind: A `remedy` is for something that is broken: when every check holds there is nothing (more) to do. A
            `change` is wanted for its own sake: every check must hold before it and after it.
        digest: The SHA-256 of its text: a run keeps to the text that it began with.
        match: Words of an incident that it is meant for.
        steps: In the order of the file.
    """

    name: str
    source: str
    kind: RunbookKind
    digest: str
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

    @property
    def undo_only(self) -> frozenset[str]:
        """Return the ids of the steps that only take others back; no plan begins with them."""
        return frozenset(step.undo for step in self.steps if isinstance(step, Run) and step.undo is not None)
