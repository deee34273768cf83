"""Record which lines of the traced functions ran, to find the branches that were not taken.

Off unless a session enables it (`trace.capture(lines=True)`), because it costs time. From Python
3.12 on, `sys.monitoring` reports each line of a watched function once, at almost no cost. Before,
`sys.settrace` is the only way: every call of the program is checked, and every line of a watched
function is reported. If a debugger or a coverage tool is tracing already, it is not replaced, and
nothing is recorded.

Only functions that `@trace` wraps are watched, with the functions defined inside them.
"""

import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, Final

from flow_xray._data.line_ranges import ranges
from flow_xray._record.traced_code import traced_code, watchers

_lock = threading.Lock()
_watches: list["LineWatch"] = []
_TOOL_NAME: Final = "flow-xray lines"


class LineWatch:
    """The lines that ran while it was open, by file."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        self.lines: dict[str, set[int]] = {}

    def facts(self) -> dict[str, str]:
        """Return the lines of each file as text: `3-7,9`."""
        return {file: ranges(lines) for file, lines in sorted(self.lines.items())}


@contextmanager
def watching_lines() -> Iterator[LineWatch]:
    """Record the lines of traced functions that run in the block, and in threads started in it."""
    watch = LineWatch()
    with _lock:
        is_on = bool(_watches) or _install()
        if is_on:
            _watches.append(watch)
            _watch_also(list(traced_code))
            if not watchers:
                watchers.append(_watch_also)
    try:
        yield watch
    finally:
        with _lock:
            if watch in _watches:
                _watches.remove(watch)
                if not _watches:
                    watchers.clear()
                    _uninstall()


def _record_line(file: str, line: int) -> None:
    for watch in _watches:
        watch.lines.setdefault(file, set()).add(line)


def _with_inner(codes: Iterable[CodeType]) -> Iterator[CodeType]:
    stack = list(codes)
    while stack:
        code = stack.pop()
        yield code
        stack.extend(each for each in code.co_consts if isinstance(each, CodeType))


if sys.version_info >= (3, 12):
    _monitoring: Final = sys.monitoring
    _tool: int | None = None

    def _install() -> bool:
        global _tool  # noqa: PLW0603  one tool for the whole process
        free = [tool for tool in (4, 3) if _monitoring.get_tool(tool) is None]
        if not free:
            _warn_occupied()
            return False
        _tool = free[0]
        _monitoring.use_tool_id(_tool, _TOOL_NAME)
        _monitoring.register_callback(_tool, _monitoring.events.LINE, _on_line)
        return True

    def _on_line(code: CodeType, line: int) -> object:
        _record_line(code.co_filename, line)
        return _monitoring.DISABLE

    def _watch_also(codes: list[CodeType]) -> None:
        assert _tool is not None
        for code in _with_inner(codes):
            _monitoring.set_local_events(_tool, code, _monitoring.events.LINE)
        _monitoring.restart_events()

    def _uninstall() -> None:
        global _tool  # noqa: PLW0603  as above
        assert _tool is not None
        for code in _with_inner(list(traced_code)):
            _monitoring.set_local_events(_tool, code, 0)
        _monitoring.register_callback(_tool, _monitoring.events.LINE, None)
        _monitoring.free_tool_id(_tool)
        _tool = None

else:
    _watched: set[CodeType] = set()

    def _install() -> bool:
        if sys.gettrace() is not None or threading.gettrace() is not None:
            _warn_occupied()
            return False
        sys.settrace(_on_call)
        threading.settrace(_on_call)
        return True

    def _on_call(frame: FrameType, event: str, argument: Any) -> Any:  # noqa: ARG001  the interpreter's interface
        return _on_event if frame.f_code in _watched else None

    def _on_event(frame: FrameType, event: str, argument: Any) -> Any:  # noqa: ARG001  as above
        if event == "line":
            _record_line(frame.f_code.co_filename, frame.f_lineno)
        return _on_event

    def _watch_also(codes: list[CodeType]) -> None:
        _watched.update(_with_inner(codes))

    def _uninstall() -> None:
        if sys.gettrace() is _on_call:
            sys.settrace(None)
        if threading.gettrace() is _on_call:
            threading.settrace(None)
        _watched.clear()


def _warn_occupied() -> None:
    warnings.warn(
        "flow-xray: lines are not recorded: because a debugger or a coverage tool is tracing this process.",
        RuntimeWarning,
        stacklevel=6,
    )
