"""The walks in CONTRIBUTING: a value really passes these functions, in this order."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"\| `(\S+)` \| `(\S+)` \|")
AGENT = """
from loom_runner import Complete
def initial_state():
    return {"text": "marker-of-the-walk"}
async def step(state, ctx):
    return Complete({"text": "marker-of-the-walk"})
"""
OBSERVE = """
import sys, threading
places, passed = {}, set()
def observe(frame, event, result):
    path = frame.f_code.co_filename
    if event not in ("call", "return") or "/PACKAGE/" not in path:
        return
    place = f"{path.rpartition('/PACKAGE/')[2]} {frame.f_code.co_qualname}"
    places.setdefault(place, len(places))
    if place not in passed:
        try:
            text = repr(list(frame.f_locals.values())) + repr(result)
        except Exception:
            return  # an object that is not ready to be shown
        if MARKER in text:
            passed.add(place)
def report():
    sys.setprofile(None)
    threading.setprofile(None)
    print("\\n".join(sorted(passed, key=places.get)))
threading.setprofile(observe)
"""
STATE = """
sys.argv = ["loom-runner", "run", "agent.py", "demo", "--output", "json"]
from loom_runner.__main__ import main
sys.setprofile(observe)
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("---")
report()
"""
SPAN = """
from flow_xray import trace
sys.setprofile(observe)
@trace
def followed(value):
    return value
result = trace.run(followed, "followed")
result.to_html("trace.html")
print("---")
report()
"""


def walk(name: str) -> list[tuple[str, str]]:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (part,) = re.findall(rf"<!-- walk: {name} -->(.*?)<!-- /walk -->", text, re.DOTALL)
    found = ROW.findall(part)
    assert len(set(found)) == len(found) > 10, "each is passed once"
    return found


def passed(folder: Path, package: str, marker: str, program: str) -> list[str]:
    script = OBSERVE.replace("PACKAGE", package).replace("MARKER", repr(marker)) + program
    # After a command with JSON output, the report is printed to stderr, like all that an agent
    # prints.
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return [f"{package}/{line}" for line in done.stdout.partition("---\n")[2].splitlines()]


@pytest.mark.parametrize(
    ("name", "package", "marker", "program"),
    [
        ("state", "loom_runner", "marker-of-the-walk", STATE),
        ("span", "flow_xray", "followed", SPAN),
    ],
)
def test_a_value_passes_the_functions_of_a_walk_in_their_order(
    tmp_path: Path, name: str, package: str, marker: str, program: str
) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    order = passed(tmp_path, package, marker, program)
    written = [f"{file} {function}" for file, function in walk(name) if file.endswith(".py")]
    assert set(written) <= set(order), sorted(set(written) - set(order))
    assert written == sorted(written, key=order.index)


def test_the_viewer_has_the_functions_of_the_walk() -> None:
    viewer = [(file, function) for file, function in walk("span") if not file.endswith(".py")]
    assert len(viewer) > 3
    for file, function in viewer:
        source = (ROOT / "packages" / "flow-xray" / file).read_text(encoding="utf-8")
        assert re.search(rf"\b(function|const) {function}\b", source), (file, function)
