"""Record the calls of one function or test: the program that runs in the child process.

    python recorder.py REQUEST.json

The request names the root, the target, the limits and the files to write. The Python is that of the
root, which need not have flow_xray, so flow_xray is loaded from the place where the server has it
(it needs only the standard library). The journal is on disk at every moment: a target that hangs or
kills the process leaves the calls until then.

Theory of operation. A trace function (`sys.settrace`, without line events) sees every call of code
whose file is in the root. Each frame gets one span; its parent is the nearest recorded frame below
it on the stack, so generators and coroutines, whose frames are left and entered again, keep theirs.
A frame that is left is suspended, returned or failed by the instruction at which it was left.

Not covered: code that sets a trace function of its own is not recorded from then on.
"""

import asyncio
import contextvars
import dis
import importlib.util
import inspect
import itertools
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

_SKIPPED_NAMES = {"<module>", "<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>"}
_SKIPPED_PARTS = {".venv", "venv", "site-packages", "node_modules", ".git", ".tox", ".nox"}
_MAX_ITEMS = 100
_RETURNS = {dis.opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST") if name in dis.opmap}
# From 3.13 on, a frame that yields is left at the instruction after it, RESUME.
_SUSPENDS = {dis.opmap[name] for name in ("YIELD_VALUE", "RESUME") if name in dis.opmap}


def main() -> None:
    """Run the target and write its outcome."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.path[:1] = request["path"]
    sys.argv[1:] = []
    outcome: dict[str, Any] = {"kind": "setup", "message": "the recorder did not start"}
    try:
        xray = _flow_xray(request["flow_xray"])
        capture, limits = xray.trace.capture, xray.Limits(**request["limits"])
    except Exception as error:  # noqa: BLE001  an old Python, for example; said in the outcome
        outcome["message"] = f"flow_xray cannot be loaded by this Python: {type(error).__name__}: {error}"
    else:
        with capture(name=request["target"], journal=request["journal"], limits=limits) as session:
            recorder = Recorder(session, request["root"], request["max_calls"])
            # In an empty context the target's own @trace records nothing into this session.
            outcome = contextvars.Context().run(_run, request, recorder)
            outcome["omitted"] = recorder.omitted
            recorder.end()
    Path(request["outcome"]).write_text(json.dumps(outcome), encoding="utf-8")


def _flow_xray(folder: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "flow_xray", Path(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["flow_xray"] = module
    spec.loader.exec_module(module)
    return module


def _run(request: dict[str, Any], recorder: "Recorder") -> dict[str, Any]:
    return _run_test(request, recorder) if request["function"] is None else _run_function(request, recorder)


# ------------------------------------------------------------------ a function


def _run_function(request: dict[str, Any], recorder: "Recorder") -> dict[str, Any]:
    try:
        module = importlib.import_module(request["module"])
    except BaseException as error:  # noqa: BLE001  whatever the module raises is the outcome
        return {"kind": "import", "message": _said(error)}
    function: Any = module
    for name in request["function"].split("."):
        function = getattr(function, name, None)
    code = getattr(inspect.unwrap(function) if callable(function) else None, "__code__", None)
    if code is None or recorder.place(code) is None:
        return {"kind": "refused", "message": "it is no Python function that the root defines"}
    arguments = request["arguments"]
    args, kwargs = (arguments, {}) if isinstance(arguments, list) else ((), arguments)
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError as error:
        return {"kind": "refused", "message": f"its signature is {inspect.signature(function)}: {error}"}
    try:
        with recorder:
            value = function(*args, **kwargs)
            if inspect.iscoroutine(value):
                value = asyncio.run(value)
            elif inspect.isgenerator(value):
                value = list(itertools.islice(value, _MAX_ITEMS))
    except BaseException as error:  # noqa: BLE001  whatever the function raises is the outcome
        return {"kind": "raised", "message": _said(error)}
    recorder.session.value = recorder.session.freeze(value)
    return {"kind": "returned", "message": ""}


def _said(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  an exception whose __str__ raises
        text = ""
    return f"{type(error).__name__}: {text}"[:1000]


# ------------------------------------------------------------------ a test


def _run_test(request: dict[str, Any], recorder: "Recorder") -> dict[str, Any]:
    try:
        import pytest
    except ImportError:
        return {"kind": "setup", "message": "pytest is not installed in this Python"}

    class Plugin:
        """Record one test, with its fixtures."""

        def __init__(self) -> None:
            self.ids: list[str] = []
            self.reports: list[Any] = []

        def pytest_collection_modifyitems(self, items: list[Any]) -> None:
            self.ids = [item.nodeid for item in items]
            if len(items) > 1:
                del items[:]

        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_protocol(self) -> Iterator[None]:
            with recorder:
                yield

        def pytest_runtest_logreport(self, report: Any) -> None:
            self.reports.append(report)

    plugin = Plugin()
    try:
        code = int(pytest.main([request["test"], *request["options"]], plugins=[plugin]))
    except BaseException as error:  # noqa: BLE001  SystemExit of a test, for example
        return {"kind": "raised", "message": _said(error)}
    if len(plugin.ids) > 1:
        return {"kind": "several", "message": json.dumps(plugin.ids[:20])}
    failed = [report for report in plugin.reports if report.outcome == "failed"]
    if failed:
        crash = getattr(getattr(failed[0], "longrepr", None), "reprcrash", None)
        return {"kind": "failed", "message": str(getattr(crash, "message", failed[0].when))[:1000]}
    if any(report.when == "call" and report.outcome == "passed" for report in plugin.reports):
        return {"kind": "passed", "message": ""}
    if plugin.reports:
        return {"kind": "skipped", "message": ""}
    return {"kind": "not_run", "message": f"pytest ended with exit code {code} and ran no test"}


# ------------------------------------------------------------------ recording


class Recorder:
    """The trace function, and the spans of the frames that are running."""

    def __init__(self, session: Any, root: str, max_calls: int) -> None:
        self.session = session
        self.omitted = 0
        self._root = Path(root).resolve()
        self._left = max_calls
        self._before: Any = None
        self._spans: dict[FrameType, Any] = {}
        self._raised: dict[FrameType, BaseException] = {}
        self._places: dict[CodeType, str | None] = {}

    def __enter__(self) -> None:
        self._before = sys.gettrace()
        threading.settrace(self.trace)
        sys.settrace(self.trace)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)
        threading.settrace(None)

    def place(self, code: CodeType) -> str | None:
        """Return `file:line` relative to the root; None for code that is not recorded."""
        if code not in self._places:
            self._places[code] = self._find(code)
        return self._places[code]

    def _find(self, code: CodeType) -> str | None:
        if code.co_filename.startswith("<"):  # frozen modules, and code from a string
            return None
        path = Path(code.co_filename).resolve()
        if code.co_name in _SKIPPED_NAMES or not path.is_relative_to(self._root):
            return None
        inner = path.relative_to(self._root)
        return None if _SKIPPED_PARTS & set(inner.parts) else f"{inner.as_posix()}:{code.co_firstlineno}"

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        """Handle the call of a function."""
        if event != "call" or self.session.closed:
            return None
        code = frame.f_code
        place = self.place(code)
        if place is None:
            return None
        if frame not in self._spans:
            if self._left <= 0:
                self.omitted += 1
                return None
            self._left -= 1
            name = getattr(code, "co_qualname", code.co_name).replace("<locals>.", "")
            given = self.session.freeze(_arguments(frame))
            kind = "generator" if code.co_flags & inspect.CO_GENERATOR else "function"
            self._spans[frame] = self.session.open_span(self._parent(frame), name, kind, given, place)
        frame.f_trace_lines = False
        return self._inside

    def _parent(self, frame: FrameType) -> Any:
        outer = frame.f_back
        while outer is not None:
            if outer in self._spans:
                return self._spans[outer]
            outer = outer.f_back
        return None

    def _inside(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "exception":
            self._raised[frame] = argument[1]
        elif event == "return" and frame in self._spans and not self.session.closed:
            instruction = frame.f_code.co_code[frame.f_lasti]
            if instruction in _SUSPENDS:
                return self._inside
            span = self._spans.pop(frame)
            error = self._raised.pop(frame, None)
            if instruction in _RETURNS or error is None:
                span.output = self.session.freeze(argument)
                self.session.close_span(span)
            else:
                self.session.fail_span(span, error)
        return self._inside

    def end(self) -> None:
        """Close the spans of generators and coroutines that were left and not entered again."""
        for span in self._spans.values():
            self.session.close_span(span, "cancelled")
        self._spans.clear()


def _arguments(frame: FrameType) -> dict[str, object]:
    code = frame.f_code
    number = code.co_argcount + code.co_kwonlyargcount
    number += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    names = code.co_varnames[:number]
    values = frame.f_locals
    return {name: values[name] for name in names if name in values and name not in ("self", "cls")}


if __name__ == "__main__":
    main()
