"""When a failed step is tried again."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.seconds import check_seconds, in_seconds
from loom_runner.errors import StoreBusy, ToolFailed, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from loom_runner._model.seconds import Seconds

__all__ = ["RetryPolicy", "is_transient", "retry_after_s"]

_MAX_RETRY_AFTER_S: Final = 86_400.0
"""A longer time is not taken from a server."""


def is_transient(error: BaseException) -> bool:
    """Return whether a retry may help: timeouts, broken connections, errors that say when to try
    again (see `retry_after_s`), and tools that say so; a group if all its members are.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(is_transient(member) for member in error.exceptions)
    if isinstance(error, ToolFailed):
        return error.retryable
    if isinstance(error, StoreBusy):  # of a store of the step's own
        return True
    if isinstance(
        error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError | FileExistsError
    ):
        return False
    return isinstance(error, TimeoutError | ConnectionError | OSError) or bool(retry_after_s(error))


def retry_after_s(error: BaseException, now_us: int | None = None) -> float | None:
    """Return the seconds after which a server, or the tool, asks to be tried again; None if it does
    not say.

    They are the attribute `retry_after_s` or `retry_after` of the error, or the header
    `Retry-After` (seconds or a date) of its response; for a group the longest.

    Args:
        error: What a step or a tool raised.
        now_us: The time, in microseconds since 1970; None is that of this machine.
    """
    if isinstance(error, BaseExceptionGroup):
        times = (retry_after_s(each, now_us) for each in error.exceptions)
        return max((found for found in times if found is not None), default=None)
    for owner in (error, _attribute(error, "response")):
        headers = _attribute(owner, "headers")
        for name in ("retry-after", "Retry-After"):
            with contextlib.suppress(Exception):
                return _seconds(headers[name], now_us)
    for name in ("retry_after_s", "retry_after"):
        with contextlib.suppress(Exception):
            return _seconds(_attribute(error, name), now_us)
    return None


def _attribute(owner: Any, name: str) -> Any:
    """Return an attribute; None if there is none, or if it is a property that fails."""
    try:
        return getattr(owner, name, None)
    except Exception:  # noqa: BLE001  (the code of a user's class)
        return None


def _seconds(value: Any, now_us: int | None) -> float:
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, str) and value.endswith("GMT"):  # a date of HTTP
        now_s = time.time() if now_us is None else now_us / 1_000_000
        seconds = max(parsedate_to_datetime(value).timestamp() - now_s, 0.0)
    else:
        seconds = float(value)
    if not 0 <= seconds <= _MAX_RETRY_AFTER_S:
        raise ValueError(value)
    return float(seconds)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed step is tried again. A retry is another attempt of the same step; its due time
    is stored. If a server asks for a longer delay (`retry_after_s`), that is used.

    Args:
        max_attempts: The number of attempts in total; 1 never retries.
        initial_s: Seconds before the second attempt, or a `timedelta`.
        factor: How many times longer each delay is than the one before.
        max_s: The longest delay, in seconds, or a `timedelta`.
        jitter: The part of a delay that is random, from 0 to 1.
        should_retry: Decides by the exception; by default, transient errors are retried.
    """

    max_attempts: int = 3
    initial_s: Seconds = 0.5
    factor: float = 2.0
    max_s: Seconds = 60.0
    jitter: float = 0.2
    should_retry: Callable[[BaseException], bool] = is_transient

    def __post_init__(self) -> None:
        for name in ("initial_s", "max_s"):
            object.__setattr__(self, name, check_seconds("use RetryPolicy", name, getattr(self, name)))
        for name, value in (("max_attempts", self.max_attempts), ("factor", self.factor), ("jitter", self.jitter)):
            given: object = value
            if not isinstance(given, int | float) or isinstance(given, bool):
                raise UsageError(f"cannot use RetryPolicy: {name} is {value!r:.60}. Pass a number.")
        if not self.max_attempts >= 1 or not self.factor >= 1 or not 0 <= self.jitter <= 1:
            raise UsageError(f"cannot use {self}: max_attempts and factor start at 1, and jitter lies between 0 and 1.")

    def retries(self, error: BaseException) -> bool:
        """Return whether an error is retried; one for which `should_retry` fails is not."""
        try:
            return bool(self.should_retry(error))
        except Exception:
            logging.getLogger("loom_runner").warning("should_retry failed, so there is no retry", exc_info=True)
            return False

    def delay_s(self, failures: int, chance: float) -> float:
        """Return the seconds to wait after this many failures (1 or more); `chance` is between 0
        and 1.
        """
        longest, exponent = in_seconds(self.max_s), min(failures - 1, 64)
        wait = min(in_seconds(self.initial_s) * self.factor**exponent, longest)
        return wait * (1 - self.jitter * chance)
