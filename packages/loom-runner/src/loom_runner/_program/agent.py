"""Agents: what a run executes, independent of where it is executed and stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.arguments import check_type
from loom_runner._model.retention import parse_keep
from loom_runner._model.retry import RetryPolicy
from loom_runner._model.seconds import check_seconds
from loom_runner._program.codec import UNHINTED
from loom_runner._program.custom_codec import CodecFunctions
from loom_runner._program.identity import is_same_function
from loom_runner._program.loop_program import LoopProgram
from loom_runner._program.state_versions import Versions
from loom_runner._program.step_program import StepProgram
from loom_runner._program.tools import ToolRegistry
from loom_runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loom_runner._model.retention import Keep
    from loom_runner._model.seconds import Seconds
    from loom_runner._model.writes import VerifyApproval
    from loom_runner._program.gate import Gate
    from loom_runner._program.state_versions import Upcaster

__all__ = ["Agent", "check_names", "is_same_program"]

_MAX_NAME: Final = 200


class Agent:
    """Define an agent: its name, its step function or `@tailrec` loop, its tools and settings.

    An agent has no store and runs nothing by itself: pass it to an engine, for instance
    `LocalEngine(open_store("runs.sqlite"))`.

    Args:
        name: Identifies the agent in a database: a run is resumed only by the agent that its row
            names. By default `module:function`, with the file's stem as the module of a file.
            Unique among the agents of a worker, and of a run and its children.
        step: `async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[Result]`.
            The types of state and result are those of its hints; without hints they are plain
            JSON. A sync step runs on a thread.
        loop: A `@tailrec` function instead; every tail call is a step, its arguments are the state.
        aliases: Earlier names of the agent. Runs with these names are resumed, and get the new one.
            For a run of an earlier version, whose row has the bare name of a function, it is
            `FILE:FUNCTION`.
        tools: The tools that `ctx.call_tool` finds by name.
        state_type: The type of the state, if the hints do not say it.
        result_type: The type of the result, likewise.
        retry: When a failed step is tried again.
        gate: Decides which tool calls may run, fail, or wait for an approval; see `Gate`. By
            default, tools declared `needs_approval` wait, and all others run.
        verify_approval: Called in the transaction that starts an approved call, with the connection
            and the request; returns why the call must not start, or None. The run then fails with
            the category `tampered`.
        redact: Changes each result of a tool, as plain JSON, and each text of an error before it is
            stored or shown, for instance to mask secrets. Its result must depend on its argument
            alone.
        children: The agents of child runs, by the names that `Child(program=...)` uses: agents, or
            functions that return one when it is first needed.
        step_timeout_s: Seconds after which a step is cancelled; that is a failed attempt, which may
            be tried again.
        keep: How much of a run's history is kept: `all`, `latest`, `last:N` or `every:K`; None is
            the store's default.
        encode_state: Converts a state to plain JSON, if its hint is not enough; with
            `decode_state`. `encode_result` and `decode_result` do the same for results.
        state_version: The version of the state that this code writes, from 1.
        upcasters: For each older version, a function that converts its JSON to the next version.

    Raises:
        UsageError: The arguments contradict each other, or a name is not valid.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        step: Callable[..., Any] | None = None,
        loop: Callable[..., Any] | None = None,
        aliases: Sequence[str] = (),
        tools: ToolRegistry | None = None,
        state_type: Any = UNHINTED,
        result_type: Any = UNHINTED,
        retry: RetryPolicy | None = None,
        gate: Gate | None = None,
        verify_approval: VerifyApproval | None = None,
        redact: Callable[[Any], Any] | None = None,
        children: Mapping[str, Any] | None = None,
        step_timeout_s: Seconds | None = None,
        keep: Keep | str | None = None,
        encode_state: Callable[[Any], Any] | None = None,
        decode_state: Callable[[Any], Any] | None = None,
        encode_result: Callable[[Any], Any] | None = None,
        decode_result: Callable[[Any], Any] | None = None,
        state_version: int = 1,
        upcasters: Mapping[int, Upcaster] | None = None,
    ) -> None:
        if (step is None) == (loop is None):
            raise UsageError("cannot define an agent: give it either step= or loop=.")
        timeout_s = (
            None
            if step_timeout_s is None
            else check_seconds("define an agent", "step_timeout_s", step_timeout_s, is_positive=True)
        )
        if isinstance(aliases, str) or not isinstance(aliases, Iterable):
            raise UsageError(f"cannot define an agent: aliases is a sequence of names, for instance ({aliases!r},).")
        function = loop if step is None else step
        if not callable(function) or isinstance(function, type):
            raise UsageError(
                f"cannot define an agent: {function!r} is not a function. Pass step=FUNCTION or loop=FUNCTION."
            )
        verb = "define an agent"
        check_type(verb, "tools", tools, ToolRegistry | None, "a ToolRegistry, which @tools.tool(...) fills")
        check_type(verb, "retry", retry, RetryPolicy | None, "a RetryPolicy, for instance RetryPolicy(max_attempts=3)")
        check_type(verb, "upcasters", upcasters, Mapping | None, "a dict, for instance {1: convert}")
        check_type(verb, "children", children, Mapping | None, 'a dict, for instance {"report": report_agent}')
        if gate is not None and not callable(gate):
            raise UsageError(f"cannot {verb}: gate is {gate!r:.60}. Pass a function; see Gate.")
        if redact is not None and not callable(redact):
            raise UsageError(f"cannot {verb}: redact is {redact!r:.60}. Pass a function.")
        codec_functions = CodecFunctions(encode_state, decode_state, encode_result, decode_result)
        versions = Versions(state_version, dict(upcasters or {}))
        self.program: StepProgram | LoopProgram
        if step is not None:
            self.program = StepProgram(
                step, state_type, result_type, versions=versions, codec_functions=codec_functions
            )
        elif loop is not None:
            if state_type is not UNHINTED or encode_state is not None or decode_state is not None:
                raise UsageError(
                    "cannot use state_type or encode_state with loop=: hint the loop's parameters instead."
                )
            self.program = LoopProgram(loop, result_type, versions=versions, codec_functions=codec_functions)
        self.name = self.program.default_name if name is None else name
        self.aliases = tuple(aliases)
        self.is_named = name is not None
        for each in self.names:
            _check_name(each)
        if self.unqualified_name in self.aliases:
            raise UsageError(
                f"cannot use the alias {self.unqualified_name!r}: it is the name of a function in every database of "
                f"earlier versions. Say in which file it was: aliases=('FILE:{self.unqualified_name}',)."
            )
        self.tools = ToolRegistry() if tools is None else tools
        self.retry = retry or RetryPolicy()
        self.gate = gate
        self.verify_approval = verify_approval
        self.redact = redact
        self.children: Mapping[str, Any] = dict(children or {})
        self.step_timeout_s: float | None = timeout_s
        self.keep = parse_keep(keep) if isinstance(keep, str) else keep

    @property
    def names(self) -> tuple[str, ...]:
        """The names that rows of this agent's runs may have: its own, then its aliases."""
        return (self.name, *self.aliases)

    @property
    def unqualified_name(self) -> str:
        """The name in runs of earlier versions: that of the function, without its module."""
        return self.program.name

    def __repr__(self) -> str:
        return f"Agent({self.name!r}, at {self.program.code_at})"


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME or not name.isprintable() or name != name.strip():
        raise UsageError(
            f"cannot define an agent named {str(name)[:40]!r}: a name is a string of 1 to {_MAX_NAME} printable "
            "characters without spaces at its ends. Choose one with name=."
        )


def is_same_program(one: Agent, other: Agent) -> bool:
    """Return whether two agents do the same: one agent, or one that was built twice."""
    return one is other or (
        is_same_function(one.program.function, other.program.function)
        and one.tools == other.tools
        and one.gate == other.gate
    )


def check_names(agents: Iterable[Agent], where: str) -> None:
    """Refuse different agents with the same name.

    Args:
        where: What the agents belong to, for the message: *in WHERE*.

    Raises:
        UsageError: Two different agents share a name or an alias.
    """
    owners: dict[str, Agent] = {}
    for agent in agents:
        for name in agent.names:
            other = owners.setdefault(name, agent)
            if not is_same_program(other, agent):
                raise UsageError(
                    f"cannot use two agents named {name!r} in {where}: {other.program.code_at} and "
                    f"{agent.program.code_at}. Give each its own name: Agent(name=...) or AgentRunner(name=...)."
                )
