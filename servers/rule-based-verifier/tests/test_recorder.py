"""The recorder within this process: what the child does, one event at a time."""

import json
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import flow_xray
import pytest
from flow_xray import read_journal, trace
from rule_based_verifier.tracing import recorder
from rule_based_verifier.tracing.recorder import Recorder

HERE = str(Path(__file__).parent)


def steps() -> Any:
    try:
        yield 1
    except ValueError:
        yield 2


def plain(self: object, a: int, *rest: int, b: int = 2, **more: int) -> FrameType:
    return sys._getframe()


def test_a_generator_is_suspended_until_it_returns() -> None:
    with trace.capture() as session:
        recording = Recorder(session, HERE, 10)
        running = steps()
        frame = running.gi_frame
        next(running)
        inside = recording.trace(frame, "call", None)
        inside(frame, "return", 1)
        assert session.spans[0].status == "open"
        assert recording.trace(frame, "call", None) == inside
        recording.end()
    (span,) = session.result().spans
    assert (span.name, span.kind, span.status) == ("steps", "generator", "cancelled")


def test_arguments_are_recorded_by_name_and_the_end_by_the_instruction() -> None:
    with trace.capture() as session:
        recording = Recorder(session, HERE, 1)
        frame = plain(None, 1, 2, b=3, c=4)
        recording.trace(frame, "call", None)(frame, "return", "value")
        assert recording.trace(plain(None, 1), "call", None) is None
        assert recording.omitted == 1
        assert recording.trace(frame, "line", None) is None
    (span,) = session.result().spans
    assert (span.input, span.output) == ({"a": 1, "rest": [2], "b": 3, "more": {"c": 4}}, "value")


def test_an_exception_that_leaves_a_frame_fails_its_span() -> None:
    def failing(raised: list[FrameType]) -> None:
        raised.append(sys._getframe())
        raise KeyError("x")

    with trace.capture() as session:
        recording = Recorder(session, HERE, 10)
        raised: list[FrameType] = []
        with pytest.raises(KeyError) as caught:
            failing(raised)
        inside = recording.trace(raised[0], "call", None)
        inside(raised[0], "exception", (KeyError, caught.value, None))
        inside(raised[0], "return", None)
    (span,) = session.result().spans
    assert span.status == "error" and span.error["type"] == "KeyError"


def test_code_that_is_not_of_the_root_is_not_recorded(tmp_path: Path) -> None:
    with trace.capture() as session:
        assert Recorder(session, str(tmp_path), 10).place(plain.__code__) is None
        recording = Recorder(session, HERE, 10)
        assert recording.place(compile("x", "<string>", "exec")) is None
        assert recording.place(compile("x", f"{HERE}/.venv/a.py", "exec")) is None
        assert recording.trace(compile_frame(), "call", None) is None


def compile_frame() -> FrameType:
    space: dict[str, Any] = {"sys": sys}
    exec(compile("def f():\n    return sys._getframe()\n", "<string>", "exec"), space)
    return space["f"]()


@pytest.mark.parametrize(
    ("function", "arguments", "kind"),
    [
        ("double", [4], "returned"),
        ("later", [4], "returned"),
        ("numbers", {"n": 3}, "returned"),
        ("fails", [], "raised"),
        ("Unprintable.fails", [], "raised"),
        ("double", [], "refused"),
        ("len", [[]], "refused"),
        (None, [], "import"),
    ],
)
def test_a_request_is_run_and_its_outcome_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str | None, arguments: Any, kind: str
) -> None:
    module = f"recorded_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{module}.py").write_text(
        "len = len\ndef double(n):\n    return 2 * n\nasync def later(n):\n    return double(n)\n"
        "def numbers(n):\n    yield from range(n)\ndef fails():\n    raise ValueError('no')\n"
        "class Unprintable(Exception):\n    def __str__(self):\n        raise OSError\n"
        "    @staticmethod\n    def fails():\n        raise Unprintable\n"
    )
    request = {
        "root": str(tmp_path),
        "path": [str(tmp_path)],
        "target": "it",
        "module": module if function else "nothing_of_this_name",
        "function": function or "f",
        "arguments": arguments,
        "max_calls": 10,
        "limits": {"max_string": 100},
        "flow_xray": str(Path(flow_xray.__file__).parent),
        "journal": str(tmp_path / "trace.xray"),
        "outcome": str(tmp_path / "outcome.json"),
    }
    (tmp_path / "request.json").write_text(json.dumps(request))
    monkeypatch.setattr(sys, "argv", ["recorder.py", str(tmp_path / "request.json")])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "flow_xray", flow_xray)
    recorder.main()
    assert json.loads((tmp_path / "outcome.json").read_text())["kind"] == kind
    assert bool(read_journal(request["journal"]).spans) is (kind in ("returned", "raised"))


def test_a_flow_xray_that_cannot_be_loaded_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "__init__.py").write_text("a syntax error")
    request = {"path": [], "flow_xray": str(tmp_path), "outcome": str(tmp_path / "outcome.json")}
    (tmp_path / "request.json").write_text(json.dumps(request))
    monkeypatch.setattr(sys, "argv", ["recorder.py", str(tmp_path / "request.json")])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "flow_xray", flow_xray)
    recorder.main()
    assert "SyntaxError" in json.loads((tmp_path / "outcome.json").read_text())["message"]
