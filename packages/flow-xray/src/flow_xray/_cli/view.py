"""`flow-xray view`: the page of trace files of any format, or the list of a folder of captures."""

import argparse
import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from flow_xray._cli.base import (
    DONE,
    USAGE,
    Commands,
    add_prices,
    files_exist,
    is_json_output,
    print_json,
    print_output,
    read_trace,
    refuse_to_replace,
    sources_exist,
)
from flow_xray._errors import TraceFormatError

if TYPE_CHECKING:
    from flow_xray._result import TraceResult

MAX_LISTED: Final = 50


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    view = commands.add_parser(
        "view",
        help="turn a journal or a trace file into a page",
        description="Turn a journal (.xray, also of a killed or a running program), a JSON trace, OTLP/JSON "
        "(OpenTelemetry, also one request per line) or Chrome trace events into one HTML file.",
    )
    view.add_argument(
        "file",
        metavar="FILE",
        nargs="+",
        help="a journal or trace file; several are joined into one trace; or the folder of a TraceStore, to list it",
    )
    view.add_argument("--html", metavar="OUT", help="the page to write (default: next to FILE, with the ending .html)")
    view.add_argument("--json", metavar="OUT", help="also write the trace as JSON")
    view.add_argument("--chrome", metavar="OUT", help="also write Chrome trace events (Perfetto, DevTools)")
    view.add_argument("--speedscope", metavar="OUT", help="also write a speedscope flame graph")
    add_prices(view)
    view.add_argument(
        "--context",
        metavar="PATH",
        action="append",
        default=[],
        help="a folder or file of the source: the graph also shows what could have run; repeatable",
    )
    view.add_argument(
        "--follow",
        action="store_true",
        help="serve the page on this machine and update it while FILE grows",
    )
    view.add_argument("--format", choices=("text", "json"), help="the output format (default: text; json into a pipe)")
    view.set_defaults(execute=_view)


def _view(options: argparse.Namespace) -> int:
    paths: list[str] = options.file
    if not files_exist(*paths) or not sources_exist(options.context):
        return USAGE
    if options.follow:
        from flow_xray._cli.follow import follow

        return follow(options)
    if os.path.isdir(paths[0]):  # noqa: PTH112  pathlib costs 9 ms
        return _list(paths[0], as_json=is_json_output(options))
    from flow_xray._analysis.summary import notes_of, summary_line, summary_of

    result = read_trace(*paths, is_partial_fine=True).priced(options.prices)
    target = options.html or os.path.splitext(paths[0])[0] + ".html"  # noqa: PTH122  pathlib costs 9 ms
    if not options.html:
        refuse_to_replace(target)
    context_notes = _write_page(result, target, options.context)
    if options.json:
        result.to_json(options.json)
    if options.chrome:
        result.to_chrome(options.chrome)
    if options.speedscope:
        result.to_speedscope(options.speedscope)
    facts = summary_of(result)
    notes = [*notes_of(result), *context_notes]
    if is_json_output(options):
        print_json(json.dumps({**facts, "notes": notes, "html": target}))
    else:
        lines = [summary_line(facts), *(f"note: {note}" for note in notes)]
        print_output("\n".join([*lines, f"page: {target}  (open it in a browser)"]))
    return DONE


def _write_page(result: "TraceResult", target: str, sources: list[str]) -> list[str]:
    """Write the page, with the coverage of the source when it is given.

    Return notes about the source.
    """
    if not sources:
        result.to_html(target)
        return []
    from flow_xray._source.coverage import coverage_of
    from flow_xray._write.page.document import build_page
    from flow_xray._write.whole_file import write_whole

    coverage = coverage_of(result, sources)
    write_whole(target, build_page(result, coverage.as_json()).encode("utf-8"))
    return coverage.notes


def _list(folder: str, *, as_json: bool) -> int:
    """Print the captures in a folder of a TraceStore; each line ends with the file to view."""
    from flow_xray._captures.store import TraceStore, is_store
    from flow_xray._data.format import human_duration

    if not is_store(folder):
        raise TraceFormatError(
            f"cannot read {folder!r}: because it is a folder, but not of a TraceStore. Give a file in it."
        )
    store = TraceStore(folder)
    captures = store.captures()
    if as_json:
        print_json(json.dumps({"report": store.report(), "captures": [asdict(capture) for capture in captures]}))
        return DONE
    listed = captures[:MAX_LISTED]
    for capture in listed:
        duration = "" if capture.duration_ms is None else human_duration(capture.duration_ms)
        print_output(f"{capture.started_at[:19]}Z  {capture.status:<11}  {duration:>9}  {capture.name}  {capture.path}")
    left = len(captures) - len(listed)
    more = f", {left:,} older ones not shown" if left else ""
    noun = "capture" if len(captures) == 1 else "captures"
    print_output(f"{len(captures):,} {noun}{more}. flow-xray view FILE shows one.")
    return DONE
