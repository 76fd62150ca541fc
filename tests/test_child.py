"""A child process that may crash, hang, grow or lose its parent, and what its parent is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import child_tasks
from tui_gen import child
from tui_gen.child import Ending, Report, run_in_child
from tui_gen.errors import TuiGenError

ROOT = Path(__file__).parents[1]
MEMORY = 2**31


@pytest.fixture(autouse=True)
def tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child finds those of the tests."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def run(task: Callable[[bytes, Report], None], content: bytes = b"", *, seconds: float = 60) -> Ending:
    return run_in_child(task, content, seconds=seconds, memory=MEMORY)


def test_it_is_given_all_bytes_and_its_parent_is_told_what_it_did_last() -> None:
    assert run(child_tasks.echo, bytes(10**6)) == Ending(0, "1000000 bytes")


def test_a_crash_is_told_with_its_place() -> None:
    ending = run(child_tasks.crash)
    assert (ending.crashed, ending.stage) == (True, "then this")


def test_the_exit_status_of_a_crash_on_windows_is_one() -> None:
    assert Ending(0xC0000005).crashed
    assert not Ending(1).crashed


def test_one_that_hangs_is_killed() -> None:
    assert run(child_tasks.hang, seconds=3) == Ending(None, "waiting")


def test_one_that_nobody_waits_for_is_killed() -> None:
    ending = run_in_child(child_tasks.hang, b"", seconds=600, memory=None, is_stopped=lambda: True)
    assert ending.status is None


def test_every_report_is_told_as_it_comes_and_the_parent_may_have_enough() -> None:
    class EnoughError(Exception):
        pass

    def tell(stage: str) -> None:
        raise EnoughError(stage)

    with pytest.raises(EnoughError, match="waiting"):
        run_in_child(child_tasks.hang, b"", seconds=600, memory=None, tell=tell)
    assert not child._children


@pytest.mark.skipif(sys.platform != "linux", reason="other systems limit no address space")
def test_it_gets_so_much_memory_and_no_more() -> None:
    ending = run(child_tasks.grow)
    assert (ending.status, ending.stage, ending.fault) == (1, "growing", "MemoryError")


def test_a_fault_comes_in_one_line() -> None:
    assert run(child_tasks.fail) == Ending(1, "", "ValueError", "one two")


def test_a_python_that_does_not_start_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(TuiGenError, match=r"python does not start \("):
        run(child_tasks.echo)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a named pipe")
def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code = (
        "import sys; from tests.support.child_tasks import hold; from tui_gen.child import run_in_child;"
        f"run_in_child(hold, sys.argv[1].encode(), seconds=600, memory={MEMORY})"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(pipe)], cwd=ROOT)
    with pipe.open("rb") as file:  # once the child has opened it too
        parent.send_signal(signal.SIGKILL)
        assert file.read() == b""  # which comes when nobody holds the pipe any more
    parent.wait()


def test_all_can_be_ended_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    start = subprocess.Popen

    def start_and_end(*arguments: object, **options: object) -> object:
        process = start(*arguments, **options)  # type: ignore[call-overload]
        monkeypatch.setattr(child, "_write", lambda *_: child.end_children())
        return process

    monkeypatch.setattr(subprocess, "Popen", start_and_end)
    assert run(child_tasks.hang).status == -signal.SIGKILL
