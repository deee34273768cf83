"""What must never happen, each tried on purpose: the command line in this process, on a drill that answers at once."""

import asyncio
import contextlib
import functools
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loom_ops import _executor, _planner, _reader, _team, _verifier
from loom_ops._cli import cli
from loom_ops.testing._incident import BEGIN, DATABASE, RUN_ID, drill_of, prepare
from loom_runner import AgentRunner, SQLiteStore
from loom_runner.cli_base import run_command

EXECUTOR = f"{RUN_ID}:sub:executor"


class Desk:
    """Types commands, and looks at what they did."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys

    def type(self, *words: str, code: int = 0) -> str:
        """Run a command; return all that it said."""
        with pytest.raises(SystemExit) as ended:
            run_command(cli, words, name="loom-ops")
        said = "".join(self.capsys.readouterr())
        assert ended.value.code == code, said
        assert "Traceback" not in said
        return said

    def begin(self, code: int = 3) -> str:
        return self.type(*BEGIN, code=code)

    def approve(self, code: int = 0) -> str:
        return self.type("approve", "-r", RUN_ID, code=code)

    def resume(self, code: int = 0) -> dict[str, Any]:
        said = self.type("resume", "-r", RUN_ID, "--output", "json", code=code)
        return json.loads(said[said.index("{") : said.rindex("}") + 1])

    def change(self, *statement: Any) -> None:
        """Change rows behind the runner's back."""
        with sqlite3.connect(self.folder / DATABASE) as connection:
            assert connection.execute(*statement).rowcount > 0
        connection.close()

    def rows(self, read: Callable[[Any], Any]) -> Any:
        with SQLiteStore(self.folder / DATABASE) as store:
            return read(_reader.reader(store))

    def argv_of(self, kind: str) -> list[object]:
        entries = [json.loads(line) for line in self.type("audit", "export").splitlines()]
        return [entry["content"]["argv"] for entry in entries if entry["kind"] == kind]

    @property
    def commands(self) -> list[str]:
        return [words for _, words in drill_of(self.folder).commands]

    def runbook(self, **replaced: str) -> None:
        path = self.folder / "runbooks" / "sweep.md"
        text = path.read_text()
        for old, new in replaced.items():
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    prepare(tmp_path, "helps")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_team, "verifier_step", functools.partial(_verifier.verifier_step, round_s=0.02))
    return Desk(tmp_path, capsys)


def over(desk: Desk) -> None:
    """Whatever was tried: nothing is open once a run is over."""
    assert desk.rows(lambda rows: rows.approvals(pending_only=True)) == []
    runs = desk.rows(lambda rows: [RUN_ID, *(child["run_id"] for child in rows.children(RUN_ID))])
    assert {desk.rows(lambda rows, run=run: rows.get(run)["status"]) for run in runs} == {"completed"}
    assert "ok " in desk.type("audit", "verify")


def test_an_approval_does_not_serve_what_the_state_was_changed_to_afterwards(desk: Desk) -> None:
    desk.begin()
    desk.approve()
    desk.change(
        "UPDATE runs SET state = replace(state, 'argv: [rollback-service', 'argv: [restart-service') WHERE run_id = ?",
        (EXECUTOR,),
    )
    assert "used before with other arguments" in desk.resume(1)["result"]["why"]
    assert desk.commands == [] and desk.argv_of("command.started") == []


def test_a_runbook_that_is_edited_while_it_waits_changes_nothing_of_the_run(desk: Desk) -> None:
    desk.begin()
    desk.runbook(**{"[rollback-service": "[restart-service"})
    desk.approve()
    desk.resume()
    assert desk.commands == ["rollback api"]
    over(desk)


def test_an_approval_whose_row_was_changed_starts_nothing_else(desk: Desk) -> None:
    desk.begin()
    desk.approve()
    desk.change("UPDATE approvals SET arguments = replace(arguments, 'rollback-service', 'restart-service')")
    desk.type("resume", "-r", RUN_ID)
    assert desk.commands == ["rollback api"], "what was asked for, or nothing"


@pytest.mark.parametrize(
    ("argv", "made", "outcome", "code"),
    [
        (["restart-service", "api"], ["restart api"], "not recovered", 1),
        (["id"], [], "failed", 1),
        (["rollback-service", "api", "--force"], [], "failed", 1),
        (["rollback-service", "api;id"], [], "failed", 1),
    ],
)
def test_an_edited_approval_starts_what_was_approved_and_only_under_the_rules(
    desk: Desk, argv: list[str], made: list[str], outcome: str, code: int
) -> None:
    desk.begin()

    def edit(rows: Any) -> None:
        (asked,) = rows.approvals(EXECUTOR, pending_only=True)
        arguments = {**asked["arguments"], "argv": argv}
        asyncio.run(rows.decide(run_id=EXECUTOR, number=1, how="edit", by="me", arguments=arguments))

    desk.rows(edit)
    ended = desk.type("resume", "-r", RUN_ID, "--output", "json", code=3 if made else code)
    assert desk.commands == made
    if made:  # it did not help, and is to be taken back
        desk.approve()
        assert desk.resume(code)["result"]["outcome"] == outcome
    else:
        assert outcome in ended and "allows exactly this" in ended
    assert argv in desk.argv_of("approval.decided") and argv in desk.argv_of("command.ended")
    over(desk)


def test_two_processes_that_approve_at_once_give_one_decision(desk: Desk) -> None:
    desk.begin()
    words = [sys.executable, "-m", "loom_ops", "approve", "-r", RUN_ID]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], said
    assert len(desk.rows(lambda rows: rows.approvals(EXECUTOR))[0]["decisions"]) == 1
    desk.resume()
    assert desk.commands == ["rollback api"]
    over(desk)


def test_one_person_is_not_two(desk: Desk) -> None:
    desk.runbook(**{"group: operators": "group: operators, count: 2"})
    desk.begin()
    assert "one more person has to approve" in desk.approve()
    assert "2 people are needed" in desk.approve(code=2)
    assert desk.resume(3)["status"] == "waiting" and desk.commands == []


def test_who_asked_does_not_approve_when_somebody_else_must(desk: Desk) -> None:
    desk.runbook(**{"group: operators": "group: operators, not_requester: true"})
    desk.begin()
    assert "somebody else must approve it" in desk.approve(code=5)
    assert desk.resume(3)["status"] == "waiting" and desk.commands == []


def expire(desk: Desk) -> None:
    desk.change("UPDATE approvals SET expires_at = requested_at + 1 WHERE status IN ('pending', 'approved')")


def test_what_has_expired_cannot_be_approved_and_counts_as_denied(desk: Desk) -> None:
    desk.begin()
    expire(desk)
    assert "nothing of it waits" in desk.approve(code=2)
    assert "expired" in desk.type("approve", "-r", RUN_ID, "--number", "1", code=2)
    assert desk.resume(5)["result"]["outcome"] == "denied" and desk.commands == []
    assert desk.argv_of("approval.expired") == [["rollback-service", "api"]]
    over(desk)


def test_an_approval_that_expires_before_it_is_used_starts_nothing(desk: Desk) -> None:
    desk.begin()
    desk.approve()
    expire(desk)
    assert desk.resume(5)["result"]["outcome"] == "denied" and desk.commands == []
    over(desk)


TWO = """\
```run id=again undo=none timeout=60s
argv: [restart-service, "{service}"]
reason: one more
```
"""


@pytest.mark.parametrize("how", ["expires", "is denied"])
def test_a_step_that_is_not_approved_takes_back_what_was_done_before_it(desk: Desk, how: str) -> None:
    desk.runbook(**{r"2026\.11\.1": "never"})
    path = desk.folder / "runbooks" / "sweep.md"
    path.write_text(path.read_text() + TWO)
    desk.begin()
    desk.approve()
    desk.resume(3)
    assert desk.commands == ["rollback api"]
    if how == "expires":
        expire(desk)
    else:
        desk.type("deny", "-r", RUN_ID)
    assert desk.resume(3)["approvals"][0]["policy"]["step"] == "redeploy"
    desk.approve()
    assert desk.resume(5)["result"]["outcome"] == "denied"
    assert desk.commands == ["rollback api", "redeploy api"]
    story = desk.type("explain", "-r", RUN_ID, "--output", "text")
    told = ("asked: it is slow", "approved by", "rollback-service api: done", "redeploy-service api: done")
    places = [story.index(said) for said in told]
    assert places == sorted(places), story
    assert ("nobody decided in time: restart-service api" if how == "expires" else "denied by") in story
    over(desk)


@pytest.mark.parametrize("role", ["planner", "executor"])
def test_a_child_that_crashes_does_not_strand_its_team(desk: Desk, monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("this must not happen")

    monkeypatch.setattr(*{"planner": (_planner, "_question", crash), "executor": (_executor, "_made", crash)}[role])
    said = desk.begin(code=1)
    assert "this must not happen" in said and desk.commands == []
    runs = desk.rows(lambda rows: {run["run_id"]: run["status"] for run in rows.list()})
    assert not {"waiting", "running", "created"} & set(runs.values()), runs


def test_a_command_that_no_rule_allows_is_not_asked_for(desk: Desk) -> None:
    desk.runbook(**{"argv: [rollback-service": "argv: [rm"})
    assert "no rule in the drill's rules allows exactly rm api" in desk.begin(code=5)
    assert desk.argv_of("approval.asked") == [] and desk.commands == []


def test_a_trace_that_cannot_be_written_does_not_hide_the_result(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cannot write the trace" in desk.type(*BEGIN, "--trace", "nowhere/x.html", code=2)

    @contextlib.contextmanager
    def failing(*_: object) -> Iterator[None]:
        yield
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(AgentRunner, "tracing", failing)
    said = desk.type(*BEGIN, "--output", "text", "--trace", "x.html", code=3)
    assert "waiting for approval" in said and "No space left" in said
    desk.approve()
    said = desk.type("resume", "-r", RUN_ID, "--output", "text", "--trace", "x.html", code=1)
    assert f"{RUN_ID}  recovered" in said and "No space left" in said
