"""What `import flow_xray` loads, and what a traced function does without a session."""

import subprocess
import sys

import pytest
from flow_xray import trace

pytestmark = pytest.mark.interpreter

HEAVY = ("asyncio", "hashlib", "logging", "traceback", "pathlib", "concurrent.futures")


def test_the_import_loads_nothing_heavy():
    code = f"""
import sys
before = set(sys.modules)
import flow_xray
print([name for name in {HEAVY!r} if name in sys.modules and name not in before])
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "[]\n", done.stderr


def calls_during(function, *arguments):
    """The names of the functions, Python's and C's, that run while `function` does."""
    seen = []

    def profile(frame, event, argument):
        if event == "call":
            seen.append(frame.f_code.co_name)
        elif event == "c_call":
            seen.append(argument.__name__)

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function(*arguments)
    finally:
        sys.setprofile(before)
    return [name for name in seen if name != "setprofile"]


def test_a_call_without_a_session_reads_one_context_variable_and_does_nothing_else():
    def plain(x):
        return x

    assert calls_during(plain, 1) == ["plain"]
    assert calls_during(trace(plain), 1) == ["traced", "get", "plain"]
