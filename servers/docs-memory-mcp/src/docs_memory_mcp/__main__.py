"""`python -m docs_memory_mcp` is the command `docs-memory-mcp`."""

import sys

from docs_memory_mcp.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
