"""What was found out about a file on this machine, kept in the user's cache by the file's hash."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path


def digest(content: bytes) -> str:
    """The sha256 of a file, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


class Verdict:
    """One finding about one file: `kind` says about what, and `facts` what else it depends on, such as versions."""

    def __init__(self, kind: str, sha256: str, *facts: object) -> None:
        import platformdirs  # not needed for a model that is opened without being looked up

        cache = Path(platformdirs.user_cache_dir("tui-gen", appauthor=False))
        self._path = cache / kind / "-".join(map(str, (sha256, *facts)))

    def read(self) -> str | None:
        """What was written; None where nothing was, or it cannot be read."""
        try:
            return self._path.read_text(encoding="ascii")
        except (OSError, ValueError):
            return None

    def write(self, text: str) -> None:
        """Keeps a finding, where there is a place for it; without one it is merely found out again."""
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(text, encoding="ascii")
