"""Run the attempts of all areas, or of those that are named, and print the count of each."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, Final

from tests.redteam.area import Area, area_names, load_area
from tests.redteam.planted import VARIABLE

ROOT: Final = Path(__file__).parents[2]
SITE: Final = Path(__file__).parent / "planted_site"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.redteam", description=__doc__)
    parser.add_argument("areas", nargs="*", metavar="AREA", help="default: all")
    parser.add_argument("--only", metavar="TEXT", help="run the attempts whose name contains TEXT")
    parser.add_argument("--as-child", choices=["all", "until-through"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.areas or area_names()
    if options.as_child:
        json.dump(_run(load_area(names[0]), options.only, stop=options.as_child == "until-through"), sys.stdout)
        return 0
    failed = False
    print(f"{'area':16} {'attempts':>8} {'through':>8}  planted hole")
    for name in names:
        held = _in_child(name, "all", options.only)
        through = {attempt: what for attempt, what in held.items() if what is not None}
        found = hole_found(name, options.only)
        verdict = f"found ({found})" if found else "NOT FOUND: these attempts cannot fail"
        print(f"{name:16} {len(held):8} {len(through):8}  {verdict[:100]}", flush=True)
        for attempt, what in through.items():
            print(f"    {attempt}: {what}")
        failed = failed or bool(through) or not found
    return int(failed)


def hole_found(name: str, only: str | None = None) -> str | None:
    """Return what gets through the planted hole of an area; None when its attempts are blind."""
    found = _in_child(name, "until-through", only, load_area(name).hole)
    return next((what for what in found.values() if what), None)


def _in_child(name: str, how: str, only: str | None, hole: str | None = None) -> dict[str, str | None]:
    """Run an area in a process of its own, so that a hole is planted before anything is
    imported.
    """
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    if hole is not None:
        environment |= {VARIABLE: hole, "PYTHONPATH": os.pathsep.join([str(SITE), environment.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "tests.redteam", name, "--as-child", how]
    command += [] if only is None else ["--only", only]
    child = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, str | None] = json.loads(child.stdout.splitlines()[-1])
    return found


def _run(area: Area, only: str | None, *, stop: bool) -> dict[str, Any]:
    found: dict[str, str | None] = {}
    for name, attempt in area.attempts.items():
        if only is not None and only not in name:
            continue
        with tempfile.TemporaryDirectory(prefix="loom-redteam-") as scratch:
            folder = Path(scratch) / "work"
            folder.mkdir()
            try:
                found[name] = attempt(folder)
            except Exception:  # noqa: BLE001 - an attempt that cannot run has shown nothing
                found[name] = None if stop else f"the attempt itself failed: {traceback.format_exc()[-600:]}"
        if stop and found[name] is not None:
            break
    return found


if __name__ == "__main__":
    sys.exit(main())
