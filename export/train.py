"""`python -m export.train`, which is also `python -m export train`."""

import sys

from .training.train import main

if __name__ == "__main__":
    sys.exit(main())
