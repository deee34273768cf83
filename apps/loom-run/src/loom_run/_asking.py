"""Ask the person at the terminal for what a run waits for, and go on."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import click
from loom_runner import RunnerError
from loom_runner.cli_base import run_async, write_error

from loom_run._approvals import Request, decide, name_of, preview
from loom_run._chat import Conversation, Desk, Limits
from loom_run._errors import LoomRunError
from loom_run._lines import printable
from loom_run._setup import SetupChange
from loom_run._turn import Turn

KEYS = "[y]es, [n]o, [e]dit, [a]lways in this run, [l]ater"


@dataclass(frozen=True, slots=True)
class Terminal:
    """A person at a terminal.

    Args:
        read: shows a prompt and gives a line; EOFError when the person leaves.
        edit: lets the person change a text; None when nothing was saved.
        hint: what a command says when it is interrupted.
    """

    read: Callable[[str], str]
    edit: Callable[[str], str | None] = lambda text: click.edit(text, extension=".json")
    hint: str = ""

    def settle(
        self, turn: Turn, conversation: Conversation, change: SetupChange, limits: Limits, desk: Desk
    ) -> tuple[Turn, SetupChange]:
        """Ask for what the run waits for and go on, until it does not wait for this person any more.

        Returns:
            How it ended, and the setup with what was said to be always allowed.
        """
        while turn.standing in {"approval", "question"} or turn.pending:
            desk.progress.end_line()
            try:
                if turn.question is not None:
                    write_error(printable(turn.question))
                    work = conversation.say(self._answer(), change, limits, desk)
                else:
                    always = self._decided(turn, conversation)
                    if always is None:
                        return turn, change
                    change = replace(change, rules=(*change.rules, *always))
                    work = conversation.go_on(change, limits, desk)
            except EOFError:
                write_error("")
                return turn, change
            turn = run_async(work, hint=self.hint)
        return turn, change

    def _answer(self) -> str:
        while True:
            text = self.read("answer> ").strip()
            if text:
                return text.encode("utf-8", "replace").decode()

    def _decided(self, turn: Turn, conversation: Conversation) -> tuple[str, ...] | None:
        """Ask about every call that waits. Returns new rules; None when the person wants to decide later."""
        always: list[str] = []
        for request in turn.pending:
            if f"allow {request['tool']}" in always:
                continue  # the rule lets it pass
            write_error(f"{name_of(request)}: {request['reason']}")
            for line in preview(request["tool"], request["arguments"]):
                write_error(f"    {line}")
            key = self._key()
            if key == "l":
                return None
            if key == "a":
                always.append(f"allow {request['tool']}")
                continue
            try:
                self._decide(request, key, conversation)
            except RunnerError as exc:
                write_error(" ".join(str(exc).split()))  # somebody else was faster, or it expired
        return tuple(always)

    def _key(self) -> str:
        while True:
            said = self.read(f"allow it? {KEYS}: ").strip().casefold()
            if said and said[0] in "yneal":
                return said[0]

    def _decide(self, request: Request, key: str, conversation: Conversation) -> None:
        if key == "y":
            decide(conversation.store, request, "approve", via="terminal")
        elif key == "n":
            note = self.read("why? (the model reads it; empty for nothing) ").strip()
            decide(conversation.store, request, "deny", via="terminal", note=note)
        else:
            arguments = self._edited(request)
            if arguments is None:
                decide(conversation.store, request, "approve", via="terminal")
            else:
                tools = conversation.tools()
                decide(conversation.store, request, "edit", via="terminal", arguments=arguments, tools=tools)

    def _edited(self, request: Request) -> dict[str, Any] | None:
        text = json.dumps(request["arguments"], ensure_ascii=False, indent=2)
        while True:
            edited = self.edit(text)
            if edited is None or edited.strip() == text.strip():
                return None
            try:
                return parsed_arguments(edited)
            except LoomRunError as exc:
                write_error(str(exc))
                text = edited


def parsed_arguments(text: str) -> dict[str, Any]:
    """Read arguments that a person wrote.

    Raises:
        LoomRunError: they are no JSON object.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise LoomRunError(f"cannot use these arguments: they are not JSON ({exc}).") from exc
    if not isinstance(value, dict):
        raise LoomRunError('cannot use these arguments: they are not a JSON object, such as {"path": "x"}.')
    return value
