"""The command, with text output and with pipes."""

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import apsw
import pytest
from loom_runner import AgentRunner, SQLiteStore, Wait
from loom_runner._queries.tracing import trace_of
from loom_runner._store.sqlite.schema import APPLICATION_ID, MIGRATIONS

FAILING = """
from loom_runner import Complete
async def step(state, ctx):
    {body}
def initial_state():
    return {{"n": 1}}
"""


def one_line(done, code, *parts):
    assert (done.returncode, done.stdout) == (code, ""), (done.returncode, done.stdout, done.stderr)
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in done.stderr, done.stderr


def test_the_seeds_four_lines_work_as_written(place):
    db = ("--run-id", "demo", "--db", "runs.sqlite")
    first = place.run("run", "agent.py", *db, "--max-steps", "2")
    assert (first.returncode, json.loads(first.stdout)["status"], json.loads(first.stdout)["step_index"]) == (
        0,
        "paused",
        2,
    )
    assert (
        "resume: loom-runner resume agent.py --run-id demo"
        in place.run("explain", "agent.py", *db, "--output", "text").stderr
    )
    second = place.run("resume", "agent.py", *db)
    view = json.loads(second.stdout)
    assert {"run_id", "status", "step_index", "state", "result", "error"} <= set(view)
    assert (second.returncode, view["status"], view["result"], view["step_index"]) == (0, "completed", 4, 5)
    paused = place.run("explain", "agent.py", *db, "--output", "text")
    assert all(line == line.rstrip() for line in paused.stdout.splitlines())
    story = json.loads(place.run("explain", "agent.py", *db).stdout)
    assert (story["status"], story["summary"][:20], len(story["processes"])) == ("completed", "5 steps, 2 processes", 2)
    last = place.run("run", "agent.py", "--run-id", "demo", "--trace", "trace.html")
    assert (last.returncode, json.loads(last.stdout)["was_stored"]) == (0, True)
    assert "demo had completed before; this is the stored result." in last.stderr
    page = (place.folder / "trace.html").read_text("utf-8")
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert len(place.effects()) == 4


def test_text_shows_the_status_and_what_to_do_next(place):
    done = place.call("run", "agent.py", "--run-id", "r", "--max-steps", "1", "--output", "text")
    assert done.stdout == 'r  paused  1 step\n  state  {"n": 1}\n'
    assert done.stderr == "resume: loom-runner resume agent.py --run-id r\n"
    done = place.call("resume", "agent.py", "--run-id", "r", "--output", "text")
    assert done.stdout == "r  completed  5 steps\n  result  4\n"
    assert done.stderr == "explain: loom-runner explain --run-id r\n"


def test_json_lines_report_the_run_live(place):
    done = place.call("run", "agent.py", "--run-id", "r", "--output", "jsonl")
    kinds = [json.loads(line)["kind"] for line in done.stdout.splitlines()]
    assert kinds[0] == "run_started"
    assert kinds[-2:] == ["run_ended", "result"]
    assert kinds.count("step_committed") == 5


def test_tables_for_people_and_json_for_pipes(place):
    place.call("run", "agent.py", "--run-id", "r")
    for command, head, rows in (
        ("history", "step  outcome   tries  at", 5),
        ("attempts", "step  try  outcome   at", 5),
        ("tool-calls", "call  step  tool    status  tries  took", 4),
        ("list", "run  status     steps  changed", 1),
    ):
        arguments = (command,) if command == "list" else (command, "r")
        text = place.call(*arguments, "--output", "text").stdout.splitlines()
        assert text[0].startswith(head)
        assert len(text) == rows + 1
        assert len(json.loads(place.call(*arguments).stdout)) == rows
        assert len(place.call(*arguments, "--output", "jsonl").stdout.splitlines()) == rows
    assert place.call("doubts", "--output", "text").stderr == "No call is in doubt.\n"
    text = place.call("get", "r", "--output", "text").stdout
    assert re.search(r"^status +completed$", text, re.MULTILINE)


def test_history_is_read_by_pages(place):
    place.call("run", "agent.py", "--run-id", "r")
    done = place.call("history", "r", "--first", "1", "--limit", "2")
    assert [row["step_index"] for row in json.loads(done.stdout)] == [1, 2]
    assert done.stderr == "more may follow: --first 3\n"


def on_terminal(place, columns, *arguments, **env):
    """Run a command whose stdout is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "loom_runner", *arguments],
        cwd=place.folder,
        env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm", **env},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(ours)
    process.communicate()
    return shown.decode().replace("\r\n", "\n")


def test_a_terminal_gets_text_with_colour_that_fits_it_and_no_color_is_respected(place):
    place.run("run", "agent.py", "--run-id", "r")
    shown = on_terminal(place, 60, "tool-calls", "r")
    assert "\033[32mdone\033[0m" in shown
    bare = on_terminal(place, 60, "tool-calls", "r", NO_COLOR="1")
    assert "\033" not in bare
    assert max(len(line) for line in bare.splitlines()) <= 60
    assert bare.splitlines()[0].startswith("call  step  tool")
    assert "completed" in on_terminal(place, 60, "explain", "r", NO_COLOR="1").splitlines()[0]


def test_a_reader_that_goes_away_is_not_an_error(place):
    place.run("run", "agent.py", "--run-id", "r")
    command = f'{sys.executable} -m loom_runner history r --output jsonl | head -n 1; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", command], cwd=place.folder, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "0"
    command = f'{sys.executable} -m loom_runner run agent.py --run-id s >&-; echo "$?"'
    done = subprocess.run(["bash", "-c", command], cwd=place.folder, capture_output=True, text=True)
    assert (done.stdout, "Traceback" in done.stderr) == ("0\n", False)


HEAVY = "import sys; sys.argv = ['loom-runner', '--help']\nfrom loom_runner.__main__ import main\ntry:\n    main()\nexcept SystemExit as e:\n    assert not e.code\nprint(sorted({'pydantic', 'apsw', 'rich', 'flow_xray', 'loom'} & set(sys.modules)))"


def test_help_loads_nothing_heavy_and_lists_every_command():
    done = subprocess.run([sys.executable, "-c", HEAVY], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "..." not in done.stdout.partition("Commands:")[2]
    for command in "run resume explain list get history attempts tool-calls doubts resolve signal trace".split():
        assert re.search(rf"^  {command} ", done.stdout, re.MULTILINE), command


def test_the_installed_command_is_the_same():
    script = Path(sysconfig.get_path("scripts")) / "loom-runner"
    done = subprocess.run([script, "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("loom-runner, version ")


def test_no_command_shows_the_help_and_is_a_usage_error(place):
    done = place.run()
    assert done.returncode == 2
    assert "Usage: loom-runner" in done.stderr


# ---------------------------------------------------------------------- bad input


def test_an_unknown_run_is_named_with_the_existing_ones(place):
    place.call("run", "agent.py", "--run-id", "r")
    there = "there is no such run in runs.sqlite. Runs there: r (loom-runner list)."
    one_line(place.call("resume", "agent.py", "--run-id", "q"), 2, "cannot resume 'q'", there)
    for command in ("explain", "get", "history", "attempts", "tool-calls", "doubts"):
        one_line(place.call(command, "--run-id", "q"), 2, "'q'", there)
    one_line(place.call("trace", "q", "--html", "t.html"), 2, "cannot trace 'q'", there)
    one_line(place.call("resolve", "q#1", "--retry"), 2, "'q'", there)
    one_line(place.call("signal", "go", "--run-id", "q"), 2, "cannot signal 'q'", there)
    assert not (place.folder / "t.html").exists()


def test_a_trace_that_cannot_be_written_at_the_end_does_not_take_the_result_with_it(place):
    (place.folder / "out").mkdir()
    (place.folder / "breaks.py").write_text(
        "import shutil\nfrom loom_runner import Complete\nasync def step(state, ctx):\n    shutil.rmtree('out')\n"
        "    return Complete(7)\ndef initial_state():\n    return {}\n"
    )
    done = place.run("run", "breaks.py", "--run-id", "r", "--trace", "out/t.html")
    assert (done.returncode, json.loads(done.stdout)["result"]) == (2, 7)
    assert "cannot write the trace of 'r'" in done.stderr


def test_a_run_of_another_program_is_neither_resumed_nor_attached_to(place):
    place.call("run", "agent.py", "--run-id", "r", "--max-steps", "1")
    (place.folder / "other.py").write_text(
        "from loom_runner import Complete\nasync def other(state, ctx):\n    return Complete(0)\n"
        "def initial_state():\n    return {'n': 0}\n"
    )
    resumed = place.call("resume", "other.py:other", "--run-id", "r")
    one_line(resumed, 2, "cannot resume 'r'", "is a run of program 'agent:step'", "this is 'other:other'", "aliases=")
    started = place.call("run", "other.py:other", "--run-id", "r")
    one_line(started, 2, "cannot start 'r'", "another program, 'agent:step'")
    assert json.loads(place.call("get", "--run-id", "r").stdout)["step_index"] == 1


def test_a_run_without_a_module_is_resumed_with_one_and_its_program_is_named(place):
    async def step(state):
        return Wait(state, "go")

    with SQLiteStore(place.folder / "runs.sqlite") as store:
        runner = AgentRunner(step=step, store=store, name="product/team")
        asyncio.run(runner.start(run_id="team", initial_state={}))
    one_line(place.call("resume", "team"), 2, "a run of 'product/team'", "names no module", "Give MODULE")


def test_the_id_of_a_child_is_not_for_users(place):
    one_line(place.call("run", "agent.py", "a:sub:b"), 2, "cannot start 'a:sub:b'", "':sub:' is reserved")
    assert place.call("run", "agent.py", "r").returncode == 0
    forked = place.call("fork", "r", "--step", "0", "--as", "a:sub:b")
    one_line(forked, 2, "cannot fork to 'a:sub:b'", "':sub:' is reserved")


def test_a_database_of_an_older_format_is_brought_up_to_date_by_resume_with_a_module(place):
    db = apsw.Connection(str(place.folder / "runs.sqlite"))
    db.execute(MIGRATIONS[0])
    db.pragma("user_version", 1)
    db.pragma("application_id", APPLICATION_ID)
    db.close()
    one_line(place.call("list"), 8, "its format is 1")
    one_line(place.call("resume", "agent.py", "r"), 2, "there is no such run in runs.sqlite. It holds no runs yet.")
    assert place.call("list").returncode == 0


def test_a_missing_database_is_named_and_not_made(place):
    for arguments in (
        ("explain", "q"),
        ("list",),
        ("resume", "agent.py", "--run-id", "q"),
        ("resolve", "q#1", "--retry"),
    ):
        one_line(place.call(*arguments, "--db", "none.sqlite"), 2, "there is no database none.sqlite")
    assert not (place.folder / "none.sqlite").exists()


def test_an_existing_run_with_another_input_is_an_error(place):
    place.call("run", "agent.py", "--run-id", "r", "--max-steps", "1")
    one_line(place.call("run", "agent.py", "--run-id", "r", "--input", '{"n": 3}'), 2, "with another input")
    assert json.loads(place.call("get", "r").stdout)["step_index"] == 1


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("gone.py", None, "cannot load gone.py: there is no such file"),
        ("no.such.module", None, "cannot load no.such.module: there is no such module"),
        ("broken.py", "def step(:", "SyntaxError: invalid syntax (broken.py:1)"),
        ("raises.py", "\n1 / 0", "it raised ZeroDivisionError: division by zero (raises.py:2)"),
        ("imports.py", "import no_such_thing", "it raised ModuleNotFoundError: No module named 'no_such_thing'"),
        ("exits.py", "raise SystemExit(3)", "it raised SystemExit: 3"),
        ("empty.py", "def other(): ...", "it has no build_runner(db_path), no agent"),
        ("attr.py:nope", "def other(): ...", "attr.py has no nope. It has: other."),
        ("number.py:x", "x = 3", "x is an int. Name a function"),
        ("none.py", "def build_runner(db): ...", "build_runner returned None. Return an AgentRunner"),
        ("bad.py", "def build_runner(db): raise KeyError('k')", "build_runner() raised KeyError: 'k' (bad.py:1)"),
        (
            "state.py",
            "def step(s, ctx): ...\ndef initial_state(): raise ValueError('v')",
            "initial_state() raised ValueError",
        ),
        (
            "later.py",
            "def step(s, ctx): ...\nasync def initial_state(): ...",
            "initial_state() is async. Make it a plain function, and await in the step.",
        ),
        ("many.py", "def step(a, b, c): ...", "a step takes its state and a context"),
        (
            "loop.py:f",
            "async def f(n):\n    return 1 + await f(n)",
            "is neither a step(state, ctx) nor a @tailrec loop",
        ),
        (".", None, "cannot load .: it is a directory"),
    ],
)
def test_a_module_that_cannot_be_run_is_one_line(place, name, text, said):
    if text is not None:
        place.write(name.partition(":")[0], text)
    one_line(place.call("run", name, "--run-id", "r"), 2, said)


def test_databases_that_cannot_be_used_are_one_line(place):
    run = ("run", "agent.py", "--run-id", "r", "--db")
    (place.folder / "folder").mkdir()
    one_line(place.call(*run, "folder"), 8, "it is a directory")
    place.write("notes.txt", "dear diary, " * 99)
    one_line(place.call(*run, "notes.txt"), 8, "it is not a SQLite database")
    one_line(place.call("list", "--db", "notes.txt"), 8, "it is not a SQLite database")
    one_line(place.call(*run, "nowhere/a.sqlite"), 8, "there is no folder nowhere")
    place.call(*run, "new.sqlite")
    db = apsw.Connection(str(place.folder / "new.sqlite"))
    db.pragma("user_version", len(MIGRATIONS) + 1)
    db.close()
    for arguments in ((*run, "new.sqlite"), ("explain", "r", "--db", "new.sqlite")):
        one_line(place.call(*arguments), 8, "Upgrade loom-runner")
    assert len(place.effects()) == 4


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 7", "OutcomeError: cannot commit step 0 of 'r': step returned an int."),
        ("return Complete(object())", "cannot store the result"),
        ("await ctx.call_tool('nope')", "cannot call tool 'nope': it is not registered. Tools: none."),
        ("raise ValueError('no\\nway')", "ValueError: no way (bad.py:4)\n"),
    ],
)
def test_a_step_that_fails_fails_the_command_and_says_why(place, body, said):
    place.write("bad.py", FAILING.format(body=body))
    done = place.call("run", "bad.py", "--run-id", "r", "--output", "text")
    assert done.returncode == 1
    assert said in done.stdout
    assert done.stdout.startswith('r  failed  0 steps\n  state  {"n": 1}\n  error  ')
    assert done.stderr == "resume: loom-runner resume bad.py --run-id r\n"
    assert json.loads(place.call("history", "r").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "agent.py"), "cannot run agent.py: the run id is missing. Give --run-id RUN"),
        (("run", "agent.py", "--run-id", "r", "--max-steps", "0"), "Invalid value for '--max-steps'"),
        (("run", "agent.py", "--run-id", "r", "--max-steps", "many"), "'many' is not a whole number from 1."),
        (("run", "r", "s", "t"), "'s' is one argument too many"),
        (("run", "--run-id", "r"), "Give MODULE"),
        (("resume", "agent.py"), "cannot resume agent.py: the run id is missing. Give --run-id RUN"),
        (("resume", "agent.py", "r"), "there is no database runs.sqlite"),
        (("run", "agent.py", "x" * 10_000), "at most 200 characters, this one has 10,000"),
        (("explain", "x" * 10_000), "cannot explain 'xxxxxxxxxx"),
        (("explain", "caf\udce9"), "argument 2 is not UTF-8: 'caf\\udce9'"),
        (("run", "agent.py", "r", "--budget", "steps=many"), "cannot use --budget: 'steps=many' is not NAME=NUMBER"),
        (("run", "agent.py", "r", "--budget", "luck=1"), "'luck' is not a limit"),
        (("run", "agent.py", "r", "--budget", "steps=-1"), "cannot use a budget of steps=-1"),
        (("fork", "r"), "Missing option '--step'"),
        (("history", "r", "--first", "9" * 30), "is not a whole number from 0 to 1,000,000,000,000,000."),
        (("prune", "--days", "1e300"), "'1e300' is not a number from 0 to 36,500."),
        (("watch", "r", "--every", "soon"), "'soon' is not a number from 0.05 to 3,600."),
        (("run", "agent.py", "r", "--wait", "nan"), "'nan' is not a number from 0."),
        (("fork", "r", "--step", "1", "--patch", "{"), "cannot read --patch"),
        (("cancel",), "cannot cancel a run: name one"),
        (("list", "--db", ""), "cannot open a database without a name"),
        (("resolve", "r#9999999999999999999999", "--retry"), "it is not RUN#NUMBER"),
        (("run", "agent.py", "--run-id", "a#b"), "a run id has 1 to 200 printable characters"),
        (("run", "agent.py", "--run-id", "r", "--input", "{"), "cannot use --input: it is not JSON"),
        (("run", "agent.py", "--run-id", "r", "--input", '{"m": 1}'), "it does not fit the state of 'step' (m: "),
        (("run", "agent.py", "--run-id", "r", "--durability", "power"), "build_runner(db_path) does not take it"),
        (
            ("run", "agent.py", "--run-id", "r", "--trace", "nowhere/t.html"),
            "cannot write the trace of 'r' to nowhere/t.html",
        ),
        (("explain",), "cannot explain a run: name one, as the last argument or with --run-id RUN."),
        (("dance",), "No such command 'dance'"),
        (("list", "--output", "yaml"), "Invalid value for '--output'"),
        (("history", "r", "--first", "-1"), "Invalid value for '--first'"),
        (("resolve", "r", "--retry"), "it is not RUN#NUMBER"),
        (("resolve", "r#1"), "choose one of --retry, --skip and --result JSON"),
        (("resolve", "r#1", "--retry", "--skip"), "choose one of"),
        (("resolve", "r#1", "--result", "{"), "cannot read --result: '{' is not JSON"),
        (("signal", "go", "--run-id", "r", "--payload", "{"), "cannot read --payload"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_changes_nothing(place, arguments, said):
    done = place.call(*arguments)
    one_line(done, 2, said)
    assert len(done.stderr) < 400
    assert place.effects() == []


def test_a_call_that_is_not_in_doubt_cannot_be_resolved(place):
    place.call("run", "agent.py", "--run-id", "r")
    one_line(
        place.call("resolve", "r#1", "--retry"), 2, "cannot resolve r#1: no such call is in doubt. In doubt: none."
    )


# ---------------------------------------------------------------------- the rest


def test_a_waiting_run_prints_what_it_waits_for_and_a_signal_continues_it(place):
    place.write(
        "asks.py",
        """
        from loom_runner import Complete, Wait
        async def step(state, ctx):
            return Wait(1, signal="answer") if state == 0 else Complete(ctx.signal.payload)
        def initial_state():
            return 0
        """,
    )
    done = place.call("run", "asks.py", "--run-id", "r", "--output", "text")
    assert done.returncode == 3
    assert done.stdout == "r  waiting  1 step\n  state  1\n  waits  for signal 'answer'\n"
    assert "signal: loom-runner signal answer --run-id r --payload JSON" in done.stderr
    story = place.call("explain", "r", "--output", "text")
    assert "waits   signal 'answer'" in story.stdout
    assert "signal: loom-runner signal answer --run-id r --payload JSON" in story.stderr
    other = place.call("signal", "Answer", "--run-id", "r")
    assert (
        "sent to r, which waits for signal 'answer'. This one is kept until a step waits for 'Answer'." in other.stderr
    )
    assert place.call("signal", "answer", "--run-id", "r", "--payload", "[42]").returncode == 0
    assert json.loads(place.call("resume", "asks.py", "--run-id", "r").stdout)["result"] == [42]
    assert re.search(
        r"waited +before step 1: for signal 'answer', \d", place.call("explain", "r", "--output", "text").stdout
    )


def test_explain_shows_that_the_code_changed(place):
    place.call("run", "agent.py", "--run-id", "r", "--max-steps", "2")
    path = place.folder / "agent.py"
    path.write_text("\n\n# a comment\n" + path.read_text() + "\n")
    place.call("resume", "agent.py", "--run-id", "r", "--max-steps", "1")
    assert "code" not in place.call("explain", "r", "--output", "text").stdout
    path.write_text(path.read_text() + "\nNEW = 1\n")
    place.call("resume", "agent.py", "--run-id", "r")
    assert re.search(
        r"code +changed before step 3 \(agent\.py:\d+\)", place.call("explain", "r", "--output", "text").stdout
    )


def test_the_durability_of_a_named_step_can_be_chosen(place):
    place.write(
        "plain.py",
        "from loom_runner import Complete\ndef step(state, ctx):\n    return Complete(state)\ndef initial_state():\n    return 1\n",
    )
    for name, durability in (("a", "process"), ("b", "power")):
        assert place.call("run", "plain.py", "--run-id", name, "--durability", durability).returncode == 0
    assert place.call("run", "plain.py", "--run-id", "c", "--durability", "memory", "--db", "m.sqlite").returncode == 0
    assert not (place.folder / "m.sqlite").exists()


def test_modules_can_be_named_as_python_imports_them(place):
    (place.folder / "agents").mkdir()
    (place.folder / "agent.py").rename(place.folder / "agents" / "counter.py")
    assert place.call("run", "agents.counter", "--run-id", "r").returncode == 0
    assert place.call("run", "agents.counter:build_runner", "--run-id", "s").returncode == 0


def test_a_page_can_be_drawn_from_the_rows_alone(place):
    place.killed("run", "agent.py", "--run-id", "r", DIE_AT="tool-1-after-effect")
    done = place.call("trace", "r", "--html", "t.html", "--output", "text")
    assert (done.returncode, done.stdout) == (0, "t.html  open it in a browser; it needs no network\n")
    assert (place.folder / "t.html").stat().st_size > 1000
    one_line(place.call("trace", "r", "--html", "nowhere/t.html"), 2, "cannot write the trace of 'r' to nowhere/t.html")


def test_a_run_is_named_last_or_with_run_id_in_every_command(place):
    assert place.call("run", "agent.py", "r", "--max-steps", "1").returncode == 0
    for names in (("r",), ("agent.py", "r"), ("--run-id", "r"), ("agent.py", "--run-id", "r")):
        for command in ("explain", "get", "history", "attempts", "tool-calls", "doubts"):
            assert place.call(command, *names).returncode == 0, (command, names)
    assert json.loads(place.call("resume", "agent.py", "r", "--max-steps", "1").stdout)["step_index"] == 2
    done = place.call("resume", "r", "--max-steps", "1")
    assert (json.loads(done.stdout)["step_index"], done.stderr) == (3, "module: agent.py, which drove the run last.\n")


def test_hints_name_the_module_that_drove_the_run_last(place):
    place.call("run", "agent.py:build_runner", "--run-id", "r", "--max-steps", "1")
    assert place.call("explain", "r", "--output", "text").stderr == (
        "resume: loom-runner resume agent.py:build_runner --run-id r\n"
    )
    done = place.call("signal", "go", "r")
    assert done.stderr == "sent to r. resume: loom-runner resume agent.py:build_runner --run-id r\n"


def test_the_result_in_the_story_is_the_value_not_its_text(place):
    place.call("run", "agent.py", "--run-id", "r")
    assert json.loads(place.call("explain", "r").stdout)["result"] == 4
    assert "  result  4\n" in place.call("explain", "r", "--output", "text").stdout


def test_an_answer_that_cannot_be_written_is_one_line(place):
    place.run("run", "agent.py", "--run-id", "r")
    for arguments in (("history", "r"), ("--help",), ("run", "agent.py", "--run-id", "r", "--output", "jsonl")):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "loom_runner", *arguments],
                cwd=place.folder,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert done.returncode == 1
        assert done.stderr.endswith(
            "cannot write the output: No space left on device. Free some disk space, or redirect the output.\n"
        )
        assert "Traceback" not in done.stderr


def test_an_answer_needs_no_unicode(place):
    place.write("cup.py", FAILING.format(body="return Complete('\u8336')"))
    for output, shown in (("json", '"result": "\\u8336"'), ("text", 'result  "\\u8336"')):
        done = place.run("run", "cup.py", "--run-id", output, "--output", output, PYTHONIOENCODING="latin-1")
        assert (done.returncode, shown in done.stdout) == (0, True), (done.stdout, done.stderr)


def test_ctrl_c_while_the_agent_is_imported_is_one_line(place):
    place.write("slow.py", "import pathlib, time\npathlib.Path('reached').touch()\ntime.sleep(60)")
    process = place.spawn("run", "slow.py", "--run-id", "r")
    place.wait_for("reached", process)
    while process.poll() is None:  # Python itself drops one that comes while it runs a destructor
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
    out, err = process.communicate()
    assert (process.returncode, out, err.strip()) == (130, "", "interrupted.")


def test_ctrl_c_while_the_command_itself_is_loaded_is_one_line(monkeypatch, capsys):
    from loom_runner.__main__ import main

    class Interrupting:
        def find_spec(self, name, path=None, target=None):
            if name == "loom_runner._cli.main":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "loom_runner._cli.main")
    monkeypatch.delattr("loom_runner._cli.main", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    with pytest.raises(SystemExit) as left:
        main()
    assert (left.value.code, capsys.readouterr().err) == (130, "interrupted.\n")


def test_a_used_up_budget_has_its_own_exit_code_and_can_be_raised(place):
    done = place.call("run", "agent.py", "r", "--budget", "steps=2", "--output", "text")
    assert done.returncode == 4
    assert "  error  BudgetUsedUp: the budget of steps 2 is used up" in done.stdout
    assert done.stderr == "resume: loom-runner resume agent.py --run-id r --budget steps=N\n"
    assert place.call("watch", "r").returncode == 4
    done = place.call("resume", "r", "--budget", "steps=9")
    assert (done.returncode, json.loads(done.stdout)["result"]) == (0, 4)


def test_a_run_is_forked_and_both_are_listed_and_counted(place):
    place.call("run", "agent.py", "r")
    done = place.call("fork", "r", "--step", "1", "--patch", '{"n": 3}', "--as", "other")
    assert (done.stdout, done.stderr) == ("other\n", "resume: loom-runner resume agent.py --run-id other\n")
    assert json.loads(place.call("resume", "other").stdout)["result"] == 4
    assert [row["run_id"] for row in json.loads(place.call("list").stdout)] == ["other", "r"]
    assert json.loads(place.call("stats").stdout)["runs"] == {"completed": 2}
    assert re.match(r"runs +2, *2 completed|runs +2  2 completed", place.call("stats", "--output", "text").stdout)
    one_line(
        place.call("fork", "r", "--step", "99"), 2, "cannot fork 'r' after step 99: there is no such committed step"
    )


def test_a_run_is_paused_or_cancelled_by_others(place):
    place.call("run", "agent.py", "r", "--max-steps", "1")
    one_line(place.call("pause", "r"), 2, "cannot pause run 'r': it is paused")
    assert place.call("cancel", "r", "--by", "ann", "--note", "enough").stderr == "cancelled: r.\n"
    done = place.call("resume", "agent.py", "r", "--output", "text")
    assert (done.returncode, done.stdout.splitlines()[0]) == (5, "r  cancelled  1 step")
    one_line(place.call("cancel", "r"), 2, "cannot cancel run 'r': it is cancelled")


def test_a_run_that_somebody_works_on_pauses_after_its_step(place):
    process = place.spawn("run", "agent.py", "r", BLOCK_AT="tool-1")
    place.wait_for("reached", process)
    done = place.call("pause", "r")
    assert done.stderr == "pause requested: r. resume: loom-runner resume agent.py --run-id r\n"
    (place.folder / "open").touch()
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, json.loads(out)["status"], json.loads(out)["step_index"]) == (0, "paused", 2)


def test_the_stored_text_of_a_state_can_be_had(place):
    place.call("run", "agent.py", "r", "--max-steps", "1")
    assert place.call("get", "r", "--raw").stdout == '{"n":1}\n'


CHILDREN = """
from loom_runner import AgentRunner, Child, Complete, RunContext, SQLiteStore, Spawn

async def step(state: dict, ctx: RunContext) -> Complete | Spawn:
    if not ctx.children:
        return Spawn(state, children=[Child("a", 1, program="square"), Child("b", 2, program="square")])
    return Complete({name: child.result for name, child in ctx.children.items()})

async def square(state: int, ctx: RunContext) -> Complete[int]:
    return Complete(state * state)

def build_runner(db_path: str) -> AgentRunner:
    store = SQLiteStore(db_path, "process")
    return AgentRunner(step=step, store=store, children={"square": AgentRunner(step=square, store=store)})

def initial_state():
    return {}
"""


def test_the_children_of_a_run_are_listed(place):
    place.write("family.py", CHILDREN)
    done = place.call("run", "family.py", "p")
    assert json.loads(done.stdout)["result"] == {"a": 1, "b": 4}, done.stderr
    assert [row["run_id"] for row in json.loads(place.call("children", "p").stdout)] == ["p:sub:a", "p:sub:b"]
    assert place.call("children", "p:sub:a", "--output", "text").stderr == "p:sub:a has started no runs.\n"
    assert json.loads(place.call("resume", "p:sub:a").stdout)["result"] == 1
    assert place.call("trace", "p", "--output", "text").stdout.startswith("p.html  open it in a browser")
    kinds = [json.loads(line)["kind"] for line in place.call("export", "p").stdout.splitlines()]
    assert kinds.count("child") == 2


def test_a_worker_resumes_what_is_ready_and_ends_when_idle(place):
    place.call("run", "agent.py", "r")
    for name in ("a", "b"):
        place.call("fork", "r", "--step", "1", "--as", name)
    done = place.run("worker", "agent.py", "--until-idle", "--output", "text")
    assert (done.returncode, done.stderr) == (0, "resumed 2 times.\n"), done.stdout
    assert sorted(done.stdout.splitlines()) == ["a  completed  5 steps", "b  completed  5 steps"]
    place.call("fork", "r", "--step", "1", "--as", "c")
    process = place.spawn("worker", "agent.py", BLOCK_AT="tool-2")
    place.wait_for("reached", process)
    process.send_signal(signal.SIGTERM)
    (place.folder / "open").touch()
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert [json.loads(line)["kind"] for line in out.splitlines()][0] == "run_started"
    assert place.run("worker", "agent.py", "--until-idle").returncode == 0
    assert place.run("worker", "agent.py", "--until-idle").stderr == "no run to resume.\n"
    assert json.loads(place.call("get", "c").stdout)["status"] == "completed"


def test_children_are_in_the_story_and_on_the_page_of_their_parent(place):
    place.write("family.py", CHILDREN)
    place.call("run", "family.py", "p", "--trace", "p.html")
    lines = place.call("explain", "p", "--output", "text").stdout.splitlines()
    assert "  child   p:sub:a  completed  1 step" in lines
    with SQLiteStore(place.folder / "runs.sqlite", read_only=True) as store:
        spans = trace_of(store.reader, "p").spans
    by_id = {span.id: span for span in spans}
    child = next(span for span in spans if span.name == "p:sub:b")
    assert by_id[child.parent_id].name in ("wait for children", "step 0")
    assert [span.output for span in spans if span.kind == "agent"] == [{"a": 1, "b": 4}, 1, 4]
