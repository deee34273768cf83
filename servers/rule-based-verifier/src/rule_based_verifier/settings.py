"""The settings of the server: arguments first, then environment variables, then defaults."""

import math
import os
import shlex
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from rule_based_verifier._errors import SettingsError

__all__ = ["Settings", "load_settings", "user_folder"]

ROOT: Final = "RULE_BASED_WORKSPACE_ROOT"
TEST_CMD: Final = "RULE_BASED_TEST_CMD"
LINT_CMD: Final = "RULE_BASED_LINT_CMD"
TIMEOUT: Final = "RULE_BASED_CMD_TIMEOUT_SEC"
MAX_READ: Final = "RULE_BASED_MAX_READ_BYTES"

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the verifier may use, and how much of it.

    Args:
        root: The folder that is checked; nothing outside of it is read.
        test_command: Program and arguments of the tests instead of those that are detected.
        lint_command: The same for the linter.
        timeout_s: Seconds until a command is killed.
        max_read_bytes: The most bytes of text in one answer of `read_repo_file`.
        network: Whether commands may use the network; their own loopback they always have.
        trust_file: Where it is stored which roots the user trusts.
        search_timeout_s: Seconds until a search is stopped.
        scratch: The folder below which pages of traces may be written, besides the root.
    """

    root: Path
    test_command: tuple[str, ...] | None = None
    lint_command: tuple[str, ...] | None = None
    timeout_s: float = 300.0
    max_read_bytes: int = 100_000
    network: bool = False
    trust_file: Path | None = None
    search_timeout_s: float = 20.0
    scratch: Path = Path(tempfile.gettempdir())


def load_settings(
    *,
    root: str | Path | None = None,
    test_cmd: str | None = None,
    lint_cmd: str | None = None,
    timeout_s: float | None = None,
    max_read_bytes: int | None = None,
    network: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Read the settings. An argument that is None comes from the environment.

    Args:
        root: The folder; by default the current one.
        test_cmd: A command in the quoting of a shell; no shell runs it.
        lint_cmd: The same.
        timeout_s: Seconds.
        max_read_bytes: Bytes.
        network: Whether commands may use the network.
        environment: The variables; those of the process when they are not given.

    Raises:
        SettingsError: A value cannot be used.
    """
    env = os.environ if environment is None else environment
    folder = Path(root or env.get(ROOT) or ".").expanduser()
    if not folder.is_dir():
        raise SettingsError(
            f"cannot use {str(folder)!r} as the root: it is not a folder. Name one with --root or {ROOT}."
        )
    given_timeout = timeout_s if timeout_s is not None else _number(env, TIMEOUT, float)
    given_read = max_read_bytes if max_read_bytes is not None else _number(env, MAX_READ, int)
    seconds = 300.0 if given_timeout is None else given_timeout
    size = 100_000 if given_read is None else given_read
    if not (math.isfinite(seconds) and 0 < seconds <= 86_400):
        raise SettingsError(f"cannot use a time limit of {seconds:g} s. Give more than 0 and at most 86400.")
    if not 1_000 <= size <= 100_000_000:
        raise SettingsError(f"cannot read up to {size} bytes. Give 1000 to 100000000.")
    return Settings(
        folder.resolve(),
        _command(test_cmd or env.get(TEST_CMD), TEST_CMD),
        _command(lint_cmd or env.get(LINT_CMD), LINT_CMD),
        seconds,
        size,
        network,
        user_folder() / "verifier-trust.json",
    )


def user_folder() -> Path:
    """Return the folder with the user's settings. It need not exist; without a home, it cannot."""
    from platformdirs import user_config_path

    try:
        return user_config_path("loom")
    except RuntimeError:
        return Path(os.devnull, "loom")


def _number(env: Mapping[str, str], name: str, kind: Callable[[str], _Number]) -> _Number | None:
    text = env.get(name)
    if not text:
        return None
    try:
        return kind(text)
    except ValueError as exc:
        raise SettingsError(f"cannot use {name}={text!r}: it is not a number.") from exc


def _command(text: str | None, name: str) -> tuple[str, ...] | None:
    try:
        return tuple(shlex.split(text or "")) or None
    except ValueError as exc:
        raise SettingsError(f"cannot use {name}={text!r}: {exc}. Quote it as for a shell.") from exc
