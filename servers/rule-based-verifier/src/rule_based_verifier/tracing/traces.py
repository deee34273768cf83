"""`semantic_trace`: run a target in a child process and return its calls as a flow-xray trace."""

import asyncio
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import flow_xray
from flow_xray import FlowXrayError, Span, TraceResult, read_journal
from loom_agents.process import Ended, Limits, run_process
from loom_agents.redaction import shown_text
from loom_agents.workspace import Workspace, WorkspaceError

from rule_based_verifier._errors import CallError
from rule_based_verifier.gates.detection import find_program, python_of
from rule_based_verifier.gates.gates import open_root
from rule_based_verifier.gates.trusting import RootTrust
from rule_based_verifier.gates.verdicts import Verdict
from rule_based_verifier.settings import Settings
from rule_based_verifier.tracing import recorder
from rule_based_verifier.tracing.targets import Target, parse_target

__all__ = ["SemanticTrace", "semantic_trace"]

MAX_CALLS: Final = 2_000
_MAX_TRACE_BYTES: Final = 400_000
_MAX_OUTPUT_BYTES: Final = 8_000
_MAX_ARGUMENT_BYTES: Final = 1_000_000
_LIMITS: Final = {"max_string": 400, "max_items": 30, "max_depth": 6, "max_nodes": 400}
_TEXT_LINES: Final = 60
_VALUE: Final = 100
_NEXT: Final = {
    "setup": "Install what is missing in the environment of the root.",
    "import": "Repair the import, or name the file of the function instead of its module.",
    "refused": "Name a function that a file of the root defines, with arguments that fit.",
    "skipped": "Trace a test that can run here.",
    "not_run": "Read output_tail, and check the id of the test.",
}


@dataclass(frozen=True)
class SemanticTrace:
    """The calls of one run.

    Args:
        target: What was asked for.
        verdict: `pass` when the function returned or the test passed, `fail` when it raised or
            failed.
        reason: Why.
        next_step: What to do when it cannot be told; otherwise empty.
        value: The value that the function returned, as bounded JSON with secrets masked.
        calls: How many calls the trace has.
        calls_omitted: How many more were made in the root and are not in the trace.
        trace: The trace in the format `flow-xray/1`, which `flow-xray view` opens.
        html_path: The page that was written; None when none was asked for.
        argv: The command.
        exit_code: Its exit code; None when it did not run or was killed at the time limit.
        output_tail: What the target printed, with secrets masked.
        duration_ms: How long it ran.
    """

    target: str
    verdict: Verdict
    reason: str
    next_step: str
    value: Any
    calls: int
    calls_omitted: int
    trace: dict[str, Any] | None
    html_path: str | None
    argv: list[str]
    exit_code: int | None
    output_tail: str
    duration_ms: int

    def as_text(self) -> str:
        """Return the tree of the calls, one line each."""
        lines = [f"{self.target}: {self.verdict} ({self.reason})"]
        if self.trace is not None:
            lines += _tree_lines(TraceResult.from_json(json.dumps(self.trace)))
        if self.calls_omitted:
            lines.append(f"[{self.calls_omitted} more calls were not recorded]")
        if self.html_path:
            lines.append(f"page: {self.html_path}")
        if self.verdict != "pass" and self.output_tail:
            lines += ["output (end):", *(f"| {line}" for line in self.output_tail.splitlines()[-20:])]
        if self.next_step:
            lines.append(f"next step: {self.next_step}")
        return "\n".join(lines)


async def semantic_trace(
    settings: Settings,
    target: str,
    arguments: Mapping[str, Any] | Sequence[Any] | None = None,
    *,
    html_path: str | None = None,
    max_calls: int = 200,
) -> SemanticTrace:
    """Run a function or one test of the root, and record the calls of its code with their values.

    Args:
        settings: Root and limits.
        target: `package.module:function`, `path/file.py:function`, or `path/test_file.py::test`.
        arguments: The arguments of the function: an object by name, or a list by position.
        html_path: A new file for the page, in the root or in a temporary folder; its name ends with
            `.html`.
        max_calls: How many calls are recorded, at most 2000.

    Raises:
        CallError: The target or a path cannot be used. Nothing was run.
    """
    workspace = open_root(settings)
    wanted = parse_target(workspace, target)
    if not 1 <= max_calls <= MAX_CALLS:
        raise CallError(f"cannot record {max_calls} calls: give 1 to {MAX_CALLS}.")
    if wanted.function is None and arguments:
        raise CallError("cannot pass arguments to a test: it takes its values from fixtures. Leave out `arguments`.")
    given = json.dumps({} if arguments is None else arguments)
    if len(given) > _MAX_ARGUMENT_BYTES:
        raise CallError(f"cannot pass arguments of {len(given)} bytes: at most {_MAX_ARGUMENT_BYTES} are allowed.")
    place = None if html_path is None else _page_place(settings, workspace, html_path)
    trust = RootTrust(settings, workspace)
    python = find_program(workspace.root, python_of(workspace))
    if objection := await asyncio.to_thread(trust.objection):
        step = f"Ask the user to read what would run, and to run `{trust.command}`."
        return _without(target, f"not run: {objection}", step)
    if python is None:
        return _without(target, "the Python of the root cannot be started", "Repair the root's environment.")
    with tempfile.TemporaryDirectory(prefix="verifier-") as scratch:
        request = _request(wanted, workspace, Path(scratch), json.loads(given), max_calls)
        argv = (python, "-B", str(Path(recorder.__file__)), _stored(request, Path(scratch)))
        ended = await run_process(
            argv,
            folder=workspace.root,
            timeout_s=settings.timeout_s,
            max_output_bytes=_MAX_OUTPUT_BYTES,
            limits=Limits(
                cpu_s=max(60, 4 * int(settings.timeout_s)), memory_bytes=4_000_000_000, file_bytes=100_000_000
            ),
            network=settings.network,
        )
        recorded, outcome = await asyncio.to_thread(_read, request)
    verdict, reason, step = _verdict(ended, outcome, settings.timeout_s)
    if outcome.get("kind") == "several":
        ids = ", ".join(json.loads(outcome["message"]))
        raise CallError(f"cannot trace {target!r}: it names several tests. Give one of {shown_text(ids)}.")
    written = None
    if recorded is not None and place is not None:
        written = await asyncio.to_thread(_write_page, place, recorded)
    document, kept = (None, 0) if recorded is None else await asyncio.to_thread(_bounded, recorded)
    uncounted = outcome.get("omitted")
    omitted = (uncounted if isinstance(uncounted, int) else 0) + (0 if recorded is None else len(recorded.spans) - kept)
    return SemanticTrace(
        target,
        verdict,
        shown_text(reason),
        step,
        None if recorded is None else recorded.value,
        kept,
        omitted,
        document,
        written,
        [Path(python).name, "recorder.py", target],
        None if ended.timed_out else ended.exit_code,
        shown_text(ended.output.decode("utf-8", "replace")),
        ended.duration_ms,
    )


def _without(target: str, reason: str, step: str) -> SemanticTrace:
    return SemanticTrace(target, "cannot_tell", reason, step, None, 0, 0, None, None, [], None, "", 0)


def _request(wanted: Target, workspace: Workspace, scratch: Path, arguments: Any, max_calls: int) -> dict[str, Any]:
    return {
        "root": str(workspace.root),
        "path": [str(folder) for folder in wanted.path],
        "target": wanted.shown,
        "module": wanted.module,
        "function": wanted.function,
        "test": wanted.test,
        "options": ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", str(workspace.root)],
        "arguments": arguments,
        "max_calls": max_calls,
        "limits": _LIMITS,
        "flow_xray": str(Path(flow_xray.__file__).parent),
        "journal": str(scratch / "trace.xray"),
        "outcome": str(scratch / "outcome.json"),
    }


def _stored(request: dict[str, Any], scratch: Path) -> str:
    file = scratch / "request.json"
    file.write_text(json.dumps(request), encoding="utf-8")
    return str(file)


def _read(request: dict[str, Any]) -> tuple[TraceResult | None, dict[str, Any]]:
    """Read what the child wrote; it may be missing or cut anywhere."""
    try:
        recorded = read_journal(request["journal"])
    except FlowXrayError:
        recorded = None
    try:
        outcome = json.loads(Path(request["outcome"]).read_bytes()[:1_000_000])
    except (OSError, ValueError, RecursionError):
        outcome = {}
    return recorded, outcome if isinstance(outcome, dict) else {}


def _verdict(ended: Ended, outcome: dict[str, Any], timeout_s: float) -> tuple[Verdict, str, str]:
    kind, message = str(outcome.get("kind", "")), str(outcome.get("message", ""))
    if ended.timed_out:
        return (
            "cannot_tell",
            f"it was stopped after {timeout_s:g} s; the trace has the calls until then",
            "Raise --timeout-s.",
        )
    if kind in ("returned", "passed"):
        return "pass", "the function returned" if kind == "returned" else "the test passed", ""
    if kind in ("raised", "failed"):
        return "fail", f"the {'function raised' if kind == 'raised' else 'test failed'}: {message}", ""
    if kind in _NEXT:
        texts = {"import": f"its module cannot be imported: {message}", "skipped": "the test was skipped"}
        return "cannot_tell", texts.get(kind, message), _NEXT[kind]
    return "cannot_tell", f"the process ended with {ended.exit_code} before the target did", "Read output_tail."


# ------------------------------------------------------------------ the trace, bounded


def _bounded(recorded: TraceResult) -> tuple[dict[str, Any], int]:
    """Return the document of as many of the first calls as the limit in bytes allows."""
    count = len(recorded.spans)
    while True:
        part = TraceResult(
            recorded.name,
            recorded.spans[:count],
            recorded.value if count else None,
            recorded.meta,
            recorded.trace_id,
            recorded.is_frozen,
        )
        text = part.to_json()
        if len(text) <= _MAX_TRACE_BYTES or not count:
            document: dict[str, Any] = json.loads(text)
            return document, count
        count //= 2


def _tree_lines(recorded: TraceResult) -> list[str]:
    by_parent: dict[str | None, list[Span]] = {}
    ids = {span.id for span in recorded.spans}
    for span in recorded.spans:
        by_parent.setdefault(span.parent_id if span.parent_id in ids else None, []).append(span)
    lines: list[str] = []
    stack = [(span, 0) for span in reversed(by_parent.get(None, []))]
    while stack and len(lines) < _TEXT_LINES:
        span, depth = stack.pop()
        lines.append(f"{'  ' * min(depth, 20)}{_call_line(span)}")
        stack += [(inner, depth + 1) for inner in reversed(by_parent.get(span.id, []))]
    if stack:
        lines.append(f"... ({len(recorded.spans)} calls in all)")
    return lines


def _call_line(span: Span) -> str:
    given = span.input if isinstance(span.input, dict) else {}
    arguments = ", ".join(f"{name}={_short(value)}" for name, value in given.items())
    if span.error is not None:
        end = f"raised {span.error.get('type')}: {_short(span.error.get('message'))}"
    else:
        end = f"-> {_short(span.output)}" if span.status == "ok" else span.status
    return f"{span.name}({arguments}) {end}  [{span.code}]"


def _short(value: object) -> str:
    text = shown_text(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _VALUE else f"{text[: _VALUE - 3]}..."


# ------------------------------------------------------------------ the page


def _page_place(settings: Settings, workspace: Workspace, path: str) -> tuple[Workspace, Path]:
    """Return the folder that a new page may be written into, and its path.

    Raises:
        CallError: It is elsewhere, hidden, has another ending, or exists.
    """
    if not path.endswith(".html"):
        raise CallError(f"cannot write {path!r}: the name of the page must end with .html.")
    home = workspace
    if Path(path).is_absolute() and not Path(path).is_relative_to(workspace.root):
        home = Workspace.at(settings.scratch)
    try:
        real = home.resolve(path)
    except WorkspaceError as exc:
        raise CallError(f"cannot write {path!r}: it is neither in the root nor in {settings.scratch}.") from exc
    if any(part.startswith(".") for part in real.relative_to(home.root).parts):
        raise CallError(f"cannot write {path!r}: its name or a folder of it begins with a dot.")
    if real.exists():
        raise CallError(f"cannot write {path!r}: it exists. Give the name of a new file.")
    if not real.parent.is_dir():
        raise CallError(f"cannot write {path!r}: its folder does not exist.")
    return home, real


def _write_page(place: tuple[Workspace, Path], recorded: TraceResult) -> str:
    home, real = place
    page = recorded.to_html().encode()
    try:
        with home.folder(real.relative_to(home.root).parts[:-1]) as folder:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(os.open(real.name, flags, 0o600, dir_fd=folder), "wb") as stream:
                stream.write(page)
    except OSError as exc:
        raise CallError(f"cannot write {str(real)!r}: {exc.strerror or exc}.") from exc
    return str(real)
