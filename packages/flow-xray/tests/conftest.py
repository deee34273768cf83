"""What the tests of flow_xray share: spans by hand, and a clock that stands still until it is moved."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from flow_xray import Span

STARTED_AT_NS = 1_795_233_600_000_000_000


@dataclass
class Clock:
    """Nanoseconds that move only when a test says so."""

    now: int = 0

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_span() -> Callable[..., Span]:
    """Return a function that makes spans with consecutive ids, one second long, one second apart."""
    made = 0

    def make(name: str = "call", *, parent: Span | None = None, at_s: float | None = None, **fields: object) -> Span:
        nonlocal made
        made += 1
        start = STARTED_AT_NS + int((made - 1 if at_s is None else at_s) * 1e9)
        given: dict[str, object] = {"started_at_ns": start, "duration_ns": 1_000_000_000, **fields}
        return Span(f"{0xA0000000 + made:016x}", None if parent is None else parent.id, name, **given)  # type: ignore[arg-type]  # fields by name

    return make
