"""Hold each package to its own floor of branch coverage: `[tool.loom.coverage_floor]` in pyproject.toml, in percent.

One number for the whole tree would let a well-tested package hide an untested one. Reads the combined
`.coverage` file of the test run; exit 1 when a package is below its floor or has none.
"""

import io
import json
import sys
import tomllib
from pathlib import Path

import coverage

ROOT = Path(__file__).resolve().parent.parent


def percent(data: coverage.Coverage, source: Path) -> float:
    """Percentage of lines and branches of that folder which ran, as coverage.py computes it."""
    target = ROOT / "build" / f"coverage-{source.name}.json"
    target.parent.mkdir(exist_ok=True)
    data.json_report(outfile=str(target), include=[f"{source}/*"])
    return float(json.loads(target.read_text())["totals"]["percent_covered"])


def main() -> int:
    floors = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["loom"]["coverage_floor"]
    data = coverage.Coverage(config_file=str(ROOT / "pyproject.toml"))
    data.load()
    below = 0
    for init in sorted(ROOT.glob("[pas]*/*/src/*/__init__.py")):
        name, source = init.parent.name, init.parent
        floor = floors.get(name)
        try:
            reached = percent(data, source)
        except coverage.exceptions.NoDataError:
            print(f"coverage  {name:<22} no test imports it")
            below += 1
            continue
        good = floor is not None and reached >= floor
        verdict = "" if good else "   BELOW"
        print(f"coverage  {name:<22} {reached:5.1f} %   floor {'missing' if floor is None else floor}{verdict}")
        if not good:
            below += 1
            report = io.StringIO()
            data.report(include=[f"{source}/*"], file=report)
            print(report.getvalue())
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())
