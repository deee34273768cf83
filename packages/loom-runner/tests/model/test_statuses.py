import typing

import pytest
from loom_runner import UsageError
from loom_runner._model.statuses import MOVES, TERMINAL, Move, Status, is_claimable, move

pytestmark = pytest.mark.interpreter


def test_the_table_has_a_row_for_every_status_and_leads_to_statuses_only():
    statuses = set(typing.get_args(Status))
    assert set(MOVES) == statuses
    assert {target for moves in MOVES.values() for target in moves.values()} <= statuses


@pytest.mark.parametrize("status", typing.get_args(Status))
@pytest.mark.parametrize("verb", typing.get_args(Move))
def test_a_move_is_in_the_table_or_an_error_that_lists_what_is_allowed(status, verb):
    if verb in MOVES[status]:
        assert move(status, verb) == MOVES[status][verb]
    else:
        with pytest.raises(UsageError, match=f"cannot {verb} run 'x': it is {status}, which allows: ") as caught:
            move(status, verb, run_id="x")
        assert caught.value.run_id == "x"
        shown = str(caught.value).partition("which allows: ")[2]
        assert all({"claim": "resume"}.get(allowed, allowed) in shown for allowed in MOVES[status])
        assert "claim" not in shown  # the name of the move in the code, not a command


def test_only_ended_runs_are_terminal_and_nothing_leaves_them():
    assert TERMINAL == {"completed", "cancelled"}


def test_every_status_but_running_and_the_ended_ones_can_be_claimed():
    assert {status for status in MOVES if is_claimable(status)} == {"created", "waiting", "paused", "failed", "parked"}


def test_every_status_can_be_reached_from_created():
    reached, todo = set(), ["created"]
    while todo:
        status = todo.pop()
        if status not in reached:
            reached.add(status)
            todo += MOVES[status].values()
    assert reached == set(MOVES)
