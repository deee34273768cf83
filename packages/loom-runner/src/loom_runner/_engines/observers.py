"""Check the observers that are given to an engine."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from loom_runner._model.arguments import check_type
from loom_runner.errors import UsageError

if TYPE_CHECKING:
    from loom_runner._model.events import Observer

__all__ = ["checked_observers"]


def checked_observers(verb: str, given: Any) -> tuple[Observer, ...]:
    """Return the observers.

    Args:
        verb: What they are for, for the message: *cannot VERB*.

    Raises:
        UsageError: One is not a function, or is async.
    """
    check_type(verb, "observers", given, Iterable, "a sequence of functions")
    observers = tuple(given)
    for observer in observers:
        if not callable(observer):
            raise UsageError(f"cannot {verb}: an observer is {observer!r:.60}. Pass a function of a RunEvent.")
        if any(map(inspect.iscoroutinefunction, (observer, getattr(observer, "__call__", None)))):  # noqa: B004
            raise UsageError(
                f"cannot {verb}: observer {observer!r:.60} is async, and observers are not awaited. Pass a plain "
                "function, for instance queue.put_nowait of an asyncio.Queue."
            )
    return observers
