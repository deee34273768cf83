"""The planner's model, by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from loom_agents import AgentError, ProviderModel, ScriptedModel, ScriptError
from loom_runner.cli_base import ExitCode

from loom_ops._errors import LoomOpsError
from loom_ops._team.planner import mock_planner

if TYPE_CHECKING:
    from loom_agents import Model

__all__ = ["MOCK", "SCRIPT_PREFIX", "load_model"]

MOCK: Final = "mock"
SCRIPT_PREFIX: Final = "script:"


def load_model(name: str) -> Model:
    """Return the model of a name: `mock`, `script:` and a path, or `provider:model`.

    Raises:
        LoomOpsError: The script, or the provider's key, is missing.
    """
    if name == MOCK:
        return mock_planner()
    try:
        if name.startswith(SCRIPT_PREFIX):
            return ScriptedModel.from_file(Path(name.removeprefix(SCRIPT_PREFIX)))
        return ProviderModel(name)
    except ScriptError as exc:
        raise LoomOpsError(str(exc)) from exc
    except AgentError as exc:
        raise LoomOpsError(str(exc), exit_code=ExitCode.PROVIDER) from exc
