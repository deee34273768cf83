"""What a run may use up before it stops and asks for more."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from loom_agents._messages import Usage


@dataclass(frozen=True, slots=True)
class ReachedLimit:
    """Name the limit that allows no further request, and say it in words."""

    name: Literal["max_requests", "max_tokens", "max_cost_usd"]
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Budget:
    """Limit what one run may use; None is no limit.

    The limits are looked at between requests, so the last request may go beyond one of them, never two.

    Args:
        max_requests: model requests in one turn of the conversation; it ends a model that only calls tools.
        max_tokens: input and output tokens of the whole run.
        max_cost_usd: price of the whole run. A price that is not known is over any limit, because it cannot be kept.
    """

    max_requests: int | None = 50
    max_tokens: int | None = None
    max_cost_usd: float | None = None

    def exceeded(self, usage: Usage, *, turn_requests: int) -> ReachedLimit | None:
        """Say which limit does not allow another request; None when all do.

        Args:
            usage: what the run has used so far.
            turn_requests: requests answered since the last message of the user.
        """
        if self.max_requests is not None and turn_requests >= self.max_requests:
            text = f"{turn_requests} model requests in this turn, allowed are {self.max_requests}"
            return ReachedLimit("max_requests", text)
        if self.max_tokens is not None and usage.total_tokens >= self.max_tokens:
            return ReachedLimit("max_tokens", f"{usage.total_tokens} tokens used, allowed are {self.max_tokens}")
        if self.max_cost_usd is not None:
            allowed = f"allowed are ${self.max_cost_usd:.2f}"
            if usage.cost_usd is None:
                return ReachedLimit("max_cost_usd", f"the price of a request is not known, {allowed}")
            if usage.cost_usd >= self.max_cost_usd:
                return ReachedLimit("max_cost_usd", f"${usage.cost_usd:.4f} spent, {allowed}")
        return None

    def to_json(self) -> dict[str, Any]:
        """Give the stored form."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Budget":
        """Read the stored form."""
        return cls(**{item.name: data[item.name] for item in fields(cls) if item.name in data})
