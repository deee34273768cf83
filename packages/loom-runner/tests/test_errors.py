"""The errors survive the way to another process."""

import copy
import pickle

import pytest
from loom_runner import errors

ODD = {
    "BudgetTimeUsedUp": lambda kind: kind("time_s 60"),
    "CommandError": lambda kind: kind("cannot x", exit_code=5, run_id="r"),
    "StateDecodeError": lambda kind: kind("cannot x", run_id="r", step_index=2, raw="{}"),
    "StepPruned": lambda kind: kind("cannot x", run_id="r", step_index=2, nearest=7),
    "ToolFailed": lambda kind: kind("cannot x", error_category="transient", retryable=True, tool="t"),
}


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_survives_pickle(name):
    make = ODD.get(name, lambda kind: kind("cannot x", run_id="r", step_index=2))
    error = make(getattr(errors, name))
    copies = [pickle.loads(pickle.dumps(error, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for again in (copy.copy(error), *copies):
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
