"""The model card for people: README.md of a model folder, made from what config.json and training.jsonl say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from export.tasks import ImageTask
from export.text_report import report_lines
from tui_gen.card import ModelCard

_LOSSES = (
    "The training loss is that of the network while it learns, averaged over the epoch, with dropout where it has any; "
    "the held-out loss is that of the averaged weights that are kept, after it."
)


def model_readme(card: ModelCard, log: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: what the model does, figure, data and licence, how it was trained, how to play it."""
    credit = f"## Credit\n\n{card.credit}" if card.credit else ""
    shown = "\n".join(["## What it makes", "", *report_lines(card.measured)]) if card.measured else ""
    parts = [f"# {card.name}", card.description, _facts(card), _play(card), shown, _training(card, log), credit]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(card: ModelCard) -> str:
    quality = card.quality
    figure = f"{quality} on {quality.split}" if quality else "not measured"
    parity = card.export.get("parity", {})
    proof = (
        f"logits within {parity['max_abs_logit_difference']:.1e} over {parity['steps']:,} steps; greedy tokens equal"
        if parity
        else ""
    )
    rows = [
        ("network", card.architecture),
        ("tokens it predicts", f"{card.vocab_size:,}"),
        ("held-out figure", figure),
        ("trained on", card.data),
        ("licence of the weights", card.licence),
        ("compared with PyTorch", proof),
        ("computes", card.export.get("computes", "")),
        ("weights stored as", _precision(card.export.get("precision", {}))),
        ("assumed, for its file does not say", "; ".join(card.export.get("assumed", ()))),
    ]
    lines = [f"| {name} | {value} |" for name, value in rows if value]
    return "\n".join(["| | |", "|---|---|", *lines])


def _precision(facts: Mapping[str, Any]) -> str:
    if not facts:
        return ""
    return f"{facts['dtype']}; KL divergence from fp32 {facts['kl_divergence']:.2g} nats per token"


def _play(card: ModelCard) -> str:
    prompt = f' "{example}"' if (example := card.prompt_example.replace("\n", " ")) else ""
    return f"## Play\n\n```sh\ntui-gen {card.name}\ntui-gen generate {card.name}{prompt}\n```"


def _training(card: ModelCard, log: Sequence[Mapping[str, Any]]) -> str:
    command = card.export.get("trained_with")
    if not command:
        return ""
    words = command.split()
    preset, data = words[words.index("export.train") + 1], words[words.index("--data") + 1]
    unit = log[-1]["unit"] if log else ""
    rows = [f"| {e['epoch']} | {e['train_loss']:.3f} | {e['validation_loss']:.3f} | {e['seconds']:.0f} |" for e in log]
    table = "\n".join([f"| epoch | training loss, {unit} | held-out loss | seconds |", "|---|---|---|---|", *rows])
    guidance, figures = card.export.get("guidance"), card.measured.get("figures", {})
    steps = [
        command,
        f"python -m export runs/{preset}/checkpoint.pt -o models/{card.name}"
        + (f" --guidance {guidance:g}" if guidance is not None else "")
        + (f" --dtype {dtype}" if (dtype := card.export.get("precision", {}).get("dtype")) else ""),
        f"python -m export.evaluate models/{card.name} --data {data}"
        + (f" --preset {preset}" if preset != card.name else "")
        + (" --train" if "figure on the training data" in figures else ""),
    ]
    if any(name.startswith("prompts obeyed") for name in figures):
        steps.append(f"python -m export.obedience models/{card.name} --data {data}")
    shell = "```sh\n" + "\n".join(steps) + "\n```"
    made, exported = card.export.get("made_with"), card.export.get("versions", "")
    versions = f"Trained with {made}; exported with {exported}." if made else f"Exported with {exported}."
    part = f" It is that of the first {ImageTask.quick:,} held-out pictures." if card.image else ""
    return f"## How it was trained\n\n{shell}\n\n{versions} {_LOSSES}{part}\n\n{table}"
