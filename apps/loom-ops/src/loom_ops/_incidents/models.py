"""Load the planner's model by its name."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loom_agents import ProviderModel, ScriptedModel
from loom_runner.cli_base import user_state_folder, write_error

from loom_ops._errors import LOOM_OPS
from loom_ops._team.planner import mock_planner

if TYPE_CHECKING:
    from loom_agents import Model

__all__ = ["MOCK", "SCRIPT_PREFIX", "choose_model", "load_model", "stored_model"]

MOCK: Final = "mock"
SCRIPT_PREFIX: Final = "script:"


def choose_model(name: str) -> Model:
    """Return a model that the user of this process named, and record that it was named.

    Raises:
        LoomOpsError: It cannot be used.
    """
    model = load_model(name)
    folder = user_state_folder("setups", create=True) if name.startswith(SCRIPT_PREFIX) else None
    if folder is not None:
        with suppress(OSError):
            (folder / _digest(name)).touch(mode=0o600)
    return model


def stored_model(name: str) -> str:
    """Return the model that a run's row names; the mock for a script that this user never named."""
    if not name.startswith(SCRIPT_PREFIX):
        return name
    folder = user_state_folder("setups")
    with suppress(OSError):
        if folder is not None and (folder / _digest(name)).is_file():
            return name
    write_error(
        f"note: the model stored in the run, {name!r:.200}, is not used: it is not recorded that this user "
        "chose that script"
    )
    return MOCK


def _digest(name: str) -> str:
    return hashlib.sha256(f"loom-ops model {name}".encode("utf-8", "surrogatepass")).hexdigest()


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
