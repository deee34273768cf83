"""The interface of an engine: it executes agents, stores their runs, and answers questions about
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loom_runner._control.authority import Authority
    from loom_runner._model.approvals import DecisionKind
    from loom_runner._model.budget import Budget
    from loom_runner._model.results import RunResult
    from loom_runner._model.seconds import Seconds
    from loom_runner._program.agent import Agent

__all__ = ["Capability", "Engine"]

Capability = Literal["attempts", "budgets", "children", "fork", "pause", "retention", "state_versions", "timers"]
"""Optional features. Using one that an engine does not have raises `UsageError`."""


class Engine(Protocol):
    """Executes agents. Its answers about runs are plain JSON, as the commands print it."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The optional features of this engine."""

    async def start(
        self,
        agent: Agent,
        *,
        run_id: str,
        initial_state: Any = None,
        max_steps: int | None = None,
        wait_s: Seconds = 0.0,
        budget: Budget | None = None,
    ) -> RunResult:
        """Start a run and drive it until it ends, waits, fails or has run `max_steps` steps."""

    async def enqueue(
        self, agent: Agent, *, run_id: str, initial_state: Any = None, budget: Budget | None = None
    ) -> RunResult:
        """Create a run for a worker to drive; no step runs here."""

    async def resume(
        self,
        agent: Agent,
        *,
        run_id: str,
        max_steps: int | None = None,
        wait_s: Seconds = 0.0,
        budget: Budget | None = None,
    ) -> RunResult:
        """Continue a run."""

    async def signal(self, *, run_id: str, name: str, payload: Any = None) -> None:
        """Send a signal (plain JSON) to a run."""

    async def cancel(self, *, run_id: str, by: str = "a person", note: str = "") -> Sequence[str]:
        """Cancel a run and its children; return the ids of those that were cancelled."""

    async def pause(self, *, run_id: str) -> Sequence[str]:
        """Pause a run and its children, each after its current step; return their ids."""

    async def decide(
        self,
        *,
        run_id: str,
        number: int,
        how: DecisionKind,
        by: str,
        via: str = "",
        note: str = "",
        arguments: Mapping[str, Any] | None = None,
        shown: str | None = None,
        agent: Agent | None = None,
        authority: Authority | None = None,
    ) -> dict[str, Any]:
        """Decide about an approval request; return the request. The tools of the agent check edited
        arguments. `shown` is the `final_hash` that the person was shown, `authority` the product
        that decides.
        """

    async def resolve(
        self,
        *,
        run_id: str,
        call: int,
        how: Literal["retry", "skip", "result"],
        result: Any = None,
        decided_by: str = "a person",
        via: str = "",
        authority: Authority | None = None,
    ) -> None:
        """Decide about a tool call in doubt."""

    async def get(self, run_id: str) -> dict[str, Any]:
        """Return a run."""

    async def list(self, *, limit: int = 100) -> Sequence[dict[str, Any]]:
        """Return runs, the most recently changed first."""

    async def history(self, run_id: str, *, first: int = 0, limit: int = 1000) -> Sequence[dict[str, Any]]:
        """Return committed steps, each with the checkpoint after it."""

    async def attempts(self, run_id: str, *, first: int = 0, limit: int = 1000) -> Sequence[dict[str, Any]]:
        """Return every attempt of every step."""

    async def tool_calls(self, run_id: str) -> Sequence[dict[str, Any]]:
        """Return the tool calls of a run."""

    async def approvals(self, run_id: str | None = None, *, pending_only: bool = False) -> Sequence[dict[str, Any]]:
        """Return the approval requests, of one run or of all."""
