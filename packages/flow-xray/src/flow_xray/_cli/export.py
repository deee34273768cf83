"""`flow-xray export`: write a trace in the format of another tool."""

import argparse
from typing import Final

from flow_xray._cli.base import (
    DONE,
    USAGE,
    Commands,
    add_prices,
    files_exist,
    print_error,
    print_json,
    print_output,
    read_trace,
)

_FORMATS: Final = ("chrome", "dot", "json", "otlp", "speedscope")


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    export = commands.add_parser(
        "export",
        help="write a trace for other tools",
        description="Write a trace as OTLP/JSON (any OpenTelemetry backend), Chrome trace events (Perfetto, DevTools), "
        "speedscope, Graphviz dot, or the JSON format of flow-xray.",
    )
    export.add_argument("file", metavar="FILE", nargs="+", help="a trace file, as for `flow-xray view`")
    export.add_argument("--to", choices=_FORMATS, required=True, help="the format to write")
    export.add_argument("--out", metavar="OUT", help="the file to write (default: stdout)")
    add_prices(export)
    export.set_defaults(execute=_export)


def _export(options: argparse.Namespace) -> int:
    if not files_exist(*options.file):
        return USAGE
    from flow_xray._analysis.summary import notes_of

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
        print_error(f"note: {note}")
    if options.out is None:
        (print_output if options.to == "dot" else print_json)(text.rstrip("\n"))
    return DONE
