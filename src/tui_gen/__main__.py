"""`python -m tui_gen`."""

from tui_gen.cli import main

raise SystemExit(main())
