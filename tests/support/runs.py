"""Runs of toy models, written as `publish` writes them."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support import toys
from tui_gen.training_log import TrainingLog
from tui_gen.training_run import epoch_folder


def published(
    run: Path,
    epoch: int,
    *,
    table: NDArray[np.float32] | None = None,
    folder: Callable[..., Path] = toys.text_folder,
    name: str = "",
    train_loss: float | None = None,
    validation_loss: float | None = None,
    part: float = 1.0,
    restart: bool = False,
    **changes: Any,
) -> Path:
    """Puts a network in the place of the newest, which is kept, and a line into the log; returns the run.

    part: of its data that was read, of an epoch that goes on. table: of the bigrams; None: another one for each epoch.
    """
    if folder is toys.text_folder:
        changes = {"graph": toys.text_graph(toys.BIGRAMS * (1 + epoch / 8) if table is None else table)} | changes
    loss = 4 / epoch if train_loss is None else train_loss
    losses = {"train_loss": "nan" if math.isnan(loss) else loss}
    sample = toys.STRIPES.tolist() if folder is toys.image_folder else f"the sample {epoch}"
    entry = {"epoch": epoch, "unit": "nats per token", **losses, "validation_loss": validation_loss}
    entry |= {
        "prompt": "" if folder is toys.image_folder else "the",
        "samples": [sample],
        "seeds": [1],
        "temperature": 1,
    }
    if part < 1:
        entry["part"] = part
        changes["export"] = {"epoch": epoch, "part": part}
    entry |= {"restart": True} if restart else {}
    log = TrainingLog(run)
    model, partial = run / "model", run / "epochs" / "next"
    partial.parent.mkdir(parents=True, exist_ok=True)
    folder(partial, name=name or run.name, **changes)
    (partial / "training.jsonl").write_text(json.dumps(entry) + "\n")
    log.add(entry)
    if model.exists():
        last = json.loads((model / "training.jsonl").read_text())["epoch"]
        shutil.rmtree(epoch_folder(run, last), ignore_errors=True)
        model.rename(epoch_folder(run, last))
    partial.rename(model)
    return run
