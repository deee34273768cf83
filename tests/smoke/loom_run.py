"""Chat with the built-in mock, stop after a step, resume, and look at the run from other
processes.
"""

import json
import subprocess
import sys
from pathlib import Path

COMMAND = str(Path(sys.executable).parent / "loom-run")


def run(*words: str, code: int = 0) -> str:
    ended = subprocess.run(
        [COMMAND, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=60
    )
    assert ended.returncode == code, (words, ended)
    return ended.stdout


def main() -> None:
    Path("whales.md").write_text("# Whales\n\nBlue whales eat krill, four tons a day.\n")
    run("chat", "what do blue whales eat?", "--run-id", "demo", "--mock-llm", "--max-steps", "1")
    answer = json.loads(run("resume", "demo", "--trace", "trace.html", "--output", "json"))
    assert answer["exit_code"] == 0 and "krill" in answer["answer"], answer
    assert Path("trace.html").stat().st_size > 10_000
    assert run("chat", "what do blue whales eat?", "--run-id", "demo", "--output", "text").strip() == answer["answer"]
    assert [each["run_id"] for each in json.loads(run("runs"))] == ["demo"]
    assert "search_docs" in run("explain", "demo")
    assert "krill" in run("show", "demo")


main()
