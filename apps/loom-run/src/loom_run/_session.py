"""An interactive chat: read a message, answer it, again. Every turn is committed like a single `loom-run chat`."""

import contextlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loom_runner import RunnerError
from loom_runner.cli_base import ExitCode, Interrupted, run_async, write_error

from loom_run._chat import Conversation, Desk, Limits, Turn
from loom_run._errors import agent_errors_named
from loom_run._setup import Setup, SetupChange
from loom_run._story import usage_text

COMMANDS = {
    "/help": "show this",
    "/resume": "go on with a turn that was interrupted, stopped or failed",
    "/cost": "tokens and price so far",
    "/model": "which model answers, and in which folder",
    "/exit": "end; so does Ctrl-D",
}


@dataclass(frozen=True, slots=True)
class Session:
    """Talk with a person at a terminal.

    Args:
        conversation: the run; made with the first message when it does not exist.
        change: what the command line says about the setup.
        limits: what it says about the budget; they hold from the first message on.
        desk: progress and the page to write.
        tell: writes how a turn ended.
    """

    conversation: Conversation
    change: SetupChange
    limits: Limits
    desk: Desk
    tell: Callable[[Turn], object]

    def run(self, read: Callable[[str], str]) -> int:
        """Talk until the person leaves.

        Args:
            read: shows a prompt and gives a line; EOFError ends the session.
        """
        setup = self._setup()
        write_error(f"{self.conversation.run_id}: {setup.model} in {setup.workspace}  (/help, /exit)")
        if self.conversation.exists() and self.conversation.look().standing != "answered":
            write_error("the last message has no answer yet; /resume goes on with it")
        while True:
            try:
                text = self._read(read)
            except KeyboardInterrupt:
                write_error("")  # drops the line that was begun, as shells do
                continue
            except EOFError:
                write_error("")
                return ExitCode.DONE
            if text == "/exit":
                return ExitCode.DONE
            if text:
                self._answer(text)

    def _read(self, read: Callable[[str], str]) -> str:
        """Read a message; a line that ends with a backslash goes on with the next one."""
        lines = [read("> ")]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(read(". "))
        return "\n".join(lines).strip()

    def _answer(self, text: str) -> None:
        try:
            with agent_errors_named():
                if text.startswith("/"):
                    self._obey(text)
                else:
                    self.tell(run_async(self._turn(text), hint="/resume goes on"))
        except Interrupted as exc:
            self.desk.progress.end_line()
            write_error(str(exc))
        except RunnerError as exc:
            self.desk.progress.end_line()
            write_error(" ".join(str(exc).split()))

    async def _turn(self, text: str) -> Turn:
        text = text.encode("utf-8", "replace").decode()
        if self.conversation.exists():
            return await self.conversation.say(text, self.change, self.limits, self.desk, repeat=True)
        limits = self.change.first_limits() | self.limits
        return await self.conversation.begin(text, self.change.first(), limits, self.desk)

    def _obey(self, command: str) -> None:
        if command == "/resume":
            work = self.conversation.go_on(self.change, self.limits, self.desk)
            self.tell(run_async(work, hint="/resume goes on"))
        elif command == "/cost":
            turn = self.conversation.look() if self.conversation.exists() else None
            write_error(usage_text(turn.state.usage) if turn else "nothing yet")
        elif command == "/model":
            setup = self._setup()
            write_error(f"{setup.model} in {setup.workspace}")
        else:
            if command != "/help":
                write_error(f"there is no command {command}")
            for name, meaning in COMMANDS.items():
                write_error(f"  {name:<9}{meaning}")
            write_error("  a line that ends with \\ goes on with the next one")

    def _setup(self) -> Setup:
        with agent_errors_named():
            if self.conversation.exists():
                return self.change.applied_to(self.conversation.look().state.setup)
            return self.change.first()


def terminal_reader() -> Callable[[str], str]:
    """Give `input`, with line editing and the history of this session where the system has them."""
    with contextlib.suppress(ImportError):
        importlib.import_module("readline")

    def read(prompt: str) -> Any:
        return input(prompt)

    return read
