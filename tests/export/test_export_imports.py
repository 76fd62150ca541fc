"""Whoever trains or exports loads no screen; tests/test_hygiene.py has the other ways that imports may not run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = sorted(f"export.{path.stem}" for path in (ROOT / "export").glob("*.py") if path.stem != "__init__")


def test_the_exporter_never_loads_the_screen() -> None:
    code = f"import sys, {', '.join(MODULES)}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "torch" in loaded
    assert "textual" not in loaded
