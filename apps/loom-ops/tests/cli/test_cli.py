"""The command line as a user types it: real processes, in an empty folder."""

import getpass
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest
from loom_ops._drill import Drill

INCIDENT = ("supervise", "incident: API latency", "--run-id", "inc-001", "--db", "ops.sqlite", "--mock-llm")


class Shell:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("LOOM_")}

    def run(self, *words: str, code: int = 0, **environment: str) -> str:
        """Run a command; return what it printed (both streams)."""
        ended = subprocess.run(
            [sys.executable, "-m", "loom_ops", *words],
            cwd=self.folder,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == code, ended.stdout
        assert "Traceback" not in ended.stdout and "internal error" not in ended.stdout, ended.stdout
        return ended.stdout

    def json(self, *words: str, code: int = 0) -> dict:
        text = self.run(*words, "--output", "json", code=code)
        return json.loads(text[text.index("{") : text.rindex("}") + 1])

    def audit(self) -> list[tuple[str, str, object]]:
        rows = [json.loads(line) for line in self.run("audit", "export").splitlines()]
        return [(row["kind"], row["actor"], row["content"]) for row in rows]

    @property
    def commands(self) -> list[str]:
        folder = self.folder / "ops.sqlite.drill" / "inc-001"
        return [words for _, words in Drill(folder).commands] if folder.exists() else []


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def waiting(shell: Shell) -> Shell:
    shell.run(*INCIDENT, code=3)
    return shell


def test_an_incident_in_an_empty_folder_from_start_to_audit(shell: Shell) -> None:
    first = shell.run(*INCIDENT, "--output", "text", code=3)
    assert first.startswith("This is a drill: http://127.0.0.1:")
    for text in (
        "inc-001  waiting for approval",
        "rollback-service api",
        "undo: redeploy-service api",
        "expected < 0.5",
    ):
        assert text in first
    assert "approve: loom-ops approve --run-id inc-001 --db ops.sqlite" in first and shell.commands == []
    assert "wait for approval" not in shell.run("approvals", "--output", "text")
    approved = shell.run("approve", "--run-id", "inc-001", "--db", "ops.sqlite", "--note", "saw the graph")
    assert "approved" in approved
    assert approved.rpartition("audit head ")[2].strip() in (shell.folder / "ops.sqlite.audit-heads").read_text()
    assert "newer than the last head" not in shell.run("audit", "verify")
    assert "it waits for no approval" in shell.run("approve", "--run-id", "inc-001", code=2)
    assert shell.commands == []
    ended = shell.run("resume", "--run-id", "inc-001", "--db", "ops.sqlite", "--output", "text", "--trace", "t.html")
    assert "inc-001  recovered" in ended and shell.commands == ["rollback api"]
    assert (shell.folder / "t.html").stat().st_size > 10_000
    assert "every check passes again" in (shell.folder / "postmortems" / "inc-001.md").read_text()
    head = ended.rpartition("audit head ")[2].strip()
    assert f"head {head}" in shell.run("audit", "verify", "--head", head)
    kinds = [kind for kind, _, _ in shell.audit()]
    requested, decided, began = (
        kinds.index(kind) for kind in ("approval.requested", "approval.decided", "command.started")
    )
    assert requested < decided < began and kinds.count("command.started") == 1
    assert "saw the graph" in json.dumps(shell.audit())
    assert "by latency, rollback" in shell.json("memory", "list")["text"]
    assert shell.json("explain", "--run-id", "inc-001:sub:verifier")["status"] == "completed"
    again = shell.json(*INCIDENT)
    assert again["result"]["outcome"] == "recovered" and shell.commands == ["rollback api"]


@pytest.mark.slow
def test_a_run_with_an_open_approval_never_completes(waiting: Shell) -> None:
    for _ in range(3):
        assert waiting.json("resume", "--run-id", "inc-001", code=3)["status"] == "waiting"
    assert waiting.commands == []


@pytest.mark.slow
def test_a_denial_is_final_and_nothing_runs(waiting: Shell) -> None:
    waiting.run("deny", "--run-id", "inc-001", "--note", "not during the sale")
    ended = waiting.json("resume", "--run-id", "inc-001", code=5)
    assert ended["result"]["outcome"] == "denied" and "not during the sale" in ended["result"]["why"]
    assert waiting.commands == [] and "it waits for no approval" in waiting.run(
        "approve", "--run-id", "inc-001", code=2
    )


@pytest.mark.slow
def test_a_rollback_needs_its_own_approval(waiting: Shell) -> None:
    waiting.run("approve", "--run-id", "inc-001")
    waiting.run("resume", "--run-id", "inc-001")
    assert "redeploy-service api" in waiting.run("rollback", "inc-001", "--output", "text", code=3)
    assert waiting.commands == ["rollback api"]
    waiting.run("approve", "--run-id", "inc-001:rollback")
    assert waiting.json("resume", "--run-id", "inc-001:rollback")["result"]["outcome"] == "rolled_back"
    assert waiting.commands == ["rollback api", "redeploy api"]


@pytest.mark.slow
def test_a_remedy_that_does_not_help_is_rolled_back(waiting: Shell) -> None:
    state = waiting.folder / "ops.sqlite.drill" / "inc-001" / "state.json"
    broken = json.loads(state.read_text())
    broken["slow"] = broken["releases"][0]  # the release before is slow, too: no rollback helps
    state.write_text(json.dumps(broken))
    waiting.run("approve", "--run-id", "inc-001")
    waits = waiting.json("resume", "--run-id", "inc-001", code=3)
    assert waits["approvals"][0]["policy"]["argv"] == ["redeploy-service", "api"]
    waiting.run("approve", "--run-id", "inc-001")
    ended = waiting.json("resume", "--run-id", "inc-001", code=1)
    assert ended["result"]["outcome"] == "not_recovered" and waiting.commands == ["rollback api", "redeploy api"]


def test_nothing_is_done_when_every_check_passes(shell: Shell) -> None:
    drill = Drill(shell.folder / "mine")
    subprocess.run([str(drill.folder / "bin" / "rollback-service"), "api"], check=True, stdout=subprocess.DEVNULL)
    with drill.serving() as url:
        ended = shell.json(*INCIDENT, "--input", f"url={url}")
    assert ended["result"]["outcome"] == "nothing_to_do" and not (shell.folder / "ops.sqlite.drill").exists()


@pytest.mark.slow
def test_outside_a_drill_a_command_without_rules_is_denied(shell: Shell) -> None:
    with Drill(shell.folder / "mine").serving() as url:
        ended = shell.json(*INCIDENT, "--input", f"url={url}", code=5)
    assert "commands are off" in ended["result"]["why"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("supervise", " ", "--mock-llm"), "INCIDENT is empty"),
        (("supervise", "the coffee is cold", "--mock-llm"), "cannot choose a runbook"),
        (("supervise", "api latency"), "no model"),
        (("supervise", "api latency", "--mock-llm", "--runbook", "nope"), "cannot find the runbook 'nope'"),
        (("supervise", "api latency", "--mock-llm", "--input", "url"), "is not NAME=VALUE"),
        (("supervise", "api latency", "--mock-llm", "--input", "url=ftp://x"), "does not match"),
        (("supervise", "api latency", "--mock-llm", "--input", "service=-x", "--drill"), "begins with '-'"),
        (("supervise", "disk full", "--mock-llm", "--drill"), "it has no inputs url and service"),
        (("supervise", "api latency", "--mock-llm=nope.yaml"), "nope.yaml"),
        (("resume", "--run-id", "nope"), "no such database"),
        (("approve", "--run-id", "nope"), "no such database"),
        (("audit", "verify"), "no such database"),
        (("memory", "forget", "1"), "no such database"),
        (("lint", "nope"), "cannot find the runbook"),
        (("runbook", "nope.md"), "no such file"),
        (("rollback", "nope"), "no such database"),
    ],
)
def test_bad_input_is_reported_in_one_line_with_exit_code_2(
    shell: Shell, words: tuple[str, ...], expected: str
) -> None:
    text = shell.run(*words, code=2)
    assert expected in text and len(text.strip().splitlines()) == 1


@pytest.mark.slow
def test_unknown_runs_are_named(waiting: Shell) -> None:
    for words in (
        ("resume", "--run-id", "x"),
        ("approve", "--run-id", "x"),
        ("explain", "--run-id", "x"),
        ("rollback", "x"),
    ):
        assert "there is no such run" in waiting.run(*words, code=2)
    assert "no request 7" in waiting.run("approve", "--run-id", "inc-001", "--number", "7", code=2)
    assert "its executor has not ended" in waiting.run("rollback", "inc-001", code=2)


@pytest.mark.slow
def test_a_person_without_permission_is_refused_and_recorded(shell: Shell) -> None:
    settings = shell.folder / "loom-ops.toml"
    settings.write_text('[groups]\noperators = ["somebody-else"]\n')
    shell.run(*INCIDENT, "--drill", code=3)
    waiting = shell
    settings.unlink()  # the members were bound when the request was created
    assert "is not in the group 'operators'" in waiting.run("approve", "--run-id", "inc-001", code=5)
    assert [kind for kind, _, _ in waiting.audit()].count("approval.refused") == 1
    assert waiting.json("resume", "--run-id", "inc-001", code=3)["approvals"]


def test_lint_and_dry_run_of_a_site(shell: Shell) -> None:
    (shell.folder / "runbooks").mkdir()
    (shell.folder / "runbooks" / "mine.md").write_text(
        "```run id=a\nargv: [date, '+%Y']\n```\n```run id=b effect=read timeout=5s\nargv: [date, '+%Y']\n```\n"
    )
    text = shell.run("lint", "mine", "--output", "text", code=1)
    assert "runbooks/mine.md:1: error: step a has no timeout" in text
    (shell.folder / "ops.rules.yaml").write_text("allow: [{argv: [date, '+%Y'], effect: read}]\n")
    dry = shell.run("runbook", "mine", "--dry-run", "--output", "text", LOOM_OPS_ALLOW_SHELL="1")
    assert (
        "date +%Y" in dry
        and "ops.rules.yaml:1" in dry
        and "1 of operators within 30m" in dry
        and "found     date +%Y: done" in dry
    )
    off = shell.run("runbook", "mine", "--dry-run", "--output", "text", code=1)
    assert "LOOM_OPS_ALLOW_SHELL=1" in off and "found" not in off


def test_doctor_reports_what_is_missing(shell: Shell) -> None:
    assert "NOT  rules" in shell.run("doctor", code=1)
    (shell.folder / "ops.rules.yaml").write_text("allow: [{argv: [date]}]\n")
    assert "ok   rules" in shell.run("doctor", LOOM_OPS_ALLOW_SHELL="1")


def test_where_decisions_are_signed_doctor_and_keys_say_what_is_missing(shell: Shell) -> None:
    pytest.importorskip("cryptography", reason="the extra loom-ops[crypt] is not installed")
    (shell.folder / "ops.rules.yaml").write_text("allow: [{argv: [date]}]\n")
    (shell.folder / "loom-ops.toml").write_text(
        f'[approvals]\nsign = "required"\n[people.alice]\nos = ["{getpass.getuser()}"]\n'
    )
    more = {"LOOM_OPS_ALLOW_SHELL": "1", "XDG_CONFIG_HOME": str(shell.folder / "config")}
    assert "NOT  keys       cannot sign: there is no key" in shell.run("doctor", code=1, **more)
    trust = shell.run("keys", "new", **more).rpartition("loom-ops keys trust ")[2].split()
    assert trust[0] == "alice"
    assert f"loom-ops keys trust alice {trust[1]}" in shell.run("doctor", code=1, **more)
    shell.run("keys", "trust", *trust, **more)
    assert "ok   keys       decisions are signed; the site trusts your key as that of alice" in shell.run(
        "doctor", **more
    )


def test_the_drill_command_serves_until_it_is_interrupted(shell: Shell) -> None:
    drill = subprocess.Popen(
        [sys.executable, "-m", "loom_ops", "drill"],
        cwd=shell.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert drill.stdout is not None and "This is a drill: http://127.0.0.1" in drill.stdout.readline()
    drill.send_signal(signal.SIGINT)
    assert drill.wait(20) == 130 and "Traceback" not in drill.communicate()[1]


def test_every_command_takes_a_url_and_refuses_another_scheme(waiting: Shell) -> None:
    for words in (("runs",), ("explain", "--run-id", "inc-001"), ("audit", "export"), ("memory", "list")):
        waiting.run(*words, "--db", "sqlite:///ops.sqlite")
        printed = waiting.run(*words, "--db", "postgresql+psycopg://ann:secret@h/db", code=2)
        assert "no store supports the scheme 'postgresql+psycopg'" in printed and "secret" not in printed
        assert len(printed.splitlines()) == 1
    assert "File name too long" in waiting.run("runs", "--db", "x" * 300, code=8)


def test_an_auditor_reads_a_database_that_another_user_made(waiting: Shell) -> None:
    db = apsw.Connection(str(waiting.folder / "ops.sqlite"))
    db.execute("UPDATE about SET value = '[99999, \"eve\"]' WHERE name = 'made_by'")
    db.close()
    auditor = {"XDG_STATE_HOME": str(waiting.folder / "none")}
    for words in (("approvals",), ("audit", "verify"), ("runs",), ("explain", "--run-id", "inc-001")):
        assert "note: ops.sqlite is only read: another user made it" in waiting.run(*words, **auditor)
    refused = waiting.run("deny", "--run-id", "inc-001", code=8, **auditor)
    assert "cannot write to ops.sqlite: another user made it" in refused


def test_runs_of_others_in_the_database_are_shown_plainly_and_not_listed(shell):
    """States and results of any form, as another program left them."""
    (shell.folder / "agent.py").write_text(
        "from loom_runner import Complete\nasync def step(state, ctx): return Complete(state)\n", "utf-8"
    )
    for number, state in enumerate(("7", "[1]", '"text"', "null", '{"request": 1}')):
        words = ("run", "agent.py", f"other-{number}", "--db", "ops.sqlite", "--input", state)
        subprocess.run([sys.executable, "-m", "loom_runner", *words], cwd=shell.folder, check=True, capture_output=True)
        for output in ("text", "json"):
            text = shell.run("explain", "--run-id", f"other-{number}", "--db", "ops.sqlite", "--output", output)
            assert "completed" in text
    assert "other" not in shell.run("runs", "--db", "ops.sqlite", "--output", "text")
