"""Each value comes back as it went, or is refused with its place; none is changed silently."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import fractions
import ipaddress
import math
import pathlib
import re
import threading
import typing
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import pydantic
import pytest
from loom_runner import UsageError
from loom_runner._program.codec import Codec
from loom_runner._program.compare import Comparison
from loom_runner.errors import StateDecodeError, StateEncodeError
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Json,
    PrivateAttr,
    RootModel,
    SecretStr,
    computed_field,
    field_serializer,
)
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

pytestmark = pytest.mark.interpreter

T = TypeVar("T")
BERLIN = ZoneInfo("Europe/Berlin")


class Colour(enum.Enum):
    RED = "red"


class Level(enum.StrEnum):
    HIGH = "high"


class Place(enum.Enum):
    HERE = (1, 2)
    THEN = dt.date(2024, 1, 1)


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(NamedTuple):
    a: int
    b: str


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str = "x"


class Box(BaseModel, Generic[T]):
    item: T


class Aliased(BaseModel):
    user_id: int = Field(alias="userId")


class OnlyRead(BaseModel):
    user_id: int = Field(validation_alias="userId")


class OnlyWritten(BaseModel):
    user_id: int = Field(serialization_alias="userId")


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, serialize_by_alias=True)
    user_id: int


class Private(BaseModel):
    a: int = 1
    _cache: dict[str, int] = PrivateAttr(default_factory=dict)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)


class Secret(BaseModel):
    key: SecretStr = SecretStr("")


class Excluded(BaseModel):
    a: int = 1
    b: int = Field(default=0, exclude=True)


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int = 1


class Message(BaseModel):
    text: str = ""


class Answer(Message):
    tool_calls: list[str] = []


class Chat(BaseModel):
    messages: list[Message] = []


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int = 2

    @computed_field
    @property
    def twice(self) -> int:
        return self.a * 2

    @cached_property
    def thrice(self) -> int:
        return self.a * 3


class Payload(BaseModel):
    payload: Json[dict[str, int]]


class Hex(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    data: bytes


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    when: dt.datetime
    data: bytes
    numbers: set[int]
    share: float


class Trimmed(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)
    text: str


class Masked(BaseModel):
    password: str

    @field_serializer("password")
    def _mask(self, password: str) -> str:
        return "***"


class Numbers(RootModel[list[float]]):
    pass


class Tree(BaseModel):
    at: dt.datetime
    children: list[Tree] = []


@dataclass
class Base:
    a: int = 1


@dataclass
class Sub(Base):
    b: int = 2


@dataclass
class Derived:
    a: int = 1
    b: int = field(init=False)
    log: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.b = self.a * 2


@dataclass(slots=True, frozen=True)
class Slots:
    a: int = 1
    when: dt.time = dt.time(1)


@dataclass
class Loose:
    number: float = 0.0
    word: str = ""
    whole: int = 0
    anything: Any = None
    plain: dict[str, Any] = field(default_factory=dict)


@pydantic.dataclasses.dataclass
class Checked:
    a: int = 1
    zoned: dt.datetime | None = None


class Old(typing.TypedDict, total=False):
    a: int
    b: list[bytes]


class New(TypedDict):
    a: int


def having(value: Any, **attributes: Any) -> Any:
    for name, each in attributes.items():
        setattr(value, name, each)
    return value


def cached(value: Computed) -> Computed:
    assert value.thrice == 3 * value.a
    return value


NOON = dt.datetime(2024, 7, 1, 12)  # noqa: DTZ001  (times without a zone are stored, too)
SUMMER = NOON.replace(tzinfo=BERLIN)
SECOND_HALF_PAST_TWO = dt.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1)

SAME: list[tuple[Any, Any]] = [
    *((dt.datetime, at) for at in (NOON, NOON.replace(tzinfo=dt.UTC), SUMMER, SECOND_HALF_PAST_TWO)),
    (dt.datetime, SECOND_HALF_PAST_TWO.replace(fold=0)),
    (dt.datetime, dt.datetime(2024, 3, 31, 2, 30, tzinfo=BERLIN)),  # there is no such time
    (dt.datetime, NOON.replace(tzinfo=ZoneInfo("UTC"))),
    (dt.datetime, NOON.replace(tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30)))),
    (dt.datetime | None, SUMMER),
    (dict[dt.datetime, int], {SUMMER: 1}),
    (dt.time, dt.time(9, tzinfo=BERLIN)),
    (dt.time, dt.time(9, tzinfo=dt.UTC)),
    (dt.date, dt.date(2024, 1, 1)),
    (dt.timedelta, dt.timedelta(days=-1, seconds=3, microseconds=7)),
    *((decimal.Decimal, decimal.Decimal(text)) for text in ("0.10", "NaN", "1E+30", "-0", "Infinity")),
    *((float, number) for number in (math.nan, math.inf, -math.inf, -0.0, 1.0, 1, 5e-324)),
    (list[float], [1, 2.5, math.nan]),
    (dict[str, float], {"a": math.inf}),
    (Numbers, Numbers([1.0, math.nan])),
    (complex, 1 + 2j),
    (int, 2**80),
    (Colour, Colour.RED),
    (Level, Level.HIGH),
    (Rights, Rights.READ | Rights.WRITE),
    *((bytes, data) for data in (b"", b"abc", bytes(range(256)), b"data:;base64,YWJj")),
    (dict[str, bytes], {"a": b"\xff\xfe"}),
    (dict[bytes, int], {b"\xff": 1}),
    (bytes | str, b"abc"),
    (bytes | str, b"\xff"),
    (dt.datetime | str, SUMMER),
    (dt.datetime | str, "tomorrow"),
    (dt.date | dt.datetime, dt.date(2024, 1, 1)),
    (dt.datetime | dt.date, dt.date(2024, 1, 1)),
    (Level | str, "high"),
    (Hex, Hex.model_construct(data=b"abc\xff")),
    (Hex, Hex.model_construct(data=b"abcd")),
    (set[int], {1, 2, 3}),
    (frozenset[str], frozenset("ab")),
    (set[float], {1.0, math.nan}),
    (set[Pair], {Pair(1, "x"), Pair(2, "y")}),
    (set[dt.datetime], {SUMMER, SECOND_HALF_PAST_TWO}),
    (uuid.UUID, uuid.UUID(int=1)),
    (pathlib.Path, pathlib.Path("/tmp/x")),
    (pathlib.PurePosixPath, pathlib.PurePosixPath("a/b")),
    (Pair, Pair(1, "x")),
    (tuple[int, ...], (1, 2)),
    (tuple[int, str], (1, "x")),
    (collections.deque[int], collections.deque([1, 2])),
    (collections.defaultdict[str, list[int]], collections.defaultdict(list, {"a": [1]})),
    (collections.OrderedDict[str, int], collections.OrderedDict(b=1, a=2)),
    (collections.Counter[str], collections.Counter("aab")),
    (dict[int, str], {1: "a"}),
    (dict[Colour, int], {Colour.RED: 1}),
    (dict[uuid.UUID, int], {uuid.UUID(int=1): 1}),
    (dict[bool, int], {True: 1}),
    (Mapping[str, Any], {"a": [None, True, 1, 1.5, "x", {"b": []}]}),
    (Sequence[int], [1]),
    (Annotated[Cat | Dog, Field(discriminator="kind")], Dog(name="rex")),
    (list[Cat | Dog], [Cat(), Dog()]),
    (list[Message | Answer], [Answer(text="a", tool_calls=["x"]), Message(text="b")]),
    (Box[int], Box[int](item=3)),
    (Box[Box[dt.datetime]], Box[Box[dt.datetime]](item=Box[dt.datetime](item=SUMMER))),
    (Aliased, Aliased(userId=3)),
    (OnlyRead, OnlyRead(userId=3)),
    (OnlyWritten, OnlyWritten(user_id=3)),
    (Camel, Camel(userId=3)),
    (Private, Private(a=2)),
    (Secret, Secret()),
    (Excluded, Excluded(a=2)),
    (Open, Open(a=1, z=[5])),
    (Computed, cached(Computed(a=3))),
    (Payload, Payload(payload='{"a": 1}')),
    (Strict, Strict(when=SUMMER, data=b"\xff", numbers={1}, share=1.0)),
    (Tree, Tree(at=SUMMER, children=[Tree(at=NOON)])),
    (list[Tree], [Tree(at=SUMMER)]),
    (Sub, Sub(1, 3)),
    (Derived, having(Derived(3), log=["charged"])),
    (Slots, Slots(2, dt.time(9, tzinfo=BERLIN))),
    (Loose, Loose(0, "x", 1, [None, {"a": 1.0}], {"b": [True]})),
    (Checked, Checked(1, SUMMER)),
    (Old, {"a": 1, "b": [b"\xff"]}),
    (list[Old], [{}]),
    (New, {"a": 1}),
    (ipaddress.IPv4Address, ipaddress.IPv4Address("1.2.3.4")),
    (re.Pattern[str], re.compile("a+")),
    (fractions.Fraction, fractions.Fraction(1, 3)),
    (Place, Place.HERE),
    (list[Place | None], [Place.THEN, None]),
    (dict[str, set[Place]], {"a": {Place.HERE}}),
    (dict[Place, int], {Place.HERE: 1}),
    (ZoneInfo, BERLIN),
    (str, "a\ud800b"),
    (list[str], ["\udcff", "ä"]),
    (Loose, Loose(1.5, "\udcff")),
    (str, "a\x00b"),
    (str | int, "1"),
    (int | bool, True),
    (Literal["a", 1], 1),
    (None, None),
    (int | None, None),
    (object, {"a": [1]}),
    (str | dt.datetime, "2024-01-01T00:00:00"),
]

REFUSED: list[tuple[Any, Any, str]] = [
    (
        Chat,
        Chat(messages=[Message(), Answer(text="a", tool_calls=["x"])]),
        r"messages\[1\]\.tool_calls would be lost: an Answer would come back as a Message.* Answer \| Message",
    ),
    (list[Message], [Answer()], r"\[0\]\.tool_calls would be lost"),
    (Base, Sub(), "b would be lost"),
    (Base, type("Same", (Base,), {})(), "it is a Same, and would come back as a Base"),
    (Box, Box[int](item=3), r"would come back as a Box. Hint it as Box\[int\]"),
    (Secret, Secret(key=SecretStr("hunter2")), "key is a secret, and secrets are not stored. Keep it outside"),
    (list[SecretStr], [SecretStr("hunter2")], r"\[0\] is a secret"),
    (Private, having(Private(), _cache={"a": 1}), "_cache is a private attribute"),
    (Excluded, Excluded(b=9), "b is excluded from its JSON"),
    (Loose, Loose(anything=NOON), "anything is a datetime, .* and would come back as a str"),
    (Loose, Loose(anything={1}), "anything is a set, and would come back as a list"),
    (Loose, Loose(anything=[(1, 2)]), r"anything\[0\] is a tuple, and would come back as a list"),
    (Loose, Loose(anything=Cat()), "anything is a Cat, and would come back as a dict"),
    (Loose, Loose(anything=Colour.RED), "anything is a Colour, and would come back as a str"),
    (Loose, Loose(anything=Level.HIGH), "anything is a Level, and would come back as a str"),
    (Loose, Loose(anything=b"x"), "anything is a bytes, and would come back as a str"),
    (Loose, Loose(anything={1: 2}), r"anything\[1\] \(the key\) is an int, 1, and would come back as a str"),
    (Loose, Loose(plain={"when": NOON}), r"plain\['when'\] is a datetime"),
    (Loose, Loose(word=Level.HIGH), "word is a Level"),
    (Loose, Loose(whole=True), "whole: Input should be a valid integer|whole is a bool, True, and would come"),
    (Loose, Loose(whole="x"), "whole: Input should be a valid integer"),
    (Loose, having(Loose(), cache=1), "cache would be lost: it is no field of a Loose"),
    (Loose, Loose(anything=threading.Lock()), "anything: a lock cannot be written as JSON"),
    (Loose, Loose(plain={"a": [object()]}), r"plain\['a'\]\[0\]: an object cannot be written as JSON"),
    (object, {"a": (1, 2)}, r"\['a'\] is a tuple"),
    (dict[str, Any], {"a": {"b": {1}}}, r"\['a'\]\['b'\] is a set"),
    (str | dt.datetime, NOON, "it is a datetime, .* and would come back as a str"),
    (uuid.UUID | str, str(uuid.UUID(int=1)), "it is a str, and would come back as a UUID"),
    (bytes | str, "abc", "it is a str, and would come back as a bytes"),
    (dt.datetime | str, "2024-01-01T00:00:00", "it is a str, and would come back as a datetime"),
    (list[int] | tuple[int, ...], (1, 2), "it is a tuple, and would come back as a list"),
    (Level | str, Level.HIGH, "it is a Level, and would come back as a str. Hint it as Level alone"),
    (Sequence[int], (1, 2), "it is a tuple, and would come back as a list"),
    (collections.deque[int], collections.deque([1], maxlen=5), "The limit of a deque"),
    (dict[str | None, int], {None: 1}, r"\[None\] \(the key\) is None, and would come back as a str"),
    (New, {"a": 1, "b": 2}, r"\['b'\] would be lost"),
    (New, {}, "a: Field required"),
    (Trimmed, having(Trimmed(text="a"), text=" a "), "text is a str, and would come back as another one"),
    (dt.datetime, NOON.replace(fold=1), "it is a datetime, datetime.datetime"),
    (dt.datetime, NOON.replace(tzinfo=dt.timezone(dt.timedelta(hours=1), "CET")), "Use a zone of zoneinfo.ZoneInfo"),
    (Masked, Masked(password="hunter2"), "password is a str, and would come back as another one"),
    (int, 1.0, "it is a float, 1.0, and would come back as an int, 1"),
    (dt.date, NOON, "Datetimes provided to dates should have zero time"),
    (dt.datetime, dt.date(2024, 1, 1), "it is a date, and would come back as a datetime"),
    (bytes, bytearray(b"x"), "it is a bytearray, and would come back as a bytes"),
    (Loose, Loose(whole=1.5), "whole: Input should be a valid integer"),
    (str, "\ud83d\ude00", "it is a str, and would come back as another one"),
    (Mapping[str, int], collections.Counter("a"), "it is a Counter, and would come back as a dict"),
    (dict[str, Message], {"a": Answer()}, r"\['a'\]\.tool_calls would be lost"),
    (re.Pattern[str], re.compile("a", re.IGNORECASE), "it is a Pattern"),
    (Cat, None, "Input should be an object|Input should be a valid dictionary"),
]

NEVER: list[tuple[Any, str]] = [
    (dict[tuple[int, int], str], "a key cannot be a tuple in JSON"),
    (dataclass(type("Keyed", (), {"__annotations__": {"at": dict[frozenset[int], str]}})), "at: a key cannot be a"),
    (Exception, "Exception cannot be written as JSON"),
    (bytearray, "bytearray cannot be written as JSON"),
    (type[Cat], "Cat: a class cannot be written as JSON"),
    (Callable[[], int], "a function cannot be written as JSON"),
    (typing.Iterable[int], "an iterator can be read only once"),
    (Iterator[int], "Iterator cannot be written as JSON. It can be read only once: use a list"),
    (typing.TypedDict("Lazy", {"rows": typing.Iterable[int]}), "rows: an iterator can be read only once"),
    (dataclass(type("Deep", (), {"__annotations__": {"lock": list[threading.Event]}})), r"lock\[\]: Event cannot"),
    (dataclass(type("Hooked", (), {"__annotations__": {"hook": Callable[[], None]}})), "hook: a function cannot"),
]


def is_same(one: Any, other: Any) -> bool:
    return Comparison().same(one, other) and repr(one) == repr(other)


@pytest.mark.parametrize(("hint", "value"), SAME)
def test_it_comes_back_as_it_went(hint, value):
    codec = Codec(hint, "the state")
    text, on = codec.encode(value)
    read = codec.decode(text, is_resumed=True)
    for each in (on, read):
        assert Comparison().same(value, each)
        assert repr(each) == repr(value) or isinstance(value, set | frozenset)
    assert codec.encode(read)[0] == text or isinstance(value, set | frozenset)


@pytest.mark.parametrize(("hint", "value", "message"), REFUSED)
def test_it_is_refused_by_its_place(hint, value, message):
    with pytest.raises(StateEncodeError, match=message) as caught:
        Codec(hint, "the state").encode(value)
    assert str(caught.value).startswith("cannot store the state: ")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("hint", "message"), NEVER)
def test_a_type_that_can_never_be_stored_is_refused_when_the_agent_is_made(hint, message):
    with pytest.raises(UsageError, match=f"cannot store the state: .*{message}"):
        Codec(hint, "the state")


def test_what_may_be_none_may_be_stored():
    codec = Codec(Callable[[], int] | None, "the state")
    assert codec.encode(None) == ("null", None)
    with pytest.raises(StateEncodeError, match="function"):
        codec.encode(lambda: 1)


def test_a_machine_without_the_zone_says_so():
    with pytest.raises(StateDecodeError, match=r"this machine has no time zone 'Mars/Olympus' \(install tzdata\)"):
        Codec(dt.datetime, "the state").decode('"2024-07-01T12:00:00+02:00[Mars/Olympus]"')


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (bytes, '"abc"', b"abc"),
        (dt.datetime, '"2024-07-01T12:00:00Z"', NOON.replace(tzinfo=dt.UTC)),
        (list[float], "[1.0,2]", [1.0, 2]),
        (Camel, '{"userId":3}', Camel(userId=3)),
        (Derived, '{"a":3,"log":[]}', Derived(3)),
    ],
)
def test_what_earlier_versions_stored_is_read(hint, text, value):
    assert is_same(Codec(hint, "the state").decode(text, is_resumed=True), value)


def test_the_comparison_is_exact_about_types():
    same = Comparison().same
    for one, other in [(1, True), (1, 1.0), (0.0, -0.0), ([1], (1,)), ({1: 2}, {True: 2}), ({1}, {1.0}), ([1], [True])]:
        assert not same(one, other), (one, other)
        assert same(one, one)
