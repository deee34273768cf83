"""`make demo`: an agent works on this repository, is killed in the middle of a tool call, and goes
on.

Nothing is staged but the model, which plays `demo_script.json`: the search, the file, the tests,
the SIGKILL, the database and the trace are real. The tool calls are read from the database before
and after, so that a repeated one would be seen.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
FOLDER = Path("build") / "demo"
DB = FOLDER / "runs.sqlite"
TRACE = Path("demo-trace.html")
QUESTION = "What happens to a tool call when the process is killed?"
RUN = ["--run-id", "demo", "--db", str(DB)]
TEXT = ["--output", "text"]  # also when the output of make is piped
MODEL = ["--mock-llm=tools/demo_script.json", "--workspace", "."]
DEADLINE_S = 60.0


def say(text: str) -> None:
    print(f"\n# {text}", flush=True)


def show(command: list[str]) -> None:
    print(f"$ {shlex.join(command)}", flush=True)


def loom(*command: str) -> int:
    """Show a command, run it with the terminal's own streams, and return its exit code."""
    show(list(command))
    return subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT, check=False).returncode


def tool_calls() -> list[dict[str, Any]]:
    """The tool calls on record, or none while the database is not there yet."""
    if not (ROOT / DB).exists():
        return []
    command = [str(BIN / "loom-runner"), "tool-calls", *RUN, "--output", "jsonl"]
    report = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return [json.loads(line) for line in report.stdout.splitlines()]


def kill_in_a_tool_call(command: list[str]) -> None:
    """Start the command, wait until the ledger says that the tests are running, and kill it."""
    show(command)
    process = subprocess.Popen([str(BIN / command[0]), *command[1:]], cwd=ROOT)
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        if any(call["name"] == "run_tests" and call["status"] == "started" for call in tool_calls()):
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            print(f"-> kill -9 {process.pid}, while run_tests was running", flush=True)
            return
        time.sleep(0.02)
    process.kill()
    sys.exit("demo: cannot show the kill: the run ended before its third tool call started. Run make demo again.")


def main() -> int:
    os.chdir(ROOT)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    TRACE.unlink(missing_ok=True)
    began = time.monotonic()

    say("An agent is asked about this repository. Its model is scripted; its tools really search, read and test.")
    kill_in_a_tool_call(["loom-run", "chat", QUESTION, "--trust", *RUN, *MODEL])

    say("What is on record: two tool calls are done; the third was cut off and is in doubt.")
    before = {call["key"]: call for call in tool_calls()}
    loom("loom-runner", "tool-calls", *RUN, *TEXT)

    say("Another process takes the run over. Nothing is replayed: it goes on from the last committed step.")
    if code := loom("loom-run", "resume", *RUN, *MODEL, "--trace", str(TRACE)):
        return code

    say("The recorded calls were not repeated; the one in doubt was, because running tests again does no harm.")
    loom("loom-runner", "tool-calls", *RUN, *TEXT)
    after = {call["key"]: call for call in tool_calls()}
    recorded = [key for key, call in before.items() if call["status"] == "done"]
    if not recorded or any(after[key] != before[key] for key in recorded):
        print("demo: a recorded tool call has changed", file=sys.stderr)
        return 1

    say("What happened, told from the committed rows:")
    loom("loom-run", "explain", *RUN, *TEXT)

    if not TRACE.exists():
        print(f"demo: {TRACE} was not written", file=sys.stderr)
        return 1
    took_s = time.monotonic() - began
    say(f"All of it on one page that needs no network ({took_s:.0f} s in all). Open {TRACE} in a browser:")
    print(f"  {TRACE.resolve().as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
