"""Draw programs of the accepted fragment: one recursive function, its signature, its body and its
calls.

Rules that keep every program finite and its reference valid:

* the first parameter `n` counts down; every call of the function passes a smaller one, and ``n <=
  0`` returns at once;
* each `while` has its own counter (a shared one makes the *reference* endless);
* numbers are kept small, so a failure is about control flow and not about arithmetic;
* a variable that may be unassigned is used on purpose, but rarely: otherwise most programs end at
  their first line.

What is drawn: functions, coroutines, generators and async generators; as a function, a method or a
closure; every parameter kind; `if`, `for`, `while` with `else`, `break`, `continue`, `match`,
`try`, `with`, `async with`; closures that outlive their step; conditional, `and` and `or` tails;
permuted keywords, omitted defaults, spreads, duplicate keywords.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

HEAD = """\
import types
from subject import call, collect, log, tailrec, tailstream

MADE = []


class Boom(Exception):
    pass


def t(value):
    log("t", value)
    return value


@types.coroutine
def pause():
    yield


async def tick(value):
    await pause()
    return value


class span:
    def __init__(self, value, swallow=False):
        self.value, self.swallow = value, swallow

    def __enter__(self):
        log("enter", self.value)
        return self.value

    def __exit__(self, kind, error, tb):
        log("exit", self.value, kind and kind.__name__)
        return self.swallow and kind is Boom

    async def __aenter__(self):
        await pause()
        return self.__enter__()

    async def __aexit__(self, *error):
        await pause()
        return self.__exit__(*error)


def made():
    out = []
    for closure in MADE:
        try:
            out.append(closure())
        except NameError as error:
            out.append(type(error).__name__)
    return out


"""


@dataclasses.dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter after `n`: its name, kind and whether it has a default."""

    name: str
    kind: str  # "positional-only" | "plain" | "keyword-only"
    default: bool


@dataclasses.dataclass(slots=True)
class Writer:
    """Write one program, drawing every choice."""

    below: Callable[[int], int]  # gives a whole number from 0 to n - 1; 0 is the simplest choice
    kind: str  # "coroutine" | "function" | "stream" | "generator"
    place: str  # "module" | "method" | "closure"
    lines: list[str] = dataclasses.field(default_factory=list)
    parameters: list[Parameter] = dataclasses.field(default_factory=list)
    varargs: bool = False
    kwargs: bool = False
    nonlocals: bool = False
    counters: int = 0
    budget: int = 14
    in_blocks: bool = True
    captures: bool = True
    swaps: bool = False

    # -------------------------------------------------------------- small choices

    def chance(self, percent: int) -> bool:
        """Return True in about that many cases of a hundred; shrinks to False."""
        return self.below(100) >= 100 - percent

    def pick(self, *choices: Any) -> Any:
        """Choose one; shrinks to the first."""
        return choices[self.below(len(choices))]

    @property
    def is_async(self) -> bool:
        return self.kind in ("coroutine", "stream")

    @property
    def yields(self) -> bool:
        return self.kind in ("stream", "generator")

    def line(self, depth: int, text: str) -> None:
        """Add one line."""
        self.lines.append("    " * depth + text)

    # -------------------------------------------------------------- expressions

    def name(self, sure: frozenset[str]) -> str:
        if self.chance(4):
            return str(self.pick("v0", "v1", "v2"))
        names = ["n", *(p.name for p in self.parameters), *sorted(sure)]
        if self.place == "closure":
            names.append("free")
        return str(self.pick(*names))

    def expression(self, sure: frozenset[str], depth: int = 2) -> str:
        a = self.name(sure)
        lazy = ["genexp"] if self.captures else []
        form = (
            self.pick("name", "number", "sum", "t", "if", "walrus", "listcomp", "tick", "len", *lazy)
            if depth
            else "name"
        )
        if form == "number":
            return str(self.pick(0, 1, 2, 7))
        if form == "sum":
            return f"({a} + {self.expression(sure, depth - 1)}) % 97"
        if form == "t":
            return f"t({self.expression(sure, depth - 1)})"
        if form == "if":
            return f"({a} if {self.test(sure)} else {self.expression(sure, depth - 1)})"
        if form == "walrus":
            return f"({self.pick('v0', 'v1', 'v2')} := {self.expression(sure, depth - 1)})"
        if form == "listcomp":
            return f"sum([{a} + x for x in range(2)])"
        if form == "genexp":
            return f"sum({a} * x for x in (1, 2) if x != {self.name(sure)})"
        if form == "tick" and self.is_async:
            return f"await tick({self.expression(sure, depth - 1)})"
        if form == "len" and self.varargs:
            return "len(rest)"
        return a

    def test(self, sure: frozenset[str]) -> str:
        return f"{self.name(sure)} % {self.pick(2, 3)} {self.pick('==', '!=')} {self.pick(0, 1)}"

    # -------------------------------------------------------------- calls of the function itself

    def callee(self) -> str:
        return "self.f" if self.place == "method" else "f"

    def arguments(self, sure: frozenset[str]) -> str:
        """Draw one argument list that fits, or (seldom, and only through a spread) one that does
        not.
        """

        def value(parameter: Parameter) -> str:
            return parameter.name if self.chance(35) else self.expression(sure)

        positional, keywords = [f"n - {self.pick(1, 1, 2)}"], []
        open_by_position = True
        for parameter in self.parameters:
            if parameter.default and self.chance(30):
                open_by_position = open_by_position and parameter.kind == "keyword-only"
                continue
            if parameter.kind == "positional-only":
                if not open_by_position:  # something before it was left out, so it has to be left out too
                    if not parameter.default:
                        raise AssertionError("a parameter without default follows one with")
                    continue
                positional.append(value(parameter))
            elif parameter.kind == "plain" and open_by_position and self.chance(60):
                positional.append(value(parameter))
            else:
                open_by_position = False
                keywords.append(f"{parameter.name}={value(parameter)}")
        plain = [p for p in self.parameters if p.kind != "keyword-only"]
        if self.varargs and open_by_position and len(positional) == len(plain) + 1 and self.chance(60):
            positional.append(self.pick("*rest", "*(1, 2)", "n, n", "*rest[1:], n"))
        elif len(positional) > 1 and self.chance(15):
            positional[-1] = f"*[{positional[-1]}]"
        if keywords and self.chance(20):
            name, given = keywords.pop().split("=", 1)
            keywords.append(f"**{{'{name}': {given}}}")
        if self.kwargs and self.chance(50):
            keywords.append(self.pick("**extra", "**{**extra, 'z': n}", "z=n"))
        if self.chance(2):
            keywords.append("**{'n': 1}")
        keywords = [keywords.pop(self.below(len(keywords))) for _ in range(len(keywords))]
        first_spread = next((i for i, k in enumerate(keywords) if k.startswith("**")), len(keywords))
        if self.place != "method" and not self.first_is_positional_only() and self.chance(10) and len(positional) == 1:
            keywords.insert(first_spread, f"n={positional.pop()}")
        return ", ".join([*positional, *keywords])

    def first_is_positional_only(self) -> bool:
        return any(p.kind == "positional-only" for p in self.parameters)

    def tail(self, depth: int, sure: frozenset[str], *, last: bool = False) -> None:
        """Write one tail call."""
        made = f"{self.callee()}({self.arguments(sure)})"
        if self.kind == "stream":
            self.line(depth, f"async for item in {made}:")
            self.line(depth + 1, "yield item")
            if not last or self.chance(50):
                self.line(depth, "return")
            return
        if self.kind == "generator":
            if self.chance(50):
                self.line(depth, f"return (yield from {made})")
            else:
                self.line(depth, f"yield from {made}")
                if not last or self.chance(50):
                    self.line(depth, "return")
            return
        one = f"await {made}" if self.is_async else made
        form = self.pick("plain", "plain", "if", "both", "and", "or")
        if form == "if":
            one = f"{one} if {self.test(sure)} else {self.expression(sure)}"
        elif form == "both":
            other = f"{self.callee()}({self.arguments(sure)})"
            one = f"{one} if {self.test(sure)} else ({'await ' if self.is_async else ''}{other})"
        elif form == "and":
            one = f"{self.expression(sure)} and {one}"
        elif form == "or":
            one = f"{self.expression(sure)} or {one}"
        self.line(depth, f"return {one}")

    # -------------------------------------------------------------- statements

    def block(self, depth: int, sure: frozenset[str], nesting: int, *, loop: bool, blocked: bool) -> frozenset[str]:
        """Write one to three statements; return the variables that are surely assigned after
        them.
        """
        for _ in range(self.pick(1, 2, 3)):
            sure = self.statement(depth, sure, nesting, loop=loop, blocked=blocked)
        return sure

    def statement(self, depth: int, sure: frozenset[str], nesting: int, *, loop: bool, blocked: bool) -> frozenset[str]:
        self.budget -= 1
        simple = [
            "log",
            "assign",
            "augment",
            "pause",
            "yield",
            "tail",
            "leave",
            "return",
            "raise",
            "del",
            "bump",
            "swap",
        ]
        simple += ["capture", "def"] if self.captures else []
        compound = ["if", "for", "while", "match", "try", "with"] if nesting and self.budget > 0 else []
        kind = self.pick(*simple, *compound, *compound)
        if kind in ("tail", "leave") and blocked and not self.in_blocks:
            kind = "log"
        if kind == "tail" and not self.chance(25):
            kind = "leave"  # an unconditional tail call makes the rest of its block dead
        if kind == "assign":
            target = str(self.pick("v0", "v1", "v2", *(p.name for p in self.parameters)))
            self.line(depth, f"{target} = {self.expression(sure)}")
            return sure | ({target} if target.startswith("v") else frozenset())
        if kind == "augment":
            self.line(depth, f"{self.name(sure).replace('free', 'n')} -= 1")
        elif kind == "capture":
            self.line(depth, f"MADE.append(lambda: ({self.name(sure)}, {self.name(sure)}))")
        elif kind == "def" and self.chance(50):
            self.line(depth, "def inner(k=0):")
            changed = self.pick("v0", *(p.name for p in self.parameters))
            self.line(depth + 1, f"nonlocal {changed}")
            self.line(depth + 1, f"{changed} = {self.name(sure)} + k")
            self.line(depth + 1, f"return {changed}")
            self.line(
                depth,
                f"log({changed} if {self.pick('True', 'False')} else inner(1))"
                if self.chance(50)
                else "MADE.append(inner)",
            )
        elif kind == "pause" and self.is_async:
            self.line(depth, "await pause()")
        elif kind == "yield" and self.yields:
            self.line(depth, f"yield {self.expression(sure)}")
        elif kind == "tail":
            self.tail(depth, sure)
        elif kind == "leave":
            self.line(depth, f"if {self.test(sure)}:")
            self.tail(depth + 1, sure)
        elif kind == "swap" and self.swaps:
            self.line(depth, "if n == 2:")
            self.line(depth + 1, "self.f = other" if self.place == "method" else "f = other")
        elif kind == "return" and self.chance(70):
            self.line(depth, f"if {self.test(sure)}:")
            self.line(depth + 1, "return" if self.kind == "stream" else f"return {self.expression(sure)}")
        elif kind == "raise" and self.chance(40):
            self.line(depth, f"if {self.test(sure)}:")
            self.line(depth + 1, f"raise {self.pick('Boom', 'ValueError')}({self.name(sure)})")
        elif kind == "del" and self.chance(40) and sure:
            gone = self.pick(*sorted(sure))
            self.line(depth, f"del {gone}")
            return sure - {gone}
        elif kind == "del" and self.parameters and self.chance(15):
            self.line(depth, f"if {self.test(sure)}:")
            self.line(depth + 1, f"del {self.pick(*(p.name for p in self.parameters))}")
        elif kind == "bump" and self.nonlocals:
            self.line(depth, "free += 1")
        elif kind == "if":
            self.line(depth, f"if {self.test(sure)}:")
            one = self.block(depth + 1, sure, nesting - 1, loop=loop, blocked=blocked)
            if self.chance(50):
                self.line(depth, "else:")
                return one & self.block(depth + 1, sure, nesting - 1, loop=loop, blocked=blocked)
        elif kind in ("for", "while"):
            self.loop(kind, depth, sure, nesting, blocked=blocked)
        elif kind == "match":
            self.line(depth, f"match ({self.expression(sure)}, {self.name(sure)}):")
            for pattern in ("case (0, v2):", f"case (1 | 2, _) if {self.test(sure)}:", "case _:")[: self.pick(1, 2, 3)]:
                self.line(depth + 1, pattern)
                self.block(depth + 2, sure, nesting - 1, loop=loop, blocked=blocked)
        elif kind == "try":
            self.try_statement(depth, sure, nesting, loop=loop)
        elif kind == "with":
            head = "async with" if self.is_async and self.chance(40) else "with"
            swallow = self.pick("", ", True")
            self.line(depth, f"{head} span({self.expression(sure)}{swallow}){self.pick('', ' as v1')}:")
            self.block(depth + 1, sure, nesting - 1, loop=loop, blocked=True)
        else:
            extra = self.pick(
                "", "", ", sorted(extra.items())" if self.kwargs else "", ", rest" if self.varargs else ""
            )
            self.line(depth, f"log({self.name(sure)}, {self.expression(sure)}{extra})")
        if loop and self.chance(12):
            self.line(depth, f"if {self.test(sure)}:")
            self.line(depth + 1, str(self.pick("break", "continue")))
        return sure

    def loop(self, kind: str, depth: int, sure: frozenset[str], nesting: int, *, blocked: bool) -> None:
        if kind == "for":
            self.line(
                depth, f"for {self.pick('v0', 'v1', 'v2')} in {self.pick('range(2)', '[3, 1]', 'range(n % 3)', '()')}:"
            )
        else:
            counter = f"c{self.counters}"
            self.counters += 1
            self.line(depth, f"{counter} = 0")
            self.line(depth, f"while {counter} < {self.pick(1, 2)}:")
            self.line(depth + 1, f"{counter} += 1")
        self.block(depth + 1, sure, nesting - 1, loop=True, blocked=blocked)
        if (self.in_blocks or not blocked) and self.chance(40):
            self.line(depth + 1, f"if {self.test(sure)}:")
            self.tail(depth + 2, sure)
        if self.chance(50):
            self.line(depth, "else:")
            self.block(depth + 1, sure, nesting - 1, loop=False, blocked=blocked)

    def try_statement(self, depth: int, sure: frozenset[str], nesting: int, *, loop: bool) -> None:
        has_finally = self.chance(40)
        self.line(depth, "try:")
        self.block(depth + 1, sure, nesting - 1, loop=loop, blocked=True)
        if not has_finally or self.chance(60):
            self.line(
                depth,
                f"except {self.pick('Boom', 'ValueError', '(Boom, UnboundLocalError)')}{self.pick('', ' as v2')}:",
            )
            self.block(depth + 1, sure - {"v2"}, nesting - 1, loop=loop, blocked=True)
            if self.chance(30):
                self.line(depth, "else:")
                self.block(depth + 1, sure, nesting - 1, loop=loop, blocked=has_finally)
        if has_finally:
            self.line(depth, "finally:")
            self.line(depth + 1, f"log('finally', n, {self.name(sure)})")
            if self.chance(20):
                self.line(depth + 1, f"n = {self.pick(0, 1)}")

    # -------------------------------------------------------------- the whole program

    def signature(self) -> str:
        names = iter("abcde")
        defaulted = False
        for kind in ("positional-only", "plain", "keyword-only"):
            for _ in range(self.pick(0, 1, 2) if kind != "positional-only" else self.pick(0, 0, 1)):
                defaulted = self.chance(50) if kind == "keyword-only" else defaulted or self.chance(40)
                self.parameters.append(Parameter(next(names), kind, defaulted))
        self.varargs, self.kwargs = self.chance(25), self.chance(25)
        out = ["self"] if self.place == "method" else []
        out.append("n")
        groups = {
            kind: [p for p in self.parameters if p.kind == kind]
            for kind in ("positional-only", "plain", "keyword-only")
        }
        written = {
            kind: [p.name + (f"=t({self.pick(0, 5)})" if p.default else "") for p in group]
            for kind, group in groups.items()
        }
        out += [*written["positional-only"], "/"] if written["positional-only"] else []
        out += written["plain"]
        if self.varargs or written["keyword-only"]:
            out.append("*rest" if self.varargs else "*")
        out += written["keyword-only"]
        out += ["**extra"] if self.kwargs else []
        return ", ".join(out)

    def program(self) -> str:
        """Write the module."""
        decorator = "@tailstream" if self.yields else "@tailrec"
        head = "async def" if self.is_async else "def"
        depth = {"module": 0, "method": 1, "closure": 1}[self.place]
        if self.place != "module":
            self.line(0, "class C:" if self.place == "method" else "def make(free):")
        self.captures, self.swaps = self.chance(40), self.chance(25)
        self.nonlocals = self.place == "closure" and self.chance(50)
        signature = self.signature()
        self.line(depth, decorator)
        self.line(depth, f"{head} f({signature}):")
        if self.nonlocals:
            self.line(depth + 1, "nonlocal free")
        if self.swaps and self.place != "method":
            self.line(depth + 1, "nonlocal f" if self.place == "closure" else "global f")
        self.line(depth + 1, "if n < -99:")
        self.line(depth + 2, "v0 = v1 = v2 = 0")  # they are locals, whatever the rest of the body assigns
        first = "yield" if self.yields else "return"
        self.line(depth + 1, "if n <= 0:")
        self.line(depth + 2, f"{first} ('end', {', '.join(['n', *(p.name for p in self.parameters)])})")
        if self.yields:
            self.line(depth + 2, "return")
        sure: frozenset[str] = frozenset()
        if self.chance(50):  # what an earlier step assigned must be unbound here
            for variable in ("v0", "v1"):
                self.line(depth + 1, "try:")
                self.line(depth + 2, f"log({variable})")
                self.line(depth + 1, "except UnboundLocalError:")
                self.line(depth + 2, f"log('no {variable}')")
        for _ in range(self.pick(1, 2, 3, 4)):
            sure = self.statement(depth + 1, sure, 3, loop=False, blocked=False)
        self.tail(depth + 1, sure, last=True)
        self.lines += ["", ""]
        if self.place == "method":
            self.line(0, "f = C().f")
        elif self.place == "closure":
            self.line(1, "return f\n\n")
            self.line(0, "f = make(3)")
        self.line(0, "compiled = f")
        self.line(0, f"{head} other(*arguments, **named):")
        self.line(1, "log('other', arguments, sorted(named.items()))")
        self.line(1, f"{first} 'other'")
        self.lines += ["", ""]
        given = [p for p in self.parameters if not p.default or self.chance(40)]
        by_position = [p for p in self.parameters if p.kind == "positional-only"]
        keywords = [f"{p.name}={self.pick(1, 4)}" for p in given if p.kind != "positional-only"]
        start = ", ".join([str(self.pick(1, 2, 3, 4)), *("2" for _ in by_position), *keywords])
        read = {"stream": "await collect({})", "generator": "list({})"}.get(
            self.kind, "await call({})" if self.is_async else "call({})"
        )
        made = f"f({start})" if self.yields else f"f, {start}"
        self.line(0, f"{'async ' if self.is_async else ''}def main():")
        self.line(1, "try:")
        self.line(2, f"result = {read.format(made)}")
        self.line(1, "except (Boom, ValueError) as error:")
        self.line(2, "result = repr(error)")
        self.line(1, "return result, made()")
        return HEAD + "\n".join(self.lines) + "\n"


def write(below: Callable[[int], int], *, blocks: bool = True) -> str:
    """Write a module with `main()`, taking every choice from `below`; see the rules at the top."""
    kind = ("coroutine", "function", "coroutine", "stream", "generator")[below(5)]
    place = ("module", "method", "module", "closure")[below(4)]
    return Writer(below, kind, place, in_blocks=blocks and below(2) == 1).program()


def choices_of(random: Random) -> tuple[Callable[[int], int], list[int]]:
    """Return a `below` that draws evenly, and the list to which it appends its choices."""
    made: list[int] = []

    def below(number: int) -> int:
        made.append(random.randrange(number))
        return made[-1]

    return below, made


def replay(choices: Sequence[int]) -> Callable[[int], int]:
    """Return a `below` that repeats choices, then takes the simplest one."""
    left = iter(choices)
    return lambda number: min(next(left, 0), number - 1)


@st.composite
def programs(draw: Callable[[Any], Any], blocks: bool = True) -> str:
    """Programs as a Hypothesis strategy: it finds edge cases and shrinks failures."""
    return write(lambda number: draw(st.integers(0, number - 1)), blocks=blocks)
