"""Read PDF with `pypdf`, in a process of its own: a broken or hostile file may need any time and
memory.
"""

import asyncio
import importlib.util
import json
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from loom_agents._process.run import Ended, run_process
from loom_agents._process.run import Limits as ProcessLimits
from loom_agents._search.read.chunk import Chunk, Sizes, split, without_secrets
from loom_agents._search.read.outcome import Limits, Skipped

_MEMORY_BYTES = 1_000_000_000
MISSING = Skipped("PDF needs pypdf: pip install 'loom-agents[documents]'", read_again=True)
_WORKER = Path(__file__).with_name("pdf_worker.py")


def is_readable() -> bool:
    """Report whether the extra for PDF is installed."""
    return importlib.util.find_spec("pypdf") is not None


def chunks(data: bytes, sizes: Sizes, limits: Limits) -> list[Chunk] | Skipped:
    """Return the chunks of a PDF document: one or more a page, whose line is the page's number."""
    ended = _waited(
        run_process(
            (sys.executable, "-I", str(_WORKER), str(limits.pages), str(limits.characters)),
            folder=_WORKER.parent,
            timeout_s=limits.seconds,
            max_output_bytes=8 * limits.characters + 10_000,
            stdin=data,
            limits=ProcessLimits(cpu_s=max(1, round(limits.seconds)), memory_bytes=_MEMORY_BYTES),
            network=False,
            errors_apart=True,
        )
    )
    if ended.timed_out:
        return Skipped(f"it takes longer than {limits.seconds:g} s to read")
    try:
        answer = json.loads(ended.output)
    except ValueError:
        return Skipped("it is broken: it cannot be read")
    if "why" in answer:
        return Skipped(answer["why"])
    found: list[Chunk] = []
    for number, text in enumerate(answer["pages"], start=1):
        lines = without_secrets(text).split("\n")
        parts = split(lines, 1, len(lines) + 1, f"page {number}", sizes)
        found += [Chunk(part.heading, number, part.text, is_source=False) for part in parts]
    return found or Skipped("it has no text, only images")


def _waited(task: Coroutine[Any, Any, Ended]) -> Ended:
    """Run a coroutine in a thread of its own, because this one may have an event loop."""
    results: list[Ended] = []
    thread = threading.Thread(target=lambda: results.append(asyncio.run(task)))
    thread.start()
    thread.join()
    return results[0]
