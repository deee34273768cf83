"""What the tests of flow_xray share: constructed spans, and a clock that a test sets."""

import base64
import gzip
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from flow_xray import Span

STARTED_AT_NS = 1_795_233_600_000_000_000


@dataclass
class Clock:
    """Nanoseconds that change only when a test sets them."""

    now: int = 0

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextmanager
def without_tracer() -> Iterator[None]:
    """Remove a coverage tool, with which no lines would be recorded."""
    before = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        yield
    finally:
        sys.settrace(before[0])
        threading.settrace(before[1])  # type: ignore[arg-type]  # None is what it returns without one


@pytest.fixture
def untraced() -> Iterator[None]:
    with without_tracer():
        yield


@pytest.fixture(scope="module")
def untraced_module() -> Iterator[None]:
    with without_tracer():
        yield


@pytest.fixture
def make_span() -> Callable[..., Span]:
    """Return a function that makes spans with consecutive ids, one second long and apart."""
    made = 0

    def make(name: str = "call", *, parent: Span | None = None, at_s: float | None = None, **fields: object) -> Span:
        nonlocal made
        made += 1
        start = STARTED_AT_NS + int((made - 1 if at_s is None else at_s) * 1e9)
        given: dict[str, object] = {"started_at_ns": start, "duration_ns": 1_000_000_000, **fields}
        return Span(f"{0xA0000000 + made:016x}", None if parent is None else parent.id, name, **given)  # type: ignore[arg-type]  # fields by name

    return make


@pytest.fixture
def read_block() -> Callable[[str, str], Any]:
    """Return a function that gives the JSON of one block of a page."""

    def read(page: str, name: str) -> Any:
        found = re.search(rf'<script type="application/octet-stream" id="{name}">([A-Za-z0-9+/=]*)</script>', page)
        assert found is not None, name
        return json.loads(gzip.decompress(base64.b64decode(found[1])))

    return read
