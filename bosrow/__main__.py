"""`python -m bosrow`, the same as the command `bosrow`."""

import sys

from bosrow.cli import main

if __name__ == "__main__":
    sys.exit(main())
