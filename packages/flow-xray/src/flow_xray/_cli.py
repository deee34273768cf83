"""The command line: `flow-xray view`, `run`, `diff` and `check`.

Exit codes: 0 done, 1 failed, 2 usage (no such file included), 8 a trace that cannot be read or is too new, 130
interrupted. `run` ends with the exit code of what it ran.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from flow_xray._errors import FlowXrayError, TraceFormatError, TraceOutputError
from flow_xray._model import Json
from flow_xray._result import TraceResult

FAILED, USAGE, UNREADABLE, INTERRUPTED = 1, 2, 8, 130
LIMITS = ("calls", "tokens", "cost", "duration")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; print one clear line when something is wrong."""
    parser = _parser()
    given = list(sys.argv[1:] if arguments is None else arguments)
    head, rest = _split(given)
    options = parser.parse_args(head)
    if options.command is None:
        parser.print_help(sys.stderr)
        return USAGE
    try:
        if options.command != "run":
            if rest is not None:
                parser.error(f"cannot take arguments after --: because {options.command} runs nothing. Leave them out.")
            if options.command == "view":
                return _view(options)
            from flow_xray._cli_diff import compare  # noqa: PLC0415  --help loads nothing

            return compare(options)
        from flow_xray._run_script import run_script  # noqa: PLC0415  --help loads nothing

        return run_script(options, rest or [])
    except TraceFormatError as error:
        complain(str(error))
        return UNREADABLE
    except FlowXrayError as error:
        complain(str(error))
        return FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left in the buffer has nowhere to go
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def complain(message: str) -> None:
    """Print one line for a person, beside the answers."""
    sys.stderr.write(message + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="flow-xray", description="Show what a program did, in one offline HTML file.")
    parser.add_argument("--version", action="version", version="flow-xray 0.7.0")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    view = commands.add_parser(
        "view",
        help="turn a journal or a trace file into a page",
        description="Turn a journal (.xray, also of a killed program) or a trace (.json) into one HTML file.",
    )
    view.add_argument(
        "file", metavar="FILE", nargs="+", help="a .xray journal (several make one trace), or a JSON trace"
    )
    view.add_argument("--html", metavar="OUT", help="where the page goes (default: beside FILE, with the ending .html)")
    view.add_argument("--json", metavar="OUT", help="also write the trace as JSON")
    view.add_argument("--chrome", metavar="OUT", help="also write Chrome trace events (Perfetto, DevTools)")
    view.add_argument("--speedscope", metavar="OUT", help="also write a speedscope flame graph")
    view.add_argument("--format", choices=("text", "json"), help="what is printed (default: text; JSON into a pipe)")
    diff = commands.add_parser(
        "diff",
        help="show what changed between two traces",
        description="Show which calls came, went, moved or behaved differently. Exit code 1 when there are any.",
    )
    check = commands.add_parser(
        "check",
        help="fail when a new trace differs from a golden one",
        description="Compare NEW with GOLDEN. Exit code 1, and a page beside NEW, when a call changed or a limit is "
        "exceeded. Limits are a percentage (10%%) or a number (500; cost in USD, duration in ms).",
    )
    for parser_of, before, after in ((diff, "A", "B"), (check, "GOLDEN", "NEW")):
        parser_of.add_argument("before", metavar=before, help="a .xray journal or a JSON trace")
        parser_of.add_argument("after", metavar=after, help="the same, of the later run")
        parser_of.add_argument("--html", metavar="OUT", help="write the difference as a page")
        parser_of.add_argument(
            "--ignore", metavar="NAME", action="append", default=[], help="a member that does not count, at any depth"
        )
    for name in LIMITS:
        check.add_argument(f"--max-{name}-increase", metavar="LIMIT", help=f"how far {name} may grow")
    check.add_argument("--limits-only", action="store_true", help="let changed calls pass; only the limits count")
    run = commands.add_parser(
        "run",
        help="run a script and write its trace",
        description="Run a script as __main__ and write the trace of its traced functions, whatever it raises. "
        "Arguments of the script come after --.",
        usage="flow-xray run [--html OUT] [--json OUT] [--journal FILE] (SCRIPT | -m MODULE) [-- ARGUMENTS ...]",
    )
    run.add_argument("script", nargs="?", metavar="SCRIPT", help="path of a Python file")
    run.add_argument("-m", dest="module", metavar="MODULE", help="run a module instead")
    run.add_argument("--html", metavar="OUT", default="trace.html", help="where the page goes (default: trace.html)")
    run.add_argument("--json", metavar="OUT", help="also write the trace as JSON")
    run.add_argument(
        "--journal", metavar="FILE", help="keep the journal here (default: beside the page, removed at the end)"
    )
    return parser


def _split(given: list[str]) -> tuple[list[str], list[str] | None]:
    """Split at `--`, behind which everything belongs to the script."""
    if "--" not in given:
        return given, None
    at = given.index("--")
    return given[:at], given[at + 1 :]


def _view(options: argparse.Namespace) -> int:
    paths: list[str] = options.file
    for path in paths:
        if not os.path.exists(path):  # noqa: PTH110  pathlib costs 9 ms
            complain(f"cannot read {path!r}: because there is no such file. Give a .xray journal or a JSON trace.")
            return USAGE
    result = read_trace(*paths)
    path = paths[0]
    target = options.html or os.path.splitext(path)[0] + ".html"  # noqa: PTH122  as above
    if not options.html:
        refuse_foreign(target)
    result.to_html(target)
    if options.json:
        result.to_json(options.json)
    if options.chrome:
        result.to_chrome(options.chrome)
    if options.speedscope:
        result.to_speedscope(options.speedscope)
    as_json = options.format == "json" or (options.format is None and not sys.stdout.isatty())
    facts = summary_of(result)
    facts["html"] = target
    sys.stdout.write(json.dumps(facts) if as_json else f"{summary_line(facts)}\npage: {target}  (open it in a browser)")
    sys.stdout.write("\n")
    sys.stdout.flush()
    return 0


def read_trace(*paths: str) -> TraceResult:
    """Read a journal (several make one trace) or a JSON trace, whichever it is.

    Raises:
        TraceFormatError: it is neither, or cannot be read.
    """
    from flow_xray._journal import MAGIC  # noqa: PLC0415  --help loads nothing
    from flow_xray._journal_read import parse_journals  # noqa: PLC0415  as above

    contents: list[tuple[bytes, str]] = []
    for path in paths:
        try:
            with open(path, "rb") as stream:  # noqa: PTH123  as above
                contents.append((stream.read(), path))
        except OSError as error:
            raise TraceFormatError(
                f"cannot read {path!r}: because {error.strerror or error}. Give a .xray journal or a JSON trace."
            ) from error
    content, path = contents[0]
    if len(contents) > 1 or MAGIC in content[:64]:
        return parse_journals(contents)
    if content.lstrip()[:1] != b"{":
        raise TraceFormatError(
            f"cannot read {path!r}: because it is neither a journal nor a JSON trace. Give a .xray or .json file."
        )
    return TraceResult.from_json(content)


def summary_of(result: TraceResult) -> dict[str, Json]:
    """Return the facts that are printed: name, status, counts, time."""
    spans = result.spans
    first = min((span.started_at_ns for span in spans), default=0)
    last = max((span.started_at_ns + (span.duration_ns or 0) for span in spans), default=0)
    own = result.meta.get("status")
    return {
        "name": result.name,
        "status": own if isinstance(own, str) else result.status,
        "spans": len(spans),
        "model_calls": sum(span.kind == "llm" for span in spans),
        "errors": sum(span.status == "error" and "origin" not in (span.error or {}) for span in spans),
        "interrupted": sum(span.status == "interrupted" for span in spans),
        "duration_ms": round((last - first) / 1e6, 3),
    }


def summary_line(facts: dict[str, Json]) -> str:
    """Return the facts as one line for a person."""
    parts = [f"{facts['spans']:,} {'span' if facts['spans'] == 1 else 'spans'}"]
    for key, one, many in (
        ("model_calls", "model call", "model calls"),
        ("errors", "error", "errors"),
        ("interrupted", "interrupted", "interrupted"),
    ):
        if facts[key]:
            parts.append(f"{facts[key]:,} {one if facts[key] == 1 else many}")
    milliseconds = facts["duration_ms"]
    assert isinstance(milliseconds, int | float)
    return f"{facts['name']}  {facts['status']}  {', '.join(parts)}, {human_duration(milliseconds)}"


def human_duration(milliseconds: float) -> str:
    """Return a duration as a person reads it: 4 ms, 1.84 s, 4 m 12 s, 2 h 10 m."""
    if milliseconds < 1:
        return f"{milliseconds * 1000:.0f} µs"
    if milliseconds < 1_000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} m {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} m"


def refuse_foreign(target: str) -> None:
    """Do not replace a file that is not one of our pages when its name was only guessed."""
    try:
        with open(target, "rb") as stream:  # noqa: PTH123  as above
            head = stream.read(2_000)
    except OSError:
        return
    if head and b'content="flow-xray"' not in head:
        raise TraceOutputError(
            f"cannot write {target!r}: because a file of another kind is there. Say where with --html."
        )
