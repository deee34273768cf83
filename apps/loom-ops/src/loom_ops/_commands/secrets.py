"""Secrets by reference: read directly before use, inside the executor, and masked in outputs.

A runbook names the location of a secret (`{env: VARIABLE}` or `{file: PATH}`). Its value is put
into a command's variables or a request's headers, and nowhere else: not into the arguments of a
command, which every user of the machine can read, nor into rows, traces or a model's context.
`Vault.mask` removes the known values from outputs.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loom_runner.errors import NotOwnFile
from loom_runner.own_files import read_plain_file

from loom_ops._errors import LoomOpsError
from loom_ops._runbook.template import SECRET

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loom_ops._runbook.model import SecretSource

__all__ = ["MASK", "Vault"]

MASK: Final = "[secret]"
_MIN_CHARACTERS: Final = 4
"""A shorter value would mask half of any output; it is refused."""
_MAX_BYTES: Final = 100_000


class Vault:
    """The secrets of one runbook, each read at its first use, or when a text is masked.

    Args:
        sources: The locations of the secrets.
        root: The folder that relative file references start from.
        environment: The variables for `env` references; None for those of this process.
    """

    __slots__ = ("_environment", "_root", "_sources", "_values")

    def __init__(
        self, sources: Mapping[str, SecretSource], root: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._sources = sources
        self._root = root
        self._environment = os.environ if environment is None else environment
        self._values: dict[str, str] = {}

    def resolve(self, template: str) -> str:
        """Return the text with its references replaced by the secrets.

        Raises:
            LoomOpsError: A secret is missing. The message names its location, never a value.
        """
        return SECRET.sub(lambda reference: self._value(reference[1]), template)

    def mask(self, text: str) -> str:
        """Return the text with all secrets masked, including those that no step has used."""
        for name in self._sources:
            with contextlib.suppress(LoomOpsError):
                self._value(name)
        for value in sorted(self._values.values(), key=len, reverse=True):
            for form in (value, *value.splitlines()):
                if len(form) >= _MIN_CHARACTERS:
                    text = text.replace(form, MASK)
        return text

    def _value(self, name: str) -> str:
        if name not in self._values:
            self._values[name] = self._read(name)
        return self._values[name]

    def _read(self, name: str) -> str:
        source = self._sources.get(name)
        if source is None:
            known = ", ".join(self._sources) or "none"
            raise LoomOpsError(f"cannot use the secret {name!r}: the runbook does not declare it. Declared: {known}.")
        if source.kind == "env":
            value = self._environment.get(source.location, "")
            fix = f"Set {source.location}"
        else:
            fix = f"Write it to {source.location}"
            try:
                path = self._root / Path(source.location).expanduser()
                value = read_plain_file(path).decode().strip("\r\n")
            except NotOwnFile as exc:
                raise LoomOpsError(f"cannot use the secret {name!r}: {exc}") from exc
            except (OSError, UnicodeDecodeError) as exc:
                why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
                raise LoomOpsError(f"cannot use the secret {name!r}: {source.location}: {why}. {fix}.") from exc
        what = ""
        if len(value) > _MAX_BYTES:
            what = "is too long"
        elif len(value) < _MIN_CHARACTERS:
            what = "is too short to be masked" if value else "is not set"
        if what:
            raise LoomOpsError(f"cannot use the secret {name!r}: {source.kind} {source.location} {what}. {fix}.")
        return value
