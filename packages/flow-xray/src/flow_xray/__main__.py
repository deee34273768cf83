"""`python -m flow_xray` is `flow-xray`."""

import sys

from flow_xray._cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
