"""`python -m export.evaluate`, which is also `python -m export evaluate`."""

import sys

from .evaluation.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
