"""Load the planner's model by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from loom_agents import ProviderModel, ScriptedModel

from loom_ops._errors import LOOM_OPS
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
    with LOOM_OPS.translate_agent_errors():
        if name.startswith(SCRIPT_PREFIX):
            return ScriptedModel.from_file(Path(name.removeprefix(SCRIPT_PREFIX)))
        return ProviderModel(name)
