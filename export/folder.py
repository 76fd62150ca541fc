"""Writing a model folder: whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import export.readme
from export.text_files import json_lines, replace_text
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError

FILES = {"model.onnx", "config.json", "tokenizer.json", "training.jsonl", "README.md"}


def write_folder(
    target: Path, *, graph: bytes, card: ModelCard, tokenizer: str, log: Sequence[Mapping[str, Any]]
) -> ModelCard:
    """Writes model.onnx, config.json, tokenizer.json, training.jsonl and README.md; returns the card as written.

    Replaces an earlier model folder; raises TuiGenError rather than replace anything else.
    """
    target = target.resolve()
    if target.exists() and not _is_replaceable(target):
        raise TuiGenError(f"{target} exists and is not a model folder, or holds more; name another one with -o")
    card = replace(card, sha256=hashlib.sha256(graph).hexdigest())
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        partial.chmod(0o755)
        (partial / "model.onnx").write_bytes(graph)
        (partial / "config.json").write_text(card.to_json(), encoding="utf-8")
        if tokenizer:
            (partial / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
        (partial / "training.jsonl").write_text(json_lines(log), encoding="utf-8")
        (partial / "README.md").write_text(export.readme.model_readme(card, log), encoding="utf-8")
        _swap(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return card


def _is_replaceable(target: Path) -> bool:
    """Whether nothing but a model's files would be lost."""
    if not target.is_dir():
        return False
    names = {path.name for path in target.iterdir()}
    return not names or ("model.onnx" in names and names <= FILES)


def update_card(folder: Path, card: ModelCard) -> None:
    """Rewrites config.json and README.md of a model folder after its figure has been measured."""
    lines = (folder / "training.jsonl").read_text(encoding="utf-8").splitlines()
    readme = export.readme.model_readme(card, [json.loads(line) for line in lines])
    replace_text(folder / "README.md", readme)
    replace_text(folder / "config.json", card.to_json())


def with_figures(card: ModelCard, figures: Mapping[str, str]) -> ModelCard:
    """The card with figures besides its quality, by name, in place of those of the same names."""
    known = {**card.measured.get("figures", {}), **figures}
    return replace(card, measured={**card.measured, "figures": known}) if known else card


def _swap(partial: Path, target: Path) -> None:
    """Puts the new folder in the old one's place; only renames, so no half folder is ever seen under its name."""
    old = partial.with_name(partial.name + ".old")
    if target.exists():
        target.rename(old)
    try:
        partial.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
