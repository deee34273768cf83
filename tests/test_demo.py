"""`make demo` does what it says."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
@pytest.mark.uncovered
def test_the_demo_kills_an_agent_in_a_tool_call_and_resumes_it_without_repeating_what_was_recorded() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "demo.py")], capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "kill -9" in done.stdout
    assert "interrupted" in done.stdout
    assert (ROOT / "demo-trace.html").stat().st_size > 10_000
