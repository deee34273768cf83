import re

import pytest
from loom_runner import RetryPolicy, ToolFailed, UsageError
from loom_runner._model.clock import SystemClock, from_iso, to_iso
from loom_runner._model.retry import is_transient


def test_times_are_written_in_utc_with_microseconds_and_read_back():
    assert to_iso(1_700_000_000_000_001) == "2023-11-14T22:13:20.000001+00:00"
    assert to_iso(0) == "1970-01-01T00:00:00.000000+00:00"
    assert from_iso(to_iso(1_700_000_000_999_999)) == 1_700_000_000_999_999


def test_the_system_clock_gives_microseconds():
    assert re.match(r"^20\d\d-", to_iso(SystemClock().now_us()))
    assert 0 <= SystemClock().chance() < 1


def test_waits_grow_by_the_factor_up_to_the_longest_and_chance_shortens_them():
    policy = RetryPolicy(initial_s=1, factor=3, max_s=20, jitter=0.5)
    assert [policy.delay_s(n, 0) for n in (1, 2, 3, 4)] == [1, 3, 9, 20]
    assert policy.delay_s(2, 1) == 1.5
    assert policy.delay_s(100_000, 0) == 20


@pytest.mark.parametrize(
    "wrong", [{"max_attempts": 0}, {"initial_s": -1}, {"factor": 0.5}, {"max_s": -1}, {"jitter": 2}]
)
def test_an_absurd_policy_is_refused(wrong):
    with pytest.raises(UsageError, match="cannot use RetryPolicy"):
        RetryPolicy(**wrong)


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (OSError("no route"), True),
        (FileNotFoundError(), False),
        (ValueError(), False),
        (ToolFailed("x", retryable=True), True),
        (ToolFailed("x"), False),
    ],
)
def test_only_errors_that_may_pass_by_themselves_are_transient(error, passing):
    assert is_transient(error) is passing
