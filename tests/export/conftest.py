"""One thread, two trained checkpoints that several tests export, and the model of one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from export.__main__ import main
from tests.support.export_training import trainer, training

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def names_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text model's checkpoint after two epochs."""
    return _trained("names", tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="session")
def names(names_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its model, exported under another name."""
    folder = tmp_path_factory.mktemp("models") / "first-names"
    assert main([str(names_checkpoint), "-o", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def adventurers_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conditional image model's checkpoint after two epochs."""
    return _trained("adventurers", tmp_path_factory.mktemp("image"))


def _trained(preset: str, folder: Path) -> Path:
    list(trainer(training(preset, folder), folder).run())
    return folder / "checkpoint.pt"
