"""The description of an exception in a span: type, message, traceback, whether it cancels."""

import os
import traceback
from typing import Final

from flow_xray._redaction.freeze import safe_repr

_OWN_FOLDER: Final = os.path.dirname(os.path.dirname(__file__)) + os.sep  # noqa: PTH120  pathlib costs 9 ms


def is_cancellation(error: BaseException) -> bool:
    """Return whether an exception means that the call was stopped, not that it failed."""
    if isinstance(error, GeneratorExit | KeyboardInterrupt):
        return True
    if isinstance(error, SystemExit):
        return error.code in (None, 0)
    return type(error).__name__ in ("CancelledError", "Cancelled")


def type_name(error: BaseException) -> str:
    """Return the name of the exception's class, with its module unless that is obvious."""
    kind = type(error)
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__name__
    return f"{kind.__module__}.{kind.__qualname__}"


def message_of(error: BaseException) -> str:
    """Return the text of an exception, or its repr when its class cannot give one."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001  whatever a foreign __str__ raises
        return safe_repr(error)


def traceback_of(error: BaseException) -> str:
    """Return the traceback as text, without the frames of this package."""

    def drop_own(report: traceback.TracebackException) -> None:
        report.stack[:] = [frame for frame in report.stack if not frame.filename.startswith(_OWN_FOLDER)]
        for other in (report.__cause__, report.__context__, *(getattr(report, "exceptions", None) or ())):
            if other is not None:
                drop_own(other)

    report = traceback.TracebackException.from_exception(error, limit=-64)
    drop_own(report)
    return "".join(report.format())
