"""CUDA: what is missing is named with its cure, and where there is a GPU it gives what the CPU gives."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from ctypes import c_int
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tui_gen
from tests.support import toys
from tests.support.devices import shipped
from tui_gen.bench.models import compare, greedy
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.generation.generate import generate
from tui_gen.generation.protocol import Endless
from tui_gen.library import shipped_folder
from tui_gen.runtime import cuda, session
from tui_gen.runtime.cuda import missing_driver, missing_library
from tui_gen.runtime.model import Model
from tui_gen.runtime.session import CUDA_VERSION, cuda_library, cuda_trouble
from tui_gen.sampling.params import SamplingParams

CARD = ModelCard("toy", "text", "toy", len(toys.WORDS), bos=toys.END, eos=toys.END)
GRAPH = toys.text_graph()
NEWEST = 99
"""A major version of CUDA that any driver of these tests can run."""

without_driver = pytest.mark.skipif(not missing_driver(), reason="this machine has an NVIDIA driver")
without_libraries = pytest.mark.skipif(
    not cuda_library() or not missing_library(cuda_library()),
    reason="the CUDA libraries are here, or no onnxruntime-gpu",
)
Machine = Callable[..., None]


class FakeDriver:
    """An NVIDIA driver as far as it is asked."""

    def __init__(self, version: int, *names: str, answers: int = 0) -> None:
        self._version, self._names, self._answers = version, names, answers

    def cuInit(self, flags: int) -> int:  # noqa: N802 - NVIDIA's name
        return self._answers

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = self._version
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self._names)
        return 0

    def cuDeviceGet(self, handle: Any, number: int) -> int:  # noqa: N802
        handle._obj.value = number
        return 0

    def cuDeviceGetName(self, name: Any, length: int, handle: c_int) -> int:  # noqa: N802
        name.value = self._names[handle.value].encode()
        return 0


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Makes this a machine with a driver."""

    def become(*names: str, major: int = NEWEST, answers: int = 0) -> None:
        driver = FakeDriver(1000 * major, *names, answers=answers)
        monkeypatch.setattr(cuda, "_library", lambda: driver)
        cuda.driver.cache_clear()

    yield become
    cuda.driver.cache_clear()


def refusal(device: int = 0) -> str:
    with pytest.raises(TuiGenError) as caught:
        Model(GRAPH, CARD, provider="cuda", device=device)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@without_driver
def test_a_machine_without_a_driver_is_told_apart() -> None:
    assert refusal().startswith("CUDA cannot be used: no NVIDIA driver found; without --provider cuda")


@without_driver
def test_auto_falls_back_to_the_cpu_and_notes_why() -> None:
    model = Model(GRAPH, CARD)
    assert (model.provider, model.provider_note) == ("CPU", "no NVIDIA driver found")
    assert model.placed == ("CPU", "")  # nobody without a GPU has to read of it all the time
    assert model.runs_on == "CPU (no NVIDIA driver found)"


def test_a_driver_that_finds_no_gpu(machine: Machine) -> None:
    machine()
    assert "the NVIDIA driver finds no GPU" in refusal()
    machine("NVIDIA A", answers=100)
    assert "the NVIDIA driver finds no GPU" in refusal()


def test_a_driver_that_is_too_old(machine: Machine) -> None:
    machine("NVIDIA A", major=11)
    found = session.driver_trouble("13.0", 0)
    assert found == "the NVIDIA driver is too old: it runs CUDA up to 11.0, and 13.0 is needed; update the driver"
    machine("NVIDIA A", major=13)
    assert session.driver_trouble("13.0", 0) == ""
    assert session.driver_trouble("12.8", 0) == ""


def test_a_device_that_there_is_not(machine: Machine) -> None:
    machine("NVIDIA A", "NVIDIA B")
    assert "there is no device 2; this machine has 0: NVIDIA A, 1: NVIDIA B" in refusal(device=2)


def test_an_onnxruntime_without_cuda(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine("NVIDIA A")
    monkeypatch.setattr(session, "providers", lambda: ["CPU"])
    assert "built without CUDA; install onnxruntime-gpu in its place" in refusal()


def test_both_runtimes_at_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine("NVIDIA A")
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1")
    assert "onnxruntime and onnxruntime-gpu are both installed; repair it with: pip uninstall" in refusal()


@without_libraries
def test_a_missing_library_is_named_with_the_cure_and_nothing_else_is_printed(
    machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    machine("NVIDIA A")
    said = refusal()
    assert missing_library(cuda_library()) in said
    assert ".so" in said
    assert "is missing; pip install 'tui-gen[cuda]'" in said
    model = Model(GRAPH, CARD)
    model.place(1)
    assert model.provider == "CPU"
    assert model.placed[1].endswith("is missing; pip install 'tui-gen[cuda]'")
    assert capfd.readouterr() == ("", "")


def test_the_version_of_cuda_that_is_needed_is_known() -> None:
    assert not CUDA_VERSION or int(CUDA_VERSION.split(".")[0]) >= 12


TROUBLE = cuda_trouble(0)
NAMES = sorted(path.parent.name for path in shipped_folder().glob("*/config.json"))


def on_gpu(test: Callable[..., None]) -> Any:
    """What only a machine with an NVIDIA GPU can show; elsewhere it says why it is skipped."""
    return pytest.mark.cuda(pytest.mark.skipif(bool(TROUBLE), reason=TROUBLE)(test))


@pytest.fixture(scope="module", params=NAMES)
def pair(request: pytest.FixtureRequest) -> tuple[Model, Model]:
    """A model on the CPU and on the GPU."""
    graph, card = shipped(request.param)
    return Model(graph, card, provider="cpu"), Model(graph, card, provider="cuda")


@on_gpu
def test_logits_and_tokens_agree(pair: tuple[Model, Model]) -> None:
    found = compare(*pair, tokens=1000, params=SamplingParams())
    assert pair[1].provider == "CUDA"
    assert found.largest <= 1e-3
    assert all(flip.is_near_tie for flip in found.flips), "\n".join(map(str, found.flips))


@on_gpu
def test_greedy_tokens_agree(pair: tuple[Model, Model]) -> None:
    assert greedy(pair[0], tokens=500).tolist() == greedy(pair[1], tokens=500).tolist()


@on_gpu
@pytest.mark.parametrize(
    "params", [SamplingParams(0.8, top_k=20), SamplingParams(top_p=0.9), SamplingParams(min_p=0.05)]
)
def test_filters_agree(pair: tuple[Model, Model], params: SamplingParams) -> None:
    found = compare(*pair, tokens=200, params=params)
    assert all(flip.is_near_tie for flip in found.flips), "\n".join(map(str, found.flips))


@on_gpu
def test_batches_of_several_sizes_take_turns(pair: tuple[Model, Model]) -> None:
    prompt = np.full((1, 1), pair[1].card.bos)
    for samples in (1, 3, 1, 70, 3):
        steps = generate(Endless(pair[1]), prompt.repeat(samples, axis=0), SamplingParams(), length=20, seed=3)
        first = [step.tokens[0].item() for step in steps]
        alone = generate(Endless(pair[1]), prompt, SamplingParams(), length=20, seed=3)
        assert first == [step.tokens[0].item() for step in alone]


@on_gpu
def test_a_process_that_used_the_gpu_says_so_and_ends_by_itself() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(tui_gen.__file__).parents[1])}
    command = [sys.executable, "-m", "tui_gen", "generate", "names", "--provider", "cuda", "--seed", "1", "-n", "64"]
    child = subprocess.run(command, capture_output=True, env=environment, timeout=60, check=True)
    assert b"CUDA (" in child.stderr
