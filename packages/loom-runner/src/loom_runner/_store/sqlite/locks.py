"""What happens while another process has the database locked for writing.

A connection of SQLite calls a function when it finds the database locked. It is not called
otherwise, so waiting costs nothing while nobody else writes. `LockWait` is that function:

* A plain call (a query, opening a store, a side table) waits on its thread, for up to 30 s.
* A write of the event loop waits 3 ms, which is enough for most transactions of others, and then
  raises `WriteLocked`. `GroupCommit` tries it again later, so the loop is never blocked for
  long, however long the lock is held.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import apsw

__all__ = ["QUICK", "WAIT_FOR_WRITERS_S", "LockWait", "switch_to_wal"]

WAIT_FOR_WRITERS_S: Final = 30.0

_DELAYS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.025, 0.025, 0.025, 0.05, 0.05)
_LAST_DELAY_S: Final = 0.1
QUICK: Final = 2


class LockWait:
    """The busy handler of one connection.

    Attributes:
        limit: The number of tries, set under the lock of the connection: `patient`, `QUICK` on the
            thread of an event loop, or 0 where it does not matter whether the write takes place.
        patient: The number of tries that take `longest_s`.
    """

    __slots__ = ("limit", "patient")

    def __init__(self, longest_s: float) -> None:
        self.patient = len(_DELAYS_S) + int(max(0.0, longest_s - sum(_DELAYS_S)) / _LAST_DELAY_S)
        self.limit = self.patient

    def __call__(self, tries: int) -> bool:
        """Wait before the next try; False gives up."""
        if tries >= self.limit:
            return False
        time.sleep(_DELAYS_S[tries] if tries < len(_DELAYS_S) else _LAST_DELAY_S)
        return True


def switch_to_wal(db: apsw.Connection, longest_s: float = WAIT_FOR_WRITERS_S) -> str:
    """Switch the database to a write-ahead log; return the mode that it has now. SQLite does not
    wait when another process makes the same switch, so this tries again.
    """
    import apsw

    deadline = time.monotonic() + longest_s
    while True:
        try:
            return str(db.pragma("journal_mode", "wal"))
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
