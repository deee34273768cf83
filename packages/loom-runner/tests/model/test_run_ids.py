"""The ids of runs and their children."""

import pytest
from loom_runner import UsageError, run_ids


def test_a_childs_id_begins_with_its_parents():
    child = run_ids.child_run_id("r", "coder")
    grandchild = run_ids.child_run_id(child, "test")
    assert (child, grandchild) == ("r:sub:coder", "r:sub:coder:sub:test")
    assert [run_ids.child_name(each) for each in ("r", child, grandchild)] == ["r", "coder", "test"]
    assert [run_ids.parent_run_id(each) for each in ("r", child, grandchild)] == [None, "r", child]
    assert [run_ids.root_run_id(each) for each in ("r", child, grandchild)] == ["r", "r", "r"]
    assert [run_ids.is_child(each) for each in ("r", child, grandchild)] == [False, True, True]
    assert grandchild.startswith(run_ids.descendant_prefix("r"))


def test_a_run_is_within_itself_and_its_ancestors_only():
    assert run_ids.is_within("r", "r")
    assert run_ids.is_within("r:sub:a:sub:b", "r")
    assert not run_ids.is_within("r", "r:sub:a")
    assert not run_ids.is_within("r2", "r")
    assert not run_ids.is_within("r:submarine", "r")


@pytest.mark.parametrize("run_id", ["", " ", "a#b", "a\nb", "x" * 201, "\x07"])
def test_an_id_that_cannot_be_printed_or_distinguished_is_refused(run_id):
    with pytest.raises(UsageError, match="a run id has 1 to 200 printable characters"):
        run_ids.check_run_id(run_id, "start")


@pytest.mark.parametrize("name", ["a:sub:b", "sub:b", "", "a#b"])
def test_a_childs_name_cannot_pose_as_a_grandchild(name):
    with pytest.raises(UsageError, match="cannot start child"):
        run_ids.child_run_id("r", name)


def test_a_childs_id_is_not_too_long_either():
    with pytest.raises(UsageError, match="1 to 200"):
        run_ids.child_run_id("r" * 190, "c" * 20)


def test_ancestors_are_the_runs_above_the_nearest_first():
    assert run_ids.ancestor_run_ids("r:sub:a:sub:b") == ["r:sub:a", "r"]
    assert run_ids.ancestor_run_ids("r") == []


@pytest.mark.parametrize("run_id", [None, 5, b"r", ["r"]])
def test_an_id_that_is_not_a_string_is_refused(run_id):
    with pytest.raises(UsageError, match="cannot start .*: a run id is a string"):
        run_ids.check_run_id(run_id, "start")


def test_a_user_cannot_give_a_run_the_id_of_a_child():
    run_ids.check_run_id("r:sub:a", "resume")
    for free in ("r:rollback", "chat:r", "r:submarine", "sub", "sub:r"):
        run_ids.check_new_run_id(free, "start")
    for taken in ("r:sub:a", "r:sub:", "r:sub"):  # a child "x" of "r:sub" would be within "r"
        with pytest.raises(UsageError, match="':sub:' is reserved for the ids of child runs"):
            run_ids.check_new_run_id(taken, "start")
