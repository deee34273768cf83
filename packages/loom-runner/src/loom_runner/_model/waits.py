"""What a waiting run waits for, and when it is ready. Theory of operation:

A waiting run waits for one of five things. Each is a class here, and a JSON object in the column
`wait` of the run; users see the same object:

| class | JSON | the run is ready when |
|---|---|---|
| `SignalWait` | `{"signal": NAME, "until": ISO or null}` | the signal was sent, or the time has come |
| `TimerWait` | `{"timer": true, "until": ISO}` | the time has come |
| `ChildrenWait` | `{"children": [RUN, ...], "needed": N, "programs": [KEY, ...]}` | N of the runs have settled |
| `DecisionWait` | `{"doubt": CALL, "approvals": [NUMBER, ...], "until": ISO or null}` | all are decided or expired |
| `RetryWait` | `{"retry": ATTEMPT, "until": ISO}` | the time has come |

A `DecisionWait` and a `RetryWait` leave the step uncommitted. If the step itself began after a
wait, `after` is that wait, so that the next attempt finds the same signal.

`ready_at` is the only definition of *ready*. A store calls it in the transaction of every write
that may change the answer (the run begins to wait, a signal is sent, a child settles, a request or
a call in doubt is decided), and stores the returned time in the run's row. A query for runs that
can be resumed compares that time with the present.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.clock import from_iso, to_iso

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loom_runner._model.statuses import Status

__all__ = [
    "READY_NOW",
    "SETTLED",
    "ChildrenWait",
    "DecisionWait",
    "RetryWait",
    "SignalWait",
    "TimerWait",
    "WaitFacts",
    "WaitFor",
    "before_step",
    "ready_at",
    "wait_from_json",
]

SETTLED: Final[frozenset[Status]] = frozenset({"completed", "failed", "cancelled", "parked"})
"""The statuses of a child that count for the wait of its parent."""

READY_NOW: Final = 0
"""The time (microseconds since 1970) for a run that has nothing more to wait for."""


@dataclass(frozen=True, slots=True)
class SignalWait:
    """Wait for a signal, at most until a time (microseconds since 1970)."""

    signal: str
    until: int | None = None

    def as_json(self) -> dict[str, Any]:
        return {"signal": self.signal, "until": _iso(self.until)}


@dataclass(frozen=True, slots=True)
class TimerWait:
    """Wait until a time (microseconds since 1970)."""

    until: int

    def as_json(self) -> dict[str, Any]:
        return {"timer": True, "until": _iso(self.until)}


@dataclass(frozen=True, slots=True)
class ChildrenWait:
    """Wait until `needed` of these child runs have settled.

    Attributes:
        programs: For each child, the key of its program in the parent's `children=`.
    """

    children: tuple[str, ...]
    needed: int
    programs: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {"children": list(self.children), "needed": self.needed, "programs": list(self.programs)}


@dataclass(frozen=True, slots=True)
class DecisionWait:
    """Wait for decisions about a tool call in doubt, about approval requests, or about both.

    Attributes:
        doubt: The number of the call in doubt.
        approvals: The numbers of the requests.
        until: When the last request expires (microseconds since 1970); None when one never does.
        after: The wait that ended before the step began.
    """

    doubt: int | None = None
    approvals: tuple[int, ...] = ()
    until: int | None = None
    after: WaitFor | None = None

    def as_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {}
        if self.doubt is not None:
            data["doubt"] = self.doubt
        if self.approvals:
            data |= {"approvals": list(self.approvals), "until": _iso(self.until)}
        if self.after is not None:
            data["after"] = self.after.as_json()
        return data


@dataclass(frozen=True, slots=True)
class RetryWait:
    """Wait until the next attempt of a step is due (microseconds since 1970), without a process
    that holds the run.

    Attributes:
        attempt: The number of the next attempt, from 0.
        after: The wait that ended before the step began.
    """

    attempt: int
    until: int
    after: WaitFor | None = None

    def as_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {"retry": self.attempt, "until": _iso(self.until)}
        if self.after is not None:
            data["after"] = self.after.as_json()
        return data


WaitFor = SignalWait | TimerWait | ChildrenWait | DecisionWait | RetryWait


@dataclass(frozen=True, slots=True)
class WaitFacts:
    """What `ready_at` has to know, depending on the wait.

    Attributes:
        has_signal: There is a signal of this name that no step has received.
        settled: How many of the children have settled.
        pending: The requests that are not decided, each with the time when it expires.
        is_in_doubt: The call in doubt is not decided.
    """

    has_signal: bool = False
    settled: int = 0
    pending: Mapping[int, int | None] = field(default_factory=dict)
    is_in_doubt: bool = False


def ready_at(wait: WaitFor, facts: WaitFacts) -> int | None:
    """Return when a waiting run can be resumed (microseconds since 1970); None if that is not
    known.
    """
    match wait:
        case SignalWait():
            return READY_NOW if facts.has_signal else wait.until
        case TimerWait() | RetryWait():
            return wait.until
        case ChildrenWait():
            return READY_NOW if facts.settled >= wait.needed else None
        case DecisionWait():
            expiries = list(facts.pending.values())
            if facts.is_in_doubt or None in expiries:
                return None
            return max((each for each in expiries if each is not None), default=READY_NOW)


def before_step(wait: WaitFor | None) -> WaitFor | None:
    """Return the wait that ended before the step to run next; None when there was none."""
    return wait.after if isinstance(wait, DecisionWait | RetryWait) else wait


def wait_from_json(text: str) -> WaitFor:
    """Read what `as_json` returned, also in the forms of earlier versions."""
    return _parse(json.loads(text))


def _parse(data: Mapping[str, Any]) -> WaitFor:
    until = None if data.get("until") is None else from_iso(data["until"])
    if data.keys() & {"doubt", "approvals"}:
        after = None
        if "after" in data:
            after = _parse(data["after"])
        elif "signal" in data:  # earlier versions wrote the doubt beside the signal
            after = SignalWait(data["signal"])
        return DecisionWait(data.get("doubt"), tuple(data.get("approvals", ())), until, after)
    if "retry" in data:
        after = _parse(data["after"]) if "after" in data else None
        return RetryWait(data["retry"], until or READY_NOW, after)
    if "children" in data:
        return ChildrenWait(tuple(data["children"]), data["needed"], tuple(data["programs"]))
    if "signal" in data:
        return SignalWait(data["signal"], until)
    return TimerWait(until or READY_NOW)


def _iso(at: int | None) -> str | None:
    return None if at is None else to_iso(at)
