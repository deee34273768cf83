"""What an engine does: it executes agents, keeps their runs, and answers questions about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loom_runner._model.approvals import DecisionKind
    from loom_runner._model.budget import Budget
    from loom_runner._model.results import RunResult
    from loom_runner._program.agent import Agent

__all__ = ["Capability", "Engine"]

Capability = Literal["attempts", "budgets", "children", "fork", "pause", "retention", "state_versions", "timers"]
"""What not every engine offers. Asking one for what it does not offer raises `UsageError`."""


class Engine(Protocol):
    """Where agents execute. What is returned about runs is plain JSON, as the commands print it."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this engine offers beside what every engine does."""

    async def start(
        self,
        agent: Agent,
        *,
        run_id: str,
        initial_state: Any = None,
        max_steps: int | None = None,
        wait_s: float = 0.0,
        budget: Budget | None = None,
    ) -> RunResult:
        """Start a run and drive it until it ends, waits, fails or has used up its slice."""

    async def enqueue(
        self, agent: Agent, *, run_id: str, initial_state: Any = None, budget: Budget | None = None
    ) -> RunResult:
        """Create a run for a worker to drive; nothing of it runs here."""

    async def resume(
        self,
        agent: Agent,
        *,
        run_id: str,
        max_steps: int | None = None,
        wait_s: float = 0.0,
        budget: Budget | None = None,
    ) -> RunResult:
        """Continue a run."""

    async def signal(self, *, run_id: str, name: str, payload: Any = None) -> None:
        """Send a signal (plain JSON) to a run."""

    async def cancel(self, *, run_id: str, by: str = "a person", note: str = "") -> Sequence[str]:
        """Cancel a run and its children; return the ids of those that were cancelled."""

    async def pause(self, *, run_id: str) -> Sequence[str]:
        """Let a run, and its children, pause after the step that each is in; return their ids."""

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
    ) -> dict[str, Any]:
        """Decide about a request for approval; return the request."""

    async def resolve(
        self,
        *,
        run_id: str,
        call: int,
        how: Literal["retry", "skip", "result"],
        result: Any = None,
        decided_by: str = "a person",
    ) -> None:
        """Decide about a tool call in doubt."""

    async def get(self, run_id: str) -> dict[str, Any]:
        """Read a run."""

    async def list(self, *, limit: int = 100) -> Sequence[dict[str, Any]]:
        """Read runs, the latest changed first."""

    async def history(self, run_id: str, *, first: int = 0, limit: int = 1000) -> Sequence[dict[str, Any]]:
        """Read committed steps, each with the checkpoint after it."""

    async def attempts(self, run_id: str, *, first: int = 0, limit: int = 1000) -> Sequence[dict[str, Any]]:
        """Read every attempt of every step."""

    async def tool_calls(self, run_id: str) -> Sequence[dict[str, Any]]:
        """Read the tool calls of a run."""

    async def approvals(self, run_id: str | None = None, *, pending_only: bool = False) -> Sequence[dict[str, Any]]:
        """Read the requests for approval, of one run or of all."""
