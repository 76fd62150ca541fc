"""Opens a foreign model in a child process first: a file that crashes onnxruntime must not crash the player."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tui_gen.errors import TuiGenError
from tui_gen.verdict import Verdict

_CHILD = "import sys; from tui_gen.runtime import open_blindly; open_blindly(sys.argv[1])"
_SECONDS = 20


def check(graph: bytes, sha256: str, runtime: str) -> None:
    """Raises TuiGenError if opening this ONNX file crashes or hangs. runtime: onnxruntime's version; a file that passed
    once with it is not tried again.
    """
    verdict = Verdict("opened", sha256, runtime)
    if verdict.read() is not None:
        return
    with tempfile.TemporaryDirectory(prefix="tui-gen-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(graph)
        _open_in_child(path)
    verdict.write("")


def _open_in_child(path: Path) -> None:
    # -P: a foreign model's folder may be the working directory, and nothing in it may be imported.
    command = [sys.executable, "-P", "-c", _CHILD, str(path)]
    try:
        status = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired as fault:
        raise TuiGenError(f"model.onnx is refused: opening it takes more than {_SECONDS} s") from fault
    if status != 0:
        raise TuiGenError(f"model.onnx is refused: opening it crashes onnxruntime (exit status {status})")
