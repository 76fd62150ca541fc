"""A player of local models phones nobody and leaves nothing behind.

onnxruntime's telemetry is native code, which Python's audit hooks do not see. So the process itself is looked at: its
threads and sockets at the end of a run and the files that it left (with telemetry on there are two threads and two
files more), and, where strace may trace, its system calls of the network, with those of its children.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUN = """
import json, os, sys
events, variable = [], []
def hook(event, arguments):
    if event.startswith("socket."):
        events.append(event)
    if event == "import" and arguments[0] == "onnxruntime":
        variable.append(os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.addaudithook(hook)
from tui_gen.cli.main import main
status = main(["generate", sys.argv[1], "the", "--threads", "1", "-o", os.devnull])
paths = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
links = [os.readlink(path) for path in paths if os.path.islink(path)]
print(json.dumps({
    "status": status, "events": events, "variable": variable[:1], "threads": len(os.listdir("/proc/self/task")),
    "sockets": [link for link in links if link.startswith("socket:")],
}))
"""

linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Every place for files in a temporary directory, and no threads of numpy's own."""
    places = {"HOME": "home", "TMPDIR": "tmp", "XDG_CACHE_HOME": "cache", "XDG_CONFIG_HOME": "config",
              "XDG_DATA_HOME": "data", "XDG_STATE_HOME": "state", "XDG_RUNTIME_DIR": "runtime"}  # fmt: skip
    for folder in places.values():
        (tmp_path / folder).mkdir()
    dropped = ("ORT_DISABLE_TELEMETRY", "TUI_GEN_MODELS")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, **{name: str(tmp_path / folder) for name, folder in places.items()}, "OPENBLAS_NUM_THREADS": "1"}


def run(command: list[str], environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@linux
def test_a_run_connects_to_nobody_starts_no_thread_and_leaves_only_its_own_cache(
    tmp_path: Path, toy_models: Path, environment: dict[str, str]
) -> None:
    done = run([sys.executable, "-c", RUN, str(toy_models / "text")], environment, tmp_path)
    facts: dict[str, Any] = json.loads(done.stdout)
    assert facts == {"status": 0, "events": [], "variable": ["1"], "threads": 1, "sockets": []}, done.stderr
    left = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.parts[:3] for path in left] == [("cache", "tui-gen", "opened")]


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_no_system_call_of_the_network_is_made(tmp_path: Path, toy_models: Path, environment: dict[str, str]) -> None:
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-qq", "-e", "trace=socket,connect,sendto,sendmsg,bind", "-o", str(trace)]
    if run([*strace, "true"], environment, tmp_path).returncode:
        pytest.skip("strace may not trace here")
    command = [*strace, sys.executable, "-m", "tui_gen", "generate", str(toy_models / "text"), "the"]
    done = run(command, environment, tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line for line in trace.read_text().splitlines() if "AF_INET" in line or "connect(" in line] == []


def test_telemetry_is_off_even_if_the_environment_says_otherwise(environment: dict[str, str], tmp_path: Path) -> None:
    code = "import os, tui_gen; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = run([sys.executable, "-c", code], {**environment, "ORT_DISABLE_TELEMETRY": "0"}, tmp_path)
    assert done.stdout == "1\n"
