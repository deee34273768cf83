"""`python -m ops_runtime_mcp` is the command `ops-runtime-mcp`."""

import sys

from ops_runtime_mcp.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
