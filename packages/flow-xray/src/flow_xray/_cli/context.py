"""`flow-xray context`: compare a run with its source."""

import argparse
import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flow_xray._cli.base import (
    DONE,
    USAGE,
    Commands,
    files_exist,
    print_json,
    print_output,
    read_trace,
    sources_exist,
    usage_error,
)

if TYPE_CHECKING:
    from flow_xray._data.span import Json
    from flow_xray._source.coverage import Node, SourceCoverage
    from flow_xray._source.functions import Function

_MAX_LISTED = 30


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    context = commands.add_parser(
        "context",
        help="compare a run with its source",
        description="Read the source, without executing it, and show which functions ran, which could have run, which "
        "calls the source does not explain, and which branches the run did not take. With --function, show its "
        "callers, its callees and everything that may call it (its blast radius).",
    )
    context.add_argument("file", metavar="FILE", nargs="+", help="a trace file, as for `flow-xray view`")
    context.add_argument(
        "--source",
        metavar="PATH",
        action="append",
        required=True,
        help="a folder or file of the source; repeatable",
    )
    context.add_argument(
        "--function", metavar="NAME", help="a function: its name, the end of its name, or file.py:line"
    )
    context.add_argument("--output", choices=("text", "json"), default="text", help="the output format (default: text)")
    context.set_defaults(execute=_context)


def _context(options: argparse.Namespace) -> int:
    if not files_exist(*options.file) or not sources_exist(options.source):
        return USAGE
    from flow_xray._source.coverage import coverage_of

    found = coverage_of(read_trace(*options.file), options.source)
    if options.function is None:
        if options.output == "json":
            print_json(json.dumps(found.as_json()))
        else:
            print_output("\n".join(_whole(found)))
        return DONE
    functions = found.find(options.function)
    if not functions:
        return usage_error(_unknown(options.function, found))
    function, *others = functions
    if options.output == "json":
        print_json(json.dumps({**_facts(found, function), "others": [each.id for each in others]}))
    else:
        print_output("\n".join(_one(found, function, others)))
    return DONE


def _unknown(name: str, found: "SourceCoverage") -> str:
    import difflib

    names = sorted({each.name for each in found.index.functions.values()})
    near = difflib.get_close_matches(name, names, 3)
    hint = f"Did you mean {', '.join(near)}?" if near else "Give a name, the end of a name, or file.py:line."
    return f"cannot show {name!r}: because the source has no such function. {hint}"


def _whole(found: "SourceCoverage") -> list[str]:
    nodes = found.nodes()
    ran = [node for node in nodes if node.executed]
    missed = [branch for branch in found.branches if not branch.taken]
    surprising = [edge for edge in found.edges if edge.how == "runtime"]
    silent = [node for node in nodes if not node.executed]
    counts = [
        f"{len(ran):,} functions ran",
        f"{len(silent):,} near them did not",
        f"{len(surprising):,} calls only at run time",
        f"{len(missed):,} of {len(found.branches):,} known branches not taken",
    ]
    lines = ["; ".join(counts), *(f"note: {note}" for note in found.notes)]
    names = {node.id: node for node in nodes}
    lines += _listed("ran", [f"{node.name}  {_relative(node.location)}" for node in ran])
    lines += _listed("not taken", [f"{_relative(f'{each.file}:{each.line}')}  {each.text}" for each in missed])
    lines += _listed(
        "only at run time",
        [
            f"{names[e.source].name} -> {names[e.target].name}"
            for e in surprising
            if e.source in names and e.target in names
        ],
    )
    return lines + _listed("could have run", [f"{node.name}  {_relative(node.location)}" for node in silent])


def _one(found: "SourceCoverage", function: "Function", others: "list[Function]") -> list[str]:
    node = found.node_of(function.id)
    lines = [f"{node.name}  {_relative(node.location)}  {_state(node)}"]
    if others:
        lines.append(f"also of this name: {', '.join(_relative(each.id) for each in others[:5])}")
    for title, back in (("callers", True), ("callees", False)):
        near = found.near(function.id, back=back)
        lines += _listed(
            title, [f"{how:8}  {each.name}  {_relative(each.location)}" for how, each in near], empty="none known"
        )
    radius = found.reach(function.id, back=True)
    reached = [(distance, found.node_of(each)) for each, distance in radius.items()]
    count = sum(each.executed for _, each in reached)
    title = f"blast radius: {len(reached):,} functions may call it, directly or not; {count:,} of them ran"
    lines += _listed(
        title, [f"{distance}  {each.name}  {_relative(each.location)}  {_state(each)}" for distance, each in reached]
    )
    branches = [each for each in found.branches if each.function == node.id]
    marks = {True: "taken    ", False: "not taken"}
    return lines + _listed(
        "branches", [f"{marks[each.taken]}  {each.line}  {each.text}  (known from {each.how})" for each in branches]
    )


def _facts(found: "SourceCoverage", function: "Function") -> "dict[str, Json]":
    def near(*, back: bool) -> list[Any]:
        return [{"how": how, **asdict(node)} for how, node in found.near(function.id, back=back)]

    radius = found.reach(function.id, back=True)
    whole: dict[str, Any] = {
        "function": asdict(found.node_of(function.id)),
        "callers": near(back=True),
        "callees": near(back=False),
        "blast_radius": [{"distance": hops, **asdict(found.node_of(each))} for each, hops in radius.items()],
        "branches": [asdict(each) for each in found.branches if each.function == found.node_of(function.id).id],
        "notes": list(found.notes),
    }
    return whole


def _listed(title: str, items: list[str], empty: str = "") -> list[str]:
    from flow_xray.terminal import visible_line

    if not items:
        return [f"{title}: {empty}"] if empty else ([title] if ":" in title else [])
    left = [f"  … and {len(items) - _MAX_LISTED:,} more; --output json has all"] if len(items) > _MAX_LISTED else []
    return [title, *(f"  {visible_line(item)}" for item in items[:_MAX_LISTED]), *left]


def _state(node: "Node") -> str:
    return "ran" if node.executed else "did not run" if node.traced else "left no span (not traced)"


def _relative(location: str) -> str:
    """Return a path relative to the working folder when it is inside."""
    folder = os.getcwd() + os.sep  # noqa: PTH109  pathlib costs 9 ms
    return location.removeprefix(os.path.realpath(folder) + os.sep)
