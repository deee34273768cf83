"""The journal: its content while a program runs, after a kill, and after other failures."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from flow_xray import TraceFormatError, TraceOutputError, read_journal, trace
from flow_xray._cli.main import main
from flow_xray._read.damage import LOST
from flow_xray._read.journal import parse_journal


@trace(kind="tool")
def work(n, **more):
    trace.meta(step_index=n)
    return {"n": n}


def record(path, *calls):
    with trace.capture(name="demo", journal=path) as session:
        for call in calls:
            work(call)
    return session.result()


def test_a_journal_is_read_back_as_the_trace_of_the_session(tmp_path):
    path = tmp_path / "run.xray"
    with trace.capture(name="demo", journal=path) as session:
        trace.meta(run_id="r-1")
        trace.tag("begin")
        with trace.span("outer", kind="agent", input={"history": [{"role": "user", "content": "hi"}] * 3}) as span:
            trace.tag("inside", n=1)
            work(1, text="x" * 1000)
            span.set_output("y" * 1000)
        with pytest.raises(TypeError):
            work()
        session.value = {"done": True}
    read = read_journal(path)
    result = session.result()
    assert read.spans == result.spans
    assert read.value == {"done": True}
    assert read.name == "demo"
    assert read.trace_id == result.trace_id
    assert read.meta["run_id"] == "r-1"
    assert read.meta["tags"] == result.meta["tags"]
    assert read.meta["journal"] == {"sessions": 1, "processes": 1, "damaged_records": 0, "is_complete": True}


def test_every_record_is_one_line_with_its_length(tmp_path):
    path = tmp_path / "run.xray"
    record(path, 1)
    for line in path.read_bytes().splitlines():
        length, _, text = line.partition(b":")
        assert int(length) == len(text)
        assert json.loads(text)["t"] in {"flow-xray", "start", "meta", "end", "close"}


def test_each_record_is_written_at_once(tmp_path):
    path = tmp_path / "run.xray"
    with trace.capture(journal=path), trace.span("open"):
        trace.meta(run_id="r-1")
        trace.tag("mark")
        (span,) = read_journal(path).spans
        assert (span.name, span.status, span.duration_ns) == ("open", "interrupted", None)
        assert span.meta == {"run_id": "r-1"}
        assert span.tags[0]["name"] == "mark"


def test_a_journal_can_be_cut_anywhere_and_everything_before_the_cut_is_read(tmp_path):
    path = tmp_path / "run.xray"
    record(path, 1, 2, 3)
    content = path.read_bytes()
    header_end = content.index(b"\n")
    for size in range(header_end, len(content)):
        part = parse_journal(content[:size])
        whole_records = [json.loads(line.partition(b":")[2]) for line in content[:size].split(b"\n")[:-1]]
        ended = {each["id"] for each in whole_records if each["t"] == "end"}
        # A record that lacks only its line end is complete.
        assert {span.id for span in part.spans if span.status == "ok"} >= ended
        assert sum(span.status == "interrupted" for span in part.spans) <= 1
        assert part.meta["journal"]["damaged_records"] <= 1


@pytest.mark.parametrize(
    "damage",
    [
        b"\0" * 40,
        b"12:{}",
        b"nonsense",
        b'9:{"a":1,}',
        b'25:{"t":"end","id":"unknown"}',
        b'12:{"t":"start"}',
        b"5:[1,2]",
        b'10:{"t":null}',
    ],
)
def test_a_damaged_record_is_skipped_and_counted_and_reading_continues(tmp_path, damage):
    path = tmp_path / "run.xray"
    record(path, 1, 2)
    lines = path.read_bytes().splitlines()
    lines.insert(3, damage)
    read = parse_journal(b"\n".join(lines))
    assert [span.status for span in read.spans] == ["ok", "ok"]
    assert read.meta["journal"]["damaged_records"] == 1


def test_a_damaged_pooled_value_does_not_lose_the_spans_that_refer_to_it(tmp_path):
    path = tmp_path / "run.xray"
    history = [{"role": "user", "content": f"turn {turn}"} for turn in range(6)]
    with trace.capture(journal=path):
        for turn in range(1, 7):
            work(turn, messages=history[:turn])
    lines = path.read_bytes().splitlines()
    first = next(index for index, line in enumerate(lines) if b'"turn 0"' in line)
    read = parse_journal(b"\n".join([*lines[:first], lines[first][:-1], *lines[first + 1 :]]))
    assert len(read.spans) == 6
    assert read.spans[-1].input["messages"] == [LOST, *history[1:]]
    assert read.meta["journal"]["damaged_records"] == 1


def test_a_journal_grows_linearly_with_the_conversation(tmp_path):
    sizes = []
    for turns in (50, 100):
        path = tmp_path / f"{turns}.xray"
        history = []
        with trace.capture(journal=path) as session:
            for turn in range(turns):
                history.append({"role": "user", "content": f"turn {turn}"})
                with trace.span("chat", kind="llm", input={"messages": history}):
                    trace.meta(messages=history)
        sizes.append((path.stat().st_size, len(session.result().to_json())))
        assert read_journal(path).spans[-1].meta["messages"] == history
    assert sizes[1][0] < 2.2 * sizes[0][0]
    assert sizes[1][1] < 2.2 * sizes[0][1]


def test_a_second_session_appends_and_loses_nothing_even_after_a_truncated_record(tmp_path):
    path = tmp_path / "run.xray"
    record(path, 1)
    path.write_bytes(path.read_bytes()[:-30])
    record(path, 2)
    read = read_journal(path)
    assert [span.input for span in read.spans] == [{"n": 1}, {"n": 2}]
    assert read.meta["journal"]["sessions"] == 2
    assert read.meta["journal"]["is_complete"] is False


def test_a_span_that_outlives_a_session_closed_in_order_is_open(tmp_path):
    path = tmp_path / "run.xray"
    with trace.capture(journal=path) as session:
        session.open_span(None, "left", "tool", None)
    assert read_journal(path).spans[0].status == "open"


def test_a_file_of_another_kind_is_not_changed(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("my notes")
    with pytest.raises(TraceOutputError, match="it is not a journal"), trace.capture(journal=path):
        pass
    assert path.read_text() == "my notes"


@pytest.mark.parametrize("name", ["", "missing/run.xray", "."])
def test_a_journal_that_cannot_be_opened_is_an_error_before_anything_runs(tmp_path, name):
    with pytest.raises(TraceOutputError, match="cannot write the journal"), trace.capture(journal=tmp_path / name):
        pytest.fail("the block ran")
    assert not trace.active()


def test_a_full_disk_at_the_first_record_is_an_error_before_anything_runs():
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with pytest.raises(TraceOutputError, match="No space left"), trace.capture(journal="/dev/full"):
        pytest.fail("the block ran")
    assert not trace.active()


def test_a_disk_that_fills_up_stops_the_journal_with_one_warning_and_not_the_program(tmp_path):
    path = tmp_path / "run.xray"
    script = textwrap.dedent(
        f"""
        import resource
        from flow_xray import trace
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
        with trace.capture(journal={os.fspath(path)!r}) as session:
            for n in range(100):
                with trace.span("work", input=n): pass
        print(len(session.result().spans))
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "100\n"
    assert done.stderr.count("RuntimeWarning: flow-xray: cannot write the journal") == 1
    assert path.stat().st_size <= 3000
    assert 3 < len(read_journal(path).spans) < 100
    record(path, "afterwards")
    assert read_journal(path).spans[-1].input == {"n": "afterwards"}


@pytest.mark.parametrize("content", [b"", b"hello", b"{}", b"\xff\xfe"])
def test_another_file_is_a_one_line_error(tmp_path, content):
    path = tmp_path / "x.xray"
    path.write_bytes(content)
    with pytest.raises(TraceFormatError, match="it is not a journal of flow-xray"):
        read_journal(path)


def test_a_newer_journal_is_refused(tmp_path):
    path = tmp_path / "x.xray"
    text = '{"t":"flow-xray","version":99,"session":"s"}'
    path.write_text(f"{len(text)}:{text}\n")
    with pytest.raises(TraceFormatError, match=r"its version is 99.*Update flow-xray"):
        read_journal(path)


def test_a_missing_journal_is_an_error(tmp_path):
    with pytest.raises(TraceFormatError, match="No such file"):
        read_journal(tmp_path / "none.xray")


def test_a_long_history_is_written_once(tmp_path):
    path = tmp_path / "run.xray"
    history = []
    with trace.capture(journal=path):
        for turn in range(100):
            history.append({"role": "user", "content": f"turn {turn} " + "x" * 200})
            work(turn, messages=history)
    content = path.read_text()
    assert len(re.findall('"content"', content)) == 100
    assert read_journal(path).spans[-1].input["messages"] == history


def test_the_journal_of_an_outer_session_gets_the_spans_of_an_inner_one(tmp_path):
    path = tmp_path / "run.xray"
    with trace.capture(journal=path) as outer, trace.capture():
        work(1)
    assert read_journal(path).spans == outer.result().spans


def test_a_fork_gets_its_own_ids(tmp_path):
    path = tmp_path / "run.xray"
    script = textwrap.dedent(
        f"""
        import os
        from flow_xray import trace
        with trace.capture(journal={os.fspath(path)!r}):
            with trace.span("parent"):
                if os.fork() == 0:
                    with trace.span("child"): pass
                    raise SystemExit
                os.wait()
                with trace.span("after"): pass
        """
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)
    read = read_journal(path)
    names = {span.id: span.name for span in read.spans}
    assert path.read_text().count('"t":"close"') == 1
    assert sorted((span.name, names.get(span.parent_id), span.status) for span in read.spans) == [
        ("after", "parent", "ok"),
        ("child", "parent", "ok"),
        ("parent", None, "ok"),
    ]


def test_a_forked_child_does_not_end_the_spans_of_its_parent(tmp_path):
    path, around = tmp_path / "run.xray", tmp_path / "around.xray"
    script = textwrap.dedent(
        f"""
        import os
        from flow_xray import trace
        with trace.capture(journal={os.fspath(around)!r}), trace.capture(journal={os.fspath(path)!r}):
            try:
                with trace.span("parent") as span:
                    if os.fork() == 0:
                        span.set_output("set by the child")
                        raise ValueError("only in the child")
                    os.wait()
                    span.set_output("set by the parent")
            except ValueError:
                os._exit(0)
        """
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)
    for journal in (path, around):
        assert journal.read_text().count('"t":"end"') == 1
        [span] = read_journal(journal).spans
        assert (span.status, span.error, span.output) == ("ok", None, "set by the parent")


def test_a_killed_process_leaves_every_finished_span(tmp_path):
    path = tmp_path / "run.xray"
    script = textwrap.dedent(
        f"""
        import sys
        from flow_xray import trace
        with trace.capture(name="killed", journal={os.fspath(path)!r}):
            with trace.span("root"):
                n = 0
                while True:
                    with trace.span("work", input=n) as span:
                        span.set_output(n)
                    n += 1
                    print(n, flush=True)
        """
    )
    for wanted in (1, 3, 10, 40):
        path.unlink(missing_ok=True)
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
            finished = 0
            while finished < wanted:
                finished = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
        read = read_journal(path)
        done = [span.output for span in read.spans if span.status == "ok"]
        assert done == list(range(len(done)))
        assert len(done) >= finished
        assert read.spans[0].status == "interrupted"
        assert read.status == "interrupted"


def test_the_journal_of_a_child_process_is_below_the_call_that_started_it(tmp_path, capsys):
    ours, theirs = tmp_path / "ours.xray", tmp_path / "theirs.xray"
    child = f"from flow_xray import trace\nwith trace.capture(journal={os.fspath(theirs)!r}), trace.span('child'): pass"
    with trace.capture(name="family", journal=ours) as session, trace.span("parent"):
        subprocess.run([sys.executable, "-c", child], check=True, timeout=60, env={**os.environ, **trace.environment()})
    whole = read_journal(ours, theirs)
    parent, below = whole.spans
    assert (parent.name, below.name, below.parent_id) == ("parent", "child", parent.id)
    assert whole.trace_id == session.trace_id == read_journal(theirs).trace_id
    assert whole.meta["journal"] == {"sessions": 2, "processes": 2, "damaged_records": 0, "is_complete": True}
    assert main(["view", str(ours), str(theirs)]) == 0
    assert json.loads(capsys.readouterr().out)["spans"] == 2


def test_name_value_and_facts_of_merged_journals_are_those_of_the_process_that_began(tmp_path, monkeypatch):
    ours, theirs = tmp_path / "ours.xray", tmp_path / "theirs.xray"
    with trace.capture(name="family", journal=ours) as session:
        trace.meta(run_id="ours", only="ours")
        with trace.span("parent"):
            environment = trace.environment()
        session.value = "ours"
    monkeypatch.setenv("TRACEPARENT", environment["TRACEPARENT"])
    with trace.capture(name="child", journal=theirs) as session:
        trace.meta(run_id="theirs", more="theirs")
        work(1)
        session.value = "theirs"
    for paths in ((ours, theirs), (theirs, ours)):
        whole = read_journal(*paths)
        assert (whole.name, whole.value, [root.name for root in whole.roots]) == ("family", "ours", ["parent"])
        assert {key: whole.meta[key] for key in ("run_id", "only", "more")} == {
            "run_id": "ours", "only": "ours", "more": "theirs",
        }  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        "",
        "nonsense",
        "00-" + "0" * 32 + "-" + "1" * 16 + "-01",
        "00-xyz-1-01",
        "ff-" + "1" * 32 + "-" + "1" * 16 + "-01",
    ],
)
def test_an_invalid_caller_is_ignored(monkeypatch, value):
    monkeypatch.setenv("TRACEPARENT", value)
    with trace.capture() as session:
        work(1)
    assert session.spans[0].parent_id is None


def test_the_environment_names_the_current_span(monkeypatch):
    assert trace.environment() == {}
    monkeypatch.setenv("TRACEPARENT", "00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    with trace.capture():
        assert trace.environment()["TRACEPARENT"] == "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
        with trace.capture() as inner, trace.span("here") as span:
            assert trace.environment()["TRACEPARENT"] == f"00-{inner.trace_id}-{span.id}-01"


def test_reading_nothing_is_refused():
    with pytest.raises(TypeError, match="no path was given"):
        read_journal()


def test_values_that_look_like_pool_references_are_restored(tmp_path):
    path = tmp_path / "run.xray"
    values = [{"$ref": "x"}, {"$raw": {}}, {"$more": [[], []]}, {"$more": 1}]
    with trace.capture(journal=path):
        for value in values:
            work(value)
    assert [span.input["n"] for span in read_journal(path).spans] == values
