"""Plant the hole of the red team in this process; see `tests/redteam/planted.py`."""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).parents[1] / "planted.py"))["plant"]()
