"""The session: time, ids, and the journal that must not stop the program."""

import asyncio

import pytest
from flow_xray._record.exceptions import is_cancellation
from flow_xray._record.session import Session

pytestmark = pytest.mark.interpreter


def test_times_come_from_the_clock_and_start_at_the_wall_time(clock):
    session = Session(clock=clock, wall_ns=1_000_000)
    clock.now = 500
    span = session.open_span(None, "call", "tool", None)
    clock.now = 800
    session.close_span(span)
    assert (span.started_at_ns, span.duration_ns) == (1_000_500, 300)


def test_a_clock_that_goes_back_gives_no_negative_duration(clock):
    session = Session(clock=clock, wall_ns=0)
    clock.now = 500
    span = session.open_span(None, "call", "tool", None)
    clock.now = 100
    session.close_span(span)
    assert span.duration_ns == 0


def test_span_ids_are_unique_sixteen_hex_digits():
    session = Session()
    ids = {session.open_span(None, "x", "function", None).id for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(each) == 16 and int(each, 16) for each in ids)


def test_a_failing_journal_stops_with_one_warning_and_recording_continues(clock):
    class FullDisk:
        path = "/full/run.xray"
        is_abandoned = False

        def header(self, *_): ...

        def start(self, _span):
            raise OSError(28, "No space left on device")

        def abandon(self):
            self.is_abandoned = True

    journal = FullDisk()
    session = Session(journal=journal, clock=clock)
    with pytest.warns(RuntimeWarning, match="cannot write the journal /full/run.xray"):
        span = session.open_span(None, "call", "tool", None)
    session.close_span(span)
    session.open_span(None, "next", "tool", None)
    assert journal.is_abandoned
    assert len(session.spans) == 2


@pytest.mark.parametrize(
    ("error", "is_cancelled"),
    [
        (asyncio.CancelledError(), True),
        (KeyboardInterrupt(), True),
        (SystemExit(None), True),
        (SystemExit("text"), False),
        (ValueError(), False),
    ],
)
def test_a_stopped_call_is_cancelled_not_failed(error, is_cancelled):
    assert is_cancellation(error) is is_cancelled
