"""`python -m export.obedience`, which is also `python -m export adherence`."""

import sys

from .evaluation.prompt_adherence import main

if __name__ == "__main__":
    sys.exit(main())
