"""Checkpoints: whole or not at all when written, harmless and clear when read."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from export.__main__ import main
from export.training import checkpoint
from tests.support.export_training import pixelcnn, recurrent
from tui_gen.errors import TuiGenError


def _contents(path: Path) -> dict[str, Any]:
    return checkpoint.load(path)


def _truncated(good: Path, bad: Path) -> None:
    bad.write_bytes(good.read_bytes()[:-3000])


def _empty(_: Path, bad: Path) -> None:
    bad.write_bytes(b"")


def _text(_: Path, bad: Path) -> None:
    bad.write_text("epoch 1: all is well\n")


def _noise(good: Path, bad: Path) -> None:
    bad.write_bytes(bytes(255 - byte for byte in good.read_bytes()))


def _a_list(_: Path, bad: Path) -> None:
    torch.save([1, 2, 3], bad)


def _missing(_: Path, bad: Path) -> None:
    assert not bad.exists()


def _folder(_: Path, bad: Path) -> None:
    bad.mkdir()


def _weights_of_another(good: Path, bad: Path) -> None:
    torch.save({**_contents(good), "weights": recurrent().state_dict()}, bad)


def _unknown_network(good: Path, bad: Path) -> None:
    torch.save({**_contents(good), "network": {"family": "transformer", "heads": 8}}, bad)


def _card_without_name(good: Path, bad: Path) -> None:
    torch.save({**_contents(good), "card": '{"kind": "text"}'}, bad)


FAULTS: list[tuple[Callable[[Path, Path], None], str]] = [
    (_truncated, "is a damaged or incomplete zip file"),
    (_empty, "is empty"),
    (_text, "is a text file, not a checkpoint"),
    (_noise, "is neither a pickle nor any other known format"),
    (_folder, "is not a file"),
    (_missing, "cannot be read: No such file"),
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
    assert output.err.startswith("export: ")
    assert output.err.count("\n") == 1
    assert not target.exists()


class _Bomb:
    """What a malicious pickle holds: a call instead of data."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.marker}'",)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_checkpoint_runs_no_code(
    legacy: bool, names_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, marker = tmp_path / "bad.pt", tmp_path / "marker"
    contents = {**_contents(names_checkpoint), "optimizer": _Bomb(marker)}
    torch.save(contents, bad, _use_new_zipfile_serialization=not legacy)
    assert main([str(bad), "-o", str(tmp_path / "model")]) == 1
    assert "asks to run posix.system, which is refused" in capsys.readouterr().err
    assert not marker.exists()
    pickle.loads(pickle.dumps(_Bomb(marker)))  # the bomb is live: whoever unpickles it sets it off
    assert marker.exists()


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


def test_a_network_without_its_weights_is_refused() -> None:
    with pytest.raises(TuiGenError, match="do not fit the network"):
        checkpoint.load_network(checkpoint.describe_network(recurrent().config), {})
