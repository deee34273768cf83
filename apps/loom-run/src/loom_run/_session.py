"""An interactive chat: read a message, answer it, again. Every turn is committed like a single `loom-run chat`."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from loom_runner import RunnerError, Tool, ToolFailed
from loom_runner.cli_base import ExitCode, Interrupted, plural, run_async, shorten, write_error

from loom_run._asking import Terminal
from loom_run._chat import Conversation, Desk, Limits
from loom_run._errors import LoomRunError, agent_errors_named
from loom_run._lines import printable
from loom_run._prompting import MESSAGE_PROMPT, MORE_PROMPT, terminal_reader
from loom_run._servers import servers_of
from loom_run._setup import Setup, SetupChange
from loom_run._story import usage_text
from loom_run._turn import Turn
from loom_run._undoing import changes_of, take_back

__all__ = ["COMMANDS", "Session", "terminal_reader"]

COMMANDS: Final[Mapping[str, str]] = {
    "/help": "show this",
    "/model": "which model answers, and in which folder; /model P:M takes another one from now on",
    "/cost": "tokens and price so far",
    "/tools": "what the agent can do, and what needs your word",
    "/diff": "what has changed in the folder since the last commit, and what of it this chat did",
    "/undo": "take back the last change of this chat",
    "/approve": "decide about calls that wait for your word",
    "/resume": "go on with a turn that was interrupted, stopped or failed",
    "/exit": "end; so does Ctrl-D",
}
RESUME_HINT: Final = "/resume goes on"


@dataclass(slots=True)
class Session:
    """Talk with a person at a terminal.

    Args:
        conversation: the run; made with the first message when it does not exist.
        change: what the command line says about the setup, and what the person changes while talking.
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
        self.change = self.change.settled()
        write_error(
            f"{self.conversation.run_id}: {setup.model} in {setup.workspace}, mode {setup.mode}  (/help, /exit)"
        )
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
                self._answer(text, read)

    def _read(self, read: Callable[[str], str]) -> str:
        """Read a message; a line that ends with a backslash goes on with the next one."""
        lines = [read(MESSAGE_PROMPT)]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(read(MORE_PROMPT))
        return "\n".join(lines).strip()

    def _answer(self, text: str, read: Callable[[str], str]) -> None:
        try:
            with agent_errors_named():
                if text.startswith("/"):
                    self._obey(text, read)
                else:
                    self._settle(run_async(self._turn(text), hint=RESUME_HINT), read)
        except KeyboardInterrupt:
            write_error("interrupted")
        except Interrupted as exc:
            self.desk.progress.end_line()
            write_error(str(exc))
        except (RunnerError, ToolFailed) as exc:
            self.desk.progress.end_line()
            write_error(printable(" ".join(str(exc).split())))

    async def _turn(self, text: str) -> Turn:
        text = text.encode("utf-8", "replace").decode()
        if self.conversation.exists():
            before = self.conversation.look()
            is_open = before.standing not in ("answered", "question")
            if is_open and text != before.state.last_user_text:
                raise LoomRunError("the last message has no answer yet: /resume goes on with it, or /exit")
            return await self.conversation.say(text, self.change, self.limits, self.desk, repeat=True)
        limits = self.change.first_limits() | self.limits
        return await self.conversation.begin(text, self.change.first(), limits, self.desk)

    def _settle(self, turn: Turn, read: Callable[[str], str]) -> None:
        """Ask in place for what the turn waits for, then say how it ended."""
        terminal = Terminal(read, hint=RESUME_HINT)
        turn, self.change = terminal.settle(turn, self.conversation, self.change, self.limits, self.desk)
        self.tell(turn)

    def _obey(self, text: str, read: Callable[[str], str]) -> None:
        command, _, rest = text.partition(" ")
        match command:
            case "/model":
                self._model(rest.strip())
            case "/tools":
                self._tools()
            case "/help":
                self._help()
            case "/cost" | "/diff" | "/undo" | "/approve" | "/resume" if not self.conversation.exists():
                write_error("nothing yet: say something first")
            case "/cost":
                write_error(usage_text(self.conversation.look().state.usage))
            case "/diff":
                self._diff()
            case "/undo":
                for line in take_back(self.conversation.store, self.conversation.run_id):
                    write_error(line)
            case "/approve":
                turn = self.conversation.look()
                if turn.pending or turn.question is not None:
                    self._settle(turn, read)
                else:
                    write_error("nothing waits for your word")
            case "/resume":
                work = self.conversation.go_on(self.change, self.limits, self.desk)
                self._settle(run_async(work, hint=RESUME_HINT), read)
            case _:
                write_error(printable(f"there is no command {command}"))
                self._help()

    def _help(self) -> None:
        for name, meaning in COMMANDS.items():
            write_error(f"  {name:<10}{meaning}")
        write_error("  Alt-Enter, or a backslash at the end of a line, begins another line; Ctrl-C stops an answer")

    def _model(self, name: str) -> None:
        if name:
            before = self.change
            self.change = replace(before, model=name, mock_llm=None)
            try:
                self._setup()
            except RunnerError:
                self.change = before
                raise
        setup = self._setup()
        write_error(f"{setup.model} in {setup.workspace}, mode {setup.mode}")

    def _tools(self) -> None:
        """List the tools of the next turn, those of MCP servers included: they are started for it."""
        setup, database = self._setup(), Path(self.conversation.store.description)

        async def found() -> tuple[list[Tool], list[str]]:
            async with servers_of(setup.mcp, database=database) as servers:
                return list(servers.registry(setup.tools(database))), list(servers.problems)

        tools, problems = run_async(found())
        wide = max(len(tool.name) for tool in tools)
        for tool in tools:
            mark = "looks" if tool.read_only else "acts"
            about = shorten(" ".join(tool.description.split()).partition(". ")[0], 100)
            write_error(printable(f"  {tool.name:<{wide}}  {mark:<5}  {about}"))
        for problem in problems:
            write_error(printable(f"  {problem}"))
        write_error(f"  {plural(len(tools), 'tool')}; in mode {setup.mode}")

    def _diff(self) -> None:
        run_id, store = self.conversation.run_id, self.conversation.store
        tool = self.conversation.tools().get("git_diff")
        diff = asyncio.run(tool.function())
        write_error(printable(str(diff["output"]).rstrip()) or "no file differs from the last commit")
        if diff["truncated"]:
            write_error("(the rest is left out)")
        for line in changes_of(store, run_id):
            write_error(line)

    def _setup(self) -> Setup:
        with agent_errors_named():
            if self.conversation.exists():
                return self.change.applied_to(self.conversation.look().state.setup)
            return self.change.first()
