from typing import Any

import pytest
from loom_ops._approvals.requests import choose_request, decision_words, final_text, request_name, step_text
from loom_ops._errors import LoomOpsError


def request(run_id: str, number: int, status: str = "pending") -> dict[str, Any]:
    return {"run_id": run_id, "number": number, "status": status, "tool": "do_by_hand", "policy": {}}


ROWS = [
    request("inc-001:sub:executor", 1, "used"),
    request("inc-001:sub:executor", 2),
    request("inc-0011:sub:executor", 3),
    request("inc-002:sub:executor", 4),
    request("inc-002:sub:executor", 5),
    request("inc-002:rollback", 1),
]


@pytest.mark.parametrize(
    ("run_id", "number", "name"),
    [
        ("inc-001", None, "inc-001:sub:executor#r2"),
        ("inc-001:sub:executor", None, "inc-001:sub:executor#r2"),
        ("inc-001", 1, "inc-001:sub:executor#r1"),
        ("inc-002", 5, "inc-002:sub:executor#r5"),
        ("inc-002:rollback", None, "inc-002:rollback#r1"),
    ],
)
def test_the_right_request_is_chosen(run_id: str, number: int | None, name: str) -> None:
    assert request_name(choose_request(ROWS, run_id, number, "approve")) == name


@pytest.mark.parametrize(
    ("run_id", "number", "text"),
    [
        (
            "inc-002",
            None,
            "cannot approve 'inc-002': 2 requests wait: inc-002:sub:executor#r4, inc-002:sub:executor#r5. ",
        ),
        ("inc-003", None, "cannot approve 'inc-003': it waits for no approval"),
        ("inc-001", 3, "cannot approve 'inc-001': it has no request 3"),
    ],
)
def test_an_unknown_or_ambiguous_request_is_refused(run_id: str, number: int | None, text: str) -> None:
    with pytest.raises(LoomOpsError) as caught:
        choose_request(ROWS, run_id, number, "approve")
    assert str(caught.value).startswith(text)


def test_a_number_refers_to_the_named_run_before_its_children() -> None:
    rows = [request("x:sub:executor", 1), request("x", 1)]
    assert choose_request(rows, "x", 1, "deny")["run_id"] == "x"


def test_a_hash_names_what_was_shown() -> None:
    row = {
        **request("x", 1),
        "final_hash": "3fa9c2d1" * 8,
        "edited_arguments": None,
        "arguments": {"argv": ["a", "b c"]},
    }
    assert decision_words(row) == ("--number", "1", "--hash", "3fa9c2d13fa9")
    assert choose_request([row], "x", 1, "approve", digest="3FA9C2D1")["number"] == 1
    for digest in ("3fa9c2", "3fa9c2d2"):
        with pytest.raises(LoomOpsError, match="it is not, or no longer, the command with the hash"):
            choose_request([row], "x", 1, "approve", digest=digest)
    assert final_text(row) == "a 'b c'"
    assert final_text({**row, "edited_arguments": {"argv": ["z"]}}) == "z"
    assert final_text({**row, "arguments": {"text": "Call them."}}) == "Call them."


def test_a_step_is_shown_by_its_command_or_its_tool() -> None:
    assert step_text({"tool": "run_command", "policy": {"argv": ["rm", "a b"]}}) == "rm 'a b'"
    assert step_text(request("x", 1)) == "do_by_hand"
