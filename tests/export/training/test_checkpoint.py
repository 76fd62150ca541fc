"""Checkpoints: whole or not at all when written, harmless and clear when read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from export.__main__ import main
from export.training import checkpoint
from tests.support.export_training import pixelcnn, recurrent


def _a_text(_: Path, bad: Path) -> None:
    bad.write_text("epoch 1: all is well\n")


def _a_list(_: Path, bad: Path) -> None:
    torch.save([1, 2, 3], bad)


def _weights_of_another(good: Path, bad: Path) -> None:
    torch.save({**checkpoint.load(good), "weights": recurrent().state_dict()}, bad)


def _unknown_network(good: Path, bad: Path) -> None:
    torch.save({**checkpoint.load(good), "network": {"family": "transformer", "heads": 8}}, bad)


def _card_without_name(good: Path, bad: Path) -> None:
    torch.save({**checkpoint.load(good), "card": '{"kind": "text"}'}, bad)


FAULTS: list[tuple[Callable[[Path, Path], None], str]] = [
    (_a_text, "is a text file, not a checkpoint"),
    (_a_list, "neither a recurrent language model nor a PixelCNN"),
    (_weights_of_another, "do not fit the network"),
    (_unknown_network, "do not fit the network"),
    (_card_without_name, "is missing"),
]


@pytest.mark.parametrize(("spoil", "says"), FAULTS, ids=[spoil.__name__ for spoil, _ in FAULTS])
def test_a_bad_checkpoint_is_one_clear_line(
    spoil: Callable[[Path, Path], None],
    says: str,
    names_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad, target = tmp_path / "bad.pt", tmp_path / "model"
    spoil(names_checkpoint, bad)
    assert main([str(bad), "-o", str(target)]) == 1
    output = capsys.readouterr()
    assert says in output.err
    assert output.err.startswith("python -m export: ")
    assert output.err.count("\n") == 1
    assert not target.exists()


def test_a_failed_save_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"epoch": 1})
    with pytest.raises(AttributeError):
        checkpoint.save(path, {"epoch": 2, "cannot be pickled": lambda: None})
    assert torch.load(path, weights_only=True) == {"epoch": 1}


@pytest.mark.parametrize("net", [recurrent("gru", 2), pixelcnn(conditions=3, kernel=5)], ids=["recurrent", "pixelcnn"])
def test_a_network_is_built_again_from_its_description(net: Any) -> None:
    again = checkpoint.load_network(checkpoint.describe_network(net.config), net.state_dict())
    assert again.config == net.config
    assert not again.training
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), net.parameters(), strict=True))
