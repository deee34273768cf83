"""The base of the store contract: rows to write, and a run to write them for."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.records import Claim, Owner
from loom_runner._model.writes import LeaseRequest, NewRun, StepCommit, ToolStart

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from loom_runner._store.protocol import Store

__all__ = ["ALICE", "BOB", "CALL", "LARGE", "LAST", "NEW", "STEP", "ContractBase", "refused", "run"]

ALICE: Final = LeaseRequest(Owner("machine", 1, "born"), 900.0, "code-1", "agent.py:1", "agent.py")
BOB: Final = LeaseRequest(Owner("machine", 2, "born"), 900.0, "code-2", "agent.py:2")
NEW: Final = NewRun("r", "step", '{"ask":1}', '{"n":0}', 1_000)
STEP: Final = StepCommit(0, "continue", "running", '{"n":1}', 1_000, 2_000, 1)
LAST: Final = StepCommit(0, "complete", "completed", None, 1_000, 2_000, 1, result="7", lease_end="completed")
CALL: Final = ToolStart(0, "fetch/0", "fetch", '{"url": "x"}', "hash", 1_500)
LARGE: Final = '"' + "a large payload, " * 10_000 + '"'


@contextmanager
def refused(kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


class ContractBase:
    """A store under test, and runs in it."""

    def again(self, store: Store) -> Store:
        """Open the same database a second time. A store without a durable database returns
        itself.
        """
        return store

    def begin(self, store: Store, run_id: str = "r", lease: LeaseRequest = ALICE) -> Claim:
        claim = run(store.create_run(replace(NEW, run_id=run_id), lease))
        assert isinstance(claim, Claim)
        return claim

    def takes(self, store: Store, run_id: str = "r", lease: LeaseRequest = BOB) -> Claim:
        """Claim the run as another process that knows the holder to be gone."""
        seen = store.reader.get_run(run_id)
        assert seen is not None
        claim = run(store.claim_run(seen, lease, take_over=True))
        assert isinstance(claim, Claim)
        return claim
