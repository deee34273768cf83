"""`flow-xray run`: run a script or module as `__main__` in a session, and always write its trace.

The journal is written from the first span on, so a killed script leaves its trace, too. When a
script ends (it returns, raises, exits, or gets SIGINT or SIGTERM), its page is written, and the
journal is removed unless `--journal` was given.
"""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from flow_xray._cli.base import Commands, print_error, usage_error

if TYPE_CHECKING:
    from types import FrameType


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    run = commands.add_parser(
        "run",
        help="run a script and write its trace",
        description="Run a script as __main__ and write the trace of its traced functions, even if it raises. "
        "Arguments of the script come after --.",
        usage="flow-xray run [--html OUT] [--json OUT] [--journal FILE] [--lines] (SCRIPT | -m MODULE) "
        "[-- ARGUMENTS ...]",
    )
    run.add_argument("script", nargs="?", metavar="SCRIPT", help="path of a Python file")
    run.add_argument("-m", dest="module", metavar="MODULE", help="run a module instead")
    run.add_argument("--html", metavar="OUT", default="trace.html", help="the page to write (default: trace.html)")
    run.add_argument("--json", metavar="OUT", help="also write the trace as JSON")
    run.add_argument(
        "--journal",
        metavar="FILE",
        help="write the journal to FILE and keep it (default: next to the page, removed at the end)",
    )
    run.add_argument("--lines", action="store_true", help="record which lines ran, for `flow-xray context`")
    run.set_defaults(execute=_run)


def _run(options: argparse.Namespace) -> int:
    """Run the script or module in the options and return its exit code.

    Raises:
        TraceOutputError: The journal cannot be opened (nothing has run), or the page cannot be
            written (the script has run).
    """
    script: str | None = options.script
    if (script is None) == (options.module is None):
        return usage_error(
            "cannot run: because it needs either a script or -m MODULE. Put arguments of the script after --."
        )
    if script is not None and not os.path.isfile(script):  # noqa: PTH113  a script path, used as given
        return usage_error(f"cannot run {script!r}: because there is no such file. Give the path of a Python file.")
    import signal

    from flow_xray._analysis.summary import summary_line, summary_of
    from flow_xray._record.trace import trace

    html = os.fspath(options.html)
    journal = options.journal or os.path.splitext(html)[0] + ".xray"  # noqa: PTH122  as above
    if not options.journal and os.path.exists(journal):  # noqa: PTH110  as above
        os.replace(journal, journal + ".before")  # noqa: PTH105  the journal of a killed run; only the last one is kept
    name = os.path.basename(script) if script is not None else str(options.module)  # noqa: PTH119  as above
    before_argv, before_path = sys.argv, list(sys.path)
    previous = signal.signal(signal.SIGTERM, _exit_on_signal)
    try:
        with trace.capture(name=name, journal=journal, lines=options.lines) as session:
            code = _run_as_main(name, script, options.module, options.arguments)
    finally:
        signal.signal(signal.SIGTERM, previous)
        sys.argv, sys.path[:] = before_argv, before_path
    result = session.result()
    result.to_html(html)
    if options.json:
        result.to_json(options.json)
    if not options.journal:
        os.unlink(journal)  # noqa: PTH108  as above
    sys.stdout.flush()
    print_error(f"{summary_line(summary_of(result))}\npage: {html}  (open it in a browser)")
    return code


def _run_as_main(name: str, script: str | None, module: str | None, arguments: list[str]) -> int:
    import runpy

    from flow_xray._record.trace import trace

    try:
        with trace.span(name, input={"arguments": arguments}):
            if script is not None:
                sys.argv = [script, *arguments]
                sys.path[0:1] = [os.path.dirname(os.path.abspath(script))]  # noqa: PTH100,PTH120  as python does
                runpy.run_path(script, run_name="__main__")
            else:
                assert module is not None
                sys.argv = [module, *arguments]
                sys.path[0:1] = [os.getcwd()]  # noqa: PTH109  as python -m does
                runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        print_error(str(stop.code))
        return 1
    except KeyboardInterrupt:
        return 130
    except BaseException as error:  # noqa: BLE001  the page is written whatever the script raises
        _print_traceback(error)
        return 1
    return 0


def _print_traceback(error: BaseException) -> None:
    """Print the traceback as python would, without the frames of runpy and of this module."""
    import traceback

    frames = error.__traceback__
    while frames is not None and (
        frames.tb_frame.f_code.co_filename == __file__ or "runpy" in frames.tb_frame.f_code.co_filename
    ):
        frames = frames.tb_next
    traceback.print_exception(type(error), error, frames)


def _exit_on_signal(_signal: int, _frame: "FrameType | None") -> None:
    raise SystemExit(143)
