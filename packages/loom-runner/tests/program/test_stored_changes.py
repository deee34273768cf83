"""When the code has changed, nothing of a stored state is lost silently; upcasters convert it."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
from dataclasses import dataclass, field
from typing import Any

import pytest
from loom import tailrec
from loom_runner import AgentRunner, Complete, Continue, RunContext
from loom_runner._program.codec import Codec
from loom_runner.errors import StateDecodeError
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, computed_field, model_validator
from typing_extensions import TypedDict

pytestmark = pytest.mark.interpreter


@dataclass
class Sum:
    sum: int = 0


class SumModel(BaseModel):
    sum: int = 0


class SumDict(TypedDict, total=False):
    sum: int


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    sum: int = 0


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    sum: int = 0


class Renamed(BaseModel):
    sum: int = Field(default=0, validation_alias=AliasChoices("sum", "total"))


class Moved(BaseModel):
    sum: int = 0

    @model_validator(mode="before")
    @classmethod
    def _from_total(cls, old: Any) -> Any:
        return {"sum": old["total"]} if "total" in old else old


class Area(BaseModel):
    side: int = 1

    @computed_field
    @property
    def area(self) -> int:
        return self.side**2


@dataclass
class Nested:
    sums: list[Sum] = field(default_factory=list)
    by_name: dict[str, Sum] = field(default_factory=dict)
    anything: Any = None


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Typed:
    number: int = 0
    share: float = 0.0
    names: set[str] = field(default_factory=set)
    when: dt.datetime | None = None
    text: str | None = None
    colour: Colour = Colour.RED


GONE = "total is stored, and the type has no such field, so its value would be lost"


@pytest.mark.parametrize(
    ("hint", "text", "why"),
    [
        (Sum, '{"total":42}', GONE),
        (SumModel, '{"total":42}', GONE),
        (SumDict, '{"sum":1,"total":42}', GONE),
        (Closed, '{"total":42}', "total: Extra inputs are not permitted"),
        (Sum, '{"sum":1,"total":0}', GONE),
        (Nested, '{"sums":[{"sum":1},{"total":42}]}', r"sums\[1\]\.total is stored"),
        (Nested, '{"by_name":{"a":{"total":42}}}', r"by_name\.a\.total is stored"),
        (list[Sum], '[{"total":42}]', r"\[0\]\.total is stored"),
        (Typed, '{"number":"12"}', 'number is "12", and would be read as 12'),
        (Typed, '{"share":"1.5"}', r'share is "1\.5", and would be read as 1\.5'),
        (Typed, '{"number":true}', "number is true, and would be read as 1"),
        (Typed, '{"names":["a","a"]}', "names is a list of 2, and would be read as 1"),
        (Typed, '{"number":1.5}', "number: Input should be a valid integer"),
        (Typed, '{"text":1}', "text: Input should be a valid string"),
        (Typed, '{"colour":"blue"}', "colour: Input should be 'red'"),
        (Area, '{"side":2,"area":4,"edge":1}', "edge is stored"),
    ],
)
def test_what_would_be_lost_is_named(hint, text, why):
    with pytest.raises(StateDecodeError, match=why) as caught:
        Codec(hint, "the state", version=2).decode(text, is_resumed=True)
    assert caught.value.raw == text
    assert "state_version=3, upcasters={2: convert}" in str(caught.value)


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (Sum, "{}", Sum(0)),
        (Open, '{"total":42}', Open(total=42)),
        (Renamed, '{"total":42}', Renamed(total=42)),
        (Renamed, '{"total":0}', Renamed(total=0)),
        (Moved, '{"total":42}', Moved(sum=42)),
        (Moved, '{"total":0}', Moved(sum=0)),
        (Area, '{"side":2,"area":4}', Area(side=2)),
        (list[Area], '[{"side":2,"area":4}]', [Area(side=2)]),
        (Nested, '{"anything":{"total":42}}', Nested(anything={"total": 42})),
        (Typed, '{"number":2.0}', Typed(number=2)),
        (Typed, '{"names":["b","a","c"]}', Typed(names={"a", "b", "c"})),
        (Typed, '{"when":"2024-01-01T00:00:00+00:00"}', Typed(when=dt.datetime(2024, 1, 1, tzinfo=dt.UTC))),
    ],
)
def test_what_is_kept_is_read(hint, text, value):
    assert Codec(hint, "the state").decode(text, is_resumed=True) == value


def test_a_run_whose_field_was_renamed_is_converted_by_what_the_message_says(store, clock):
    @dataclass
    class Old:
        total: int = 0
        note: str = ""

    async def before(state: Old, ctx: RunContext) -> Continue[Old]:
        return Continue(Old(42, "x"))

    async def after(state: Sum, ctx: RunContext) -> Complete[int]:
        return Complete(state.sum)

    runner = AgentRunner(name="agent", step=before, store=store, clock=clock)
    asyncio.run(runner.start(run_id="r", initial_state=Old(), max_steps=1))
    with pytest.raises(StateDecodeError, match=r"state_version=2, upcasters=\{1: convert\}"):
        asyncio.run(AgentRunner(name="agent", step=after, store=store, clock=clock).resume(run_id="r"))
    assert store.reader.get_run("r").status == "paused"

    def convert(old):
        return {"sum": old["total"]}

    changed = AgentRunner(name="agent", step=after, store=store, clock=clock, state_version=2, upcasters={1: convert})
    assert asyncio.run(changed.resume(run_id="r")).result == 42


def test_the_arguments_of_a_loop_are_checked_too(store, clock):
    @dataclass
    class Old:
        total: int = 0

    @tailrec
    def before(n: int, at: Old) -> int:
        return n if n == 0 else before(n - 1, Old(42))

    @tailrec
    def after(n: int, at: Sum) -> int:
        return at.sum if n == 0 else after(n - 1, at)

    after.__name__ = "before"
    runner = AgentRunner(name="agent", loop=before, store=store, clock=clock)
    asyncio.run(runner.start(run_id="r", initial_state={"n": 3, "at": Old()}, max_steps=1))
    with pytest.raises(StateDecodeError, match=f"cannot read parameter 'at' of 'before': .*{GONE}"):
        asyncio.run(AgentRunner(name="agent", loop=after, store=store, clock=clock).resume(run_id="r"))


def test_a_run_that_has_ended_is_shown_although_its_type_has_changed(store, clock):
    async def before(state: dict[str, int], ctx: RunContext) -> Complete[int]:
        return Complete(state["total"])

    async def after(state: SumDict, ctx: RunContext) -> Complete[int]:
        return Complete(0)

    runner = AgentRunner(name="agent", step=before, store=store, clock=clock)
    asyncio.run(runner.start(run_id="r", initial_state={"total": 42}))
    assert asyncio.run(AgentRunner(name="agent", step=after, store=store, clock=clock).resume(run_id="r")).result == 42
