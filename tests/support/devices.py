"""Models on a device that every machine has: the processor, used as a GPU is, with all copying to and fro."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.library import read_card, shipped_folder
from tui_gen.runtime.cuda_model import CudaModel
from tui_gen.runtime.model import Model
from tui_gen.runtime.session import OnnxSession, Place


@dataclass
class Placed:
    """Stands in for a placement that has decided."""

    engine: CudaModel | None
    note: str = "by order of the test"
    hopeless: str = ""

    def of(self, batch: int) -> CudaModel | None:
        return self.engine

    def leave(self, batch: int, why: str, *, lost: bool) -> None:
        self.engine, self.note = None, why


def on_device(graph: bytes, card: ModelCard) -> tuple[Model, CudaModel]:
    """A model that runs on the device, and what it runs by."""
    model = Model(graph, card, provider="cpu")
    engine = model._open_device(Place("cpu"))
    model._placement = Placed(engine)  # type: ignore[assignment]
    return model, engine


def shipped(name: str) -> tuple[bytes, ModelCard]:
    """The graph and the card of a model that comes with the package."""
    folder = shipped_folder() / name
    return (folder / "model.onnx").read_bytes(), read_card(folder)


def refusing_to_record(monkeypatch: pytest.MonkeyPatch, fault: TuiGenError) -> None:
    """A device whose work cannot be recorded."""
    bound = OnnxSession.bind_on_device

    def bind_on_device(
        self: OnnxSession, inputs: Any, outputs: Any, recording: int | None = None
    ) -> Callable[[], None]:
        call = bound(self, inputs, outputs)

        def run() -> None:
            if recording is not None:
                raise fault
            call()

        return run

    monkeypatch.setattr(OnnxSession, "bind_on_device", bind_on_device)


def failing_after(monkeypatch: pytest.MonkeyPatch, count: int, fault: TuiGenError) -> Callable[[], int]:
    """A device that fails for good after so many runs; returns how many it did."""
    bound, runs = OnnxSession.bind_on_device, [0]

    def limited(self: OnnxSession, *args: Any) -> Callable[[], None]:
        call = bound(self, *args)

        def once() -> None:
            runs[0] += 1
            if runs[0] > count:
                raise fault
            call()

        return once

    monkeypatch.setattr(OnnxSession, "bind_on_device", limited)
    return lambda: runs[0]
