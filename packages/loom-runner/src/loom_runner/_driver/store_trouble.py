"""Errors of the database while a worker runs: which of them pass, how long the worker pauses, and
what it logs.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from loom_runner.errors import StoreDamaged, StoreTooNew, StoreUnreadable

if TYPE_CHECKING:
    from loom_runner._model.clock import Clock
    from loom_runner.errors import StoreError

__all__ = ["StoreTrouble", "may_pass"]

_LONGEST_S: Final = 60.0
_MAX_UNTIL_IDLE_S: Final = 300.0


def may_pass(error: StoreError) -> bool:
    """Return whether the database may become usable again by itself, or by what a person does about
    the disk: it is locked, the disk is full or reports an error, the file is read-only.

    Not a file that is deleted, replaced, damaged, closed, no database, or of a later version.
    """
    return isinstance(error, StoreDamaged) or not isinstance(error, StoreUnreadable | StoreTooNew)


class StoreTrouble:
    """The pauses of one worker.

    Args:
        first_s: The shortest pause, in seconds. Each is twice as long as the one before, up to
            60 s.
    """

    def __init__(self, first_s: float, clock: Clock) -> None:
        self._first_s = first_s
        self._clock = clock
        self._reported: set[type[StoreError]] = set()
        self._until = 0
        self._is_of_poll = False
        self._paused_s = 0.0
        self.delay_s = 0.0

    @property
    def is_present(self) -> bool:
        """The last use of the database failed."""
        return self.delay_s > 0

    @property
    def left_s(self) -> float:
        """Seconds until the worker tries again."""
        return max(0.0, (self._until - self._clock.now_us()) / 1_000_000)

    def add(self, error: StoreError, *, is_poll: bool, is_until_idle: bool = False) -> None:
        """Pause after an error of the database.

        Args:
            is_poll: The worker looked for runs; otherwise a run was driven.
            is_until_idle: The worker is to end when it has nothing to do, and waits 5 minutes at
                most.

        Raises:
            StoreError: It is an error that does not pass.
        """
        if not may_pass(error) or (is_until_idle and self._paused_s > _MAX_UNTIL_IDLE_S):
            raise error
        if type(error) not in self._reported:
            self._reported.add(type(error))
            logging.getLogger("loom_runner").warning("the worker pauses and tries again: %s", error)
        if not self.left_s:  # several runs may fail at a time
            self.delay_s = min(max(2 * self.delay_s, self._first_s), _LONGEST_S)
            self._paused_s += self.delay_s
            self._until = self._clock.now_us() + int(self.delay_s * 1_000_000)
        self._is_of_poll = is_poll

    def succeeded(self, *, is_poll: bool) -> None:
        """Note that the database could be used. A poll, which only reads, says nothing about
        writing.
        """
        if self.delay_s and (self._is_of_poll or not is_poll):
            logging.getLogger("loom_runner").warning("the worker can use the database again.")
            self._reported.clear()
            self.delay_s = self._paused_s = 0.0
