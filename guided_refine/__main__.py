"""`python -m guided_refine` is the same as `guided-refine`."""

import sys

from guided_refine.cli import main

if __name__ == "__main__":
    sys.exit(main())
