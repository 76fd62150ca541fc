"""Reads what `export.train` wrote: nothing of it has to be inferred."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from export import checkpoint
from export.loading.contents import Checkpoint
from export.presets import PRESETS
from export.reading import Diagnosis, Exportable, Reading
from export.steps import network_of
from tui_gen.card import ModelCard


def read_trained(path: Path, found: Checkpoint) -> Reading | None:
    """The reading of a checkpoint of the trainer; None for any other. path: the file that `found` was loaded from."""
    if not found.facts.keys() >= checkpoint.KEYS - {"weights", "raw_weights"}:
        return None
    contents = checkpoint.load(path)
    card = ModelCard.from_json(contents["card"])

    def build() -> Exportable:
        net = checkpoint.trained_network(contents)
        options = contents["options"]
        facts = {"trained_with": _command(options), "data_sha256": options["data"]}
        trained = replace(card, export={**facts, "made_with": contents.get("made_with", "")})
        return Exportable(network_of(net), trained, contents["tokenizer"], log=tuple(contents["log"]))

    sizes = tuple((key, str(value)) for key, value in contents["network"].items() if key != "family")
    epochs = f"{len(contents['log'])} of {contents['options']['epochs']} epochs"
    summary = f"{card.architecture}, trained by export.train as {contents['options']['preset']} for {epochs}"
    return Reading(Diagnosis(summary, sizes), build)


def _command(options: dict[str, Any]) -> str:
    """The command that trains these weights again."""
    preset = PRESETS.get(options["preset"])
    data = preset.data.partition(":")[0] if preset else "DATA"
    settings = " ".join(
        f"--{key.replace('_', '-')} {options[key]}"
        for key in ("epochs", "batch_size", "learning_rate", "seed", "precision", "stacks")
        if options.get(key) is not None
    )
    return f"python -m export.train {options['preset']} --data {data} -o runs/{options['preset']} {settings}"
