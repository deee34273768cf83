"""The commands about a whole database: doctor, verify, prune."""

import json
import os
import re

import apsw
import pytest
from loom_runner import SQLiteStore
from loom_runner._queries.doctor import examine
from loom_runner._store.sqlite.reader import SQLiteReader

RUN = ("run", "agent.py", "--run-id", "r")


def checks_of(done):
    return {check["name"]: (check["verdict"], check["text"]) for check in json.loads(done.stdout)}


def test_a_healthy_database_is_ok_in_every_line(place):
    place.call(*RUN)
    done = place.call("doctor")
    checks = checks_of(done)
    assert done.returncode == 0
    assert {verdict for verdict, _ in checks.values()} == {"ok"}, checks
    assert checks["durability"][1] == "power (read back: journal_mode wal, synchronous 2)"
    assert checks["leases"][1] == "no process drives a run"
    assert re.fullmatch(r"runs.sqlite: no damage in .*5 steps.*4 tool calls", checks["rows"][1])
    assert (
        "process (read back: journal_mode wal, synchronous 1)"
        in place.call("doctor", "--durability", "process", "--output", "text").stdout
    )
    assert len(place.call("doctor", "--output", "jsonl").stdout.splitlines()) == len(checks)


def test_text_is_one_line_for_each_check_and_needs_no_colour(place):
    place.call(*RUN)
    lines = place.call("doctor", "--output", "text").stdout.splitlines()
    assert lines[0].startswith("ok    sqlite ")
    assert all(re.match(r"ok    [a-z ]+  \S", line) for line in lines)


def test_runs_that_need_attention_are_named(place):
    place.killed(*RUN, DIE_AT="tool-2-after-effect", POLICY="ask")
    place.write("bad.py", "async def step(state, ctx): raise ValueError('v')")
    place.call("run", "bad.py", "f", "--input", "{}")
    checks = checks_of(place.call("doctor"))
    assert checks["interrupted"] == ("warn", "1 run: r; continue with loom-runner resume")
    assert checks["failed"][1].startswith("1 run: f; ")
    assert checks["in doubt"] == ("warn", "1 call: r#3; loom-runner doubts")
    process = place.spawn("run", "agent.py", "held", BLOCK_AT="step-1")
    place.wait_for("reached", process)
    assert checks_of(place.call("doctor"))["leases"][1] == f"1 run held: held (process {process.pid})"
    (place.folder / "open").touch()
    process.communicate(timeout=30)


def test_a_row_from_the_future_and_a_damaged_one_are_bad(place):
    place.call(*RUN)
    db = apsw.Connection(str(place.folder / "runs.sqlite"))
    db.execute("UPDATE runs SET updated_at = updated_at + 86400000000000")
    db.execute("DELETE FROM steps WHERE rowid = (SELECT min(rowid) FROM steps)")
    db.close()
    done = place.call("doctor")
    checks = checks_of(done)
    assert (done.returncode, checks["clock"][0], checks["rows"][0]) == (1, "bad", "bad")
    assert "r was changed 1000 d 0 h in the future" in checks["clock"][1]
    done = place.call("verify", "r")
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (1, False)
    text = place.call("verify", "--output", "text").stdout
    assert text.splitlines()[0].startswith("runs.sqlite  ")
    assert "run r" in text


def test_verify_reports_what_it_has_read(place):
    place.call(*RUN)
    done = place.call("verify", "--output", "text")
    assert done.returncode == 0
    assert done.stdout.startswith("runs.sqlite  no problems  ")
    assert "5 steps" in done.stdout
    assert place.call("verify", "nope").returncode == 2


def test_verify_with_a_module_says_which_states_its_types_do_not_fit(place):
    place.call(*RUN)
    assert place.call("verify", "agent.py", "r").returncode == 0
    text = (place.folder / "agent.py").read_text("utf-8").replace("    n: int = 0", "    name: str\n    n: int = 0")
    place.write("later.py", text.replace("return State()", "return State('x')"))
    done = place.call("verify", "later.py", "r", "--output", "text")
    assert (done.returncode, "5 problems" in done.stdout or "4 problems" in done.stdout) == (1, True), done.stdout
    assert "step 0 of run r" in done.stdout


def test_a_read_only_database_can_be_examined(place, monkeypatch):
    place.call(*RUN)
    monkeypatch.setattr(os, "access", lambda *_: False)
    done = place.call("doctor")
    assert done.returncode == 0
    assert done.stderr == "runs.sqlite is read-only: the durability below is that of a reader.\n"


def test_a_network_file_system_and_an_old_sqlite_are_bad(place, monkeypatch):
    place.call(*RUN)
    monkeypatch.setattr("loom_runner._queries.doctor._kind_of", lambda path: "nfs4")
    monkeypatch.setattr("loom_runner._queries.doctor._FEW_BYTES", 10**18)
    with SQLiteStore(place.folder / "runs.sqlite") as store:
        facts = store.reader.facts()
        monkeypatch.setattr(SQLiteReader, "facts", lambda self: facts | {"sqlite_version": "3.40.1"})
        checks = {check.name: check for check in examine(store.reader, str(place.folder / "runs.sqlite"))}
    assert (checks["file system"].verdict, checks["sqlite"].verdict, checks["room"].verdict) == ("bad", "bad", "warn")


def test_nothing_is_pruned_before_it_is_confirmed(place):
    place.call(*RUN)
    place.call("run", "agent.py", "open", "--max-steps", "1")
    done = place.call("prune", "--output", "text")
    assert (done.stdout.startswith("would be deleted: 1 run, "), done.stderr) == (
        True,
        "delete: the same command with --yes\n",
    )
    assert len(json.loads(place.call("list").stdout)) == 2
    done = place.call("prune", "--yes", "--vacuum", "--output", "text")
    assert done.stdout.startswith("deleted: 1 run, ")
    assert "freed" in done.stdout
    assert [row["run_id"] for row in json.loads(place.call("list").stdout)] == ["open"]


def test_steps_can_be_dropped_and_the_run_kept(place):
    place.call(*RUN)
    report = json.loads(place.call("prune", "r", "--keep", "last:2", "--yes").stdout)
    assert (report["runs"], report["steps"], report["is_done"]) == (0, 3, True)
    done = place.call("history", "r")
    assert [row["step_index"] for row in json.loads(done.stdout)] == [3, 4]
    assert done.stderr == "history starts at step 3: earlier steps are not kept.\n"
    assert place.call("explain", "r").returncode == 0
    assert place.call("trace", "r", "--html", "r.html").returncode == 0
    assert place.call("verify").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("prune", "--keep", "some"), "some"),
        (("prune", "--days", "-1"), "Invalid value for '--days'"),
        (("prune", "nope", "--yes"), "there is no such run"),
        (("doctor", "--db", "nowhere.sqlite"), "there is no database nowhere.sqlite"),
    ],
)
def test_a_wrong_line_is_one_line(place, arguments, said):
    place.call(*RUN)
    done = place.call(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n"), said in done.stderr) == (2, "", 1, True), done.stderr


def test_a_database_is_encrypted_and_read_with_its_key_only(place, monkeypatch):
    pytest.importorskip("cryptography", reason="the extra crypt is not installed")
    place.call(*RUN)
    one = place.call("rekey")
    assert (one.returncode, one.stderr.count("\n"), "there is no key" in one.stderr) == (2, 1, True)
    line = place.call("new-key", "k1").stdout
    assert re.fullmatch(r"k1:[A-Za-z0-9+/]{43}=\n", line)
    place.write("key", line)
    monkeypatch.setenv("LOOM_RUNNER_KEY_FILE", str(place.folder / "key"))
    done = place.call("rekey")
    assert re.fullmatch(r"runs.sqlite: \d+ values encrypted with key k1\.\n", done.stderr), done.stderr
    assert b"receipt" not in (place.folder / "runs.sqlite").read_bytes()
    assert json.loads(place.call("get", "r").stdout)["result"] == 4
    assert checks_of(place.call("doctor"))["keys"] == ("ok", "encrypted, with k1")
    monkeypatch.delenv("LOOM_RUNNER_KEY_FILE")
    for command in (("get", "r"), ("explain", "r"), ("doctor",), ("verify",), ("watch", "r"), ("export", "r")):
        done = place.call(*command)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (8, "", 1), (command, done)
    assert place.call("new-key", "a,b").returncode == 2
    assert place.call("rekey", "--db", "nowhere.sqlite").returncode == 2


# ---------------------------------------------------------------------- query and backup


def test_a_query_prints_rows_as_json_or_as_a_table(place):
    place.call(*RUN)
    count = "SELECT status, count(*) AS n FROM runs GROUP BY status"
    assert json.loads(place.call("query", count).stdout) == [{"status": "completed", "n": 1}]
    assert place.call("query", count, "--output", "text").stdout.split() == ["status", "n", "completed", "1"]
    shown = place.call(
        "query", "SELECT x'00ff' AS bytes, NULL AS nil, 'a' || char(10) || 'b' AS lines", "--output", "text"
    )
    assert shown.stdout.splitlines()[1].startswith("x'00ff'")
    assert len(shown.stdout.splitlines()) == 2
    infinite = place.call("query", "SELECT 1e999 AS x, -1e999 AS y, 0.5 AS z")
    assert json.loads(infinite.stdout, parse_constant=pytest.fail) == [{"x": "inf", "y": "-inf", "z": 0.5}]
    none = place.call("query", "SELECT 1 AS x WHERE 0", "--output", "text")
    assert "No rows." in none.stdout + none.stderr


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("DELETE FROM runs",), "DELETE runs is not allowed, because a query only reads"),
        (
            ("SELECT nosuch FROM runs",),
            "no such column: nosuch. loom-runner query 'SELECT name, sql FROM sqlite_schema'",
        ),
        (("SELECT 1 AS x UNION ALL SELECT 2", "--limit", "1"), "there are more than 1 rows"),
        (
            (
                "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x FROM c) SELECT count(*) FROM c",
                "--timeout-s",
                "0.1",
            ),
            "it took more than 0.1 s",
        ),
    ],
)
def test_a_query_that_is_refused_is_one_line(place, words, part):
    place.call(*RUN)
    done = place.call("query", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert part in done.stderr


def test_a_backup_is_a_database_and_is_not_overwritten(place):
    place.call(*RUN)
    made = json.loads(place.call("backup", "copy.sqlite").stdout)
    assert made == {"path": "copy.sqlite", "size_bytes": (place.folder / "copy.sqlite").stat().st_size}
    assert place.call("verify", "--db", "copy.sqlite").returncode == 0
    again = place.call("backup", "copy.sqlite")
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "the file exists, and is not overwritten" in again.stderr
    assert place.call("backup", "other.sqlite", "--output", "text").stdout.startswith("other.sqlite  ")
    assert place.call("backup", "x.sqlite", "--db", "missing.sqlite").returncode == 2
