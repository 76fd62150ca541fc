"""`python -m export.train`, as it was called before it became a command."""

import sys

from export.training.train import main

if __name__ == "__main__":
    sys.exit(main())
