"""Imported by the process that the sweep forks its children from, so that they need not import it
again.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from loom_runner.testing._sweep_agent import build

with tempfile.TemporaryDirectory() as _folder:
    _runner = build(Path(_folder), "retry")
    for _tool in _runner.tools:
        _tool.check({"n": 0, "part": 0})
    _runner.close()
