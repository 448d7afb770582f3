"""`python -m vpdata`, the same as the command `vpdata`."""

import sys

from vpdata.cli import main

if __name__ == "__main__":
    sys.exit(main())
