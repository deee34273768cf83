"""A recorder killed at random moments keeps every ended call, and the check detects a loss."""

import os
import random

import pytest
from flow_xray import testing, trace
from flow_xray._cli.main import main as command


@pytest.fixture(autouse=True)
def _killed_processes_are_not_measured(monkeypatch):
    """A coverage tool in a process that is killed leaves a broken file."""
    for name in list(os.environ):
        if name.startswith("COV"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("turn", range(20))
def test_a_killed_recorder_leaves_every_ended_call(turn, tmp_path, capsys):
    chance = random.Random(turn)
    moment = chance.choice((0, 1, 2, 5, 40)) + chance.random()
    report = testing.kill_once(tmp_path / "run.xray", moment=moment, view=command)
    assert report.faults == ()
    assert report.reported >= int(moment)
    assert report.spans > report.reported or not report.reported
    assert '"status"' in capsys.readouterr().out


def test_a_sweep_prints_its_counts(capsys):
    assert testing.main(["--number", "2", "--seed", "3"]) == 0
    assert capsys.readouterr().out.startswith("2 kills (seed 3): ")


@trace
def call(number):
    return {"number": number}


@pytest.fixture
def journal(tmp_path):
    path = tmp_path / "run.xray"
    with trace.capture(journal=path), trace.span("above"):
        for number in range(3):
            call(number)
    return path


def test_the_check_reports_what_is_missing(journal):
    assert testing.check_journal(journal, [0, 1, 2]).faults == ()
    assert testing.check_journal(journal, [0, 7]).faults == ("call 7 had ended and is not in the journal",)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if b'"name":"above"' not in line))
    assert any("has no parent in the journal" in fault for fault in testing.check_journal(journal, []).faults)
    journal.write_bytes(b"".join(line.replace(b'"took"', b'"tuuk"') for line in lines))
    faults = testing.check_journal(journal, [0]).faults
    assert "4 records are damaged, and only the last one may be" in faults
    assert any("call 0 had ended" in fault for fault in faults)
    journal.write_bytes(b"".join(line.replace(b'"output":{"number":0}', b'"output":{"number":9}') for line in lines))
    assert testing.check_journal(journal, [0]).faults == ("call 0 has another output: {'number': 9}",)


def test_the_check_reports_a_missing_page(journal):
    assert testing.check_journal(journal, [], view=lambda arguments: 8).faults[0] == "flow-xray view ended with 8"


def test_a_program_that_ends_before_the_kill_is_an_error(tmp_path):
    (tmp_path / "folder.xray").mkdir()
    with pytest.raises(RuntimeError, match="it has ended with"):
        testing.kill_once(tmp_path / "folder.xray", moment=1.5)


def test_the_recorded_program_does_what_the_check_expects(tmp_path, monkeypatch):
    reported = []
    write = os.write

    def tell(file, content):
        if file != 1:
            return write(file, content)
        reported.append(int(content))
        if len(reported) > 30:
            raise KeyboardInterrupt
        return len(content)

    monkeypatch.setattr(os, "write", tell)
    with pytest.raises(KeyboardInterrupt):
        testing.main(["--record", str(tmp_path / "run.xray")])
    report = testing.check_journal(tmp_path / "run.xray", reported[1:])
    assert report.faults == ()
    assert report.interrupted == 0
