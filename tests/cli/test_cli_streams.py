"""Long runs: output as it is made, a reader that leaves early, Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run
from tui_gen.runtime.cuda import missing_driver

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(cli_command: Callable[..., dict[str, Any]]) -> Iterator[Start]:
    """Starts a command whose stdout and stderr are pipes; it is gone when the test is."""
    processes: list[subprocess.Popen[bytes]] = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a child inherits it if SIGINT was ignored

    def start(*words: str, pipesize: int = -1) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        process = subprocess.Popen(**cli_command(*words), stdout=pipe, stderr=pipe, pipesize=pipesize)
        processes.append(process)
        return process

    yield start
    signal.signal(signal.SIGINT, before)
    for process in processes:
        process.kill()
        process.communicate()


def read(process: subprocess.Popen[bytes], count: int) -> bytes:
    assert process.stdout
    return process.stdout.read(count)


def test_a_reader_that_leaves_early_is_no_failure(start: Start) -> None:
    process = start("generate", "endless", "the", "-l", "1000000")
    assert read(process, 3) == b"the"
    assert process.stdout
    process.stdout.close()
    assert process.wait(20) == 0
    assert process.stderr
    assert process.stderr.read() == b""


def test_ctrl_c_ends_a_run_at_once_and_what_was_printed_stays(start: Start, tui_gen: Run) -> None:
    process = start("generate", "endless", "the", "-l", "1000000", "--seed", "3")
    begun = read(process, 2000)
    process.send_signal(signal.SIGINT)
    rest, complaint = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"seed 3" in complaint  # so that it can be made again
    assert complaint.strip().count(b"\n") == 0
    shown = (begun + rest).decode()
    assert shown.endswith("\n")
    uninterrupted = tui_gen("generate", "endless", "the", "-l", "1000", "--seed", "3").stdout.decode()
    assert uninterrupted[:1990] == shown[:1990]


def test_ctrl_c_in_front_of_a_pager_that_is_then_left_is_quiet(start: Start) -> None:
    process = start("generate", "endless", "the", "-l", "1000000", pipesize=4096)
    read(process, 3)
    time.sleep(0.5)  # the pipe fills, and the next write waits for the reader
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    assert process.stdout
    process.stdout.close()
    assert process.wait(20) == 130
    assert process.stderr
    assert process.stderr.read().strip().count(b"\n") == 0


def test_ctrl_c_writes_the_other_samples_too_as_far_as_they_came(start: Start) -> None:
    process = start("generate", "endless", "the", "-n", "2", "-l", "1000000")
    begun = read(process, 500)
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    first, second = (begun + rest).decode().split("--- 2 of 2 ---\n")
    assert len(second) > len(first) / 2 > 100


def test_ctrl_c_leaves_a_file_that_holds_what_was_made(start: Start, tmp_path: Path) -> None:
    process = start("generate", "endless", "the", "-l", "1000000", "-o", str(tmp_path / "out.txt"))
    while not (tmp_path / "out.txt").is_file() or (tmp_path / "out.txt").stat().st_size < 1000:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    shown = (tmp_path / "out.txt").read_text()
    assert (len(shown) > 1000, shown[:3], shown[-1]) == (True, "the", "\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("words", ["generate text", "models", "inspect text", "generate image --format png"])
def test_a_full_disk_behind_stdout_is_told_in_one_line(words: str, cli_command: Callable[..., dict[str, Any]]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(**cli_command(*words.split()), stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == ["tui-gen: [Errno 28] No space left on device"]


@pytest.mark.skipif(not missing_driver(), reason="this machine has an NVIDIA driver")
def test_falling_back_to_the_cpu_is_one_remark_and_no_warnings_of_onnxruntime(tui_gen: Run) -> None:
    [line] = tui_gen("generate", "text", "--provider", "auto").stderr.decode().splitlines()
    assert "CPU (no NVIDIA driver found)" in line
