"""Read what a person types: with history, several lines and completion where the terminal supports
them.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent, Completion
    from prompt_toolkit.document import Document

__all__ = ["MESSAGE_PROMPT", "MORE_PROMPT", "terminal_reader"]

MESSAGE_PROMPT: Final = "> "
"""The prompt for messages: they go into the history, and commands are completed."""

MORE_PROMPT: Final = ". "


def terminal_reader(commands: Mapping[str, str] | None = None) -> Callable[[str], str]:
    """Return a function that shows a prompt and returns what was typed; EOFError when the person
    leaves.

    Args:
        commands: The commands that may be typed in place of a message, each with its description.
    """
    can_edit = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
    if not can_edit or os.environ.get("TERM", "dumb") == "dumb":
        return _plain_reader()
    return _editing_reader(commands or {})


def _plain_reader() -> Callable[[str], str]:
    with contextlib.suppress(ImportError):
        importlib.import_module("readline")

    def read(prompt: str) -> str:
        return input(prompt)

    return read


def _editing_reader(commands: Mapping[str, str]) -> Callable[[str], str]:
    """Build the reader when it is first needed: its library takes a tenth of a second to load."""
    sessions: dict[bool, PromptSession[str]] = {}

    def read(prompt: str) -> str:
        is_message = prompt in (MESSAGE_PROMPT, MORE_PROMPT)
        if is_message not in sessions:
            sessions[is_message] = _session(commands if is_message else {}, has_history=is_message)
        text: str = sessions[is_message].prompt(prompt)
        return text

    return read


def _session(commands: Mapping[str, str], *, has_history: bool) -> "PromptSession[str]":
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.output import ColorDepth

    keys = KeyBindings()

    @keys.add("escape", "enter")
    def new_line(event: Any) -> None:
        event.current_buffer.insert_text("\n")

    file = _history_file() if has_history else None
    history: History = InMemoryHistory() if file is None else FileHistory(str(file))
    return PromptSession(
        history=history,
        completer=_completer(commands) if commands else None,
        complete_while_typing=False,
        key_bindings=keys,
        prompt_continuation=MORE_PROMPT,
        color_depth=ColorDepth.DEPTH_1_BIT if os.environ.get("NO_COLOR") else None,
    )


def _completer(commands: Mapping[str, str]) -> Any:
    from prompt_toolkit.completion import Completer, Completion

    class Commands(Completer):
        def get_completions(self, document: "Document", complete_event: "CompleteEvent") -> "Iterable[Completion]":
            del complete_event
            typed = document.text_before_cursor
            for command, meaning in commands.items():
                if typed.startswith("/") and command.startswith(typed):
                    yield Completion(command, start_position=-len(typed), display_meta=meaning)

    return Commands()


def _history_file() -> Path | None:
    """Return the history file, readable for its owner only; None when it cannot be created."""
    from platformdirs import user_state_path

    try:
        file = user_state_path("loom") / "history"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
    except (OSError, RuntimeError):
        return None
    return file
