"""Which edits of a command are allowed: other values of inputs, and nothing else."""

from typing import Any

import pytest
from loom_ops._approvals.binding import rule_hash
from loom_ops._approvals.edits import edited_arguments
from loom_ops._commands.rules_file import parse_rules
from loom_ops._errors import LoomOpsError
from loom_ops._runbook.parse import require_runbook
from loom_ops._runbook.render import call_of_step, render_step

BOOK = """\
---
inputs:
  svc: {{pattern: "api|web|db", default: api}}
  to: {{pattern: "[a-z]+", default: blue}}
approvals: {{default: {{ttl: 30m, edits: {edits}}}}}
---
```run id=move undo=back timeout=1m
argv: [move, "--to={{to}}", "{{svc}}"]
env: {{TARGET: "{{to}}"}}
```
```run id=back undo=none timeout=1m
argv: [back, "{{svc}}"]
```
"""
RULES = parse_rules(
    """allow:
  - argv: [move, "--to={to}", "{svc}"]
    params: {to: "blue|green", svc: "api|web"}
  - argv: [back, "{svc}"]
    params: {svc: "api|web"}
  - argv: [evil, "{svc}"]
    params: {svc: "api|web"}
""",
    "ops.rules.yaml",
)
INPUTS = {"svc": "api", "to": "blue"}


def edit(edits: str = "inputs", **changed: Any) -> dict[str, Any]:
    book = require_runbook(BOOK.format(edits=edits), "b.md")
    step = render_step(book.step("move"), INPUTS)
    _, arguments = call_of_step(step, book, INPUTS)
    policy = {"edits": edits, "rule": rule_hash(RULES, arguments["argv"])}
    request = {"arguments": arguments, "policy": policy}
    given = {**arguments, **changed}
    return edited_arguments(request, given, runbook=book, inputs=INPUTS, rules=RULES)


def test_another_value_of_an_input_gives_the_command_of_the_runbook() -> None:
    edited = edit(argv=["move", "--to=green", "api"])
    assert edited["argv"] == ["move", "--to=green", "api"]
    assert edited["environment"] == {"TARGET": "green"}, "as the runbook would have run it"
    assert edit(argv=["move", "--to=green", "api"], environment={"TARGET": "green"}) == edited


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"argv": ["evil", "api"]}, "only its inputs can be edited"),
        ({"argv": ["move", "--to=green", "api", "--force"]}, "only its inputs can be edited"),
        ({"argv": ["move", "green", "api"]}, "only its inputs can be edited"),
        ({"argv": ["move", "--to=GREEN", "api"]}, "does not match"),
        ({"argv": ["move", "--to=red", "api"]}, "the allow rule that it was requested under"),
        ({"argv": ["move", "--to=blue", "web"]}, "its undo step uses the same inputs"),
        ({"argv": "move"}, "not a list of words"),
        ({"argv": ["move", 1, "api"]}, "not a list of words"),
        ({"argv": ["move", "--to=green", "api"], "environment": {"TARGET": "blue", "LD_PRELOAD": "x"}}, "environment"),
        ({"timeout_s": 1e9}, "its timeout_s cannot be edited"),
        ({"approval": {"count": 0}}, "its approval cannot be edited"),
        ({"reason": "harmless"}, "its reason cannot be edited"),
        ({"id": "back"}, "cannot be edited"),
        ({"shell": True}, "its shell cannot be edited"),
    ],
)
def test_an_edit_beyond_the_inputs_is_refused(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(LoomOpsError, match=why):
        edit(**changed)


def test_a_runbook_forbids_edits_unless_it_says_otherwise() -> None:
    with pytest.raises(LoomOpsError, match="its runbook allows no edits"):
        edit("none", argv=["move", "--to=green", "api"])
