"""`flow-xray view` and `flow-xray export`: a trace file of any kind in, a page or another form out."""

import argparse
import json
import os
import sys
from dataclasses import asdict
from typing import Final

from flow_xray._cli import DONE, USAGE, complain, is_there, read_trace, refuse_foreign, say
from flow_xray._cli_context import are_sources
from flow_xray._errors import TraceFormatError
from flow_xray._result import TraceResult, write_whole
from flow_xray._summary import human_duration, notes_of, summary_line, summary_of

SHOWN: Final = 50


def view(options: argparse.Namespace) -> int:
    """Write the page of one or several files and say what it holds."""
    paths: list[str] = options.file
    if not is_there(*paths) or not are_sources(options.context):
        return USAGE
    if options.follow:
        from flow_xray._follow import follow

        return follow(options)
    if os.path.isdir(paths[0]):  # noqa: PTH112  pathlib costs 9 ms
        return _list(paths[0], as_json=_is_json(options))
    result = read_trace(*paths, is_partial_fine=True).priced(options.prices)
    target = options.html or os.path.splitext(paths[0])[0] + ".html"  # noqa: PTH122  pathlib costs 9 ms
    if not options.html:
        refuse_foreign(target)
    context_notes = _write_page(result, target, options.context)
    if options.json:
        result.to_json(options.json)
    if options.chrome:
        result.to_chrome(options.chrome)
    if options.speedscope:
        result.to_speedscope(options.speedscope)
    facts = summary_of(result)
    notes = [*notes_of(result), *context_notes]
    if _is_json(options):
        say(json.dumps({**facts, "notes": notes, "html": target}))
    else:
        say(
            "\n".join(
                [summary_line(facts), *(f"note: {note}" for note in notes), f"page: {target}  (open it in a browser)"]
            )
        )
    return DONE


def export(options: argparse.Namespace) -> int:
    """Write a trace in another form, to a file or to stdout."""
    if not is_there(*options.file):
        return USAGE
    result = read_trace(*options.file, is_partial_fine=True).priced(options.prices)
    writers = {
        "chrome": result.to_chrome,
        "dot": result.to_dot,
        "json": result.to_json,
        "otlp": result.to_otlp,
        "speedscope": result.to_speedscope,
    }
    text = writers[options.to](options.out)
    for note in notes_of(result):
        complain(f"note: {note}")
    if options.out is None:
        say(text.rstrip("\n"))
    return DONE


def _write_page(result: TraceResult, target: str, sources: list[str]) -> list[str]:
    """Write the page, with the context of the source when it is given; return what could not be joined, in words."""
    if not sources:
        result.to_html(target)
        return []
    from flow_xray._context import context_of
    from flow_xray._page import build_page

    context = context_of(result, sources)
    write_whole(target, build_page(result, context.as_json()).encode("utf-8"))
    return context.notes


def _list(folder: str, *, as_json: bool) -> int:
    """Say what a folder of a TraceStore holds; each line ends with the file to view."""
    from flow_xray._store import TraceStore, in_store

    if not in_store(folder):
        raise TraceFormatError(f"cannot read {folder!r}: because it is a folder and no TraceStore. Give a file in it.")
    store = TraceStore(folder)
    captures = store.captures()
    if as_json:
        say(json.dumps({"report": store.report(), "captures": [asdict(capture) for capture in captures]}))
        return DONE
    shown = captures[:SHOWN]
    for capture in shown:
        took = "" if capture.duration_ms is None else human_duration(capture.duration_ms)
        say(f"{capture.started_at[:19]}Z  {capture.status:<11}  {took:>9}  {capture.name}  {capture.path}")
    left = len(captures) - len(shown)
    more = f", {left:,} older ones not shown" if left else ""
    word = "capture" if len(captures) == 1 else "captures"
    say(f"{len(captures):,} {word}{more}. flow-xray view FILE shows one.")
    return DONE


def _is_json(options: argparse.Namespace) -> bool:
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return options.format == "json" or (options.format is None and not is_terminal)
