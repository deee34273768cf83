"""What every test folder shares: components that may be missing, and no surprise from the caller's
environment.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator

import pytest

#: Marker name -> is it on this machine? `@pytest.mark.needs("chromium")` skips with a reason when
#: it is not, and fails when LOOM_REQUIRE_ALL is set, so that CI cannot pass by leaving something
#: out.
COMPONENTS: dict[str, Callable[[], bool]] = {
    "chromium": lambda: shutil.which("chromium") is not None,
    "node": lambda: shutil.which("node") is not None and shutil.which("npm") is not None,
    "postgres": lambda: shutil.which("postgres") is not None,
    "git": lambda: shutil.which("git") is not None,
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for component in mark.args:
            if COMPONENTS[component]():
                continue
            reason = f"{component} is not on this machine"
            if os.environ.get("LOOM_REQUIRE_ALL"):
                pytest.fail(f"{reason}, and LOOM_REQUIRE_ALL is set", pytrace=False)
            pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Let the coverage tool see the next test whatever this one did to the interpreter's tracer."""
    before = sys.gettrace()
    try:
        return (yield)
    finally:
        if sys.gettrace() is not before:
            sys.settrace(before)


def pytest_sessionfinish() -> None:
    """Write what the coverage tool has seen: a worker that does not end within seconds is
    killed.
    """
    if (coverage := sys.modules.get("coverage")) and (current := coverage.Coverage.current()):
        current.save()


@pytest.fixture(autouse=True)
def _plain_environment(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Take away what would change colours, widths or settings of the commands under test, and let
    them record nothing in the user's home.
    """
    if request.node.get_closest_marker("uncovered"):
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))
    for name in list(os.environ):
        if name.startswith("LOOM_") and name != "LOOM_REQUIRE_ALL":
            monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
