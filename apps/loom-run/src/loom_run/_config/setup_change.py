"""The changes that a command line makes to the setup of a run."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from loom_agents import Mode, Workspace
from loom_agents.trust import WorkspaceTrust

from loom_run._config.mcp_servers import find_mcp_file
from loom_run._config.settings import Settings
from loom_run._config.setup import MOCK, Setup, parse_rule
from loom_run._config.team import agent_profiles
from loom_run._config.trust import TrustPrompt, trusted_files
from loom_run._errors import LoomRunError


@dataclass(frozen=True, slots=True)
class SetupChange:
    """Hold the options of a command line about the setup; None stands for an option that is not
    given.

    Args:
        workspace: the folder.
        model: provider and model.
        mock_llm: the path of a script, or empty for the mock.
        test_command: the test command, in shell syntax.
        mode: what needs approval.
        rules: exceptions, as in `Setup`; they are added to those of the run, in place of one about
            the same calls.
        mcp: the file of MCP servers; `none` for no servers.
        compact_at: the length in tokens beyond which a conversation is summarized.
        settings: the settings for new runs, where the command line says nothing.
        trust: decides about files of the project.
        trust_is_used: what the command line says about trust was for the files as they were; see
            `without_trust`.
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
    trust: TrustPrompt = field(default_factory=TrustPrompt)
    trust_is_used: bool = False

    def new_setup(self, *, leads: bool = False) -> Setup:
        """Build the setup of a new run: the command line first, then the settings.

        Args:
            leads: The run leads a team of agents.

        Raises:
            LoomRunError: No model is named, or a file of the project is not trusted.
        """
        defaults = self.settings
        self.trust.require(defaults)
        if self.mock_llm is None and self.model is None and defaults.model is None:
            raise LoomRunError(
                "cannot start a chat: no model is named. Give --model PROVIDER:MODEL (openai:gpt-5,"
                " ollama:qwen3, ...) or set LOOM_MODEL, or use --mock-llm to work offline."
            )
        change = replace(
            self,
            model=defaults.model if self.mock_llm is None and self.model is None else self.model,
            test_command=defaults.test_command if self.test_command is None else self.test_command,
            mode=self.mode or defaults.mode,
            rules=(*checked_rules(allow=defaults.allow, ask=defaults.ask, deny=defaults.deny), *self.rules),
        )
        setup = _apply(change, {"workspace": str(Path.cwd()), "model": MOCK})
        if leads:
            setup = replace(setup, agents=agent_profiles(defaults.agents))
        self._trust_workspace(setup)
        return self._with_mcp_file(setup, self.mcp or defaults.mcp_config)

    def without_trust(self) -> "SetupChange":
        """Return the same change for later turns: a file that changes after this command started is
        not trusted.
        """
        return replace(self, trust=replace(self.trust, given=False), trust_is_used=True)

    @property
    def named(self) -> frozenset[str]:
        """The parts of a setup that the command line sets, whatever is stored."""
        has_model = self.model is not None or self.mock_llm is not None
        given = {"workspace": self.workspace, "mode": self.mode, "test_command": self.test_command, "mcp": self.mcp}
        return frozenset(name for name, value in given.items() if value is not None) | (
            {"model"} if has_model else set()
        )

    def default_limits(self) -> dict[str, Any]:
        """Return the limits that the settings give to new runs."""
        defaults = self.settings
        limits = {
            "max_tokens": defaults.max_tokens,
            "max_cost_usd": defaults.max_cost,
            "max_requests": defaults.max_requests,
        }
        return {name: value for name, value in limits.items() if value is not None}

    def applied_to(self, stored: Mapping[str, Any]) -> Setup:
        """Return the stored setup of a run with the options of the command line applied.

        Raises:
            LoomRunError: The file of MCP servers has changed since it was trusted.
        """
        setup = _apply(self, stored)
        self._trust_workspace(setup)
        named = self.mcp or setup.mcp
        return setup if named is None else self._with_mcp_file(setup, named)

    def _trust_workspace(self, setup: Setup) -> None:
        """Trust what `run_tests` would run, when this command line says so or names the test
        command.
        """
        if not self.trust_is_used and (self.trust.given or self.test_command is not None):
            WorkspaceTrust(Workspace.at(Path(setup.workspace)), trusted_files(), setup.test_command).trust()

    def _with_mcp_file(self, setup: Setup, named: str | None) -> Setup:
        is_explicit = self.mcp is not None and not self.trust_is_used
        file = find_mcp_file(
            Path(setup.workspace), named, self.trust, is_explicit=is_explicit, executes=setup.mode != "read-only"
        )
        return replace(setup, mcp=None if file is None else str(file))


def checked_rules(**texts: tuple[str, ...]) -> tuple[str, ...]:
    """Check the rules of a command line, by their effect, and return their stored form.

    Raises:
        AgentError: A rule is not TOOL or TOOL(PATTERN).
    """
    return tuple(f"{how} {parse_rule(f'{how} {text}')}" for how, given in texts.items() for text in given)


def _apply(change: SetupChange, stored: Mapping[str, Any]) -> Setup:
    """Return the stored setup with a change applied, except for the MCP servers."""
    setup = Setup.from_json(stored)
    if change.workspace is not None:
        setup = replace(setup, workspace=str(change.workspace))
    if change.model is not None:
        setup = replace(setup, model=_provider_model(change.model))
    if change.mock_llm is not None:
        setup = replace(setup, model=f"script:{Path(change.mock_llm).absolute()}" if change.mock_llm else MOCK)
    if change.test_command is not None:
        setup = replace(setup, test_command=_split_command(change.test_command))
    if change.compact_at is not None:
        setup = replace(setup, compact_at=change.compact_at)
    if change.mode is not None:
        setup = replace(setup, mode=change.mode)
    for rule in change.rules:
        calls = str(parse_rule(rule))
        others = tuple(other for other in setup.rules if str(parse_rule(other)) != calls)
        setup = replace(setup, rules=(*others, rule))
    return replace(setup, workspace=str(Workspace.at(Path(setup.workspace)).root))


def _provider_model(name: str) -> str:
    provider, _, model = name.partition(":")
    if not provider or not model or provider == "script":
        raise LoomRunError(f"cannot use --model {name!r}: it is not PROVIDER:MODEL, for example openai:gpt-5.")
    return name


def _split_command(command: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(command))
    except ValueError as exc:
        raise LoomRunError(f"cannot use --test-command {command!r}: its quotes ({exc}).") from exc
    if not words:
        raise LoomRunError("cannot use --test-command '': it is empty. Name a program.")
    return words
