"""What a person sees of an edited request."""

from typing import Any

import pytest
from loom_agents._tools.argument_difference import argument_difference, edit_notes


@pytest.mark.parametrize(
    ("proposed", "final", "lines"),
    [
        ({"argv": ["good", "web"]}, {"argv": ["evil", "web"]}, ["- argv: good web", "+ argv: evil web"]),
        ({"argv": ["a b", "c"]}, {"argv": ["a", "b c"]}, ["- argv: 'a b' c", "+ argv: a 'b c'"]),
        ({"n": 1}, {"n": "1"}, ["- n: 1", '+ n: "1"']),
        ({"n": 1}, {"n": True}, ["- n: 1", "+ n: true"]),
        ({"a": ["x"]}, {"a": "x"}, ['- a: ["x"]', '+ a: "x"']),
        ({"a": 1, "b": 2}, {"b": 2, "c": None}, ["- a: 1", "+ c: null"]),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}, []),
        ({"t": ""}, {"t": "x"}, ["- t: ", "+ t: x"]),
        (
            {"t": "\n".join("abcdefgh")},
            {"t": "\n".join("abcdeFgh")},
            ["  t: ...", "  t: d", "  t: e", "- t: f", "+ t: F", "  t: g", "  t: h"],
        ),
        ({"t": "-- x\ny"}, {"t": "++ x\ny"}, ["  t: ...", "- t: -- x", "+ t: ++ x", "  t: y"]),
    ],
)
def test_only_what_differs_is_shown(proposed: dict[str, Any], final: dict[str, Any], lines: list[str]) -> None:
    assert argument_difference(proposed, final) == lines


@pytest.mark.parametrize(
    "hidden", ["\x1b[2K", "\u202e", "\u200b", "\x00", "\ud800", "\u2028", "\xa0", "\U000e0041", "\r"]
)
def test_characters_that_are_not_shown_become_visible(hidden: str) -> None:
    lines = argument_difference({"a": "x"}, {"a": f"x{hidden}y", f"b{hidden}": 1})
    assert all(line.isprintable() for line in lines)
    assert "\\" in lines[1]
    assert "\\" in lines[2]


def decision(by: str, how: str) -> dict[str, str]:
    return {"by": by, "how": how}


def test_the_notes_name_who_edited_what_is_void_and_how_many_must_approve() -> None:
    request = {"status": "pending", "needed": 2, "decisions": [decision("bob", "approve"), decision("alice", "edit")]}
    assert edit_notes(request) == [
        "edited by alice: the call uses other arguments than those that were asked for",
        "earlier approvals are void: bob",
        "2 people must still approve",
    ]
    request["decisions"].append(decision("bob", "approve"))
    assert edit_notes(request)[-1] == "1 person must still approve"
    assert edit_notes(request | {"approvals_missing": 0})[-1] == "0 people must still approve"
    assert edit_notes(request | {"status": "used"})[-1] == "earlier approvals are void: bob"
    assert edit_notes({"status": "pending", "needed": 1, "decisions": [decision("bob", "approve")]}) == []
