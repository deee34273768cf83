from pathlib import Path

import pytest
from loom_ops._errors import LoomOpsError, RunbookError
from loom_ops._runbook.model import Check, Instruction, Run
from loom_ops._runbook.parse import parse_runbook, read_text, require_runbook

GOOD = """\
---
loom: 1
title: API latency
match: [latency, slow]
inputs:
  service: {type: string, pattern: "(api|web)"}
secrets:
  token: {env: OPS_TOKEN}
approvals:
  default: {group: oncall, count: 2, ttl: 30m, not_requester: true, on_timeout: deny}
---
Read this first.

## Triage {#triage}

Look at the *graph*.

```check id=p95
kind: http
url: "http://{service}.test/health"
expect: "< 0.5"
timeout: 5s
retries: 2
for: 30s
```

```bash
echo this is an example, not a step
```

## Roll back {#rollback effect=write approve=default}

```run id=rollback undo=redeploy timeout=120s
argv: [kubectl, rollout, undo, "deployment/{service}"]
reason: the release before was fast
env: {TOKEN: "{secret.token}"}
```

```run id=redeploy undo=none timeout=2m
argv: [kubectl, rollout, restart, 7]
```
"""


def problems_of(text: str) -> list[tuple[int, str]]:
    runbook, problems = parse_runbook(text, "book.md")
    assert (runbook is None) == any(problem.severity == "error" for problem in problems)
    return [(problem.line, problem.text) for problem in problems]


def with_front(front: str) -> str:
    return f"---\n{front}\n---\n1. Do it.\n"


def test_every_part_of_a_runbook_is_read() -> None:
    runbook, problems = parse_runbook(GOOD, "runbooks/api-latency.md")
    assert problems == [] and runbook is not None
    assert (runbook.name, runbook.title, runbook.match) == ("api-latency", "API latency", ("latency", "slow"))
    assert runbook.approvals["default"].ttl_s == 1800 and runbook.approvals["default"].not_requester
    assert runbook.secrets["token"].location == "OPS_TOKEN"
    check, rollback, redeploy = runbook.steps
    assert isinstance(check, Check) and (check.id, check.expect, check.retries, check.hold_s) == ("p95", "< 0.5", 2, 30)
    assert isinstance(rollback, Run) and rollback.argv[-1] == "deployment/{service}" and rollback.undo == "redeploy"
    assert (rollback.effect, rollback.approve, rollback.timeout_s) == ("write", "default", 120)
    assert isinstance(redeploy, Run) and redeploy.argv[-1] == "7" and redeploy.undo is None and redeploy.declares_undo
    assert runbook.undo_only == {"redeploy"}
    assert [section.id for section in runbook.sections] == ["top", "triage", "rollback"]
    assert "Look at the *graph*." in runbook.sections[1].prose and "echo this" in runbook.sections[1].prose


def test_steps_have_their_line_numbers() -> None:
    runbook, _ = parse_runbook(GOOD, "a.md")
    assert runbook is not None
    lines = GOOD.splitlines()
    assert [lines[step.line - 1].split()[1] for step in runbook.steps] == ["id=p95", "id=rollback", "id=redeploy"]
    assert [lines[section.line - 1] for section in runbook.sections[1:]] == [
        "## Triage {#triage}",
        "## Roll back {#rollback effect=write approve=default}",
    ]


def test_each_numbered_item_of_plain_markdown_is_an_instruction() -> None:
    runbook, problems = parse_runbook(
        "# Deploy\n\n1. Tell the team.\n2. Push the\n   button.\n\n- not this\n", "deploy.md"
    )
    assert problems == [] and runbook is not None and runbook.title == "Deploy"
    assert [(step.id, step.line, step.text) for step in runbook.steps if isinstance(step, Instruction)] == [
        ("item-1", 3, "Tell the team."),
        ("item-2", 4, "Push the\n   button."),
    ]


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("", 1, "it has no steps"),
        ("---\nloom: 1\n", 1, "no end"),
        (with_front("loom: 2"), 2, "format 2"),
        (with_front("loom: 1\ntitel: x"), 3, "'titel' is not known"),
        (with_front("loom: 1\nloom: 1"), 3, "given twice"),
        (with_front("loom: [1"), 2, "not YAML"),
        (with_front("- a"), 2, "not a list of `key: value`"),
        (with_front("title: [a]"), 2, "title is not a text"),
        (with_front("inputs: {a: {type: text}}"), 2, "unknown type 'text'"),
        (with_front("inputs:\n  a: {pattern: '('}"), 3, "not a regular expression"),
        (with_front("inputs:\n  a-b: {}"), 3, "'a-b' is not a name"),
        (with_front("inputs: [a]"), 2, "not a mapping"),
        (with_front("secrets: {a: {value: hunter2}}"), 2, "has no location"),
        (with_front("approvals: {a: {count: 0}}"), 2, "count of approval a is 0"),
        (with_front("approvals: {a: {on_timeout: allow}}"), 2, "on_timeout"),
        (with_front("approvals: {a: {ttl: 30}}"), 2, "not a duration"),
        (with_front("approvals: {a: {not_requester: perhaps}}"), 2, "not_requester"),
        (with_front("loom: 1\ntitle: 2026-13-45"), 3, "month must be in 1..12"),
        ("## A {#x}\n## B {#x}\n1. a\n", 2, "'x' was used in line 1"),
        ("## A {#X y}\n1. a\n", 1, "'y' is not an attribute"),
        ("## A {effect=destroy}\n1. a\n", 1, "effect 'destroy' is unknown"),
        ("```run timeout=1s\nargv: [a]\n```\n", 1, "no id"),
        ("```run id=A timeout=1s\nargv: [a]\n```\n", 1, "'A' is not an id"),
        ("```run id=a wait=1s\nargv: [a]\n```\n", 1, "'wait=1s' is not known"),
        ("```run id=a id=b\nargv: [a]\n```\n", 1, "id is given twice"),
        ("```run id=a\nshell: ls | wc\n```\n", 2, "'shell' is not known"),
        ("```run id=a\nargv: ls -l\n```\n", 2, "argv is not a list"),
        ("```run id=a\nargv: ['{program}']\n```\n", 2, "not fixed"),
        ("```run id=a\nargv: [ls, '{x}']\n```\n", 1, "{x}, which is not an input"),
        ("```run id=a undo=b\nargv: [ls]\n```\n", 1, "'b', which is not a step"),
        ("```run id=a approve=x\nargv: [ls]\n```\n", 1, "approval policy 'x', which does not exist"),
        ("```run id=a timeout=5\nargv: [ls]\n```\n", 1, "not a duration"),
        ("```run id=a\nargv: [ls]\n```\n```run id=a\nargv: [ls]\n```\n", 4, "'a' was used in line 1"),
        ("```run id=a undo=b\nargv: [x]\n```\n```run id=b undo=a\nargv: [y]\n```\n", 1, "leads back to itself"),
        ("```run id=a undo=a\nargv: [x]\n```\n", 1, "leads back to itself"),
        ("```run id=a undo=c\nargv: [x]\n```\n```check id=c\nkind: disk\npath: /\n```\n", 1, "runs nothing"),
        ("```check id=a\nkind: ping\n```\n", 2, "kind 'ping' is unknown"),
        ("```check id=a\nexpect: '< 1'\n```\n", 1, "no kind"),
        ("```check id=a\nkind: http\n```\n", 1, "has no url"),
        ("```check id=a\nkind: disk\npath: /\nurl: x\n```\n", 4, "'url' is not known"),
        ("```check id=a\nkind: disk\npath: /\nretries: many\n```\n", 4, "retries"),
    ],
)
def test_each_error_is_reported_with_its_line(text: str, line: int, expected: str) -> None:
    assert any(line == at and expected in what for at, what in problems_of(text)), problems_of(text)


def test_all_problems_are_reported_at_once() -> None:
    text = "```run id=a undo=b wait=1\nargv: ls\n```\n```check id=a\nkind: ping\n```\n"
    assert len(problems_of(text)) == 5


def test_exponential_references_are_bounded() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert any("more than" in what for _, what in problems_of(with_front(bomb)))


def test_a_runbook_with_errors_is_refused_with_the_first_of_them(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("```run id=a undo=b wait=1\nargv: [ls]\n```\n")
    with pytest.raises(RunbookError, match=r"line 1: .*\(1 more: loom-ops lint .*a\.md\)"):
        require_runbook((tmp_path / "a.md").read_text(), str(tmp_path / "a.md"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none.md", "no such file"),
        (".", "it is a folder"),
        ("bytes.md", "byte 2 is not UTF-8"),
        ("big.md", "larger than"),
    ],
)
def test_an_unreadable_file_is_reported_in_one_line(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "bytes.md").write_bytes(b"# \xff")
    (tmp_path / "big.md").write_bytes(b"x" * 1_000_001)
    with pytest.raises(LoomOpsError, match=expected) as caught:
        read_text(tmp_path / name, name)
    assert "\n" not in str(caught.value)
