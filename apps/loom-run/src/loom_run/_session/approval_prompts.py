"""Ask the user at the terminal for what a run waits for, and resume it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import click
from flow_xray.terminal import visible_json
from loom_agents.cli import Request
from loom_runner import RunnerError
from loom_runner.cli_base import run_async, write_error

from loom_run._chat.approvals import decide, parse_arguments, request_label
from loom_run._chat.conversation import Conversation, Limits, RunOptions
from loom_run._chat.turn import Turn
from loom_run._config.setup_change import SetupChange
from loom_run._errors import LoomRunError
from loom_run._report.approvals import preview
from loom_run._report.progress import Progress

KEYS = "[y]es, [n]o, [e]dit, [a]lways in this run, [l]ater"


@dataclass(frozen=True, slots=True)
class ApprovalPrompts:
    """Ask the user at the terminal for decisions and answers.

    Args:
        read: Shows a prompt and returns a line; raises EOFError when the user leaves.
        progress: Shows the run that is resumed.
        edit: Opens a text in an editor; returns None when nothing was saved.
        hint: The hint to print when the command is interrupted.
    """

    read: Callable[[str], str]
    progress: Progress
    edit: Callable[[str], str | None] = lambda text: click.edit(text, extension=".json")
    hint: str = ""

    def resolve(
        self, turn: Turn, conversation: Conversation, change: SetupChange, limits: Limits, options: RunOptions
    ) -> tuple[Turn, SetupChange]:
        """Ask for what the run waits for and resume it, until it waits for nothing that this person
        can give.

        Returns:
            The turn at its end, and the setup with the rules for what is always allowed.
        """
        while turn.status in {"approval", "question"} or turn.pending:
            self.progress.end_line()
            try:
                if turn.question is not None:
                    write_error(turn.question)
                    work = conversation.send(self._read_answer(), change, limits, options)
                else:
                    rules = self._decide_all(turn, conversation)
                    if rules is None:
                        return turn, change
                    change = replace(change, rules=(*change.rules, *rules))
                    work = conversation.resume(change, limits, options)
            except EOFError:
                write_error("")
                return turn, change
            turn = run_async(work, hint=self.hint)
        return turn, change

    def _read_answer(self) -> str:
        while True:
            text = self.read("answer> ").strip()
            if text:
                return text.encode("utf-8", "replace").decode()

    def _decide_all(self, turn: Turn, conversation: Conversation) -> tuple[str, ...] | None:
        """Ask about every call that waits. Returns new rules; None when the person wants to decide
        later.
        """
        rules: list[str] = []
        for request in turn.pending:
            if f"allow {request['tool']}" in rules:
                continue  # the rule allows it
            write_error(f"{request_label(request)}: {request['reason']}")
            for line in preview(request["tool"], request["arguments"]):
                write_error(f"    {line}")
            key = self._read_key()
            if key == "l":
                return None
            if key == "a":
                rules.append(f"allow {request['tool']}")
                continue
            try:
                self._decide(request, key, conversation)
            except RunnerError as exc:
                write_error(" ".join(str(exc).split()))  # another person decided first, or it expired
        return tuple(rules)

    def _read_key(self) -> str:
        while True:
            typed = self.read(f"allow it? {KEYS}: ").strip().casefold()
            if typed and typed[0] in "yneal":
                return typed[0]

    def _decide(self, request: Request, key: str, conversation: Conversation) -> None:
        if key == "y":
            decide(conversation.store, request, "approve", via="terminal")
        elif key == "n":
            note = self.read("why? (the model reads it; may be empty) ").strip()
            decide(conversation.store, request, "deny", via="terminal", note=note)
        else:
            arguments = self._edit_arguments(request)
            if arguments is None:
                decide(conversation.store, request, "approve", via="terminal")
            else:
                tools = conversation.tools()
                decide(conversation.store, request, "edit", via="terminal", arguments=arguments, tools=tools)

    def _edit_arguments(self, request: Request) -> dict[str, Any] | None:
        text = visible_json(json.dumps(request["arguments"], ensure_ascii=False, indent=2))
        while True:
            edited = self.edit(text)
            if edited is None or edited.strip() == text.strip():
                return None
            try:
                return parse_arguments(edited)
            except LoomRunError as exc:
                write_error(str(exc))
                text = edited
