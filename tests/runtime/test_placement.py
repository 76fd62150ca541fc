"""CPU or GPU and how many threads: whatever is fastest, measured once, remembered, said with its reason."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.devices import on_device, shipped
from tui_gen.cli.main import main
from tui_gen.errors import DeviceFullError, TuiGenError
from tui_gen.library import open_model
from tui_gen.runtime import placement
from tui_gen.runtime.cuda import Driver
from tui_gen.runtime.cuda_model import CudaModel
from tui_gen.runtime.model import Model
from tui_gen.runtime.placement import Candidates, Placement
from tui_gen.runtime.session import Provider


class Bench:
    """A machine with a GPU whose clock says what a turn gives; counts what was opened and timed."""

    def __init__(self) -> None:
        self.cpu: dict[int, float] = {}
        self.gpu: dict[int, float] = {}
        self.opened = 0
        self.timed: list[int] = []
        self.missing = ""
        self.engine = on_device(*shipped("names"))[1]

    def open(self) -> CudaModel:
        if self.missing:
            raise TuiGenError(self.missing)
        self.opened += 1
        return self.engine

    def place(self, provider: Provider = "auto", *, graph: bytes = b"graph", device: int = 0) -> Placement:
        def cpu(batch: int) -> Any:
            self.timed.append(batch)
            return lambda: self.cpu[batch]

        return Placement(graph, provider, device, Candidates(self.open, cpu, lambda _, batch: lambda: self.gpu[batch]))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache on a machine of four processors, whose clock says what a step gives."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(placement, "cores", lambda: 4)
    monkeypatch.setattr(placement, "_seconds", lambda step: step())
    return tmp_path / "cache"


@pytest.fixture
def bench(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(placement, "cuda_trouble", lambda device: "")
    monkeypatch.setattr(placement, "device_name", lambda device: f"GPU {device}")
    monkeypatch.setattr(placement, "driver", lambda: Driver((13, 0), ("GPU 0", "GPU 1")))
    return Bench()


def test_the_faster_one_is_taken_for_each_batch_size_with_the_reason(bench: Bench) -> None:
    bench.cpu, bench.gpu = {1: 1.0, 64: 10.0}, {1: 1.5, 64: 2.0}
    placed = bench.place()
    assert placed.of(1) is None
    assert placed.note == "1.5 times as fast as GPU 0 for 1 sample"
    assert placed.of(64) is bench.engine
    assert placed.note == "GPU 0, 5 times as fast as the CPU for 64 samples"
    assert placed.of(1) is None
    assert placed.note == "1.5 times as fast as GPU 0 for 1 sample"
    assert (bench.timed, bench.opened) == ([1, 64], 1)


def test_a_verdict_is_remembered_for_the_file_the_batch_and_the_machine(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.cpu, bench.gpu = {1: 1.0, 2: 1.0}, {1: 2.0, 2: 0.5}
    first = bench.place()
    assert (first.of(1), first.of(2)) == (None, bench.engine)
    again = bench.place()
    assert again.of(1) is None
    assert bench.opened == 1  # a GPU that loses is not even opened
    assert again.of(2) is bench.engine
    assert again.note == "GPU 0, 2 times as fast as the CPU for 2 samples"
    assert bench.timed == [1, 2]
    bench.place(graph=b"another").of(1)
    bench.place(device=1).of(1)
    monkeypatch.setattr(placement, "driver", lambda: Driver((13, 1), ("GPU 0",)))
    bench.place().of(1)
    assert bench.timed == [1, 2, 1, 1, 1]


def test_a_damaged_verdict_is_found_out_anew(bench: Bench, cache: Path) -> None:
    bench.cpu, bench.gpu = {1: 1.0}, {1: 2.0}
    bench.place().of(1)
    next(cache.rglob("place/*")).write_text("fast")
    assert bench.place().of(1) is None
    assert bench.timed == [1, 1]


def test_a_gpu_that_cannot_be_opened_leaves_all_to_the_cpu_in_one_line(bench: Bench) -> None:
    bench.missing = "libcudnn.so.9 is missing; pip install 'tui-gen[cuda]'"
    placed = bench.place()
    assert (placed.of(1), placed.of(8)) == (None, None)
    assert placed.note == bench.missing
    with pytest.raises(TuiGenError, match=r"CUDA cannot be used: libcudnn\.so\.9 is missing; .*; without --prov"):
        bench.place("cuda")


def test_cuda_asked_for_is_taken_without_measuring(bench: Bench) -> None:
    placed = bench.place("cuda", device=1)
    assert placed.of(3) is bench.engine
    assert (placed.note, bench.timed) == ("GPU 1", [])


def test_a_lost_gpu_is_not_tried_again_a_full_one_only_not_with_as_many(bench: Bench) -> None:
    bench.cpu, bench.gpu = {1: 2.0, 2: 2.0, 3: 2.0}, {1: 1.0, 2: 1.0, 3: 1.0}
    for placed in (bench.place(), bench.place("cuda")):
        assert placed.of(1) is placed.of(2) is bench.engine
        placed.leave(2, "too little memory", lost=False)
        assert (placed.of(2), placed.of(1)) == (None, bench.engine)
        placed.leave(1, "the GPU failed", lost=True)
        assert (placed.of(1), placed.of(2), placed.of(3)) == (None, None, None)
        assert placed.note == "the GPU failed"


def test_a_gpu_that_is_too_full_to_be_timed_is_not_tried_with_as_many_only(bench: Bench) -> None:
    def full() -> float:
        raise DeviceFullError("Failed to allocate memory")

    bench.cpu, bench.gpu = {1: 2.0, 128: 2.0}, {1: 1.0}
    placed = bench.place()
    placed.candidates = replace(placed.candidates, device_work=lambda _, batch: full if batch > 64 else lambda: 1.0)
    assert placed.of(128) is None
    assert placed.note == "the GPU has too little memory for 128 samples"
    assert placed.of(1) is bench.engine


def test_a_model_says_where_it_really_runs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, card = shipped("names")
    model = Model(graph, card, provider="cpu")
    monkeypatch.setattr(placement.CudaModel, "providers", property(lambda _: ["CUDAExecutionProvider"]))
    monkeypatch.setattr(Model, "_open_device", lambda self, place: bench.engine)
    monkeypatch.setattr(Model, "_cpu_work", lambda self, batch: lambda: 1.0)
    monkeypatch.setattr(Model, "_device_work", lambda self, device, batch: lambda: 1.0 / batch - 0.5)
    model.use("auto")
    model.place(1)
    assert model.placed == ("CUDA", "GPU 0, 2 times as fast as the CPU for 1 sample")
    monkeypatch.setattr(placement.CudaModel, "providers", property(lambda _: ["CPUExecutionProvider"]))
    assert model.placed[0] == "CPU"  # what was asked for does not count


def steps_of(seconds: dict[int, float]) -> tuple[Callable[[int], Callable[[], object]], list[int]]:
    """Steps that take so long with so many threads, and the counts that were opened."""
    counts: list[int] = []

    def open_step(count: int) -> Callable[[], object]:
        counts.append(count)
        return lambda: seconds[count]

    return open_step, counts


def test_threads_are_tried_as_far_as_there_are_processors() -> None:
    assert [placement.thread_counts(available) for available in (1, 2, 6, 64)] == [[1], [1, 2], [1, 2, 4], [1, 2, 4, 8]]


def test_more_threads_must_be_clearly_faster() -> None:
    assert placement.choose([1, 2, 4], [1.0, 0.5, 0.48]) == 2
    assert placement.choose([1, 2, 4], [1.0, 0.95, 0.6]) == 4
    assert placement.choose([1, 2], [1.0, 1.4]) == 1


def test_more_threads_must_be_faster_in_the_middle_and_at_best() -> None:
    assert placement.fastest([1, 2], [[1.0, 1.0, 1.2], [0.5, 0.6, 3.0]]) == 2
    assert placement.fastest([1, 2], [[1.0, 1.0, 1.2], [0.5, 2.0, 3.0]]) == 1  # once, by chance
    assert placement.fastest([1, 2], [[1.0, 4.0, 5.0], [1.0, 1.0, 1.2]]) == 1  # others were busy then


def test_the_choice_is_measured_once_and_remembered(cache: Path) -> None:
    opened, asked = steps_of({1: 0.02, 2: 0.004, 4: 0.02})
    assert placement.fastest_threads("graph", "1.0", opened) == 2
    assert asked == [1, 2, 4]
    assert placement.fastest_threads("graph", "1.0", opened) == 2
    assert asked == [1, 2, 4]
    placement.fastest_threads("another", "1.0", opened)
    assert asked == [1, 2, 4] * 2


def test_a_damaged_or_missing_memory_is_measured_again(cache: Path) -> None:
    opened, asked = steps_of({1: 0.004, 2: 0.02, 4: 0.02})
    assert placement.fastest_threads("graph", "1.0", opened) == 1
    for written in ("many", "77", "", "1" * 5_000, "\u0661"):
        next(path for path in cache.rglob("*") if path.is_file()).write_text(written)
        assert placement.fastest_threads("graph", "1.0", opened) == 1
    assert len(asked) == 18


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_or_a_link_in_the_cache_is_replaced_and_its_target_stays(cache: Path, tmp_path: Path) -> None:
    opened, precious = steps_of({1: 0.004, 2: 0.02, 4: 0.02})[0], tmp_path / "precious"
    precious.write_text("2")
    placement.fastest_threads("graph", "1.0", opened)
    (memory,) = (path for path in cache.rglob("*") if path.is_file())
    for put in (os.mkfifo, lambda path: path.symlink_to(precious), lambda path: path.symlink_to("/dev/zero")):
        memory.unlink()
        put(memory)
        assert placement.fastest_threads("graph", "1.0", opened) == 1
        assert (memory.is_symlink(), memory.read_text()) == (False, "1")
    assert precious.read_text() == "2"


def test_an_opened_model_has_the_threads_that_were_chosen_or_asked_for(
    cache: Path, toy_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "_seconds", lambda step: 1.0)
    monkeypatch.setattr(placement, "choose", lambda counts, seconds: 2)
    assert open_model(toy_models / "text", provider="cpu").model.threads == 2
    assert open_model(toy_models / "text", provider="cpu").model.threads == 2
    assert open_model(toy_models / "text", provider="cpu", threads=3).model.threads == 3


def test_the_command_line_says_and_takes_the_number_of_threads(
    toy_models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["inspect", str(toy_models / "text"), "--threads", "3"])
    assert "threads         3\n" in capsys.readouterr().out
    assert main(["inspect", "text", "--threads", "0"]) == 2
