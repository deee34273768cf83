"""A file from elsewhere cannot take more memory, time or stack than its size explains."""

import json
import subprocess
import sys

import pytest
from flow_xray import TraceFormatError, TraceResult, read_journal
from flow_xray._cli.main import main
from flow_xray._errors import TooLargeError
from flow_xray._read.bounds import check_memory, decode
from flow_xray._result import read_trace_files

SPAN = {"id": "01", "name": "a", "kind": "step", "started_at_ns": 1, "duration_ns": 1, "status": "ok"}
LAUGH = ["laugh " * 10, *([{"$ref": n}] * 10 for n in range(12))]
MORE = [["x"], *({"$more": [{"$ref": n}, [{"$ref": n}, {"$ref": n}]]} for n in range(34))]
JOINED = [["x"] * 9, *({"$more": [{"$ref": n}, [*[{"$ref": n}] * 9]]} for n in range(34))]


def record(value):
    text = json.dumps(value, separators=(",", ":"))
    return f"{len(text)}:{text}\n"


HEADER = record({"t": "flow-xray", "version": 1, "session": "s", "name": "x", "trace_id": "1", "started_at_ns": 1})


def trace_file(**more):
    return json.dumps({"format": "flow-xray/1", "name": "x", "spans": [SPAN], **more})


def journal(*records):
    return HEADER + "".join(map(record, records))


def start(**more):
    return {"t": "start", "id": "1", "parent_id": None, "name": "a", "kind": "step", "at": 1, "thread": "t", **more}


BOMBS = {
    "laugh": trace_file(pool=LAUGH, spans=[SPAN | {"input": {"$ref": 12}}]),
    "laugh in meta": trace_file(pool=LAUGH, meta={"a": {"$ref": 12}}, spans=[SPAN | {"meta": {"a": {"$ref": 12}}}]),
    "more": trace_file(pool=MORE, spans=[SPAN | {"output": {"$ref": 34}}]),
    "joined": trace_file(pool=JOINED, spans=[SPAN | {"output": {"$ref": 20}}]),
    "laugh in a journal": journal(
        {"t": "value", "key": "0", "value": LAUGH[0]},
        *({"t": "value", "key": str(n + 1), "value": [{"$ref": str(n)}] * 10} for n in range(12)),
        start(input={"$ref": "12"}),
    ),
    "just below the limit, many times": trace_file(
        pool=LAUGH, spans=[SPAN | {"id": str(n), "input": {"$ref": 4}, "output": {"$ref": 4}} for n in range(10)]
    ),
}
COMMANDS = [
    "view F --html out.html",
    "view F --json out --chrome out --speedscope out",
    *(f"export F --to {name} --out out" for name in ("otlp", "dot")),
    "diff F F",
    "stats F",
    "report F -o out",
    "analyze F",
    "check F F",
    "context F --source .",
]


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("name", BOMBS)
def test_a_file_of_2_kb_takes_less_than_200_mb_in_every_command(tmp_path, name):
    (tmp_path / "bomb.json").write_text(BOMBS[name])
    commands = [command.replace("F", "bomb.json").split() for command in COMMANDS]
    code = (
        "from flow_xray._cli.main import main\n"
        f"codes = [main(each) for each in {commands!r}]\n"
        "status = open('/proc/self/status').read()\n"  # ru_maxrss would begin with that of this process
        "print(int(status.partition('VmHWM:')[2].split()[0]) // 1024, codes)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    peak = int(ran.stdout.splitlines()[-1].split()[0])
    assert peak < 200
    assert "Traceback" not in ran.stderr
    assert (tmp_path / "out.html").stat().st_size < 5_000_000


def test_a_value_that_expands_too_far_is_marked_and_the_others_stay():
    trace = TraceResult.from_json(trace_file(pool=LAUGH, spans=[SPAN | {"input": {"$ref": 12}, "output": {"$ref": 1}}]))
    assert "<not shown: its references expand to more than 4 MB>" in json.dumps(trace.spans[0].input)
    assert trace.spans[0].output == [LAUGH[0]] * 10


def test_a_long_conversation_is_not_cut(tmp_path, make_span):
    history = [{"role": "user", "content": f"question {n} " + "word " * 100} for n in range(600)]
    spans = [make_span("call", input=history[:n]) for n in range(600)]
    text = TraceResult(spans=spans, is_frozen=True).to_json()
    assert TraceResult.from_json(text).spans[-1].input == history[:599]


@pytest.mark.parametrize("levels", [202, 500, 900])
@pytest.mark.parametrize("pair", ["[]", ('{"a":', "}")])
def test_deep_values_are_marked(levels, pair):
    deep = pair[0] * levels + ("1" if len(pair[0]) > 1 else "") + pair[1] * levels
    trace = TraceResult.from_json(f'{{"format":"flow-xray/1","spans":[{{"id":"1","name":"a","input":{deep}}}]}}')
    assert trace.spans[0].input == "<not shown: it is nested deeper than 200 levels>"
    assert trace.to_html()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"resourceSpans":' + "[" * 100_000, '{"format":"flow-xray/1","spans":' + "[" * 100_000]
)
def test_brackets_without_an_end_are_an_error_in_one_line(tmp_path, text, capsys):
    (tmp_path / "t.json").write_text(text)
    assert main(["view", str(tmp_path / "t.json")]) == 8
    assert capsys.readouterr().err.count("\n") == 1


NUMBERS = ["1" + "0" * 400, "1e999", "-1e999", "NaN", "9" * 5_000, "-5", "1e30"]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    "form",
    [
        '{"format":"flow-xray/1","spans":[{"id":"1","name":"a","started_at_ns":N,"duration_ns":3}]}',
        '{"format":"flow-xray/1","spans":[{"id":"1","name":"a","duration_ns":N}]}',
        (
            '{"format":"flow-xray/1","spans":[{"id":"1","name":"a","kind":"llm","input":[N],'
            '"meta":{"model":"gpt-4o","cost_usd":N,"input_tokens":N,"output_tokens":3,"attempt":N}}]}'
        ),
        '{"traceEvents":[{"ph":"X","name":"a","ts":N,"dur":N,"args":{"x":N}}]}',
        '{"traceEvents":[{"ph":"X","name":"a","ts":1,"dur":1,"args":{"id":1,"status":"ok","cost_usd":N}}]}',
        '{"resourceSpans":[{"scopeSpans":[{"spans":[{"spanId":"b","startTimeUnixNano":N,"endTimeUnixNano":N}]}]}]}',
        (
            '{"resourceSpans":[{"scopeSpans":[{"spans":[{"spanId":"b","startTimeUnixNano":1,"attributes":['
            '{"key":"gen_ai.usage.input_tokens","value":{"intValue":N}}]}]}]}]}'
        ),
    ],
)
def test_any_number_is_shown_or_refused(tmp_path, number, form, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.json").write_text(form.replace("N", number, form.count(":N") + form.count("[N")))
    for command in COMMANDS:
        assert main(command.replace("F", "t.json").split()) in (0, 1, 2, 8)
        assert capsys.readouterr().err.count("\n") <= 2


def test_numbers_in_a_journal_are_shown_or_counted_as_damaged(tmp_path):
    path = tmp_path / "t.xray"
    path.write_text(
        HEADER + "9" * 6_000 + ":x\n" + record(start(at=10**400, input=10**2_000))
        + '58:{"t":"end","id":"1","took":1e999,"status":"ok","output":1}\n'
    )  # fmt: skip
    trace = read_journal(path)
    assert trace.meta["journal"]["damaged_records"] == 2
    assert trace.spans[0].started_at_ns == 2**63 - 1
    assert trace.to_html()


def test_otlp_attributes_that_are_nested_too_deeply_are_marked(tmp_path):
    deep = '{"arrayValue":{"values":[' * 200 + '{"stringValue":"x"}' + "]}}" * 200
    attributes = f'[{{"key":"a","value":{deep}}}]'
    (tmp_path / "t.json").write_text(
        f'{{"resourceSpans":[{{"resource":{{"attributes":{attributes}}},"scopeSpans":[{{"spans":'
        f'[{{"spanId":"b","startTimeUnixNano":1,"attributes":{attributes}}}]}}]}}]}}'
    )
    assert len(read_trace_files([str(tmp_path / "t.json")]).spans) == 1


def test_a_file_whose_content_would_need_too_much_memory_is_refused(tmp_path):
    text = "[" + "[]," * 10_000_000 + "1]"
    with pytest.raises(TooLargeError, match="would need 1.8 GB of memory"):
        decode(text)
    with pytest.raises(TraceFormatError):
        check_memory(10**6, "spans", 1_400, 100_000_000)
    check_memory(10**6, "spans", 1_400, 200_000_000)


@pytest.mark.parametrize("name", ["ring", "same id", "own parent"])
def test_a_ring_of_parents_and_equal_ids_are_shown(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parent = {"ring": lambda n: str((n + 1) % 50), "same id": lambda n: None, "own parent": str}[name]
    spans = [SPAN | {"id": "1" if name == "same id" else str(n), "parent_id": parent(n)} for n in range(50)]
    (tmp_path / "t.json").write_text(trace_file(spans=spans))
    for command in COMMANDS:
        assert main(command.replace("F", "t.json").split()) in (0, 1)
