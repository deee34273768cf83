"""An incident in a real Chromium: started on the page, approved with a note, recovered."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.needs("chromium")

SHOTS = Path(__file__).parents[5] / "build" / "screenshots"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Serve an empty folder; return the address with its token."""
    pytest.importorskip("fastapi", reason="the extra loom-ops[serve] is not installed")
    command = [sys.executable, "-m", "loom_ops", "serve", "--port", "0", "--mock-llm"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    output = process.stderr.readline()
    found = re.search(r"at (http://\S+)$", output.strip())
    assert found is not None, output
    yield found[1]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 0


@pytest.fixture
def page(address: str) -> Iterator[Any]:
    """Open the page; it must report no error."""
    from playwright.sync_api import sync_playwright

    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        yield page
        browser.close()
    assert complaints == []


def shoot(page: Any, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")


def test_an_incident_is_started_approved_and_recovered_on_the_page(page: Any, tmp_path: Path) -> None:
    page.get_by_label("message").fill("incident: API latency")
    page.get_by_role("button", name="Start").click()
    request = page.get_by_role("article", name=re.compile("approval inc-.*:sub:executor#r1")).first
    request.wait_for()
    shown = request.inner_text()
    for text in ("$ rollback-service api", "redeploy-service api", "operators", "slow since the last release"):
        assert text in shown, shown
    shoot(page, "incident-approval")
    request.get_by_label("note").fill("saw the graph")
    request.get_by_role("button", name="Approve", exact=True).click()
    page.get_by_text("recovered: every check passes again").wait_for()
    shoot(page, "incident-recovered")
    trail = [sys.executable, "-m", "loom_ops", "audit", "export"]
    for _ in range(60):  # it is written just after the run has ended
        output = subprocess.run(trail, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        if '"kind": "run.ended"' in output:
            break
        page.wait_for_timeout(100)
    assert '"note": "saw the graph"' in output and '"via": "http"' in output
