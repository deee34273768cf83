"""The cost of recording, journaling and opening a trace, each beside its rival in the same run.

    python benchmarks/xray.py                           half a minute; some rows need Chromium
    python benchmarks/xray.py --samples 5 --calls 2000  quicker, rougher
    python benchmarks/xray.py --million                 also 1,000,000 spans (a minute more, 2 GB)
    python benchmarks/xray.py --json

The rival of a recorded span is the SDK of OpenTelemetry with a processor that keeps the ended span,
and one argument as an attribute. To measure without the other packages, use a separate environment:

    python3 -m venv /tmp/otel
    /tmp/otel/bin/python -m pip install opentelemetry-sdk -e packages/flow-xray
    /tmp/otel/bin/python benchmarks/xray.py

Without it the row says so, and its bar counts as not measured. Every sample runs the rivals one
after the other, so a slow moment of the machine affects all of them; times are of the process, so
other programs are not included. Exit code 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import html
import importlib
import importlib.util
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow_xray import Span, TraceResult, trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Row:
    """One claim: what was measured, its bar, and the rival beside it."""

    name: str
    value: float | None
    bar: float
    unit: str
    rival: str = ""
    why_not: str = ""

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        return "met" if self.value <= self.bar else "MISSED"


# ---------------------------------------------------------------- calls


def plain(x: int) -> int:
    return x


traced = trace(plain)


def spent_us(calls: Callable[[int], object], count: int) -> float:
    """Return the processor time of one call in microseconds."""
    started = time.process_time_ns()
    for n in range(count):
        calls(n)
    return (time.process_time_ns() - started) / count / 1_000


def otel_call() -> Callable[[int], object] | None:
    """Return a function that records a span with OpenTelemetry, or None without its SDK."""
    try:
        sdk = importlib.import_module("opentelemetry.sdk.trace")
    except ImportError:
        return None
    kept: list[object] = []

    class Keep(sdk.SpanProcessor):  # type: ignore[name-defined,misc]  # there only when it is installed
        def on_end(self, span: object) -> None:
            kept.append(span)

    provider = sdk.TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Keep())
    tracer = provider.get_tracer("benchmark")

    def call(n: int) -> int:
        with tracer.start_as_current_span("plain") as span:
            span.set_attribute("x", n)
            return plain(n)

    return call


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Disable the garbage collector during a sample; else it runs in an arbitrary part of it."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def call_rows(calls: int, samples: int, folder: Path) -> list[Row]:
    """Measure a call: plain, without a session, recorded, journaled, and by OpenTelemetry."""
    rival = otel_call()
    times: dict[str, list[float]] = {"plain": [], "idle": [], "memory": [], "journal": [], "otel": []}
    for sample in range(samples + 1):
        with no_collection():
            found = {"plain": spent_us(plain, calls * 10), "idle": spent_us(traced, calls * 10)}
            with trace.capture():
                found["memory"] = spent_us(traced, calls)
            with trace.capture(journal=folder / f"{sample}.xray"):
                found["journal"] = spent_us(traced, calls)
            if rival is not None:
                found["otel"] = spent_us(rival, calls)
        if sample:  # the first one warms up
            for name, value in found.items():
                times[name].append(value)
    middle = {name: statistics.median(values) for name, values in times.items() if values}
    call = f"plain call {middle['plain']:.3f} us"
    ratio = (
        None
        if rival is None
        else statistics.median(ours / theirs for ours, theirs in zip(times["memory"], times["otel"], strict=True))
    )
    beside = call if rival is None else f"{call}, OpenTelemetry {middle['otel']:.1f} us"
    return [
        Row("recorded span, in memory", middle["memory"], 5, "us", beside),
        Row("  the same, to OpenTelemetry's span", ratio, 0.25, "x", "1 is OpenTelemetry",
            why_not="opentelemetry-sdk is not installed here (see --help)"),
        Row("recorded span, journaled", middle["journal"], 10, "us", f"in memory {middle['memory']:.1f} us"),
        Row("decorated call without a session, more", middle["idle"] - middle["plain"], 0.18, "us", call),
    ]  # fmt: skip


# ---------------------------------------------------------------- import


def import_rows(samples: int) -> list[Row]:
    """Measure `import flow_xray` over a bare interpreter, in processor and in wall time."""

    def took_ms(code: str) -> tuple[float, float]:
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-c", code])
        _, status, used = os.wait4(process.pid, 0)
        wall_ms = (time.perf_counter() - started) * 1_000
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, code)
        return (used.ru_utime + used.ru_stime) * 1_000, wall_ms

    has_rival = importlib.util.find_spec("opentelemetry") is not None
    codes = ["pass", "import flow_xray"] + ["import opentelemetry.sdk.trace"] * has_rival
    rounds = [[took_ms(code) for code in codes] for _ in range(max(7, 2 * samples))]
    rows = []
    for index, name in enumerate(("processor", "wall")):
        bare = statistics.median(each[0][index] for each in rounds)
        more = [statistics.median(each[k][index] - each[0][index] for each in rounds) for k in range(1, len(codes))]
        rival = f"bare python {bare:.0f} ms" + (f", OpenTelemetry SDK {more[1]:.0f} ms more" if has_rival else "")
        rows.append(Row(f"import flow_xray, more, {name}", more[0], 25, "ms", rival))
    return rows


# ---------------------------------------------------------------- files and the page


def small_spans(count: int) -> TraceResult:
    """Return a trace with few names, small payloads, and tokens on every fourth span."""
    numbers = random.Random(7)
    names = (("decide", "llm"), ("search", "tool"), ("parse", "function"), ("step", "step"))
    spans: list[Span] = []
    at = 1_795_233_600_000_000_000
    for n in range(count):
        name, kind = names[n % 4]
        at += numbers.randrange(5_000, 60_000)
        spans.append(
            Span(
                f"{0x1234ABCD00000000 + n:016x}",
                spans[n // 10 * 10 if n % 10 else 0].id if n else None,
                name,
                kind,
                at,
                numbers.randrange(900, 4_000_000),
                input={"path": f"src/{n % 50}.py", "n": n},
                output={"ok": True, "size": numbers.randrange(100_000)},
                meta={"model": "m-large", "input_tokens": numbers.randrange(9_000), "output_tokens": 40}
                if kind == "llm"
                else {},
                thread="MainThread",
            )
        )
    return TraceResult(name=f"{count:,} spans", spans=spans, is_frozen=True)


def chat(turns: int) -> TraceResult:
    """Return a chat in which each model call gets all earlier messages."""
    history = [{"role": "user", "content": hashlib.sha256(str(n).encode()).hexdigest() * 8} for n in range(turns)]
    spans = [
        Span(f"{n + 1:016x}", None, "chat", "llm", n * 1_000, 900, input={"messages": history[:n]})  # type: ignore[dict-item]  # plain JSON
        for n in range(turns)
    ]
    return TraceResult(name="chat", spans=spans, is_frozen=True)


def file_rows(large: Path) -> list[Row]:
    """Measure the size of 100,000 spans, and how a page grows with a chat."""
    result = small_spans(100_000)
    page = result.to_html(large)
    as_json = sum(len(json.dumps(asdict(span))) for span in result.spans)
    empty = len(TraceResult().to_html())
    short, long = chat(100), chat(200)
    grown = (len(long.to_html()) - empty) / (len(short.to_html()) - empty)
    naive = len(json.dumps([asdict(s) for s in long.spans])) / len(json.dumps([asdict(s) for s in short.spans]))
    return [
        Row("100,000 spans: file", len(page) / 1e6, 3, "MB", f"as plain JSON {as_json / 1e6:.1f} MB"),
        Row("chat of 200 turns, to one of 100", grown, 2.2, "x", f"as plain JSON {naive:.1f} x"),
    ]


def plain_page(path: Path) -> None:
    """Write the rival of a large page: the spans as rows of one document, four elements each."""
    cells = (
        f"<div><b>{span.name}</b> <i>{span.duration_ns} ns</i> <code>{html.escape(json.dumps(span.input))}</code></div>"
        for span in small_spans(100_000).spans
    )
    path.write_text(
        "<!doctype html><meta charset=utf-8>" + "".join(cells) + "<div role=row>end</div>", encoding="utf-8"
    )


VIEWS = ("Overview", "Tree", "Timeline", "Flame", "Transcript", "Graph", "Diff", "Raw")
DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"


@dataclass(frozen=True)
class Opened:
    """The cost of opening one page."""

    seconds: float
    elements: int  # the most of any view
    slowest_view_s: float  # from the click until it is drawn
    requests: int  # to anything but files


def browser_rows(large: Path, million: Path | None) -> list[Row]:
    """Open pages from disk in headless Chromium."""
    names = (
        ("100,000 spans: load to first usable view", 1.0, "s"),
        ("100,000 spans: slowest change of view", 1.0, "s"),
        ("100,000 spans: DOM elements, any view", 3_000, ""),
        ("external requests", 0, ""),
    )
    chromium = shutil.which("chromium")
    if chromium is None or importlib.util.find_spec("playwright") is None:
        why = "chromium and the package playwright are needed"
        rows = [Row(name, None, bar, unit, why_not=why) for name, bar, unit in names]
        return rows if million is None else [*rows, Row("1,000,000 spans: open", None, 8, "s", why_not=why)]
    sync_api: Any = importlib.import_module("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])

        def opened(path: Path, views: tuple[str, ...] = VIEWS) -> Opened:
            page = browser.new_page()
            requests: list[str] = []
            page.on("request", lambda request: requests.append(request.url))
            page.goto(path.as_uri(), timeout=120_000)
            page.wait_for_selector("[role=row]", timeout=120_000)
            page.evaluate(DRAWN)
            seconds = page.evaluate("performance.now()") / 1_000
            elements = [page.evaluate("document.querySelectorAll('*').length")]
            took = [0.0]
            for view in views:
                started = time.perf_counter()
                page.get_by_role("tab", name=view).click(timeout=60_000)
                page.wait_for_selector(f"[role=tabpanel][aria-labelledby=tab-{view}]", timeout=60_000)
                page.evaluate(DRAWN)
                took.append(time.perf_counter() - started)
                elements.append(page.evaluate("document.querySelectorAll('*').length"))
            page.close()
            return Opened(seconds, max(elements), max(took), sum(not url.startswith("file:") for url in requests))

        empty = large.with_name("empty.html")
        small_spans(1).to_html(empty)
        opened(empty)  # the first page includes the start of the browser
        bare = opened(empty)
        plain = large.with_name("plain.html")
        plain_page(plain)
        rival = opened(plain, ())
        tries = [opened(large) for _ in range(3)]
        values: tuple[float, ...] = (
            statistics.median(each.seconds for each in tries),
            statistics.median(each.slowest_view_s for each in tries),
            max(each.elements for each in tries),
            sum(each.requests for each in tries),
        )
        beside = (
            f"1 span {bare.seconds:.2f} s, all spans as rows {rival.seconds:.1f} s",
            f"1 span {bare.slowest_view_s:.2f} s",
            f"1 span {bare.elements}, all spans as rows {rival.elements:,}",
            "",
        )
        rows = [
            Row(name, value, bar, unit, rival_text)
            for (name, bar, unit), value, rival_text in zip(names, values, beside, strict=True)
        ]
        if million is not None:
            found = opened(million)
            rows.append(Row("1,000,000 spans: open", found.seconds, 8, "s", beside[0]))
            rows.append(Row("1,000,000 spans: slowest change of view", found.slowest_view_s, 8, "s", beside[1]))
            rows.append(Row("1,000,000 spans: DOM elements, any view", found.elements, 3_000, "", beside[2]))
        browser.close()
    return rows


# ---------------------------------------------------------------- the table


def show(rows: list[Row]) -> None:
    """Print the table."""
    print(f"flow-xray on Python {sys.version.split()[0]}, {os.cpu_count()} cores")
    print(f"{'':44} {'measured':>12} {'bar':>10}  {'':13} beside")
    for row in rows:
        value = "-" if row.value is None else f"{row.value:,.{2 if row.unit else 0}f} {row.unit}".strip()
        bar = f"{row.bar:,g} {row.unit}".strip()
        print(f"{row.name:44} {value:>12} {bar:>10}  {row.verdict:13} {row.rival or row.why_not}".rstrip())


def main(arguments: list[str] | None = None) -> int:
    """Measure everything and return 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=5_000, help="calls in a sample (default: 5000)")
    parser.add_argument("--samples", type=int, default=9, help="samples of each row (default: 9)")
    parser.add_argument("--million", action="store_true", help="also open a page of 1,000,000 spans")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    options = parser.parse_args(arguments)
    if options.calls < 1 or options.samples < 1:
        parser.error("cannot measure: because --calls and --samples must be 1 or more. Give larger numbers.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [*call_rows(options.calls, options.samples, folder), *import_rows(options.samples)]
        rows += file_rows(folder / "large.html")
        million = None
        if options.million:
            million = folder / "million.html"
            small_spans(1_000_000).to_html(million)
        rows += browser_rows(folder / "large.html", million)
    if options.json:
        print(json.dumps([{**asdict(row), "verdict": row.verdict} for row in rows]))
    else:
        show(rows)
    return int(any(row.verdict == "MISSED" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
