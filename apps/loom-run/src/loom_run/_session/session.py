"""An interactive chat: read a message, answer it, again. Every turn is committed like a single
`loom-run chat`.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from flow_xray.terminal import visible_line
from loom_runner import RunnerError, Tool, ToolFailed
from loom_runner.cli_base import ExitCode, Interrupted, plural, run_async, shorten, write_error

from loom_run._chat.conversation import Conversation, Limits, RunOptions
from loom_run._chat.turn import Turn
from loom_run._chat.undo import list_changes, undo_changes
from loom_run._config.mcp_servers import mcp_servers
from loom_run._config.setup import Setup
from loom_run._config.setup_change import SetupChange
from loom_run._errors import LOOM_RUN, LoomRunError
from loom_run._report.progress import Progress
from loom_run._report.turn_ending import usage_text
from loom_run._session.approval_prompts import ApprovalPrompts
from loom_run._session.line_editor import MESSAGE_PROMPT, MORE_PROMPT

__all__ = ["COMMANDS", "Session"]

COMMANDS: Final[Mapping[str, str]] = {
    "/help": "show this list",
    "/model": "show the model and the folder; /model P:M changes the model from now on",
    "/cost": "show tokens and cost so far",
    "/tools": "list the tools, and which of them need approval",
    "/diff": "show the changes in the folder since the last commit, and those of this chat",
    "/undo": "undo the last change of this chat",
    "/approve": "decide about calls that wait for approval",
    "/resume": "resume a turn that was interrupted, stopped or failed",
    "/exit": "end the session; so does Ctrl-D",
}
RESUME_HINT: Final = "Resume: /resume"


@dataclass(slots=True)
class Session:
    """Chat with the user at the terminal.

    Args:
        conversation: the run; created with the first message when it does not exist.
        change: the setup options of the command line, and what the person changes during the
            session.
        limits: the limits of the command line; they hold from the first message on.
        options: how the run is driven.
        progress: the listener in `options`.
        report: writes how a turn ended.
    """

    conversation: Conversation
    change: SetupChange
    limits: Limits
    options: RunOptions
    progress: Progress
    report: Callable[[Turn], object]

    def run(self, read: Callable[[str], str]) -> int:
        """Chat until the user leaves.

        Args:
            read: Shows a prompt and returns a line; an EOFError that it raises ends the session.
        """
        setup = self._setup()
        self.change = self.change.without_trust()
        write_error(
            f"{self.conversation.run_id}: {setup.model} in {setup.workspace}, mode {setup.mode}  (/help, /exit)"
        )
        if self.conversation.exists() and self.conversation.read().status != "answered":
            write_error("the last message has no answer yet; /resume continues it")
        while True:
            try:
                text = self._read(read)
            except KeyboardInterrupt:
                write_error("")  # discards the unfinished line, as shells do
                continue
            except EOFError:
                write_error("")
                return ExitCode.DONE
            if text == "/exit":
                return ExitCode.DONE
            if text:
                self._handle(text, read)

    def _read(self, read: Callable[[str], str]) -> str:
        """Read a message; a line that ends with a backslash continues on the next one."""
        lines = [read(MESSAGE_PROMPT)]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(read(MORE_PROMPT))
        return "\n".join(lines).strip()

    def _handle(self, text: str, read: Callable[[str], str]) -> None:
        try:
            with LOOM_RUN.translate_agent_errors():
                if text.startswith("/"):
                    self._run_command(text, read)
                else:
                    self._finish(run_async(self._turn(text), hint=RESUME_HINT), read)
        except KeyboardInterrupt:
            write_error("interrupted")
        except Interrupted as exc:
            self.progress.end_line()
            write_error(str(exc))
        except (RunnerError, ToolFailed) as exc:
            self.progress.end_line()
            write_error(" ".join(str(exc).split()))

    async def _turn(self, text: str) -> Turn:
        text = text.encode("utf-8", "replace").decode()
        if self.conversation.exists():
            before = self.conversation.read()
            is_open = before.status not in ("answered", "question")
            if is_open and text != before.state.last_user_text:
                raise LoomRunError("the last message has no answer yet: /resume continues it, /exit ends the session")
            return await self.conversation.send(text, self.change, self.limits, self.options, repeat=True)
        limits = self.change.default_limits() | self.limits
        return await self.conversation.start(text, self.change.new_setup(), limits, self.options)

    def _finish(self, turn: Turn, read: Callable[[str], str]) -> None:
        """Ask at once for what the turn waits for, then report how it ended."""
        prompts = ApprovalPrompts(read, self.progress, hint=RESUME_HINT)
        turn, self.change = prompts.resolve(turn, self.conversation, self.change, self.limits, self.options)
        self.report(turn)

    def _run_command(self, text: str, read: Callable[[str], str]) -> None:
        command, _, rest = text.partition(" ")
        match command:
            case "/model":
                self._model(rest.strip())
            case "/tools":
                self._tools()
            case "/help":
                self._help()
            case "/cost" | "/diff" | "/undo" | "/approve" | "/resume" if not self.conversation.exists():
                write_error("the chat has no message yet: type one first")
            case "/cost":
                write_error(usage_text(self.conversation.read().state.usage))
            case "/diff":
                self._diff()
            case "/undo":
                folder = self.change.workspace or Path()
                for line in undo_changes(self.conversation.store, self.conversation.run_id, folder):
                    write_error(line)
            case "/approve":
                turn = self.conversation.read()
                if turn.pending or turn.question is not None:
                    self._finish(turn, read)
                else:
                    write_error("no call waits for approval")
            case "/resume":
                work = self.conversation.resume(self.change, self.limits, self.options)
                self._finish(run_async(work, hint=RESUME_HINT), read)
            case _:
                write_error(f"there is no command {command}")
                self._help()

    def _help(self) -> None:
        for name, meaning in COMMANDS.items():
            write_error(f"  {name:<10}{meaning}")
        write_error("  Alt-Enter, or a backslash at the end of a line, starts another line; Ctrl-C stops an answer")

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
        """List the tools of the next turn. MCP servers are started to list theirs."""
        setup, database = self._setup(), Path(self.conversation.store.address)

        async def found() -> tuple[list[Tool], list[str]]:
            async with mcp_servers(setup.mcp, database=database) as servers:
                return list(servers.registry(setup.tools(database))), list(servers.problems)

        tools, problems = run_async(found())
        wide = max(len(tool.name) for tool in tools)
        for tool in tools:
            mark = "reads" if tool.read_only else "acts"
            summary = shorten(" ".join(tool.description.split()).partition(". ")[0], 100)
            write_error(visible_line(f"  {tool.name:<{wide}}  {mark:<5}  {summary}"))
        for problem in problems:
            write_error(visible_line(f"  {problem}"))
        write_error(f"  {plural(len(tools), 'tool')}; in mode {setup.mode}")

    def _diff(self) -> None:
        run_id, store = self.conversation.run_id, self.conversation.store
        tool = self.conversation.tools().get("git_diff")
        diff = asyncio.run(tool.function())
        write_error(str(diff["output"]).rstrip() or "no file differs from the last commit")
        if diff["truncated"]:
            write_error("(the rest is omitted)")
        for line in list_changes(store, run_id):
            write_error(line)

    def _setup(self) -> Setup:
        with LOOM_RUN.translate_agent_errors():
            if self.conversation.exists():
                return self.conversation.setup_after(self.change, self.conversation.read().state.setup, quiet=True)
            return self.change.new_setup()
