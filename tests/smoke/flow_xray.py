"""Record a trace, also one that a killed process leaves; write a page and a file of it and read
them back.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from flow_xray import TraceResult, read_journal, trace

COMMAND = str(Path(sys.executable).parent / "flow-xray")


@trace(kind="tool")
def search(query: str, api_key: str) -> list[str]:
    return [f"a page about {query}"]


@trace(kind="llm")
def ask(question: str) -> str:
    trace.meta(model="a-model", input_tokens=120, output_tokens=9)
    return f"an answer to {search(question, api_key='hunter2-hunter2')}"


def record_and_die() -> None:
    with trace.capture(journal="killed.xray"):
        ask("what is left?")
        with trace.span("never ends"):
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    result = trace.run(ask, "is it offline?")
    assert "is it offline?" in result.value
    result.to_html("page.html")
    result.to_json("trace.json")
    page = Path("page.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "hunter2" not in page

    again = TraceResult.from_json(Path("trace.json").read_text(encoding="utf-8"))
    assert [span.name for span in again.spans] == [span.name for span in result.spans]
    assert not again.diff(result)

    killed = subprocess.run([sys.executable, "-I", __file__, "die"], check=False)
    assert killed.returncode == -signal.SIGKILL
    left = read_journal("killed.xray")
    assert {span.name: span.status for span in left.spans}["never ends"] == "interrupted"

    for words in (["view", "killed.xray", "--html", "killed.html"], ["stats", "trace.json"], ["report", "trace.json"]):
        subprocess.run([COMMAND, *words], check=True, stdout=subprocess.DEVNULL)
    assert Path("killed.html").stat().st_size > 10_000


record_and_die() if "die" in sys.argv else main()
