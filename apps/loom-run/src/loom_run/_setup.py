"""What a run needs to be built again in another process; stored in its state as JSON."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loom_agents import (
    AgentProfile,
    AgentState,
    ChangeLog,
    Coordinator,
    Delegation,
    Mode,
    Model,
    Policy,
    ProviderModel,
    RecordingModel,
    Rule,
    ScriptedModel,
    Workspace,
    workspace_tools,
)

from loom_run._agents import looking, only, profiles
from loom_run._config import Settings
from loom_run._errors import LoomRunError
from loom_run._mock import mock_model
from loom_run._prompt import agent_prompt, supervisor_prompt, system_prompt
from loom_run._servers import found_servers
from loom_run._trusting import Trusting

if TYPE_CHECKING:
    from loom_agents.mcp import McpServers
    from loom_runner import ToolRegistry

MOCK = "mock"
APPROVAL_TTL_S = 7 * 24 * 3600.0  # people are away for a weekend, and nobody should allow last month's edit


@dataclass(frozen=True, slots=True)
class Parts:
    """Hold what a runner is made of."""

    coordinator: Coordinator
    tools: "ToolRegistry"
    policy: Policy


@dataclass(frozen=True, slots=True)
class Setup:
    """Say which model works in which folder, and what it may do.

    Args:
        workspace: the folder, absolute.
        model: `mock`, `script:` and the absolute path of a script, or `provider:model`.
        test_command: what `run_tests` starts; None for the workspace's pytest.
        mode: what needs a person's word.
        rules: exceptions from it, each as `allow TOOL(PATTERN)`, `ask ...` or `deny ...`.
        mcp: the file of its MCP servers, absolute; None for no servers.
        max_requests: model requests of one turn.
        compact_at: a conversation of more tokens than this has its beginning summed up.
        agents: whom it may give work to; none for an agent that works alone.
        agent: which of them this run is; None for the one that the user talks with.
    """

    workspace: str
    model: str
    test_command: tuple[str, ...] | None = None
    mode: Mode = "ask"
    rules: tuple[str, ...] = ()
    mcp: str | None = None
    max_requests: int = 50
    compact_at: int = 100_000
    agents: tuple[AgentProfile, ...] = ()
    agent: str | None = None

    def parts(
        self,
        *,
        database: Path,
        record: Path | None = None,
        servers: "McpServers | None" = None,
        changes: ChangeLog | None = None,
    ) -> Parts:
        """Build the agent's step, its tools and its policy. They do not see the database that the run is kept in.

        Args:
            database: where the run is kept.
            record: a script file to write the model's replies to.
            servers: the MCP servers of the run, started; their tools come to the local ones.
            changes: where the tools that write keep what they change.

        Raises:
            WorkspaceError: the folder is gone.
            ScriptError: the script cannot be read.
        """
        tools, table = self.tools(database, changes), None
        if servers is not None and servers.servers:
            tools, table = servers.registry(tools), servers.table(tools)
        model = self._model() if record is None else RecordingModel(self._model(), record)
        folder, profile = Path(self.workspace), self._profile
        delegation = None
        if profile is not None:
            tools, system = only(tools, profile), agent_prompt(folder, profile)
        elif self.agents:
            tools, system = looking(tools), supervisor_prompt(folder)
            delegation = Delegation(self.agents, self._first_state)
        else:
            system = system_prompt(folder, self.mode)
        step = Coordinator(
            model,
            tools,
            system=system,
            setup=self.to_json(),
            asks=profile is None,
            keeps_open=profile is None,
            tool_table=table,
            delegation=delegation,
            compact_at_tokens=self.compact_at,
        )
        return Parts(step, tools, self.policy(database))

    def of(self, profile: AgentProfile) -> "Setup":
        """Give the setup of a run of one of the agents."""
        return replace(
            self,
            agent=profile.name,
            model=profile.model or self.model,
            max_requests=profile.max_requests or self.max_requests,
        )

    def _first_state(self, profile: AgentProfile, task: str) -> Any:
        return AgentState(setup=self.of(profile).to_json()).with_user(task).to_json()

    @property
    def _profile(self) -> AgentProfile | None:
        return next((profile for profile in self.agents if profile.name == self.agent), None)

    def tools(self, database: Path, changes: ChangeLog | None = None) -> "ToolRegistry":
        """Build the tools; without `changes` to be looked at, not to be called."""
        log = ChangeLog(undo_log(database)) if changes is None else changes
        return workspace_tools(self._workspace(database), test_command=self.test_command, changes=log)

    def policy(self, database: Path) -> Policy:
        """Build what decides about tool calls."""
        rules = tuple(parsed_rule(text) for text in self.rules)
        return Policy(self._workspace(database), self.mode, rules, ttl_s=APPROVAL_TTL_S)

    def _workspace(self, database: Path) -> Workspace:
        return Workspace.at(Path(self.workspace), private=[database])

    def _model(self) -> Model:
        kind, _, path = self.model.partition(":")
        if kind == "script":
            return ScriptedModel.from_file(Path(path), agent=self.agent)
        return mock_model(self.agent, leads=bool(self.agents)) if self.model == MOCK else ProviderModel(self.model)

    def to_json(self) -> dict[str, Any]:
        """Give the stored form."""
        command = None if self.test_command is None else list(self.test_command)
        stored: dict[str, Any] = {"workspace": self.workspace, "model": self.model, "test_command": command}
        stored |= {"mode": self.mode, "rules": list(self.rules), "mcp": self.mcp, "max_requests": self.max_requests}
        stored["compact_at"] = self.compact_at
        if self.agents:
            stored |= {"agents": [profile.to_json() for profile in self.agents], "agent": self.agent}
        return stored

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Setup":
        """Read the stored form."""
        command = data.get("test_command")
        return cls(
            data["workspace"],
            data["model"],
            None if command is None else tuple(command),
            data.get("mode", "ask"),
            tuple(data.get("rules", ())),
            data.get("mcp"),
            data.get("max_requests", 50),
            data.get("compact_at", 100_000),
            tuple(AgentProfile.from_json(profile) for profile in data.get("agents", ())),
            data.get("agent"),
        )


@dataclass(frozen=True, slots=True)
class SetupChange:
    """Hold what a command line says about the setup; None says nothing.

    Args:
        workspace: the folder.
        model: provider and model.
        mock_llm: the path of a script, or empty for the mock.
        test_command: the test runner, as a shell would read it.
        mode: what needs a person's word.
        rules: exceptions, as in `Setup`; they come to those that the run has, in place of one about the same calls.
        mcp: the file of MCP servers; `none` for no servers.
        compact_at: how long a conversation may get, in tokens.
        settings: what is set for new runs where the command line says nothing.
        trusting: who is asked about files of the project.
        words_are_given: what the command line says about trust was for the files as they were; see `settled`.
    """

    workspace: Path | None = None
    model: str | None = None
    mock_llm: str | None = None
    test_command: str | None = None
    mode: Mode | None = None
    rules: tuple[str, ...] = ()
    mcp: str | None = None
    compact_at: int | None = None
    settings: Settings = field(default_factory=Settings)
    trusting: Trusting = field(default_factory=Trusting)
    words_are_given: bool = False

    def first(self, *, leads: bool = False) -> Setup:
        """Build the setup of a new run; what the command line does not say is as it is set.

        Args:
            leads: the run leads the agents that are set.

        Raises:
            LoomRunError: no model is named, or a file of the project is not trusted.
        """
        usual = self.settings
        self.trusting.require(usual)
        if self.mock_llm is None and self.model is None and usual.model is None:
            raise LoomRunError(
                "cannot start a chat: no model is named. Give --model PROVIDER:MODEL (openai:gpt-5,"
                " ollama:qwen3, ...) or set LOOM_MODEL, or use --mock-llm to work offline."
            )
        change = replace(
            self,
            model=usual.model if self.mock_llm is None and self.model is None else self.model,
            test_command=usual.test_command if self.test_command is None else self.test_command,
            mode=self.mode or usual.mode,  # type: ignore[arg-type]  # one of the modes: it was checked when it was read
            rules=(*checked_rules(allow=usual.allow, ask=usual.ask, deny=usual.deny), *self.rules),
        )
        setup = _put_in(change, {"workspace": str(Path.cwd()), "model": MOCK})
        if leads:
            setup = replace(setup, agents=profiles(usual.agents))
        return self._with_servers(setup, self.mcp or usual.mcp_config)

    def settled(self) -> "SetupChange":
        """Give the same change for later turns: a file that changes after this command began is not trusted by it."""
        return replace(self, trusting=replace(self.trusting, given=False), words_are_given=True)

    def first_limits(self) -> dict[str, Any]:
        """Give the budget that is set for new runs."""
        usual = self.settings
        named = {
            "max_tokens": usual.max_tokens,
            "max_cost_usd": usual.max_cost,
            "max_requests": usual.max_requests,
        }
        return {name: value for name, value in named.items() if value is not None}

    def applied_to(self, stored: Mapping[str, Any]) -> Setup:
        """Give the stored setup of a run with what the command line says put in.

        Raises:
            LoomRunError: the file of MCP servers has changed and nobody has trusted it since.
        """
        setup = _put_in(self, stored)
        named = self.mcp or setup.mcp
        return setup if named is None else self._with_servers(setup, named)

    def _with_servers(self, setup: Setup, named: str | None) -> Setup:
        file = found_servers(
            Path(setup.workspace), named, self.trusting, is_own_word=self.mcp is not None and not self.words_are_given
        )
        return replace(setup, mcp=None if file is None else str(file))


def _put_in(change: SetupChange, stored: Mapping[str, Any]) -> Setup:
    """Give the stored setup with what a command line says put in, but for the servers."""
    setup = Setup.from_json(stored)
    if change.workspace is not None:
        setup = replace(setup, workspace=str(change.workspace))
    if change.model is not None:
        setup = replace(setup, model=_provider_model(change.model))
    if change.mock_llm is not None:
        setup = replace(setup, model=f"script:{Path(change.mock_llm).absolute()}" if change.mock_llm else MOCK)
    if change.test_command is not None:
        setup = replace(setup, test_command=_words(change.test_command))
    if change.compact_at is not None:
        setup = replace(setup, compact_at=change.compact_at)
    if change.mode is not None:
        setup = replace(setup, mode=change.mode)
    for rule in change.rules:
        about = str(parsed_rule(rule))
        others = tuple(other for other in setup.rules if str(parsed_rule(other)) != about)
        setup = replace(setup, rules=(*others, rule))
    return replace(setup, workspace=str(Workspace.at(Path(setup.workspace)).root))


def undo_log(database: Path) -> Path:
    """Name the file beside a database that keeps what its runs have changed."""
    return database.with_name(f"{database.name}-undo")


def checked_rules(**texts: tuple[str, ...]) -> tuple[str, ...]:
    """Read the rules of a command line, given by what they do, and write them as they are stored.

    Raises:
        AgentError: one is not TOOL or TOOL(PATTERN).
    """
    return tuple(f"{how} {parsed_rule(f'{how} {text}')}" for how, given in texts.items() for text in given)


def parsed_rule(text: str) -> Rule:
    """Read a rule as it is stored."""
    how, _, rest = text.partition(" ")
    assert how in {"allow", "ask", "deny"}
    return Rule.parse(how, rest)  # type: ignore[arg-type]  # one of the three


def _provider_model(name: str) -> str:
    provider, _, model = name.partition(":")
    if not provider or not model or provider == "script":
        raise LoomRunError(f"cannot use --model {name!r}: it is not PROVIDER:MODEL, such as openai:gpt-5.")
    return name


def _words(command: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(command))
    except ValueError as exc:
        raise LoomRunError(f"cannot use --test-command {command!r}: its quotes ({exc}).") from exc
    if not words:
        raise LoomRunError("cannot use --test-command '': it is empty. Name a program.")
    return words
