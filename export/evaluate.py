"""`python -m export.evaluate`, as it was called before it became a command."""

import sys

from export.evaluation.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
