"""Other SQLite libraries use a database whose runs are driven, and killed at random times."""

import json

import pytest
from loom_runner import SQLiteStore
from loom_runner._store.sqlite import hold
from loom_runner.testing import peek_sweep
from loom_runner.testing.__main__ import main
from loom_runner.testing._effects import EffectLog
from loom_runner.testing._peek_sweep import PeekReport, _PeekTrial

pytestmark = pytest.mark.skipif(not hold.has_locks(), reason="locks of open file descriptions are of Linux")


def test_nothing_is_lost_and_what_would_lose_is_refused():
    report = peek_sweep(8, seed=7)
    assert report.problems == []
    assert report.kills >= 8
    assert report.peeks["inside connect refused"] > 0
    assert report.peeks["outside connect done"] > 0
    assert report.peeks["inside copy_file done"] + report.peeks["thread copy_file done"] > 0
    assert not [what for what in report.peeks if "connect done" in what and not what.startswith("outside")]


def test_it_finds_what_must_not_happen(tmp_path):
    trial = _PeekTrial(tmp_path, PeekReport(0).peeks)
    EffectLog(tmp_path / "acknowledged.txt").add("a 3")
    trial.compare_files()
    assert trial.problems == ["lost: runs.sqlite: 3 steps of a, found None"]
    trial.problems.clear()
    SQLiteStore(tmp_path / "copy.sqlite").close()
    (tmp_path / "backup.sqlite").write_text("no database")
    for kind in ("copy", "backup"):
        made = {"kind": kind, "name": f"{kind}.sqlite", "steps": {"a": 1}}
        EffectLog(tmp_path / "copies.txt").add(json.dumps(made))
    EffectLog(tmp_path / "copies.txt").add('{"half')
    trial.compare_files()
    silent, damaged = trial.problems[1:]
    assert silent == "silent: copy.sqlite lacks steps of a"
    assert damaged.startswith(f"damaged: backup.sqlite: cannot open {tmp_path}/backup.sqlite: it is not a SQLite")


def test_the_command_counts(capsys):
    assert main(["peek", "--number", "1", "--seed", "2"]) == 0
    assert "0 lost, 0 damaged, 0 silent, 0 failed" in capsys.readouterr().out
