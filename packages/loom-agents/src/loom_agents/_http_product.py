"""What a product gives to be served: how its runs are started, gone on with, and shown."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from loom_runner import RunEvent, SQLiteStore

from loom_agents._http_tokens import Caller

__all__ = ["Observer", "Product"]

Observer: TypeAlias = Callable[[RunEvent], None]


class Product(Protocol):
    """Drive runs and show them. `loom-run` and `loom-ops` each have one.

    A product may have `doors`: for each further path (`/v1/...`) a function that turns what came there into a request
    for `start`. `run_id` is kept for the face.

    `start`, `say` and `resume` drive the run until it stops, and return. What is wrong with a request they raise
    before the run begins to work. Each gives the observer to the runner.

    A product may also have `prompt`, a text for the empty field of a first message.
    """

    @property
    def name(self) -> str:
        """What the page calls itself."""
        ...

    @property
    def store(self) -> SQLiteStore:
        """Where the runs are."""
        ...

    async def start(self, run_id: str, request: Mapping[str, Any], observer: Observer) -> None:
        """Start a run with what the client sent, or go on with it when it was started with the same."""
        ...

    async def say(self, run_id: str, message: str, observer: Observer) -> None:
        """Send a person's message to a run, and go on with it."""
        ...

    async def resume(self, run_id: str, observer: Observer) -> None:
        """Go on with a run."""
        ...

    def new_run_id(self) -> str:
        """Name a run that the client did not name."""
        ...

    def objection(self, approval: Mapping[str, Any], caller: Caller, how: str) -> str | None:
        """Say why this caller may not decide; None when they may. It is asked before anything is written.

        Args:
            approval: the request, as the runner shows it: run_id, number, tool, arguments, policy, decisions, ...
            caller: who decides, by their token.
            how: `approve`, `deny` or `edit`.
        """
        ...

    def about(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Say in a few members what a run is about, for the list: at least `title` and `standing`.

        Args:
            run: as the runner shows it: run_id, status, state, wait, ...
        """
        ...

    def shown(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Give what a person reads about one run: `messages` (as stored), `usage`, `answer`, whatever there is."""
        ...
