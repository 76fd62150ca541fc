"""The owner's own code runs in a child process, and whatever it does there is told in a line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from export.__main__ import main

OWNER = """
import os, threading, time, torch
from torch import nn
print("hello from", os.getpid(), "GPUs:", os.environ["CUDA_VISIBLE_DEVICES"])
def above(): return nn.Sequential(nn.ZeroPad2d((1, 1, 2, 0)), nn.Conv2d(1, 3, (2, 3)), Cut(), nn.Conv2d(3, 2, 1))
class Cut(nn.Module):
    def forward(self, x): return x[:, :, :-1]
def leave(): os._exit(0)
def wait(): time.sleep(60)
def linger(): threading.Thread(target=wait).start(); return above()
"""


@pytest.fixture(autouse=True)
def _owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "child_net.py").write_text(OWNER)
    monkeypatch.chdir(tmp_path)


def test_a_factory_needs_no_file_and_is_the_original(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--factory", "child_net:linger", "--size", "3x4", "-o", "model", "--time-limit", "50"]) == 0
    printed = capfd.readouterr()
    assert "computes one token at a time" in printed.out
    assert "hello from" not in printed.out
    assert "child_net:linger is your own code: all is done in a child process" in printed.err
    assert f"hello from {os.getpid()} " not in printed.err
    assert " GPUs: \n" in printed.err
    parity = json.loads((tmp_path / "model" / "config.json").read_text())["export"]["parity"]
    assert parity["against"] == "the original: the module that child_net:linger returns"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["child_net:leave"], "ran child_net:leave ended with status 0 before it was done, so nothing was written"),
        (["child_net:wait", "--time-limit", "1"], "child_net:wait is not done after 1 s, so it was ended"),
    ],
)
def test_a_child_that_leaves_or_stays_is_told(words: list[str], says: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--factory", *words, "--size", "8x4"]) == 1
    fault = capfd.readouterr().err.splitlines()[-1]
    assert fault.startswith("python -m export: ")
    assert says in fault


def test_a_file_that_takes_too_long_is_given_up_and_what_was_done_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "slow.pkl").write_bytes(b"\x80\x02" + b"N0" * 2_500_000 + b"N.")
    assert main(["inspect", "slow.pkl", "--time-limit", "1"]) == 1
    fault = "slow.pkl is not read after 1 s, so it was given up while its values were read; --time-limit SECONDS gives"
    assert capsys.readouterr().err == f"python -m export: {fault} it more\n"
    assert main(["inspect", "slow.pkl"]) == 1
    assert "holds no weights" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="what is written to is not limited there")
@pytest.mark.parametrize("allocate", [torch.empty, np.empty], ids=["PyTorch", "NumPy"])
def test_a_conversion_that_takes_too_much_memory_is_given_up(
    allocate: Callable[[int], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import resource

    limits, file = [resource.getrlimit(resource.RLIMIT_DATA)[0]], tmp_path / "bytes.pt"
    file.write_bytes(bytes(10**6))

    def read(*_: object, **__: object) -> None:
        limits.append(resource.getrlimit(resource.RLIMIT_DATA)[0])
        allocate(2**45)

    monkeypatch.setattr("export.read.read", read)
    assert main([str(file), "-o", str(tmp_path / "model")]) == 1
    assert f"bytes.pt takes more than {limits[1] / 2**30:.1f} GiB of memory, so it was" in capsys.readouterr().err
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] == limits[0]
    assert 0 < limits[1] < 100 * 2**30
