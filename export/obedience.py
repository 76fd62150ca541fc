"""`python -m export.obedience`, as it was called before it became a command."""

import sys

from export.evaluation.prompt_adherence import main

if __name__ == "__main__":
    sys.exit(main())
