"""The interface of a product: how its runs are started, resumed, decided about and shown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from loom_runner import RunEvent, SQLiteStore

from loom_agents._serve.tokens import Caller

__all__ = ["Decision", "Observer", "Product"]

Observer: TypeAlias = Callable[[RunEvent], None]


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision about a request for approval, as a client sent it.

    Attributes:
        kind: The decision.
        note: A reason, or "".
        arguments: For `edit`, the arguments to use instead.
    """

    kind: Literal["approve", "deny", "edit"]
    note: str = ""
    arguments: Mapping[str, Any] | None = None


class Product(Protocol):
    """Drives runs and describes them. `loom-run` and `loom-ops` each implement it.

    `start`, `send_message` and `resume` drive the run until it stops, and then return. They raise
    an error for an invalid request before the run starts. Each passes the observer to the runner.

    Optional attributes:

    * `start_routes`: further paths (`/v1/...`) that start a run, each with a function that converts
      the body of such a request to one for `start`;
    * `prompt`: the placeholder of the field for a first message.
    """

    @property
    def name(self) -> str:
        """The title of the page."""
        ...

    @property
    def store(self) -> SQLiteStore:
        """The store of the runs."""
        ...

    async def start(self, run_id: str, request: Mapping[str, Any], observer: Observer, caller: Caller) -> None:
        """Start a run with the request of the client, or resume it if the request is the same.

        Args:
            caller: Who requests it.
        """
        ...

    async def send_message(self, run_id: str, message: str, observer: Observer) -> None:
        """Send a user's message to a run, and resume it."""
        ...

    async def resume(self, run_id: str, observer: Observer) -> None:
        """Resume a run."""
        ...

    def new_run_id(self) -> str:
        """Return an id for a run for which the client sent none."""
        ...

    async def decide(self, request: Mapping[str, Any], decision: Decision, caller: Caller) -> dict[str, Any]:
        """Record a caller's decision about a pending request, and return the request after it.

        Args:
            request: As `Runs.approvals` returns it: run_id, number, tool, arguments, policy,
                decisions, ...

        Raises:
            NotPermittedError: The caller may not decide about it; the message says why.
            RunnerError: It cannot be decided, or not any more.

        Durability: the decision is on disk when this returns.
        """
        ...

    def summary(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Describe a run for the list: at least `title`, `display_status` and `accepts_messages`.

        Args:
            run: As `Runs.get` returns it: run_id, status, state, wait, ...
        """
        ...

    def details(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the page of a run shows: `messages` (as stored), `usage` and `answer`."""
        ...
