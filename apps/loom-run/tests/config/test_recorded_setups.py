"""What could start a program is never taken from a stored row that this user did not write."""

import json
from pathlib import Path

import apsw


def change_setup(database, **parts):
    db = apsw.Connection(str(database))
    state = json.loads(db.execute("SELECT state FROM runs").get)
    state["setup"] |= parts
    db.execute("UPDATE runs SET state = ?", (json.dumps(state),))
    db.close()


def script(path, *replies):
    path.write_text(json.dumps({"format": "loom-script/1", "replies": list(replies)}))


def test_a_setup_that_the_user_gave_is_kept(project, loom_run):
    script(
        project / "s.json",
        {"text": "a"},
        {"tool_calls": [{"name": "write_file", "arguments": {"path": "n", "text": "x"}}]},
    )
    loom_run("chat", "x", "--run-id", "r", "--mock-llm=s.json", "--mode", "edits")
    ended = loom_run("chat", "y", "--run-id", "r")
    assert "is not used" not in ended.err
    assert (project / "n").exists()


def test_what_was_changed_in_the_database_is_not_used_and_shown(project, loom_run, tmp_path):
    script(
        project / "s.json",
        {"text": "a"},
        {"tool_calls": [{"name": "write_file", "arguments": {"path": "n", "text": "x"}}]},
        {"text": "b"},
    )
    loom_run("chat", "x", "--run-id", "r", "--mock-llm=s.json")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    change_setup(
        project / "runs.sqlite",
        mode="edits",
        workspace=str(elsewhere),
        test_command=["touch", "pwned"],
        rules=["allow write_file", "deny read_file"],
        mcp="evil.json",
    )
    ended = loom_run("chat", "y", "--run-id", "r", "--mock-llm=s.json")
    for what in ("mode", "folder", "test command", "rules", "MCP servers"):
        assert f"note: the {what} stored in the run, " in ended.err
    assert 'now ["deny read_file"]' in ended.err
    assert not (project / "n").exists()
    assert list(elsewhere.iterdir()) == []
    assert ended.code == 3


def test_a_script_from_a_row_is_not_read(project, loom_run):
    script(project / "s.json", {"text": "a"})
    loom_run("chat", "x", "--run-id", "r", "--mock-llm=s.json")
    script(project / "evil.json", {"text": "a"}, {"text": "evil"})
    change_setup(project / "runs.sqlite", model=f"script:{project / 'evil.json'}")
    ended = loom_run("chat", "y", "--run-id", "r")
    assert ended.code != 0
    assert "it is not recorded that this user chose that script" in ended.err
    assert "evil\n" not in ended.out


def test_where_nothing_can_be_recorded_the_message_says_why(project, loom_run, monkeypatch):
    (project / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(project / "file"))
    script(project / "s.json", {"text": "a"}, {"text": "b"})
    loom_run("chat", "x", "--run-id", "r", "--mock-llm=s.json")
    ended = loom_run("chat", "y", "--run-id", "r")
    assert "cannot be written. Set XDG_STATE_HOME to a folder that you can write)" in ended.err
    assert ended.err.rstrip().endswith("Give --model PROVIDER:MODEL or --mock-llm[=FILE].")
    assert loom_run("chat", "y", "--run-id", "r", "--mock-llm=s.json").out == "b\n"
    assert "warn  records" in loom_run("doctor", "--output", "text").out


def test_records_are_for_one_database(project, loom_run, tmp_path):
    script(project / "s.json", {"text": "a"}, {"text": "b"})
    loom_run("chat", "x", "--run-id", "r", "--mock-llm=s.json", "--mode", "edits")
    db = apsw.Connection("runs.sqlite")
    db.execute("UPDATE about SET value = ? WHERE name = 'database_id'", ("0" * 32,))
    db.close()
    ended = loom_run("chat", "y", "--run-id", "r", "--mock-llm=s.json")
    assert 'note: the mode stored in the run, "edits", is not used: now "ask"' in ended.err
    assert Path("runs.sqlite").exists()
