"""Traces for the page: small and large, damaged and hostile; the fixture `scenes` returns them."""

import math
import random
from collections.abc import Callable
from typing import Any

from flow_xray import Span, TraceResult, trace

START_NS = 1_795_233_600_000_000_000
MS = 1_000_000
S = 1_000_000_000

ATTACKS = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "javascript:alert(1)",
    "\x1b[31mred\x1b[0m\x07\x00",
    "\u202egnp.exe\u202c",
    "\ud800 lone \udfff",
    "${alert(1)}{{alert(1)}}",
    "__proto__",
    "$ref",
    "مرحبا بالعالم",
    "]]>--><!--",
    "&lt;b&gt;",
]


class Maker:
    """Create spans with consecutive ids."""

    def __init__(self, first: int = 0xA0000000) -> None:
        self.spans: list[Span] = []
        self.first = first

    def __call__(
        self,
        name: str,
        parent: Span | None = None,
        *,
        at: float,
        took: float | None,
        kind: str = "function",
        **fields: Any,
    ) -> Span:
        span = Span(
            f"{self.first + len(self.spans) + 1:016x}",
            None if parent is None else parent.id,
            name,
            kind,
            START_NS + round(at * S),
            None if took is None else round(took * S),
            thread=fields.pop("thread", "MainThread" if parent is None else parent.thread),
            **fields,
        )
        self.spans.append(span)
        return span


def usage(given: int, made: int, model: str = "anthropic:claude-sonnet", cost: float | None = None) -> dict[str, Any]:
    return {"model": model, "input_tokens": given, "output_tokens": made} | ({} if cost is None else {"cost_usd": cost})


def empty() -> TraceResult:
    return TraceResult(name="empty")


def single() -> TraceResult:
    make = Maker()
    make("double", at=0, took=0.000_042, input={"x": 21}, output=42)
    return TraceResult(name="double", spans=make.spans, value=42)


def failed() -> TraceResult:
    """An agent run that fails after retries: the error propagates to the callers."""
    make = Maker()
    system = {
        "role": "system",
        "content": "You repair services. Follow the runbook, and verify before you say that it is done.",
    }
    user = {"role": "user", "content": "p95 of the API is above 1.9 s since 02:10.\nFind out why and fix it."}
    asks = {
        "role": "assistant",
        "content": "First I read the runbook for API latency.",
        "tool_calls": [{"id": "c1", "name": "read_runbook", "arguments": {"path": "api-latency.md"}}],
    }
    result = {
        "role": "tool",
        "tool_call_id": "c1",
        "name": "read_runbook",
        "content": "1. Compare with the last release.\n2. Roll back.\n3. Verify p95 below 0.5 s.",
    }
    decides = {
        "role": "assistant",
        "content": "Release 7f31 came at 02:08. I roll it back and then check the health three times.",
        "tool_calls": [
            {"id": "c2", "name": "rollback", "arguments": {"argv": ["kubectl", "rollout", "undo", "deployment/api"]}}
        ],
    }
    root = make("repair", at=0, took=74.2, kind="agent", input={"incident": "API latency"}, status="error")
    make(
        "plan",
        root,
        at=0.4,
        took=8.9,
        kind="llm",
        input={"messages": [system, user]},
        output=asks,
        meta=usage(2140, 212, cost=0.0096) | {"cache_read_tokens": 1200},
    )
    make(
        "read_runbook",
        root,
        at=9.4,
        took=0.004,
        kind="tool",
        input={"path": "api-latency.md"},
        output=result["content"],
    )
    make(
        "plan",
        root,
        at=9.5,
        took=7.1,
        kind="llm",
        input={"messages": [system, user, asks, result]},
        output=decides,
        meta=usage(2480, 96, cost=0.0089),
    )
    step = make("execute", root, at=17, took=4.2, kind="step", meta={"step_index": 3})
    make(
        "rollback",
        step,
        at=17.1,
        took=0.6,
        kind="tool",
        status="interrupted",
        input={"argv": ["kubectl", "rollout", "undo"]},
        meta={"attempt": 1, "max_attempts": 2, "idempotency_key": "inc-1/3/rollback#0"},
    )
    make(
        "rollback",
        step,
        at=18.8,
        took=1.84,
        kind="tool",
        input={"argv": ["kubectl", "rollout", "undo"]},
        output={"exit_code": 0, "stdout": "deployment.apps/api rolled back"},
        meta={
            "run_id": "inc-1",
            "step_index": 3,
            "attempt": 2,
            "max_attempts": 2,
            "idempotency_key": "inc-1/3/rollback#0",
            "approved_by": "on-call",
        },
        tags=[{"name": "retry", "at_ns": START_NS + 18_801_000_000, "why": "the first attempt was in doubt"}],
    )
    verify = make("verifier", root, at=22, took=51, kind="agent", status="error", input={"goal": "p95 below 0.5 s"})
    error = {
        "type": "HealthError",
        "message": "p95 1.92 s > 0.5 s",
        "traceback": 'Traceback (most recent call last):\n  File "ops/health.py", line 41, in check_health\n    raise HealthError(p95)\nHealthError: p95 1.92 s > 0.5 s',
    }
    for attempt, at in enumerate((23, 34, 56), 1):
        failure = make(
            "check_health",
            verify,
            at=at,
            took=0.21,
            kind="tool",
            status="error",
            input={"url": "http://api/health", "attempt": attempt},
            error=dict(error),
            meta={"attempt": attempt, "max_attempts": 3},
        )
    make(
        "judge",
        verify,
        at=57,
        took=9.2,
        kind="llm",
        input={"messages": [{"role": "user", "content": "Is the service well?"}]},
        output={"role": "assistant", "content": "No: three checks failed."},
        meta=usage(820, 44, "openai:gpt-mini"),
    )
    verify.error = {**error, "origin": failure.id, "traceback": ""}
    root.error = {**error, "origin": failure.id, "traceback": ""}
    return TraceResult(name="inc-1", spans=make.spans, meta={"summary": "repair · incident: API latency"})


def chat() -> TraceResult:
    """Forty turns with tools; each model call gets all earlier messages."""
    make = Maker()
    numbers = random.Random(3)
    history: list[Any] = [{"role": "system", "content": "You help with a code base. Be brief."}]
    root = make("chat", at=0, took=412, kind="agent")
    questions = [
        "Where is the parser?",
        "Why does it fail on tabs?",
        "Show the failing line.",
        "Fix it, please.",
        "Run the tests again.",
    ]
    answers = [
        "It is in `src/parser.py`.",
        "Tabs are counted as one column; the grammar wants four.\n\nI can expand them first.",
        "Line 118.",
        "Done: tabs are expanded before the lexer runs.",
        "All 214 tests pass.",
    ]
    at = 0.5
    for turn in range(40):
        history.append(
            {"role": "user", "content": f"{questions[turn % 5]}" + ("" if turn < 5 else f" (round {turn // 5 + 1})")}
        )
        if turn % 3 == 1:
            call = {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {"id": f"c{turn}", "name": "search", "arguments": {"pattern": f"def parse_{turn}", "path": "src"}}
                ],
            }
            make(
                "model",
                root,
                at=at,
                took=2.1,
                kind="llm",
                input={"messages": list(history)},
                output=call,
                meta=usage(800 + 130 * turn, 31, cost=0.002 + turn * 0.0003),
            )
            history.append(call)
            found = {"matches": [f"src/parser.py:{100 + turn}", f"src/lexer.py:{turn}"], "truncated": False}
            make(
                "search",
                root,
                at=at + 2.2,
                took=0.03 + numbers.random() / 10,
                kind="tool",
                input=call["tool_calls"][0]["arguments"],
                output=found,
            )
            history.append({"role": "tool", "tool_call_id": f"c{turn}", "name": "search", "content": str(found)})
            at += 2.5
        answer = {"role": "assistant", "content": answers[turn % 5]}
        make(
            "model",
            root,
            at=at,
            took=3.4,
            kind="llm",
            input={"messages": list(history)},
            output=answer,
            meta=usage(850 + 130 * turn, 40, cost=0.0025 + turn * 0.0003),
        )
        history.append(answer)
        at += 9.6
    make("wait for the user", root, at=at, took=None, kind="wait", status="open", meta={"reason": "next message"})
    root.duration_ns = round((at + 1) * S)
    return TraceResult(name="chat with the parser", spans=make.spans, meta={"status": "waiting"})


def parallel() -> TraceResult:
    """Calls that overlap: tasks of one thread, and threads of a pool."""
    make = Maker()
    root = make("review", at=0, took=9.4, kind="agent")
    make("split", root, at=0.1, took=0.5)
    for n in range(5):
        task = make(
            f"reviewer {n + 1}",
            root,
            at=0.7 + n * 0.05,
            took=5.2 + n * 0.4,
            kind="agent",
            input={"file": f"src/module_{n}.py"},
        )
        make("read", task, at=0.8 + n * 0.05, took=0.2, kind="tool", input={"path": f"src/module_{n}.py"}, output="...")
        make("read", task, at=0.8 + n * 0.05, took=0.3, kind="tool", input={"path": "README.md"}, output="...")
        make(
            "judge",
            task,
            at=1.2 + n * 0.06,
            took=4.4 + n * 0.3,
            kind="llm",
            input={"messages": [{"role": "user", "content": f"Review module {n}."}]},
            output={"role": "assistant", "content": "Looks fine."},
            meta=usage(900, 60),
        )
    for n in range(6):
        make(
            "lint",
            root,
            at=7.9 + n // 3 * 0.6,
            took=0.55,
            kind="tool",
            thread=f"pool_{n % 3}",
            input={"file": f"src/module_{n}.py"},
            output=[],
        )
    make("merge", root, at=9.1, took=0.25)
    return TraceResult(name="review in parallel", spans=make.spans, value={"verdict": "approve"})


def killed() -> TraceResult:
    make = Maker()
    root = make("nightly", at=0, took=None, kind="agent", status="interrupted")
    for n in range(6):
        step = make(
            "step",
            root,
            at=n * 2,
            took=1.8 if n < 5 else None,
            kind="step",
            status="ok" if n < 5 else "interrupted",
            meta={"step_index": n},
        )
        make(
            "fetch",
            step,
            at=n * 2 + 0.1,
            took=1.2 if n < 5 else None,
            kind="tool",
            status="ok" if n < 5 else "interrupted",
            input={"url": f"https://example.org/{n}"},
            output="…" if n < 5 else None,
        )
    return TraceResult(
        name="nightly",
        spans=make.spans,
        meta={"journal": {"sessions": 1, "processes": 1, "is_complete": False, "damaged_records": 1}},
    )


def large(count: int = 100_000) -> TraceResult:
    """Many spans of a few names under one root, with small payloads."""
    numbers = random.Random(5)
    names = [("decide", "llm"), ("search", "tool"), ("parse", "function"), ("step", "step")]
    spans = [Span(f"{1:016x}", None, "root", "agent", START_NS, count * 1000)]
    for n in range(1, count):
        name, kind = names[n % 4]
        parent = spans[(n - 1) // 10 * 10]
        took = 900 + numbers.randrange(2_000)
        is_bad = n % 9_000 == 17
        spans.append(
            Span(
                f"{n + 1:016x}",
                parent.id,
                name,
                kind,
                START_NS + n * 1000,
                took,
                "error" if is_bad else "ok",
                {"n": n, "path": f"src/{n % 50}.py"},
                error={"type": "ParseError", "message": f"line {n}"} if is_bad else None,
                meta={"model": "m-large", "input_tokens": n % 900, "output_tokens": 7} if kind == "llm" else {},
                thread=f"worker {n % 3}",
            )
        )
    return TraceResult(name=f"{count:,} spans", spans=spans, is_frozen=True)


def deep(levels: int = 10_000) -> TraceResult:
    spans = [
        Span(
            f"{n + 1:016x}",
            f"{n:016x}" if n else None,
            f"level {n}",
            started_at_ns=START_NS + n * 1000,
            duration_ns=(2 * levels - 2 * n) * 1000,
        )
        for n in range(levels)
    ]
    return TraceResult(name="deep", spans=spans, is_frozen=True)


def hostile() -> TraceResult:
    class Mean:
        def __repr__(self) -> str:
            raise SystemError("no")

    loop: list[Any] = []
    loop.append(loop)

    @trace(kind="tool")
    def target(values: object) -> list[Any]:
        for attack in ATTACKS:
            with trace.span(attack, kind=attack, input={attack: attack}, model=attack) as span:
                trace.tag(attack, text=attack)
                span.set_output(attack)
        with trace.span(
            "model", kind="llm", input={"messages": [{"role": "user", "content": each} for each in ATTACKS]}
        ) as span:
            span.set_output({"role": "assistant", "content": "<b>" + "\u202e".join(ATTACKS)})
        return [
            math.nan,
            math.inf,
            2**80,
            Mean(),
            loop,
            "x" * 5_000_000,
            {"$ref": 3},
            {"__proto__": {"polluted": 1}, "constructor": 2},
        ]

    result = trace.run(target, [*ATTACKS, math.nan])
    result.name = ATTACKS[0]
    result.meta["summary"] = ATTACKS[1]
    return result


def two_runs() -> tuple[TraceResult, TraceResult]:
    """The failed run and the repaired one: one call added, one removed, one changed."""
    before, after = failed(), failed()
    after.name = "inc-1 again"
    for span in after.spans:
        if span.name in ("verifier", "repair"):
            span.status, span.error = "ok", None
        if span.name == "check_health":
            span.status, span.error, span.output = "ok", None, {"p95_s": 0.31}
        if span.name == "judge":
            span.output = {"role": "assistant", "content": "Yes: p95 is 0.31 s."}
    after.spans = [span for span in after.spans if span.name != "read_runbook"]
    top = after.spans[0]
    after.spans.append(
        Span(
            f"{0xB0000001:016x}",
            top.id,
            "record_audit",
            "tool",
            START_NS + 74 * S,
            2 * MS,
            input={"head": "9c41e7"},
            output=True,
        )
    )
    after.spans.append(Span(f"{0xB0000002:016x}", f"{0xB0000001:016x}", "hash", "function", START_NS + 74 * S, MS))
    return before, after


def context() -> dict[str, Any]:
    """The coverage of the source by the run of `failed`."""
    names = [
        "repair",
        "plan",
        "read_runbook",
        "execute",
        "rollback",
        "verifier",
        "check_health",
        "judge",
        "page_human",
        "scale_down",
        "escalate",
    ]
    nodes = [
        {
            "id": f"ops/agent.py:{10 + 7 * k}",
            "name": name,
            "file": "ops/agent.py",
            "line": 10 + 7 * k,
            "executed": k < 8,
        }
        for k, name in enumerate(names)
    ]
    by_name = {node["name"]: node["id"] for node in nodes}
    pairs = [
        ("repair", "plan"),
        ("repair", "read_runbook"),
        ("repair", "execute"),
        ("execute", "rollback"),
        ("repair", "verifier"),
        ("verifier", "check_health"),
        ("verifier", "judge"),
        ("execute", "scale_down"),
        ("repair", "escalate"),
        ("escalate", "page_human"),
    ]
    edges = [
        {"from": by_name[one], "to": by_name[other], "how": "executed" if k < 7 else "possible"}
        for k, (one, other) in enumerate(pairs)
    ]
    edges[4]["how"] = "runtime"
    branches = [
        {"file": "ops/agent.py", "line": 33, "text": "if plan.needs_human:", "taken": False},
        {"file": "ops/agent.py", "line": 41, "text": "else:", "taken": False},
    ]
    return {"nodes": nodes, "edges": edges, "branches": branches}


WORDS = [
    "role",
    "content",
    "messages",
    "parts",
    "tool_calls",
    "type",
    "text",
    "$ref",
    "$raw",
    "__proto__",
    "constructor",
]


def _odd_value(numbers: random.Random, depth: int = 0) -> Any:
    pick = numbers.randrange(10)
    if pick < 2 or depth > 3:
        return numbers.choice(["", "x", "a\nb", "\u202e", "\ud800", None, True, 0, -1, 1.5, 2**70, 1e308])
    if pick < 5:
        return [_odd_value(numbers, depth + 1) for _ in range(numbers.randrange(4))]
    if pick < 8:
        return {numbers.choice(WORDS): _odd_value(numbers, depth + 1) for _ in range(numbers.randrange(5))}
    return {"role": numbers.choice(["user", "assistant", "tool", ""]), "content": _odd_value(numbers, depth + 1)}


def odd(seed: int) -> TraceResult:
    """A trace with an unexpected value in every field."""
    numbers = random.Random(seed)

    def value() -> Any:
        return _odd_value(numbers)

    count = numbers.choice([1, 5, 40, 200])
    ids = [f"{n + 1:016x}" if numbers.random() < 0.95 else f"odd {n}" for n in range(count)]
    spans = [
        Span(
            ids[n],
            numbers.choice([None, "gone", *ids[: n + 3][-6:]]),
            numbers.choice(["", "a", "b", "c" * 300, "x\ny"]),
            numbers.choice(["llm", "tool", "agent", "wait", "", "odd"]),
            numbers.choice([0, 10**18, 10**18 + numbers.randrange(10**10)]),
            numbers.choice([None, 0, 1, numbers.randrange(10**10), 10**17]),
            numbers.choice(["ok", "error", "open", "interrupted", "cancelled"]),
            value(),
            value(),
            numbers.choice([None, {"type": value(), "message": value(), "traceback": value(), "origin": value()}]),
            {key: value() for key in numbers.sample(["model", "input_tokens", "cost_usd", "messages", "attempt"], 3)},
            [{"name": value(), "at_ns": value()} for _ in range(numbers.randrange(3))],
            numbers.choice(["", "t1", "t2"]),
        )
        for n in range(count)
    ]
    meta = {key: value() for key in numbers.sample(["status", "summary", "journal", "title", "run_id"], 2)}
    return TraceResult(name=numbers.choice(["", "odd"]), spans=spans, value=value(), meta=meta)


SCENES: dict[str, Callable[[], TraceResult]] = {
    "empty": empty, "single": single, "failed": failed, "chat": chat, "parallel": parallel, "killed": killed, "large": large, "deep": deep, "hostile": hostile,
}  # fmt: skip
