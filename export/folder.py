"""Model folders: written whole or not at all, with a card for people, README.md, made from the other files."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.files import HALF, digest, replace_files
from tui_gen.json_fields import JsonFields, parse_json
from tui_gen.training_log import json_lines
from tui_gen.training_run import LOG

from .training.checkpoint import WEIGHTS, read_log
from .training.tasks import ImageTask

_LOSSES = (
    "The training loss is that of the network while it learns, averaged over the epoch, with dropout where it has any; "
    "the held-out loss is that of the averaged weights that are kept, after it."
)
_UNPROMPTED = "unconditional-image-generation"
_TRAINING = re.compile(r"export\.train (\S+) --data (\S+)")
FILES = {"model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json", "training.jsonl", "README.md"}
_FAMILY = re.compile(r"LSTM|GRU|RNN|PixelCNN")
"""In the architecture of a card: what people search for."""
_LICENCES = {
    *("mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0"),
    *("gpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "unlicense", "wtfpl", "isc", "zlib", "openrail"),
}
"""That model hubs know by these words."""


def write_folder(
    target: Path,
    *,
    graph: bytes,
    card: ModelCard,
    tokenizer: str,
    log: Sequence[Mapping[str, Any]],
    weights: bytes = b"",
) -> ModelCard:
    """Writes the files of a model folder; returns the card as written.

    weights: of weights.safetensors, which there is only where they are kept. Replaces an earlier model folder; raises
    TuiGenError rather than replace anything else.
    """
    check_target(target, weights=bool(weights))
    target = target.resolve()
    card = replace(card, sha256=digest(graph))
    target.parent.mkdir(parents=True, exist_ok=True)
    _mend_after_kill(target)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        partial.chmod(0o755)
        (partial / "model.onnx").write_bytes(graph)
        (partial / "config.json").write_text(card.to_json(), encoding="utf-8", errors=HALF)
        if tokenizer:
            (partial / "tokenizer.json").write_text(tokenizer, encoding="utf-8", errors=HALF)
            (partial / "tokenizer_config.json").write_text(_tokenizer_config(card, tokenizer), encoding="utf-8")
        (partial / "training.jsonl").write_text(json_lines(log), encoding="utf-8")
        (partial / "README.md").write_text(model_readme(card, log), encoding="utf-8", errors=HALF)
        if weights:
            (partial / WEIGHTS).write_bytes(weights)
        _swap(partial, target)
    except OSError as fault:
        raise TuiGenError(f"-o {target} cannot be written: {fault.strerror}; what was there before is there") from fault
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return card


def _tokenizer_config(card: ModelCard, tokenizer: str) -> str:
    """What libraries that read tokenizer.json are told besides: how to open it, and what some tokens are for."""
    model = JsonFields(parse_json(tokenizer), "").raw("model")
    names = {token: text for text, token in model["vocab"].items()} if isinstance(model.get("vocab"), dict) else {}
    is_bounded = card.kind == "text" and card.eos is not None
    tokens = {
        "bos_token": names.get(card.bos) if is_bounded and card.bos == card.eos else None,
        "eos_token": names.get(card.eos) if is_bounded else None,
        "unk_token": model.get("unk_token"),
    }
    facts = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    return json.dumps(facts | {name: text for name, text in tokens.items() if text is not None}, indent=2) + "\n"


def check_target(target: Path, *, weights: bool = False) -> None:
    """Raises TuiGenError where no model folder can be written, or something else than a model's files would be lost.

    weights: whether weights are written, too; without them those that are kept there would be lost.
    """
    folder = target.resolve()
    parent = next(path for path in (folder, *folder.parents) if path.exists())
    if parent != folder and not (parent.is_dir() and os.access(parent, os.W_OK)):
        why = "nobody but its owner may write there" if parent.is_dir() else "that is no folder"
        raise TuiGenError(f"-o {target} cannot be made in {parent}: {why}; name another folder with -o")
    if parent != folder:
        return
    if not folder.is_dir():
        raise TuiGenError(f"-o {target} is a file, or the like; name a folder with -o")
    names = {path.name for path in folder.iterdir()}
    if others := names if "model.onnx" not in names else names - (FILES | {WEIGHTS} if weights else FILES):
        raise TuiGenError(
            f"-o {target} exists and holds other things than a model, such as {min(others)}; name another"
        )


def _mend_after_kill(target: Path) -> None:
    """Puts a model back that a kill left beside its place, and removes what one left half written."""
    ours = re.compile(rf"\.{re.escape(target.name)}\.[a-z0-9_]{{8}}(\.old)?")  # as of `tempfile` and `_swap`
    with contextlib.suppress(OSError):  # of a folder that may be written and not listed
        left = [path for path in target.parent.iterdir() if ours.fullmatch(path.name) and path.is_dir()]
        for path in (path for path in left if {file.name for file in path.iterdir()} <= FILES | {WEIGHTS}):
            if path.name.endswith(".old") and not target.exists():
                path.rename(target)
            else:
                shutil.rmtree(path, ignore_errors=True)


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


def update_card(folder: Path, card: ModelCard) -> None:
    """Rewrites config.json and README.md of a model folder after its figure has been measured.

    Raises TuiGenError for a card or a log that says what no exporter writes, OSError where it cannot be written.
    """
    try:
        readme = model_readme(card, read_log(folder / LOG))
    except TuiGenError as fault:
        raise TuiGenError(f"{folder}: {fault}") from fault
    texts = {"config.json": card.to_json(), "README.md": readme}  # which a kill in between leaves as it was: true once
    replace_files({folder / name: text.encode("utf-8", HALF) for name, text in texts.items()})


def with_figures(card: ModelCard, figures: Mapping[str, str]) -> ModelCard:
    """The card with figures besides its quality, by name, in place of those of the same names."""
    figures = {**_measured(card.measured).raw("figures"), **figures}
    return replace(card, measured={**card.measured, "figures": figures}) if figures else card


def model_readme(card: ModelCard, log: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: what the model does, figure, data and licence, how it was trained, how to play it."""
    prompt = f' "{example}"' if (example := card.prompt_example.replace("\n", " ")) else ""
    play = f"## Play\n\n```sh\ntui-gen {card.name}\ntui-gen generate {card.name}{prompt}\n```"
    credit = f"## Credit\n\n{card.credit}" if card.credit else ""
    output = "\n".join(["## What it makes", "", *report_lines(card.measured)]) if card.measured else ""
    parts = [f"# {card.name}", card.description, _facts(card), play, output, _training(card, log), credit]
    return _front_matter(card) + "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(card: ModelCard) -> str:
    """What model hubs search by, in YAML: licence, tags, data, and the held-out figure."""
    family = _FAMILY.search(card.architecture)
    task = "text-generation" if not card.image else "text-to-image" if card.image.conditions else _UNPROMPTED
    licence, trained = card.licence.lower(), _TRAINING.search(_exported(card).text("trained_with", ""))
    data = Path(trained.group(2)).stem if trained else ""
    facts: dict[str, object] = {
        "license": licence if licence in _LICENCES else "other" if licence else "",
        "license_name": "" if licence in _LICENCES else card.licence,
        "library_name": "tui-gen",
        "pipeline_tag": task,
        "tags": ["onnx", "tui-gen", "autoregressive", *([family.group().lower()] if family else [])],
        "datasets": [data] if data else [],
    }
    if quality := card.quality:
        metric = quality.unit.replace(" ", "_")
        figure = {"type": metric, "value": quality.value, "name": f"{quality.unit} on {quality.split}"}
        source = {"type": data or card.name, "name": card.data or data or card.name}
        result = {"task": {"type": task}, "dataset": source, "metrics": [figure]}
        facts |= {"metrics": [metric], "model-index": [{"name": card.name, "results": [result]}]}
    lines = [f"{key}: {_yaml(value)}" for key, value in facts.items() if value]
    return "\n".join(["---", *lines, "---", "", ""])


def _yaml(value: object) -> str:
    """JSON is YAML, but for characters that YAML has no room for."""
    return "".join(sign if sign.isprintable() else " " for sign in json.dumps(value, ensure_ascii=False))


def _exported(card: ModelCard) -> JsonFields:
    """What a card says of its export, which a stranger may have written."""
    return JsonFields(dict(card.export), "export.")


def _measured(measured: Mapping[str, Any]) -> JsonFields:
    return JsonFields(dict(measured), "measured.")


def _facts(card: ModelCard) -> str:
    quality, weights, export = card.quality, "", _exported(card)
    parity = export.section("parity")
    greedy = "; greedy tokens equal" if parity and parity.value("greedy_tokens") else ""
    proof = card.proof and card.proof + greedy
    if precision := export.section("precision"):
        divergence = f"KL divergence from fp32 {precision.number('kl_divergence'):.2g} nats per token"
        weights = f"{precision.text('dtype')}; {divergence}"
    rows = [
        ("network", card.architecture),
        ("tokens it predicts", f"{card.vocab_size:,}"),
        ("held-out figure", f"{quality} on {quality.split}" if quality else "not measured"),
        ("trained on", card.data),
        ("published after epoch", "" if card.epoch is None else str(card.epoch)),
        ("licence of the weights", card.licence),
        ("compared with PyTorch", proof),
        ("computes", export.text("computes", "")),
        ("weights stored as", weights),
        ("assumed, for nothing says it", "; ".join(map(str, export.items("assumed")))),
    ]
    lines = [f"| {name} | {value} |" for name, value in rows if value]
    return "\n".join(["| | |", "|---|---|", *lines])


def _training(card: ModelCard, log: Sequence[Mapping[str, Any]]) -> str:
    export = _exported(card)
    command = export.text("trained_with", "")
    if not (words := _TRAINING.search(command)):
        return ""
    preset, data = words.groups()
    unit = log[-1]["unit"] if log else ""
    rows = [f"| {e['epoch']} | {e['train_loss']:.3f} | {e['validation_loss']:.3f} | {e['seconds']:.0f} |" for e in log]
    table = "\n".join([f"| epoch | training loss, {unit} | held-out loss | seconds |", "|---|---|---|---|", *rows])
    figures, precision = _measured(card.measured).raw("figures"), export.section("precision")
    guidance = export.number("guidance") if export.has("guidance") else None
    steps = [
        command,
        f"python -m export runs/{preset}/checkpoint.pt -o models/{card.name}"
        + (f" --guidance {guidance:g}" if guidance is not None else "")
        + (f" --dtype {precision.text('dtype')}" if precision else ""),
        f"python -m export.evaluate models/{card.name} --data {data}"
        + (f" --preset {preset}" if preset != card.name else "")
        + (" --train" if "figure on the training data" in figures else ""),
    ]
    if any(name.startswith("prompts obeyed") for name in figures):
        steps.append(f"python -m export.obedience models/{card.name} --data {data}")
    shell = "```sh\n" + "\n".join(steps) + "\n```"
    made_with, versions = export.text("made_with", ""), export.text("versions", "")
    versions = f"Trained with {made_with}; exported with {versions}." if made_with else f"Exported with {versions}."
    part = f" It is that of the first {ImageTask.quick:,} held-out pictures." if card.image else ""
    return f"## How it was trained\n\n{shell}\n\n{versions} {_LOSSES}{part}\n\n{table}"


def report_lines(measured: Mapping[str, Any]) -> list[str]:
    """Samples and figures as Markdown. Raises TuiGenError that names what is of another kind."""
    lines, report = [], _measured(measured)
    for sample in report.items("samples"):
        facts = JsonFields(sample if isinstance(sample, dict) else {}, "measured.samples.")
        text = facts.text("text")
        longest = max(map(len, re.findall("`+", text)), default=0)
        fence = "`" * max(3, 1 + longest)  # the text must not close it
        lines += [f"Temperature {facts.number('temperature'):g}:", "", f"{fence}text", text, fence, ""]
    return lines + [f"- {name}: {value}" for name, value in report.raw("figures").items()]
