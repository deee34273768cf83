"""Many captures in a folder: listed, within limits, repaired after a crash."""

import json
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest
from flow_xray import TraceFormatError, TraceOutputError, TraceStore, trace
from flow_xray._cli.main import main


@pytest.fixture
def now():
    return [1_795_233_600.0]


@pytest.fixture
def open_store(tmp_path, now):
    def make(**limits):
        store = TraceStore(tmp_path / "traces", clock=lambda: now[0], **limits)
        store.now = now
        return store

    return make


def fill(store, *names):
    for name in names:
        store.now[0] += 1
        with store.capture(name=name), trace.span("call", kind="llm"):
            trace.meta(model="m", input_tokens=10, output_tokens=1, cost_usd=0.5)


def test_captures_are_listed_newest_first_with_their_counts(open_store):
    store = open_store()
    fill(store, "a", "b")
    newest, oldest = store.captures()
    assert (newest.name, oldest.name) == ("b", "a")
    assert (newest.status, newest.spans, newest.model_calls, newest.tokens, newest.cost_usd) == ("ok", 1, 1, 11, 0.5)
    assert newest.started_at == "2026-11-21T04:00:02.000000+00:00"
    assert newest.size_bytes == Path(newest.path).stat().st_size > 0
    assert newest.duration_ms is not None
    assert store.load(newest.id).spans[0].name == "call"


def test_the_list_reads_the_index_and_no_capture(open_store):
    store = open_store()
    fill(store, "a", "b")
    for capture in store.captures():
        Path(capture.path).write_text("not a journal any more")
    assert [capture.spans for capture in store.captures()] == [1, 1]


def test_captures_can_be_chosen_by_name_and_status(open_store):
    store = open_store()
    fill(store, "a")
    with pytest.raises(ValueError), store.capture(name="b"), trace.span("call"):
        raise ValueError("no")
    assert [capture.name for capture in store.captures(status="error")] == ["b"]
    assert [capture.status for capture in store.captures(name="a")] == ["ok"]


def test_an_open_capture_is_listed_as_open(open_store):
    store = open_store()
    with store.capture(name="now"):
        trace.meta(user="ada")
        [capture] = store.captures()
        assert (capture.name, capture.status, capture.duration_ms) == ("now", "open", None)
    assert store.captures()[0].meta == {"user": "ada"}


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        ({"max_count": 3}, ["e", "d", "c"]),
        ({"max_count": 0}, []),
        ({"max_age_s": 2.5}, ["e", "d", "c"]),
        ({"max_bytes": 1}, []),
        ({"max_bytes": 10**9, "max_count": 4}, ["e", "d", "c", "b"]),
        ({}, ["e", "d", "c", "b", "a"]),
    ],
)
def test_captures_beyond_the_limits_are_removed_oldest_first(open_store, tmp_path, limits, kept):
    store = open_store(**limits)
    fill(store, "a", "b", "c", "d", "e")
    store.tidy()
    assert [capture.name for capture in store.captures()] == kept
    journals = list((tmp_path / "traces").glob("*.xray"))
    assert len(journals) == len(kept)


def test_cleanup_runs_while_captures_are_recorded(open_store, tmp_path):
    store = open_store(max_count=20)
    fill(store, *"abcdefghijklmnopqrstuvwxyz" * 2)
    journals = list((tmp_path / "traces").glob("*.xray"))
    assert 20 <= len(journals) <= 22
    assert len((tmp_path / "traces" / "index.jsonl").read_text().splitlines()) < 300


def test_an_open_capture_is_never_removed(open_store):
    store = open_store(max_count=0)
    with store.capture(name="now"):
        store.tidy()
        assert [capture.name for capture in store.captures()] == ["now"]


def test_a_report_has_totals_for_each_name(open_store):
    store = open_store()
    fill(store, "a", "a", "b")
    report = store.report()
    assert (report["captures"], list(report["names"])) == (3, ["a", "b"])
    of_a = report["names"]["a"]
    assert (of_a["captures"], of_a["errors"], of_a["tokens"], of_a["cost_usd"]) == (2, 0, 22, 1.0)
    assert of_a["p50_ms"] <= of_a["p95_ms"]
    assert of_a["slowest"] in {capture.id for capture in store.captures()}
    assert json.loads(json.dumps(report)) == report


def test_an_empty_folder_has_an_empty_report(open_store):
    assert open_store().report() == {"captures": 0, "size_bytes": 0, "first_at": None, "last_at": None, "names": {}}


CHILD = """
import os, sys
from flow_xray import TraceStore, trace
store = TraceStore(sys.argv[1], max_count=int(sys.argv[3]))
for n in range(int(sys.argv[2])):
    with store.capture(name="child"), trace.span("work", input=n):
        pass
"""


def test_two_processes_may_use_one_folder(tmp_path):
    folder = tmp_path / "traces"
    command = [sys.executable, "-W", "error", "-c", CHILD, str(folder), "60", "1000"]
    children = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    for child in children:
        assert child.communicate(timeout=60)[1] == b""
    store = TraceStore(folder)
    assert len(store.captures()) == 120
    assert {capture.status for capture in store.captures()} == {"ok"}


def test_two_processes_may_remove_at_once(tmp_path):
    folder = tmp_path / "traces"
    command = [sys.executable, "-W", "error", "-c", CHILD, str(folder), "60", "5"]
    children = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    for child in children:
        assert child.communicate(timeout=60)[1] == b""
    store = TraceStore(folder, max_count=5)
    assert len(store.captures()) == 5
    assert all(store.load(capture.id).spans for capture in store.captures())


def test_the_capture_of_a_killed_process_is_interrupted_and_can_be_read(tmp_path):
    folder = tmp_path / "traces"
    script = textwrap.dedent(
        """
        import sys, time
        from flow_xray import TraceStore, trace
        with TraceStore(sys.argv[1]).capture(name="killed"), trace.span("done"):
            pass
            with trace.span("open"):
                print("ready", flush=True)
                time.sleep(60)
        """
    )
    with subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert [capture.status for capture in TraceStore(folder).captures()] == ["open"]
        process.send_signal(signal.SIGKILL)
    store = TraceStore(folder)
    [capture] = store.captures()
    assert (capture.name, capture.status, capture.spans) == ("killed", "interrupted", 2)
    assert len(store.load(capture.id).spans) == 2
    with store.capture():
        pass
    assert len(store.captures()) == 2


def test_a_lost_or_truncated_index_is_repaired(open_store, tmp_path):
    store = open_store()
    fill(store, "a", "b")
    index = tmp_path / "traces" / "index.jsonl"
    index.write_bytes(index.read_bytes()[:-20])
    fill(store, "c")
    store.tidy()
    assert [(capture.name, capture.spans) for capture in store.captures()] == [("c", 1), ("b", 1), ("a", 1)]
    index.unlink()
    (tmp_path / "traces" / "20260101T000000.000000Z-00000000.xray").write_bytes(b"\0\0")
    store.tidy()
    assert [capture.name for capture in store.captures()] == ["c", "b", "a", "(damaged)"]
    assert store.captures()[0].started_at.startswith("20")


def test_a_removed_journal_is_removed_from_the_index(open_store):
    store = open_store()
    fill(store, "a", "b")
    Path(store.captures()[0].path).unlink()
    store.tidy()
    assert [capture.name for capture in store.captures()] == ["a"]


def test_invalid_lines_of_an_index_are_skipped(open_store, tmp_path):
    store = open_store()
    fill(store, "a")
    index = tmp_path / "traces" / "index.jsonl"
    index.write_text(index.read_text() + '[]\n7\n{"t":"begin","id":"x"}\n{"t":"end","id":"y"}\nnonsense\n\n')
    assert [capture.name for capture in store.captures()] == ["a"]


def test_an_unusable_folder_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TraceOutputError, match="cannot store traces in"):
        TraceStore(tmp_path / "file")


@pytest.mark.parametrize("capture_id", ["none", "../x", "a/b"])
def test_a_missing_capture_is_an_error(open_store, capture_id):
    with pytest.raises(TraceFormatError):
        open_store().load(capture_id)


def test_an_unwritable_index_is_one_warning_and_the_program_continues(open_store, tmp_path):
    store = open_store()
    (tmp_path / "traces" / "index.jsonl").mkdir()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            with store.capture(), trace.span("a"):
                pass
    assert [str(each.message).partition(":")[0] for each in caught] == ["flow-xray"]
    assert "cannot store traces" in str(caught[0].message)


def test_secrets_of_the_rules_of_a_store_are_masked(open_store):
    store = open_store(redact="badge")
    with store.capture(name="a"), trace.span("call", input={"badge": "canary-77", "api_key": "canary-78"}):
        trace.meta(note="canary-77")
    assert "canary" not in Path(store.captures()[0].path).read_text()


def test_view_lists_a_folder(open_store, capsys):
    store = open_store()
    fill(store, *"abc")
    assert main(["view", str(store.folder), "--format", "text"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2026-11-21T04:00:03Z  ok ")
    assert lines[0].endswith(store.captures()[0].path)
    assert lines[-1] == "3 captures. flow-xray view FILE shows one."
    assert main(["view", str(store.folder)]) == 0
    assert len(json.loads(capsys.readouterr().out)["captures"]) == 3
