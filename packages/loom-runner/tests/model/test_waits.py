"""What a run waits for: its JSON, and the one definition of *ready*."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loom_runner._model.waits import (
    READY_NOW,
    ChildrenWait,
    DecisionWait,
    SignalWait,
    TimerWait,
    WaitFacts,
    before_step,
    ready_at,
    wait_from_json,
)

times = st.integers(0, 4 * 10**15)
names = st.text(min_size=1, max_size=8)
simple = st.one_of(
    st.builds(SignalWait, names, st.none() | times),
    st.builds(TimerWait, times),
    st.lists(names, min_size=1, max_size=3).map(lambda ids: ChildrenWait(tuple(ids), 1, tuple(ids))),
)
decisions = st.builds(
    DecisionWait, st.integers(1, 9), st.lists(st.integers(1, 9)).map(tuple), st.just(None), st.none() | simple
)


@given(st.one_of(simple, decisions))
def test_every_wait_is_read_back_from_its_json(wait):
    assert wait_from_json(json.dumps(wait.as_json())) == wait


@pytest.mark.parametrize(
    ("stored", "wait"),
    [
        ({"signal": "go"}, SignalWait("go")),
        ({"doubt": 3, "signal": "go"}, DecisionWait(3, after=SignalWait("go"))),
        ({"doubt": 3}, DecisionWait(3)),
        ({"approvals": [1]}, DecisionWait(None, (1,))),
    ],
)
def test_the_forms_of_earlier_versions_are_read(stored, wait):
    assert wait_from_json(json.dumps(stored)) == wait


@pytest.mark.parametrize(
    ("wait", "facts", "at"),
    [
        (SignalWait("go"), WaitFacts(), None),
        (SignalWait("go", 50), WaitFacts(), 50),
        (SignalWait("go", 50), WaitFacts(has_signal=True), READY_NOW),
        (TimerWait(70), WaitFacts(has_signal=True), 70),
        (ChildrenWait(("a", "b"), 2, ("p", "p")), WaitFacts(settled=1), None),
        (ChildrenWait(("a", "b"), 1, ("p", "p")), WaitFacts(settled=1), READY_NOW),
        (DecisionWait(1), WaitFacts(is_in_doubt=True), None),
        (DecisionWait(1), WaitFacts(), READY_NOW),
        (DecisionWait(approvals=(1, 2)), WaitFacts(pending={1: 10, 2: None}), None),
        (DecisionWait(approvals=(1, 2)), WaitFacts(pending={1: 10, 2: 30}), 30),
        (DecisionWait(approvals=(1, 2)), WaitFacts(), READY_NOW),
        (DecisionWait(1, (1,)), WaitFacts(pending={1: 10}, is_in_doubt=True), None),
        (DecisionWait(1, (1,)), WaitFacts(pending={1: 10}), 10),
    ],
)
def test_a_run_is_ready_when_its_wait_is_over(wait, facts, at):
    assert ready_at(wait, facts) == at


def test_the_wait_before_a_step_is_the_one_below_a_decision():
    assert before_step(None) is None
    assert before_step(TimerWait(1)) == TimerWait(1)
    assert before_step(DecisionWait(1)) is None
    assert before_step(DecisionWait(1, after=SignalWait("go"))) == SignalWait("go")
