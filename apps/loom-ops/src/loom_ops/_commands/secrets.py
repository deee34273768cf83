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

from loom_agents.redaction import redact_text
from loom_runner.errors import NotOwnFile
from loom_runner.own_files import read_plain_file

from loom_ops._errors import LoomOpsError
from loom_ops._runbook.template import SECRET

if TYPE_CHECKING:
    import re
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

    def resolve(self, template: str, *, host: str | None = None, command: str | None = None) -> str:
        """Return the text with its references replaced by the secrets.

        Args:
            host: The host and port to which the text is sent.
            command: The program that gets the text.

        Raises:
            LoomOpsError: A secret is missing, or it may not be sent there. The message names its
                location, never a value.
        """

        def value(reference: re.Match[str]) -> str:
            self._check_destination(reference[1], host, command)
            return self._value(reference[1])

        return SECRET.sub(value, template)

    def _check_destination(self, name: str, host: str | None, command: str | None) -> None:
        source = self._sources.get(name)
        if source is None:
            return  # `_value` names it
        if host is not None and not {host, host.rpartition(":")[0] or host} & set(source.hosts or ()):
            known = ", ".join(source.hosts or ()) or "none"
            raise LoomOpsError(
                f"cannot send the secret {name!r} to {host}: its hosts are {known}. Add the host to hosts: of the "
                "secret in the runbook, if it may have it."
            )
        if command is not None and command not in (source.commands or ()):
            known = ", ".join(source.commands or ()) or "none"
            raise LoomOpsError(
                f"cannot give the secret {name!r} to {command}: its commands are {known}. Add the program to "
                "commands: of the secret in the runbook, if it may have it."
            )

    def mask(self, text: str) -> str:
        """Return the text with all secrets masked: those of the runbook, also when no step has used
        them, and what looks like one.
        """
        for name in self._sources:
            with contextlib.suppress(LoomOpsError):
                self._value(name)
        for value in sorted(self._values.values(), key=len, reverse=True):
            for form in (value, *value.splitlines()):
                if len(form) >= _MIN_CHARACTERS:
                    text = text.replace(form, MASK)
        return redact_text(text)

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
