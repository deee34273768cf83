"""What a message shows of a request, and what its buttons carry."""

from typing import Any

import pytest

pytest.importorskip("telegram", reason="the extra loom-ops[telegram] is not installed")

from loom_ops._interfaces.telegram.messages import MAX_CHARACTERS, approval_buttons, approval_text


def request(**changes: Any) -> dict[str, Any]:
    row = {
        "run_id": "x:sub:executor",
        "number": 3,
        "status": "pending",
        "tool": "run_command",
        "arguments": {"argv": ["good", "web"]},
        "edited_arguments": None,
        "final_hash": "ab" * 32,
        "needed": 2,
        "approvals_missing": 2,
        "decisions": [],
        "policy": {"argv": ["good", "web"], "group": "oncall", "requester": "eve"},
        "reason": "it helps",
        "expires_at": None,
    }
    return row | changes


EDITED = request(
    edited_arguments={"argv": ["evil", "web"]},
    final_hash="cd" * 32,
    decisions=[{"by": "bob", "how": "approve"}, {"by": "alice", "how": "edit"}],
)


def buttons(row: dict[str, Any]) -> dict[str, str]:
    (pair,) = approval_buttons(row).inline_keyboard
    return {button.text: str(button.callback_data) for button in pair}


def test_an_edited_request_is_shown_as_a_difference() -> None:
    lines = approval_text(EDITED).splitlines()
    assert lines[1] == "what: evil web"
    for line in (
        "edited by alice: the call uses other arguments than those that were asked for",
        "earlier approvals are void: bob",
        "2 people must still approve",
        "- argv: good web",
        "+ argv: evil web",
    ):
        assert line in lines
    assert "edited" not in approval_text(request())


def test_buttons_carry_the_number_and_the_hash_of_what_is_shown() -> None:
    before, after = buttons(request())["Approve"], buttons(EDITED)["Approve"]
    assert before.split(":")[1:] == ["3", "ab" * 8, "approve"]
    assert after.split(":")[1:] == ["3", "cd" * 8, "approve"]
    assert len(buttons(request(number=10**9))["Approve"]) <= 64


def test_what_is_too_long_to_be_shown_cannot_be_approved_here() -> None:
    long = request(arguments={"argv": ["good", "x" * 5000]})
    assert len(approval_text(long)) <= MAX_CHARACTERS
    assert "too long for a message" in approval_text(long)
    assert list(buttons(long)) == ["Deny"]


def test_hidden_characters_are_visible() -> None:
    assert "why: a\\u202eb\\x1b" in approval_text(request(reason="a\u202eb\x1b")).splitlines()
