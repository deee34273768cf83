from typing import Any, get_args

import pytest
from loom_ops._runbook.parse import require_runbook
from loom_ops._team.outcomes import GOOD, Outcome, current_outcome, outcome_text
from loom_ops._team.states import (
    EXECUTOR_UPCASTERS,
    EXECUTOR_VERSION,
    ExecutorState,
    RunRequest,
    steps_to_undo,
)

TEXT = """\
```run id=a undo=un-a
argv: [a]
```
```run id=b undo=un-b
argv: [b]
```
```run id=c undo=none
argv: [c]
```
```run id=look effect=read
argv: [look]
```
```run id=un-a undo=none
argv: [un-a]
```
```run id=un-b undo=none
argv: [un-b]
```
```check id=up
kind: disk
path: /
```
"""
RUNBOOK = require_runbook(TEXT, "b.md")


def report(step: str, ok: bool = True, **more: Any) -> dict[str, Any]:
    return {"id": step, "ok": ok, **more}


@pytest.mark.parametrize(
    ("reports", "undo"),
    [
        ([], ()),
        ([report("a")], ("un-a",)),
        ([report("a"), report("b"), report("c")], ("un-b", "un-a")),
        ([report("a", ok=False)], ()),
        ([report("up"), report("look")], ()),
        ([report("a"), report("b"), report("un-b", takes_back=True)], ("un-a",)),
        ([report("a"), report("un-a", ok=False, takes_back=True)], ("un-a",)),
        ([report("a"), report("b"), report("un-b", takes_back=True), report("un-a", takes_back=True)], ()),
    ],
)
def test_steps_that_are_not_undone_yet_are_undone_the_last_first(
    reports: list[dict[str, Any]], undo: tuple[str, ...]
) -> None:
    assert steps_to_undo(RUNBOOK, reports) == undo
    request = RunRequest("it", "me", "b.md", TEXT, {})
    state = ExecutorState.for_rollback(request, reports)
    assert (state.undo, state.phase, state.ends_as, state.plan) == (undo, "back", "rolled_back", ())


def test_a_state_of_version_1_is_read_with_the_current_names() -> None:
    assert EXECUTOR_VERSION == 2 and set(EXECUTOR_UPCASTERS) == {1}
    old = {
        "request": {},
        "ends_as": "not recovered",
        "reports": [report("item-1", kind="by hand"), report("up", kind="check")],
    }
    new = EXECUTOR_UPCASTERS[1](old)
    assert new["ends_as"] == "not_recovered" and [row["kind"] for row in new["reports"]] == ["by_hand", "check"]
    assert EXECUTOR_UPCASTERS[1]({"request": {}, "ends_as": None})["ends_as"] is None


def test_every_outcome_is_snake_case_in_json_and_words_for_people() -> None:
    outcomes = get_args(Outcome)
    assert all(current_outcome(name) == name and " " not in name for name in outcomes)
    assert GOOD < set(outcomes)
    assert outcome_text("nothing_to_do") == "nothing to do" and outcome_text("taken back") == "rolled back"
    for old in ("nothing to do", "not begun", "not recovered", "taken back"):
        assert current_outcome(old) in outcomes
