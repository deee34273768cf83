"""Files from elsewhere that describe more than they hold: references, depth, numbers, rings."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.redteam.area import Area

AREA = Area(
    "trace_bombs",
    hole="replace('flow_xray._data.unpack', 'Pool._count', lambda self, size, depth: None)",
)
_MAX_MB = 200
_SPAN: dict[str, Any] = {"id": "01", "parent_id": None, "name": "a", "kind": "step", "started_at_ns": 1}
_COMMANDS = [
    "view F --html o",
    "view F --json o1 --chrome o2",
    "export F --to otlp --out o3",
    "diff F F",
    "stats F",
    "report F -o o4",
    "check F F",
]


def _file(pool: list[Any], **more: Any) -> str:
    return json.dumps({"format": "flow-xray/1", "name": "x", "pool": pool, "spans": [_SPAN | more]})


def _record(value: dict[str, Any]) -> str:
    text = json.dumps(value, separators=(",", ":"))
    return f"{len(text)}:{text}\n"


def _journal(name: str) -> str:
    header = {"t": "flow-xray", "version": 1, "session": "s", "name": "x", "trace_id": "1", "started_at_ns": 1}
    start = {"t": "start", "id": "01", "parent_id": None, "name": "a", "kind": "step", "at": 1, "thread": "t"}
    values = [{"t": "value", "key": "0", "value": "laugh " * 10}]
    values += [{"t": "value", "key": str(n + 1), "value": [{"$ref": str(n)}] * 10} for n in range(7)]
    return _record(header) + "".join(map(_record, [*values, start | {"input": {"$ref": name}}]))


_LAUGH = ["laugh " * 10, *([{"$ref": n}] * 10 for n in range(7))]
_MORE = [["x"], *({"$more": [{"$ref": n}, [{"$ref": n}, {"$ref": n}]]} for n in range(34))]
_DEEP = '{"format":"flow-xray/1","spans":[{"id":"1","name":"a","input":' + "[" * 900 + "]" * 900 + "}]}"
_BOMBS = [
    ("laugh", _file(_LAUGH, input={"$ref": 7})),
    ("laugh in meta", _file(_LAUGH, meta={"a": {"$ref": 7}})),
    ("laugh in a journal", _journal("7")),
    ("more", _file(_MORE, output={"$ref": 34})),
    ("deep", _DEEP),
    ("brackets", '{"resourceSpans":' + "[" * 100_000),
    ("huge numbers", _file([], duration_ns=10**300, meta={"cost_usd": 10**400, "input_tokens": 10**400})),
    ("infinite", '{"format":"flow-xray/1","spans":[{"id":"1","name":"a","started_at_ns":1e999}]}'),
    ("digits", _file([]).replace('"started_at_ns": 1', f'"started_at_ns": {"9" * 5_000}')),
    ("chrome", json.dumps({"traceEvents": [{"ph": "X", "name": "a", "ts": 1e308, "dur": 1e308}] * 5})),
    ("one id", json.dumps({"format": "flow-xray/1", "spans": [_SPAN | {"parent_id": "01"}] * 500})),
]


@AREA.attempt_each("a trace that takes", _BOMBS)
def _(folder: Path, case: tuple[str, str]) -> str | None:
    (folder / "bomb").write_text(case[1])
    commands = [command.replace("F", "bomb").split() for command in _COMMANDS]
    code = (
        "from flow_xray._cli.main import main\n"
        f"for command in {commands!r}: main(command)\n"
        "status = open('/proc/self/status').read()\n"
        "print(int(status.partition('VmHWM:')[2].split()[0]) // 1024)"
    )
    try:
        ran = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2_000_000_000,) * 2),
        )
    except subprocess.TimeoutExpired:
        return f"{case[0]}: it takes more than 20 s"
    if ran.returncode or "Traceback" in ran.stderr:
        return f"{case[0]}: {ran.stderr.strip()[-200:]}"
    peak = int(ran.stdout.splitlines()[-1])
    return f"{case[0]}: {peak} MB" if peak > _MAX_MB else None


@AREA.attempt("a captures index that removes a file elsewhere")
def _(folder: Path) -> str | None:
    from flow_xray import TraceStore

    (folder / "victim.xray").write_text("kept")
    store = folder / "store"
    store.mkdir()
    begin = {"t": "begin", "id": "../victim", "name": "x", "started_at": "2000-01-01"}
    end = {"t": "end", "id": "../victim", "status": "ok", "size_bytes": 1}
    (store / "index.jsonl").write_text("\n".join(map(json.dumps, (begin, end))))
    TraceStore(store, max_age_s=1)
    return None if (folder / "victim.xray").exists() else "victim.xray is gone"
