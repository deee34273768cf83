"""The heartbeat: a thread that renews the leases of this process while steps run."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from loom_runner.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from loom_runner._model.records import Claim
    from loom_runner._store.protocol import Store

__all__ = ["Heartbeat"]

_RETRY_S: Final = 1.0
"""When a beat that failed is repeated."""


class Heartbeat:
    """Renew leases on a thread, so that a step that blocks the event loop does not lose its run.

    The thread ends at the first beat without a claim. A lost lease is reported once, on that
    thread.
    """

    def __init__(self, store: Store, every_s: float) -> None:
        self._store = store
        self._every_s = every_s
        self._wake = threading.Condition()
        self._claims: dict[Claim, Callable[[], None]] = {}
        self._thread: threading.Thread | None = None

    def keep(self, claim: Claim, on_lost: Callable[[], None]) -> None:
        with self._wake:
            self._claims[claim] = on_lost
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="loom-runner-heartbeat", daemon=True)
                self._thread.start()

    def drop(self, claim: Claim) -> None:
        with self._wake:
            self._claims.pop(claim, None)

    def _beat(self) -> None:
        wait_s, is_failing = self._every_s, False
        while True:
            with self._wake:
                self._wake.wait(wait_s)
                if not self._claims:
                    self._thread = None
                    return
                claims = list(self._claims)
            try:
                lost = self._store.renew(claims)
            except StoreError as exc:
                # A later beat may succeed. If none does, the lease expires, and another process may
                # take the run over.
                if not is_failing:
                    logging.getLogger("loom_runner").warning("leases cannot be renewed: %s", exc)
                wait_s, is_failing = min(self._every_s, _RETRY_S), True
                continue
            wait_s, is_failing = self._every_s, False
            for claim in lost:
                with self._wake:
                    report = self._claims.pop(claim, None)
                if report is not None:
                    report()
