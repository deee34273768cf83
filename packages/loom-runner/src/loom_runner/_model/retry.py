"""When a failed step is tried again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loom_runner.errors import ToolFailed, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RetryPolicy", "is_transient"]


def is_transient(error: BaseException) -> bool:
    """Return whether a retry may help: timeouts, broken connections, and tools that say so."""
    if isinstance(error, ToolFailed):
        return error.retryable
    if isinstance(
        error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError | FileExistsError
    ):
        return False
    return isinstance(error, TimeoutError | ConnectionError | OSError)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed step is tried again. A retry is another attempt of the same step; its due time
    is stored.

    Args:
        max_attempts: The number of attempts in total; 1 never retries.
        initial_s: Seconds before the second attempt.
        factor: How many times longer each delay is than the one before.
        max_s: The longest delay.
        jitter: The part of a delay that is random, from 0 to 1.
        should_retry: Decides by the exception; by default, transient errors are retried.
    """

    max_attempts: int = 3
    initial_s: float = 0.5
    factor: float = 2.0
    max_s: float = 60.0
    jitter: float = 0.2
    should_retry: Callable[[BaseException], bool] = is_transient

    def __post_init__(self) -> None:
        if (
            self.max_attempts < 1
            or self.initial_s < 0
            or self.factor < 1
            or self.max_s < 0
            or not 0 <= self.jitter <= 1
        ):
            raise UsageError(
                f"cannot use {self}: max_attempts and factor start at 1, times at 0, and jitter lies between 0 and 1."
            )

    def delay_s(self, failures: int, chance: float) -> float:
        """Return the seconds to wait after this many failures (1 or more); `chance` is between 0
        and 1.
        """
        wait = min(self.initial_s * self.factor ** min(failures - 1, 64), self.max_s)
        return wait * (1 - self.jitter * chance)
