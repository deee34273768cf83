"""What a command of a repository can leave behind, use up, or reach."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from loom_agents import Workspace, workspace_tools
from loom_agents.process import Limits, can_leave_network, run_process

from tests.redteam.area import Area

HOLE = """
replace('loom_agents._process.run', 'can_leave_network', lambda: False)
replace('loom_agents._process.run', '_LAUNCHER_ENDS_S', 0.0)
replace('loom_agents._process.run', 'Limits.as_argument', lambda self: '')
"""
AREA = Area("processes", hole=HOLE)

ESCAPE = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (0, 1, 2): os.close(number)
        open('pid', 'w').write(str(os.getpid())); time.sleep(60); os._exit(0)
    os._exit(0)
os.wait()
while not os.path.exists('pid') or not os.path.getsize('pid'): time.sleep(0.01)
"""


def _run(folder: Path, code: str, *, timeout_s: float = 20, **more: Any) -> str:
    command = (sys.executable, "-I", "-c", code)
    ended = asyncio.run(run_process(command, folder=folder, timeout_s=timeout_s, max_output_bytes=10_000, **more))
    return ended.output.decode("utf-8", "replace")


def _survivor(folder: Path) -> str | None:
    pid = int((folder / "pid").read_text())
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return None
        except OSError:
            return None
        time.sleep(0.02)
    os.kill(pid, 9)
    return f"process {pid} is left"


@AREA.attempt_each(
    "a process that left the group and the session",
    [
        ("and nothing else", ""),
        ("then the command kills its parent", "import signal; os.kill(os.getppid(), 9); time.sleep(60)"),
        ("then the command kills its group", "os.killpg(0, 9)"),
        ("then the command runs into its timeout", "time.sleep(60)"),
    ],
)
def _(folder: Path, case: tuple[str, str]) -> str | None:
    _run(folder, ESCAPE + case[1], timeout_s=3)
    return _survivor(folder)


@AREA.attempt("run_tests reaches the network")
def _(folder: Path) -> str | None:
    if not can_leave_network() and "LOOM_REDTEAM_HOLE" not in os.environ:
        return None  # `doctor` says so
    with socket.create_server(("127.0.0.1", 0)) as server:
        (folder / "conftest.py").write_text(
            f"import socket\ntry: socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 3)\n"
            "except OSError: pass\nelse: open('reached', 'w')\n"
        )
        tools = workspace_tools(Workspace.at(folder), test_command=(sys.executable, "conftest.py"))
        asyncio.run(tools.get("run_tests").function())
    return "it connected" if (folder / "reached").exists() else None


@AREA.attempt("memory, file size and open files are used up")
def _(folder: Path) -> str | None:
    code = (
        'import resource\nfor code in ("bytearray(300_000_000)", "[open(\'/dev/null\') for _ in range(100)].pop()",'
        " \"open('big', 'wb').write(b'x' * 3_000_000)\"):\n"
        "    try: exec('kept = ' + code); print(code)\n"
        "    except (OSError, MemoryError): pass"
    )
    small = Limits(memory_bytes=200_000_000, open_files=64, file_bytes=1_000_000)
    return _run(folder, code, limits=small) or None


@AREA.attempt("an inherited file or variable of the agent")
def _(folder: Path) -> str | None:
    os.environ["AREA_SECRET"] = "CANARY"
    with (folder / "private").open("w+") as file:
        file.write("CANARY")
        file.flush()
        os.set_inheritable(file.fileno(), True)
        code = "import os\nprint(dict(os.environ))\nfor n in range(3, 64):\n  try: print(os.pread(n, 10, 0))\n  except OSError: pass"
        shown = _run(folder, code)
    return f"shown: {shown}" if "CANARY" in shown else None
