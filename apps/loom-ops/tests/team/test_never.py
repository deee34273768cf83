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
from loom_ops._team import executor as _executor
from loom_ops._team import planner as _planner
from loom_ops._team import team as _team
from loom_ops._team import verifier as _verifier
from loom_ops.testing._incident import BEGIN, DATABASE, RUN_ID, drill_of, prepare
from loom_runner import AgentRunner, LocalEngine, Runs, SQLiteStore
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


def test_an_approval_with_a_changed_row_starts_nothing_else(cli: CommandLine) -> None:
    cli.start()
    cli.approve()
    cli.change("UPDATE approvals SET arguments = replace(arguments, 'rollback-service', 'restart-service')")
    cli.run("resume", "-r", RUN_ID)
    assert cli.commands == ["rollback api"], "the requested command, or none"


@pytest.mark.parametrize(
    ("argv", "commands", "outcome", "code"),
    [
        (["restart-service", "api"], ["restart api"], "not_recovered", 1),
        (["id"], [], "failed", 1),
        (["rollback-service", "api", "--force"], [], "failed", 1),
        (["rollback-service", "api;id"], [], "failed", 1),
    ],
)
def test_an_edited_approval_starts_only_the_approved_command_under_the_rules(
    cli: CommandLine, argv: list[str], commands: list[str], outcome: str, code: int
) -> None:
    cli.start()

    with SQLiteStore(cli.folder / DATABASE) as store:
        engine = LocalEngine(store)
        (request,) = Runs(store).approvals(EXECUTOR, pending_only=True)
        arguments = {**request["arguments"], "argv": argv}
        asyncio.run(engine.decide(run_id=EXECUTOR, number=1, how="edit", by="me", arguments=arguments))
    ended = cli.run("resume", "-r", RUN_ID, "--output", "json", code=3 if commands else code)
    assert cli.commands == commands
    if commands:  # it did not help and is rolled back
        cli.approve()
        assert cli.resume(code)["result"]["outcome"] == outcome
    else:
        assert outcome in ended and "allows exactly this" in ended
    assert argv in cli.argv_of("approval.decided") and argv in cli.argv_of("command.ended")
    assert_ended(cli)


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


def expire(cli: CommandLine) -> None:
    cli.change("UPDATE approvals SET expires_at = requested_at + 1 WHERE status IN ('pending', 'approved')")
    cli.change("UPDATE runs SET ready_at = 1 WHERE ready_at IS NOT NULL")


def test_an_expired_request_cannot_be_approved_and_counts_as_denied(cli: CommandLine) -> None:
    cli.start()
    expire(cli)
    assert "it waits for no approval" in cli.approve(code=2)
    assert "expired" in cli.run("approve", "-r", RUN_ID, "--number", "1", code=2)
    assert cli.resume(5)["result"]["outcome"] == "denied" and cli.commands == []
    assert cli.argv_of("approval.expired") == [["rollback-service", "api"]]
    assert_ended(cli)


def test_an_approval_that_expires_before_it_is_used_starts_nothing(cli: CommandLine) -> None:
    cli.start()
    cli.approve()
    expire(cli)
    assert cli.resume(5)["result"]["outcome"] == "denied" and cli.commands == []
    assert_ended(cli)


TWO = """\
```run id=again undo=none timeout=60s
argv: [restart-service, "{service}"]
reason: one more
```
"""


@pytest.mark.parametrize("how", ["expires", "is denied"])
def test_a_step_that_is_not_approved_rolls_back_the_steps_before_it(cli: CommandLine, how: str) -> None:
    cli.runbook(**{r"2026\.11\.1": "never"})
    path = cli.folder / "runbooks" / "sweep.md"
    path.write_text(path.read_text() + TWO)
    cli.start()
    cli.approve()
    cli.resume(3)
    assert cli.commands == ["rollback api"]
    if how == "expires":
        expire(cli)
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
def test_a_rollback_whose_step_is_not_run_does_not_end_as_rolled_back(cli: CommandLine, how: str) -> None:
    rolling_back(cli)
    if how == "is denied":
        cli.run("deny", "-r", f"{RUN_ID}:rollback")
    else:
        expire(cli)
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
