#!/usr/bin/env python3
"""The door to `benchmarks/tailcalls.py`:
`python3 scripts/bench_tailcalls.py --n 100000 --samples 5`.

It works from the repository root and from packages/loom-tailcalls, whose `scripts` is this folder.
"""

import runpy
from pathlib import Path

if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).resolve().parents[1] / "benchmarks" / "tailcalls.py"), run_name="__main__")
