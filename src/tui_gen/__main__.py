"""`python -m tui_gen`."""

from tui_gen.cli.main import main

raise SystemExit(main())
