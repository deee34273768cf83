"""States that earlier versions of the code wrote, upgraded one version at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loom_runner._model.arguments import check_type
from loom_runner.errors import StateDecodeError, UsageError

__all__ = ["Upcaster", "Versions"]

Upcaster = Callable[[Any], Any]
"""Converts a stored state (plain JSON) of one version to the next version."""


@dataclass(frozen=True)
class Versions:
    """The version of the state that the code writes, and how older ones are upgraded.

    Args:
        current: From 1.
        upcasters: For each older version that can be read, the function to the next version.
    """

    current: int = 1
    upcasters: Mapping[int, Upcaster] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_type("define an agent", "state_version", self.current, int, "a whole number from 1 up")
        if self.current >= 1 and any(type(version) is int and version >= self.current for version in self.upcasters):
            raise UsageError(
                f"cannot use state_version={self.current} with upcasters from {sorted(self.upcasters)}: an upcaster "
                f"leads from an older version to the next. Pass state_version={max(self.upcasters) + 1}."
            )
        if self.current < 1 or any(not 1 <= version < self.current for version in self.upcasters):
            raise UsageError(
                f"cannot use state_version={self.current} with upcasters from {sorted(self.upcasters)}: versions count "
                "from 1, and each upcaster leads from an older version to the next."
            )

    def upgraded(self, text: str, version: int, what: str) -> str:
        """Return a stored state in the current version.

        Args:
            what: Describes the run in messages.

        Raises:
            StateDecodeError: An upcaster is missing or failed, or the version is newer; `raw` is
                the text.
        """
        if version == self.current:
            return text
        if version > self.current:
            raise StateDecodeError(
                f"cannot read the state of {what}: it is of version {version}, and this code writes version "
                f"{self.current}. Run the newer code. The stored JSON: loom-runner get --raw.",
                raw=text,
            )
        value = json.loads(text)
        for step in range(version, self.current):
            if step not in self.upcasters:
                raise StateDecodeError(
                    f"cannot read the state of {what}: it is of version {version}, this code writes version "
                    f"{self.current}, and there is no upcaster from {step}. Pass upcasters={{{step}: function}}. "
                    "The stored JSON: loom-runner get --raw.",
                    raw=text,
                )
            try:
                value = self.upcasters[step](value)
            except Exception as exc:
                raise StateDecodeError(
                    f"cannot read the state of {what}: the upcaster from version {step} failed "
                    f"({type(exc).__name__}: {exc}). The stored JSON: loom-runner get --raw.",
                    raw=text,
                ) from exc
        try:
            return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError) as exc:
            raise StateDecodeError(
                f"cannot read the state of {what}: its upcasters returned a value that is not JSON ({exc}). "
                "Return the JSON of the state, for instance a dict, not the state.",
                raw=text,
            ) from exc
