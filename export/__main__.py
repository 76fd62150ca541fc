"""Turns a trained checkpoint into a model folder: `python -m export CHECKPOINT -o DIR`.

The folder is written only if the exported network is proved equal to PyTorch's: logits at every step, greedy tokens,
decoded text.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import onnx
import torch

from export import checkpoint
from export.folder import write_folder
from export.graph import OPSET
from export.presets import PRESETS
from export.steps import step_graph
from export.verify import Parity, verify
from tui_gen.card import ModelCard
from tui_gen.codec import codec_for
from tui_gen.errors import TuiGenError
from tui_gen.model import Model


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="checkpoint.pt of export.train")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the model folder to write")
    parser.add_argument("--name", help="the model's name; default: the folder's")
    args = parser.parse_args(arguments)
    try:
        export_checkpoint(args.checkpoint, args.output, name=args.name or args.output.resolve().name)
    except (TuiGenError, OSError) as fault:
        print(f"export: {fault}", file=sys.stderr)
        return 1
    return 0


def export_checkpoint(source: Path, target: Path, *, name: str) -> ModelCard:
    """Converts, verifies and writes; prints what was compared. Raises TuiGenError and writes nothing if they differ."""
    contents = checkpoint.load(source)
    net = checkpoint.trained_network(contents)
    card = replace(ModelCard.from_json(contents["card"]), name=name)
    graph = step_graph(net).SerializeToString()
    model, codec = Model(graph, card, provider="cpu"), codec_for(card, contents["tokenizer"] or None)
    parity = verify(net, model, codec)
    print(f"{card.architecture}: {len(graph) / 1e6:.1f} MB, {_count(net):,} parameters")
    print(
        f"logits: max abs difference {parity.max_abs_logit_difference:.2g} over {parity.steps:,} steps, batch 1 and 5"
    )
    print(f"greedy tokens: {parity.greedy_tokens} equal" + ("" if card.image else "; decoded text equal"))
    card = replace(card, export=_provenance(source, contents, parity))
    written = write_folder(target, graph=graph, card=card, tokenizer=contents["tokenizer"], log=contents["log"])
    print(f"wrote {target}; play it with: tui-gen {target}")
    return written


def _provenance(source: Path, contents: dict[str, Any], parity: Parity) -> dict[str, Any]:
    return {
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "opset": OPSET,
        "parity": asdict(parity),
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}, onnx {onnx.__version__}",
        "trained_with": _command(contents["options"]),
    }


def _command(options: dict[str, Any]) -> str:
    """The command that trains these weights again."""
    preset = PRESETS.get(options["preset"])
    data = preset.data.partition(":")[0] if preset else "DATA"
    settings = " ".join(
        f"--{key.replace('_', '-')} {options[key]}"
        for key in ("epochs", "batch_size", "learning_rate", "seed", "precision")
    )
    return f"python -m export.train {options['preset']} --data {data} -o runs/{options['preset']} {settings}"


def _count(net: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


if __name__ == "__main__":
    raise SystemExit(main())
