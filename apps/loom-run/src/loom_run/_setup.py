"""What a run needs to be built again in another process; stored in its state as JSON."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loom_agents import Coordinator, Model, ProviderModel, RecordingModel, ScriptedModel, Workspace, workspace_tools

from loom_run._errors import LoomRunError
from loom_run._mock import mock_model
from loom_run._prompt import system_prompt

if TYPE_CHECKING:
    from loom_runner import ToolRegistry

MOCK = "mock"
MODEL_VARIABLE = "LOOM_MODEL"


@dataclass(frozen=True, slots=True)
class Setup:
    """Say which model works in which folder.

    Args:
        workspace: the folder, absolute.
        model: `mock`, `script:` and the absolute path of a script, or `provider:model`.
        test_command: what `run_tests` starts; None for the workspace's pytest.
    """

    workspace: str
    model: str
    test_command: tuple[str, ...] | None = None

    def coordinator(self, *, database: Path, record: Path | None = None) -> "tuple[Coordinator, ToolRegistry]":
        """Build the agent's step and its tools, which do not see the database that the run is kept in.

        Args:
            database: where the run is kept.
            record: a script file to write the model's replies to.

        Raises:
            WorkspaceError: the folder is gone.
            ScriptError: the script cannot be read.
        """
        workspace = Workspace.at(Path(self.workspace), private=[database])
        tools = workspace_tools(workspace, test_command=self.test_command)
        model = self._model() if record is None else RecordingModel(self._model(), record)
        step = Coordinator(model, tools, system=system_prompt(workspace.root), setup=self.to_json())
        return step, tools

    def _model(self) -> Model:
        kind, _, path = self.model.partition(":")
        if kind == "script":
            return ScriptedModel.from_file(Path(path))
        return mock_model() if self.model == MOCK else ProviderModel(self.model)

    def to_json(self) -> dict[str, Any]:
        """Give the stored form."""
        command = None if self.test_command is None else list(self.test_command)
        return {"workspace": self.workspace, "model": self.model, "test_command": command}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Setup":
        """Read the stored form."""
        command = data.get("test_command")
        return cls(data["workspace"], data["model"], None if command is None else tuple(command))


@dataclass(frozen=True, slots=True)
class SetupChange:
    """Hold what a command line says about the setup; None says nothing.

    Args:
        workspace: the folder.
        model: provider and model.
        mock_llm: the path of a script, or empty for the mock.
        test_command: the test runner, as a shell would read it.
    """

    workspace: Path | None = None
    model: str | None = None
    mock_llm: str | None = None
    test_command: str | None = None

    def first(self) -> Setup:
        """Build the setup of a new run; without a word about the model it is the one that LOOM_MODEL names.

        Raises:
            LoomRunError: no model is named.
        """
        usual = os.environ.get(MODEL_VARIABLE)
        if self.mock_llm is None and self.model is None and usual:
            return replace(self, model=usual).first()
        if self.mock_llm is None and self.model is None:
            raise LoomRunError(
                "cannot start a chat: because no model is named. Give --model PROVIDER:MODEL (openai:gpt-5,"
                f" ollama:qwen3, ...) or set {MODEL_VARIABLE}, or use --mock-llm to work offline."
            )
        return self.applied_to({"workspace": str(Path.cwd()), "model": MOCK})

    def applied_to(self, stored: Mapping[str, Any]) -> Setup:
        """Give the stored setup of a run with what the command line says put in."""
        setup = Setup.from_json(stored)
        if self.workspace is not None:
            setup = replace(setup, workspace=str(self.workspace))
        if self.model is not None:
            setup = replace(setup, model=_provider_model(self.model))
        if self.mock_llm is not None:
            setup = replace(setup, model=f"script:{Path(self.mock_llm).absolute()}" if self.mock_llm else MOCK)
        if self.test_command is not None:
            setup = replace(setup, test_command=_words(self.test_command))
        return replace(setup, workspace=str(Workspace.at(Path(setup.workspace)).root))


def _provider_model(name: str) -> str:
    provider, _, model = name.partition(":")
    if not provider or not model or provider == "script":
        raise LoomRunError(f"cannot use --model {name!r}: because it is not PROVIDER:MODEL, such as openai:gpt-5.")
    return name


def _words(command: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(command))
    except ValueError as exc:
        raise LoomRunError(f"cannot use --test-command {command!r}: because of its quotes ({exc}).") from exc
    if not words:
        raise LoomRunError("cannot use --test-command '': because it is empty. Name a program.")
    return words
