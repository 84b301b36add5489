"""`python -m faults`: plant every fault of the table and say which test noticed it."""

from __future__ import annotations

import sys

from faults.command import main

# Processes that run tests start without reading this file again, as its name ends in __main__.
if __name__ == "__main__":
    sys.exit(main())
