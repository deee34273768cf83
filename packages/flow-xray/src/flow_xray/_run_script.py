"""`flow-xray run`: run a script or a module as `__main__` inside a session, and write its trace whatever happens.

The journal is there from the first span on, so that also a killed script leaves its trace; a script that ends
(returns, raises, exits, is told to stop by SIGINT or SIGTERM) gets its page, and the journal is removed unless
it was asked for.
"""

import argparse
import os
import runpy
import signal
import sys
import traceback
from types import FrameType

from flow_xray._cli import USAGE, complain
from flow_xray._summary import summary_line, summary_of
from flow_xray._trace import trace


def run_script(options: argparse.Namespace, arguments: list[str]) -> int:
    """Run what the options name and return its exit code.

    Raises:
        TraceOutputError: the journal cannot be opened (nothing has run), or the page cannot be written (it has run).
    """
    script: str | None = options.script
    if (script is None) == (options.module is None):
        return _usage(
            "cannot run: because a script or -m MODULE is needed, and not both. Put arguments of the script after --."
        )
    if script is not None and not os.path.isfile(script):  # noqa: PTH113  a script path, used as given
        return _usage(f"cannot run {script!r}: because there is no such file. Give the path of a Python file.")
    html = os.fspath(options.html)
    journal = options.journal or os.path.splitext(html)[0] + ".xray"  # noqa: PTH122  as above
    if not options.journal and os.path.exists(journal):  # noqa: PTH110  as above
        os.replace(journal, journal + ".before")  # noqa: PTH105  left by a killed run; kept once
    name = os.path.basename(script) if script is not None else str(options.module)  # noqa: PTH119  as above
    before_argv, before_path = sys.argv, list(sys.path)
    previous = signal.signal(signal.SIGTERM, _stop)
    try:
        with trace.capture(name=name, journal=journal, lines=options.lines) as session:
            code = _run(name, script, options.module, arguments)
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
    complain(f"{summary_line(summary_of(result))}\npage: {html}  (open it in a browser)")
    return code


def _run(name: str, script: str | None, module: str | None, arguments: list[str]) -> int:
    try:
        with trace.span(name, input={"arguments": arguments}):
            if script is not None:
                sys.argv = [script, *arguments]
                sys.path[0:1] = [os.path.dirname(os.path.abspath(script))]  # noqa: PTH100,PTH120  what python itself does
                runpy.run_path(script, run_name="__main__")
            else:
                assert module is not None
                sys.argv = [module, *arguments]
                sys.path[0:1] = [os.getcwd()]  # noqa: PTH109  what python -m does
                runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        complain(str(stop.code))
        return 1
    except KeyboardInterrupt:
        return 130
    except BaseException as error:  # noqa: BLE001  whatever the script raises is the script's; the page comes anyway
        _print_traceback(error)
        return 1
    return 0


def _print_traceback(error: BaseException) -> None:
    """Print the traceback as python would, without the frames of runpy and of ours."""
    frames = error.__traceback__
    while frames is not None and (
        frames.tb_frame.f_code.co_filename == __file__ or "runpy" in frames.tb_frame.f_code.co_filename
    ):
        frames = frames.tb_next
    traceback.print_exception(type(error), error, frames)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)


def _usage(message: str) -> int:
    complain(message)
    return USAGE
