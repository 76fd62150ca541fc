"""Checkpoints in the place of models: a small one as a training script leaves it, and a stand-in for the exporter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import toys
from tui_gen import checkpoint
from tui_gen.child import Ending, Reply

CHARACTERS = "\nabc "
Missing = dict[str, object]
SIZE: Missing = {"what": "the size of the images", "option": "--size HxW"}
CELL: Missing = {
    "what": "its cell",
    "option": "--assume cell=own|torch",
    "default": "torch",
    "choices": ["torch", "own"],
}


def write_lstm(path: Path, *, seed: int = 1, itos: bool = True) -> Path:
    """One layer of 8 units over these characters, in random numbers. itos: whether the file says which these are."""
    import torch  # which most tests of the screen do without
    from torch import nn

    torch.manual_seed(seed)
    size = len(CHARACTERS)
    parts = {"emb": nn.Embedding(size, 4), "lstm": nn.LSTM(4, 8, batch_first=True), "out": nn.Linear(8, size)}
    vocabulary = {"itos": dict(enumerate(CHARACTERS))} if itos else {}
    torch.save({"model": nn.ModuleDict(parts).state_dict(), **vocabulary}, path)
    return path


def write_pixelcnn(path: Path) -> Path:
    """Two convolutions and nothing beside their weights: neither masks, nor scaling, nor the size of a picture."""
    from torch import nn, save

    save(nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1)).state_dict(), path)
    return path


class Exporter:
    """Stands in for the child: says this of every file, and makes a toy model of it."""

    def __init__(self, *missing: Missing, ending: Ending | None = None) -> None:
        """missing: what every file lacks. ending: in place of success."""
        self.calls = list[list[str]]()
        self.ending, self._missing = ending, missing
        self.during: Callable[[], object] = str

    def __call__(
        self, task: object, content: bytes, *, tell: Reply, is_stopped: Callable[[], bool], **limits: object
    ) -> Ending:
        reply: str | bytes | None = content
        while reply:
            words: list[str] = json.loads(reply)["words"]
            self.calls.append(words)
            told = {" ".join(word.split("=")[:-1]) for word in words}
            missing = [each for each in self._missing if _typed(each) not in told]
            reply = tell(
                f"diagnosis {json.dumps({'summary': 'LSTM 8', 'facts': [['file', 'zip']], 'missing': missing})}"
            )
        tell("line logits: equal")
        self.during()
        [output, name] = [word.partition("=")[2] for word in words if word.startswith(("--output=", "--name="))]
        if self.ending is None:
            toys.text_folder(Path(output), name=name)
        return self.ending or Ending(0, "line logits: equal")


def _typed(missing: Missing) -> str:
    """How the answer begins."""
    option, _, value = str(missing["option"]).partition(" ")
    return f"{option} {value.partition('=')[0]}" if "=" in value else option


def use(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> Exporter:
    """Lets it stand in."""
    monkeypatch.setattr(checkpoint, "run_in_child", exporter)
    return exporter
