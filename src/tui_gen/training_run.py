"""A run: the folder of a training, with its log, the newest network as a model folder, and earlier ones.

    runs/mine/training.jsonl    a line for each epoch: losses, and samples of the same prompt and noise
    runs/mine/model/            the newest network
    runs/mine/epochs/0003/      earlier ones

Whatever else the training script keeps there is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tui_gen.errors import TuiGenError
from tui_gen.hub import is_address
from tui_gen.json_fields import parse_json

if TYPE_CHECKING:  # which is PyTorch's, and nothing here needs it
    from torch import nn

LOG, MODEL, EPOCHS, LOCK = "training.jsonl", "model", "epochs", "training.lock"
_DIGITS = 4
_CONFIG = "config.json"


@dataclass(frozen=True)
class Publication:
    """What `publish` did."""

    epoch: int
    seconds: float
    """That it took."""
    folder: Path | None = None
    """The model; None where none was written."""
    difference: float | None = None
    """The largest difference of a log-probability from the network's own answers; None where it cannot be called."""
    trouble: str = ""
    """Why there is no model, or no line in the log."""


def publish(
    module: nn.Module,
    run: str | Path,
    *,
    vocabulary: object = None,
    epoch: int | None = None,
    train_loss: float | None = None,
    validation_loss: float | None = None,
    unit: str = "",
    prompt: str = "",
    seeds: Sequence[int] = (1, 2, 3, 4),
    temperature: float = 1.0,
    length: int = 200,
    keep_mb: float = 200,
    size: tuple[int, int] | None = None,
    levels: int | None = None,
    scaling: str | None = None,
    classes: int | None = None,
    assume: Mapping[str, str] | None = None,
) -> Publication:
    """Makes a model folder of a network while it is trained, and notes how it does; `tui-gen watch RUN` plays it.

    The training goes on bit for bit as if it had not been called, and never ends because of it: what cannot be
    converted is told once, and the losses are noted all the same. In a parallel training, all processes but the first
    do nothing.

    module: the live network, wrapped or not, on any device, in any mode. vocabulary: of a text, the tokens in the order
    of their ids, a dict between tokens and ids, a `tokenizers.Tokenizer`, or the path of a file of one. epoch: counted
    from 1; None: one more than the last. unit: of the losses, such as `nats`. prompt, seeds, temperature, length: of
    the samples that are noted. keep_mb: megabytes that earlier networks may take. size, levels, scaling, classes,
    assume: what a network does not tell of itself, as for `tui-gen export`. Raises TuiGenError without the exporter.
    """
    from importlib.metadata import entry_points  # which the help of no command needs

    points = tuple(entry_points(group="tui_gen.publish", name="publish"))
    if not points:
        raise TuiGenError("publish needs the exporter; install it with: pip install 'tui-gen[export]'")
    answers = {"classes": str(classes)} if classes is not None else {}
    publication: Publication = points[0].load()(
        module,
        Path(run),
        vocabulary=vocabulary,
        epoch=epoch,
        losses=(train_loss, validation_loss),
        unit=unit,
        samples=(prompt, tuple(seeds), temperature, length),
        keep_mb=keep_mb,
        options={"size": size, "levels": levels, "scaling": scaling, "assume": {**answers, **(assume or {})}},
    )
    return publication


def is_run(path: str) -> bool:
    """Whether a folder is one: it has a log and is no model folder, or it holds published networks."""
    if _is_model(path):
        return False
    has_log = os.path.isfile(os.path.join(path, LOG))
    return has_log or _is_model(os.path.join(path, MODEL)) or os.path.isdir(os.path.join(path, EPOCHS))


def newest_model(run: str) -> Path | None:
    """The folder of the newest network; None where there is none yet."""
    if _is_model(os.path.join(run, MODEL)):
        return Path(run, MODEL)
    kept = epoch_folders(Path(run)) if os.path.isdir(run) else {}  # a kill between two renames leaves the newest there
    return kept[max(kept)] if kept else None


def log_folder(model: Path) -> Path:
    """Where the log of a model's training lies: of a network of a run, that of the run; else in its own folder."""
    run = model.parent if model.name == MODEL else model.parent.parent if model.parent.name == EPOCHS else model
    return run if is_run(str(run)) and os.path.isfile(run / LOG) else model


def shown_name(path: Path) -> str:
    """Of a network of a run the run's, with the epoch of one that is kept; of a model of the hub its address; of
    anything else its own.
    """
    if is_address(path):
        return str(path)
    run = log_folder(path)
    if run == path or not (path.name == MODEL or path.name.isdecimal()):
        return path.name
    return run.resolve().name + ("" if path.name == MODEL else f" · epoch {int(path.name)}")


def epoch_folders(run: Path) -> dict[int, Path]:
    """Earlier networks that are kept, by their epoch, the first first."""
    folders = {int(path.name): path for path in (run / EPOCHS).glob("*") if path.name.isdecimal()}
    return {epoch: folders[epoch] for epoch in sorted(folders) if _is_model(str(folders[epoch]))}


def epoch_folder(run: Path, epoch: int) -> Path:
    """Where the network of an epoch is kept, once a later one has come: its name for good."""
    return run / EPOCHS / f"{epoch:0{_DIGITS}}"


def network_folder(path: Path) -> Path:
    """Where a network lies now whose run keeps it, or will, in the folder of its epoch; any other path as it is.

    There may still be that of a training before, which had come further.
    """
    newest = path.parent.parent / MODEL
    is_epoch = path.parent.name == EPOCHS and path.name.isdecimal()
    return newest if is_epoch and epoch_of(newest) == int(path.name) else path


def epoch_of(model: Path) -> int | None:
    """After which epoch a network of a run was published; None for any other model, and where nothing says so."""
    if model.parent.name == EPOCHS and model.name.isdecimal():
        return int(model.name)
    if model.name != MODEL or not _is_model(str(model)):
        return None
    try:
        entry = parse_json((model / LOG).read_bytes().splitlines()[-1])
    except (OSError, TuiGenError, IndexError):
        return None
    epoch = entry.get("epoch") if isinstance(entry, dict) else None
    return epoch if type(epoch) is int else None


def epoch_title(number: int, part: float = 1.0) -> str:
    """Such as `epoch 3`, or `epoch 3, 12 %` of one that goes on. part: of its data that was read."""
    return f"epoch {number}" + (f", {max(1, min(99, round(100 * part)))} %" if part < 1 else "")


def _is_model(path: str) -> bool:
    return os.path.isfile(os.path.join(path, _CONFIG))  # unlike Path, never raises
