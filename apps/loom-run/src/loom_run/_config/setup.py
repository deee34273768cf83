"""The setup of a run, stored in its state, so that any process can build the same agent."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from loom_agents.trust import WorkspaceTrust

from loom_run._config.settings import load_settings
from loom_run._config.system_prompts import agent_prompt, supervisor_prompt, system_prompt
from loom_run._config.team import read_only_tools, tools_for
from loom_run._config.trust import trusted_files
from loom_run._mock.chat import mock_model

if TYPE_CHECKING:
    from loom_agents.mcp import McpServers
    from loom_runner import ToolRegistry

MOCK = "mock"
APPROVAL_TTL_S = 7 * 24 * 3600.0  # longer than a weekend, too short to approve last month's edit


@dataclass(frozen=True, slots=True)
class AgentParts:
    """Hold what a runner is built from."""

    coordinator: Coordinator
    tools: "ToolRegistry"
    policy: Policy


@dataclass(frozen=True, slots=True)
class Setup:
    """Hold which model works in which folder, and what it may do.

    Args:
        workspace: The folder, absolute.
        model: `mock`, `script:` and the absolute path of a script, or `provider:model`.
        test_command: What `run_tests` starts; None for the workspace's pytest.
        mode: Which calls need approval.
        rules: Exceptions to the mode, each as `allow TOOL(PATTERN)`, `ask ...` or `deny ...`.
        mcp: The file of its MCP servers, absolute; None for no servers.
        max_requests: Model requests in one turn.
        compact_at: The length in tokens beyond which the beginning of a conversation is summarized.
        agents: The agents it may delegate to; empty for an agent that works alone.
        agent: The one of them that this run is; None for the agent that the user talks to.
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

    def build(
        self,
        *,
        database: Path,
        record: Path | None = None,
        servers: "McpServers | None" = None,
        changes: ChangeLog | None = None,
    ) -> AgentParts:
        """Build the agent's step, tools and policy. The tools have no access to the run's database.

        Args:
            database: The database of the run.
            record: The script file to write the model's replies to.
            servers: The MCP servers of the run, started; their tools are added to the local ones.
            changes: The log for the tools that write.

        Raises:
            WorkspaceError: The folder no longer exists.
            ScriptError: The script cannot be read.
        """
        local, table = self.tools(database, changes), None
        tools, changed = local, frozenset[str]()
        if servers is not None and servers.servers:
            tools, table = servers.registry(local), servers.table(local)
            changed = servers.changed(local, trusted_files())
        model = self._model() if record is None else RecordingModel(self._model(), record)
        folder, profile = Path(self.workspace), self._profile
        delegation = None
        if profile is not None:
            tools, system = tools_for(profile, tools), agent_prompt(folder, profile)
        elif self.agents:
            tools, system = read_only_tools(tools), supervisor_prompt(folder)
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
        return AgentParts(step, tools, self.policy(database, remote=frozenset(table or ()), changed=changed))

    def for_agent(self, profile: AgentProfile) -> "Setup":
        """Return the setup of a run of one of the agents."""
        return replace(
            self,
            agent=profile.name,
            model=profile.model or self.model,
            max_requests=profile.max_requests or self.max_requests,
        )

    def tools(self, database: Path, changes: ChangeLog | None = None) -> "ToolRegistry":
        """Build the tools; without `changes` they can only be listed, not called."""
        log = ChangeLog(undo_path(database)) if changes is None else changes
        return workspace_tools(
            self._workspace(database),
            test_command=self.test_command,
            changes=log,
            test_network=load_settings(Path(self.workspace)).test_network or False,
        )

    def policy(
        self, database: Path, *, remote: frozenset[str] = frozenset(), changed: frozenset[str] = frozenset()
    ) -> Policy:
        """Build the policy that decides about tool calls.

        Args:
            database: The database of the run.
            remote: The names of the tools of MCP servers.
            changed: Those of them that differ from what the user accepted.
        """
        rules = tuple(parse_rule(text) for text in self.rules)
        workspace = self._workspace(database)
        trust = WorkspaceTrust(workspace, trusted_files(), self.test_command).objection
        return Policy(workspace, self.mode, rules, APPROVAL_TTL_S, trust, remote, changed)

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
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

    @property
    def _profile(self) -> AgentProfile | None:
        return next((profile for profile in self.agents if profile.name == self.agent), None)

    def _first_state(self, profile: AgentProfile, task: str) -> Any:
        return AgentState(setup=self.for_agent(profile).to_json()).with_user(task).to_json()

    def _workspace(self, database: Path) -> Workspace:
        return Workspace.at(Path(self.workspace), private=[database])

    def _model(self) -> Model:
        kind, _, path = self.model.partition(":")
        if kind == "script":
            return ScriptedModel.from_file(Path(path), agent=self.agent)
        return mock_model(self.agent, leads=bool(self.agents)) if self.model == MOCK else ProviderModel(self.model)


def undo_path(database: Path) -> Path:
    """Return the path of the undo log of a database, in the same folder."""
    return database.with_name(f"{database.name}-undo")


def parse_rule(text: str) -> Rule:
    """Parse a rule in its stored form."""
    how, _, rest = text.partition(" ")
    return Rule.parse(how, rest)
