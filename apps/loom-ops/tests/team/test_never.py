"""Attempts at what must never happen, with the command line in this process."""

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
from loom_ops._cli.main import cli as loom_ops_cli
from loom_ops._errors import AuditError
from loom_ops._team import executor as _executor
from loom_ops._team import planner as _planner
from loom_ops._team import team as _team
from loom_ops._team import verifier as _verifier
from loom_ops.testing._incident import BEGIN, DATABASE, RUN_ID, drill_of, prepare
from loom_runner import AgentRunner, LocalEngine, Runs, SQLiteStore, UsageError
from loom_runner._model.clock import SystemClock
from loom_runner.cli_base import run_command

EXECUTOR = f"{RUN_ID}:sub:executor"


class CommandLine:
    """Runs commands in this process, and reads their effects."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command; return what it printed."""
        with pytest.raises(SystemExit) as ended:
            run_command(loom_ops_cli, words, name="loom-ops")
        output = "".join(self.capsys.readouterr())
        assert ended.value.code == code, output
        assert "Traceback" not in output
        return output

    def start(self, code: int = 3) -> str:
        return self.run(*BEGIN, code=code)

    def approve(self, code: int = 0) -> str:
        return self.run("approve", "-r", RUN_ID, code=code)

    def resume(self, code: int = 0) -> dict[str, Any]:
        output = self.run("resume", "-r", RUN_ID, "--output", "json", code=code)
        return json.loads(output[output.index("{") : output.rindex("}") + 1])

    def change(self, *statement: Any) -> None:
        """Change rows without the runner."""
        with sqlite3.connect(self.folder / DATABASE) as connection:
            assert connection.execute(*statement).rowcount > 0
        connection.close()

    def change_schema(self, statement: str) -> None:
        with sqlite3.connect(self.folder / DATABASE) as connection:
            connection.execute(statement)
        connection.close()

    def rows(self, read: Callable[[Any], Any]) -> Any:
        with SQLiteStore(self.folder / DATABASE) as store:
            return read(Runs(store))

    def argv_of(self, kind: str) -> list[object]:
        entries = [json.loads(line) for line in self.run("audit", "export").splitlines()]
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
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    prepare(tmp_path, "helps")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_team, "verifier_step", functools.partial(_verifier.verifier_step, round_s=0.02))
    return CommandLine(tmp_path, capsys)


def assert_ended(cli: CommandLine) -> None:
    """A run that has ended has nothing pending."""
    assert cli.rows(lambda rows: rows.approvals(pending_only=True)) == []
    runs = cli.rows(lambda rows: [RUN_ID, *(child["run_id"] for child in rows.children(RUN_ID))])
    assert {cli.rows(lambda rows, run=run: rows.get(run)["status"]) for run in runs} == {"completed"}
    assert "ok " in cli.run("audit", "verify")


def test_an_approval_does_not_apply_to_a_state_changed_afterwards(cli: CommandLine) -> None:
    cli.start()
    cli.approve()
    cli.change(
        "UPDATE runs SET state = replace(state, 'argv: [rollback-service', 'argv: [restart-service') WHERE run_id = ?",
        (EXECUTOR,),
    )
    assert "used before with other arguments" in cli.resume(1)["result"]["why"]
    assert cli.commands == [] and cli.argv_of("command.started") == []


def test_editing_a_runbook_does_not_change_a_run_that_waits(cli: CommandLine) -> None:
    cli.start()
    cli.runbook(**{"[rollback-service": "[restart-service"})
    cli.approve()
    cli.resume()
    assert cli.commands == ["rollback api"]
    assert_ended(cli)


CHANGED = {
    "arguments": "UPDATE approvals SET arguments = replace(arguments, 'rollback-service', 'restart-service')",
    "edited": "UPDATE approvals SET edited = replace(arguments, 'rollback-service', 'restart-service')",
    "person": 'UPDATE approvals SET decisions = replace(decisions, \'"by": "\', \'"by": "not \')',
    "members": 'UPDATE approvals SET policy = replace(policy, \'"members": [\', \'"members": ["eve", \')',
    "policy": "UPDATE approvals SET policy = '{}'",
    "no audit entry": "DELETE FROM audit WHERE kind = 'approval.decided'",
}


@pytest.mark.parametrize("what", CHANGED)
def test_an_approval_with_a_changed_row_starts_nothing_and_stops_the_run(cli: CommandLine, what: str) -> None:
    cli.start()
    cli.approve()
    with contextlib.suppress(sqlite3.OperationalError):
        cli.change_schema("DROP TRIGGER audit_is_not_cut")
    cli.change(CHANGED[what])
    for _ in range(2):
        run = cli.resume(5)
        assert (run["status"], run["error"]["category"]) == ("failed", "tampered")
        assert "does not verify" in run["error"]["message"] and "cancel the run" in run["error"]["message"]
    assert cli.commands == []


def test_a_decision_that_was_written_by_sql_is_not_used_and_not_laundered(cli: CommandLine) -> None:
    cli.start()
    (request,) = cli.rows(lambda rows: rows.approvals(pending_only=True))
    me = request["policy"]["members"][0]
    decision = {"by": me, "how": "approve", "at": 1, "via": "cli", "note": "", "of": request["final_hash"]}
    cli.change("UPDATE approvals SET status = 'approved', decided = 1, decisions = ?", (json.dumps([decision]),))
    for _ in range(3):
        assert cli.resume(5)["error"]["category"] == "tampered"
    assert cli.commands == [] and cli.argv_of("approval.decided") == []


def test_a_decision_and_its_entry_in_the_audit_trail_are_one_transaction(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AuditError("cannot write the audit trail: No space left on device.")

    cli.start()
    monkeypatch.setattr("loom_ops._approvals.decisions.append_facts", fail)
    assert "No space left" in cli.approve(code=2)
    assert cli.rows(lambda rows: rows.approvals(EXECUTOR))[0]["status"] == "pending"


def test_only_loom_ops_decides_about_its_requests(cli: CommandLine) -> None:
    cli.start()
    with SQLiteStore(cli.folder / DATABASE) as store, pytest.raises(UsageError, match="only loom-ops may decide"):
        asyncio.run(LocalEngine(store).decide(run_id=EXECUTOR, number=1, how="approve", by="me"))


def test_a_step_by_hand_needs_the_people_of_the_runbook(cli: CommandLine) -> None:
    (cli.folder / "runbooks" / "hand.md").write_text(
        """---
match: [wipe]
approvals: {default: {group: oncall, count: 2, ttl: 30m, not_requester: true}}
---
1. Wipe the disk.
"""
    )
    run = cli.run("supervise", "wipe", "--runbook", "hand", "--mock-llm", "-r", "h", "--output", "json", code=3)
    (request,) = json.loads(run[run.index("{") : run.rindex("}") + 1])["approvals"]
    assert (request["needed"], request["policy"]["group"], request["policy"]["not_requester"]) == (2, "oncall", True)
    assert "another person must approve it" in cli.run("approve", "-r", "h", code=5)


@pytest.mark.parametrize("run_id", ["x:sub:executor", "x:sub", "x:rollback"])
def test_a_run_that_poses_as_a_child_or_a_rollback_is_not_created(cli: CommandLine, run_id: str) -> None:
    output = cli.run("supervise", "it is slow", "--runbook", "sweep", "--drill", "--mock-llm", "-r", run_id, code=2)
    assert f"cannot start '{run_id}'" in output
    assert cli.rows(lambda rows: rows.list()) == []


def test_approve_prints_what_it_approves_and_refuses_what_was_not_shown(cli: CommandLine) -> None:
    assert "--number 1 --hash " in cli.run(*BEGIN, "--output", "text", code=3)
    assert "no longer, the command with the hash 000000000000" in cli.run(
        "approve", "-r", RUN_ID, "--number", "1", "--hash", "000000000000", code=2
    )
    assert "what  rollback-service api" in cli.approve()


def test_two_processes_that_approve_at_once_make_one_decision(cli: CommandLine) -> None:
    cli.start()
    words = [sys.executable, "-m", "loom_ops", "approve", "-r", RUN_ID]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    output = [process.communicate(timeout=60)[0] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], output
    assert len(cli.rows(lambda rows: rows.approvals(EXECUTOR))[0]["decisions"]) == 1
    cli.resume()
    assert cli.commands == ["rollback api"]
    assert_ended(cli)


def test_one_person_cannot_approve_twice(cli: CommandLine) -> None:
    cli.runbook(**{"group: operators": "group: operators, count: 2"})
    cli.start()
    assert "1 more person must approve" in cli.approve()
    assert "2 people are needed" in cli.approve(code=2)
    assert cli.resume(3)["status"] == "waiting" and cli.commands == []


def test_the_requester_cannot_approve_when_another_person_must(cli: CommandLine) -> None:
    cli.runbook(**{"group: operators": "group: operators, not_requester: true"})
    cli.start()
    assert "another person must approve it" in cli.approve(code=5)
    assert cli.resume(3)["status"] == "waiting" and cli.commands == []


def expire(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an hour pass: the audit trail would name a row whose times were changed."""
    now_us = SystemClock.now_us
    monkeypatch.setattr(SystemClock, "now_us", lambda clock: now_us(clock) + 3_600_000_000)


def test_an_expired_request_cannot_be_approved_and_counts_as_denied(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.start()
    expire(monkeypatch)
    assert "it waits for no approval" in cli.approve(code=2)
    assert "expired" in cli.run("approve", "-r", RUN_ID, "--number", "1", code=2)
    assert cli.resume(5)["result"]["outcome"] == "denied" and cli.commands == []
    assert cli.argv_of("approval.expired") == [["rollback-service", "api"]]
    assert_ended(cli)


def test_an_approval_that_expires_before_it_is_used_starts_nothing(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.start()
    cli.approve()
    expire(monkeypatch)
    assert cli.resume(5)["result"]["outcome"] == "denied" and cli.commands == []
    assert_ended(cli)


TWO = """\
```run id=again undo=none timeout=60s
argv: [restart-service, "{service}"]
reason: one more
```
"""


@pytest.mark.parametrize("how", ["expires", "is denied"])
def test_a_step_that_is_not_approved_rolls_back_the_steps_before_it(
    cli: CommandLine, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.runbook(**{r"2026\.11\.1": "never"})
    path = cli.folder / "runbooks" / "sweep.md"
    path.write_text(path.read_text() + TWO)
    cli.start()
    cli.approve()
    cli.resume(3)
    assert cli.commands == ["rollback api"]
    if how == "expires":
        expire(monkeypatch)
    else:
        cli.run("deny", "-r", RUN_ID)
    assert cli.resume(3)["approvals"][0]["policy"]["step"] == "redeploy"
    cli.approve()
    assert cli.resume(5)["result"]["outcome"] == "denied"
    assert cli.commands == ["rollback api", "redeploy api"]
    explained = cli.run("explain", "-r", RUN_ID, "--output", "text")
    expected = ("requested: it is slow", "approved by", "rollback-service api: done", "redeploy-service api: done")
    places = [explained.index(text) for text in expected]
    assert places == sorted(places), explained
    assert ("expired without a decision: restart-service api" if how == "expires" else "denied by") in explained
    assert_ended(cli)


@pytest.mark.parametrize("role", ["planner", "executor"])
def test_a_crashed_child_does_not_block_its_team(cli: CommandLine, monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("this must not happen")

    monkeypatch.setattr(
        *{"planner": (_planner, "prompt_text", crash), "executor": (_executor, "run_step", crash)}[role]
    )
    output = cli.start(code=1)
    assert "this must not happen" in output and cli.commands == []
    runs = cli.rows(lambda rows: {run["run_id"]: run["status"] for run in rows.list()})
    assert not {"waiting", "running", "created"} & set(runs.values()), runs


def test_a_command_that_no_rule_allows_needs_no_decision(cli: CommandLine) -> None:
    cli.runbook(**{"argv: [rollback-service": "argv: [rm"})
    assert "no rule in the drill's rules allows exactly rm api" in cli.start(code=5)
    assert cli.argv_of("approval.asked") == [] and cli.commands == []


def test_a_trace_that_cannot_be_written_does_not_hide_the_result(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "cannot write the trace" in cli.run(*BEGIN, "--trace", "nowhere/x.html", code=2)

    @contextlib.contextmanager
    def failing(*_: object) -> Iterator[None]:
        yield
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(AgentRunner, "tracing", failing)
    output = cli.run(*BEGIN, "--output", "text", "--trace", "x.html", code=3)
    assert "waiting for approval" in output and "No space left" in output
    cli.approve()
    output = cli.run("resume", "-r", RUN_ID, "--output", "text", "--trace", "x.html", code=1)
    assert f"{RUN_ID}  recovered" in output and "No space left" in output


def test_the_audit_trail_has_the_actions_of_each_role_but_not_the_checks_of_the_verifier(cli: CommandLine) -> None:
    cli.start()
    cli.approve()
    cli.resume()
    entries = [json.loads(line) for line in cli.run("audit", "export").splitlines()]
    assert {entry["kind"] for entry in entries if entry["actor"] == "verifier"} == {"run.ended"}
    assert {"check.ended", "command.ended"} <= {entry["kind"] for entry in entries if entry["actor"] == "executor"}


def rolling_back(cli: CommandLine) -> dict[str, Any]:
    """Let an incident recover, then start its rollback; return the output."""
    cli.start()
    cli.approve()
    cli.resume()
    printed = cli.run("rollback", RUN_ID, "--output", "json", code=3)
    return json.loads(printed[printed.index("{") : printed.rindex("}") + 1])


def test_a_rollback_names_the_pending_approval(cli: CommandLine) -> None:
    waiting = rolling_back(cli)
    assert [row["policy"]["argv"] for row in waiting["approvals"]] == [["redeploy-service", "api"]]
    assert cli.commands == ["rollback api"]


@pytest.mark.parametrize("how", ["is denied", "expires"])
def test_a_rollback_whose_step_is_not_run_does_not_end_as_rolled_back(
    cli: CommandLine, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rolling_back(cli)
    if how == "is denied":
        cli.run("deny", "-r", f"{RUN_ID}:rollback")
    else:
        expire(monkeypatch)
    printed = cli.run("resume", "-r", f"{RUN_ID}:rollback", "--output", "json", code=5)
    assert '"outcome": "denied"' in printed and '"why": "redeploy: ' in printed
    assert cli.commands == ["rollback api"]


def test_a_rollback_started_by_an_earlier_version_is_resumed(cli: CommandLine) -> None:
    rolling_back(cli)
    cli.change(
        """UPDATE runs SET state = replace(state, '"rolled_back"', '"taken back"'), state_version = 1
        WHERE run_id = ?""",
        (f"{RUN_ID}:rollback",),
    )
    cli.run("approve", "-r", f"{RUN_ID}:rollback")
    printed = cli.run("resume", "-r", f"{RUN_ID}:rollback", "--output", "json")
    assert '"outcome": "rolled_back"' in printed and cli.commands == ["rollback api", "redeploy api"]


def test_outcomes_of_an_earlier_version_are_shown_with_their_current_names(cli: CommandLine) -> None:
    cli.start()
    cli.approve()
    cli.resume()
    cli.change("UPDATE runs SET result = replace(result, '\"recovered\"', '\"nothing to do\"')")
    assert '"outcome": "nothing_to_do"' in cli.run("runs", "--output", "json")
    assert "nothing to do" in cli.run("runs", "--output", "text")
    assert cli.run("resume", "-r", RUN_ID, "--output", "text").startswith("This is a drill")
    assert f"{RUN_ID}  nothing to do" in cli.run("explain", "-r", RUN_ID, "--output", "text")
