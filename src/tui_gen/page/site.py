"""A static site: the page, the models that it plays, and onnxruntime-web, from files that are there."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tui_gen.errors import TuiGenError
from tui_gen.files import read_bytes, write_new
from tui_gen.json_fields import parse_json
from tui_gen.library import LoadedModel, graph_file, read_tokenizer

PAGE = ("index.html", "page.css", "page.js", "player.js")
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""Of onnxruntime-web: its smallest build, for the CPU."""
_PARTS = {
    "normalizer": {"Lowercase", "Replace", "Strip"},
    "pre_tokenizer": {"WhitespaceSplit", "Punctuation", "Split"},
    "decoder": {"WordPiece", "Replace", "Fuse"},
}
_BEHAVIOURS = ("Isolated", "Removed")
"""What player.js knows of tokenizer.json, whose vocabulary has no merges and no scores."""
_ESCAPE = r"\\(?:[sSdnrt]|\W)"
_EXPRESSION = re.compile(
    rf"(?:[^\\\[(]|{_ESCAPE}|\\w|\((?:\?(?:[:=!]|<[=!]))?(?!\?)|\[(?:(?!&&)[^\\\[\]]|{_ESCAPE})*\])*"
)
"""Of those that Oniguruma and JavaScript read alike, after the few changes that player.js makes."""
_UNSAFE = re.compile(r"[^a-z0-9._]+")
_LONGEST = 60


@dataclass(frozen=True)
class PageModel:
    """The files of a model, as a page fetches them."""

    name: str
    card: str
    graph: bytes
    tokenizer: str | None


def page_model(loaded_model: LoadedModel, name: str) -> PageModel:
    """The files of a model. Raises TuiGenError for one whose prompts a page cannot read.

    name: what the page calls it.
    """
    folder = loaded_model.folder
    tokenizer = read_tokenizer(folder)
    if tokenizer and (strange := _strange_part(parse_json(tokenizer))):
        raise TuiGenError(
            f"{loaded_model.path}: its tokenizer.json has {strange}, which a page cannot read: it reads words, "
            "characters and phrases; leave this model out"
        )
    return PageModel(name, loaded_model.card.to_json(), read_bytes(graph_file(folder)), tokenizer)


def write_site(models: Sequence[PageModel], runtime: Mapping[str, bytes], site: Path) -> None:
    """Writes the page with its models into a folder that is not there yet; what fails leaves none.

    runtime: as of `runtime_files`. Raises TuiGenError.
    """
    own = Path(__file__).parent
    files = {name: read_bytes(own / name) for name in PAGE}
    files |= {f"runtime/{name}": content for name, content in runtime.items()}
    files |= _model_files(models)
    try:
        site.mkdir(parents=True)
    except FileExistsError as fault:
        raise TuiGenError(f"{site} exists already and is left as it is; choose another name") from fault
    try:
        for name, content in files.items():
            path = site / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_new(path, content)
    except BaseException:
        shutil.rmtree(site, ignore_errors=True)
        raise


def runtime_files(runtime: Path) -> dict[str, bytes]:
    """The files that a page needs of the unpacked npm package onnxruntime-web, or of its folder `dist`, by their names.

    Raises TuiGenError that says how to have them.
    """
    folder = runtime / "dist" if (runtime / "dist").is_dir() else runtime
    for name in RUNTIME:
        if not (folder / name).is_file():
            raise TuiGenError(
                f"{runtime} has no {name}, of which the page needs a copy: say npm install --no-save onnxruntime-web, "
                "then --runtime node_modules/onnxruntime-web"
            )
    return {name: read_bytes(folder / name) for name in RUNTIME}


def _model_files(models: Sequence[PageModel]) -> dict[str, bytes]:
    """By their paths, with `models.json`, which lists them in their order."""
    files, entries = dict[str, bytes](), list[dict[str, object]]()
    for number, model in enumerate(models, start=1):
        folder = _UNSAFE.sub("-", model.name.lower())[:_LONGEST].strip("-.") or "model"
        folder = folder if all(entry["folder"] != folder for entry in entries) else f"{folder}-{number}"
        entries.append(
            {"name": model.name, "folder": folder, "bytes": len(model.graph), "tokenizer": model.tokenizer is not None}
        )
        files |= {f"models/{folder}/config.json": model.card.encode(), f"models/{folder}/model.onnx": model.graph}
        if model.tokenizer is not None:
            files[f"models/{folder}/tokenizer.json"] = model.tokenizer.encode()
    return {**files, "models.json": json.dumps(entries, indent=1).encode()}


def _strange_part(facts: Mapping[str, Any]) -> str:
    """What a page does not know of a tokenizer; empty where there is nothing."""
    if facts["model"].get("type") != "WordLevel":
        return f"a model {facts['model'].get('type') or 'of no name'}"
    for part, known in _PARTS.items():
        for step in _steps(facts.get(part)):
            if step["type"] not in known or step.get("cleanup") or step.get("behavior") not in (None, *_BEHAVIOURS):
                return f"a {part} {step['type']}"
            pattern = step.get("pattern", {}).get("Regex", "")
            if not _EXPRESSION.fullmatch(pattern):
                return f"the expression {pattern!r:.100}"
    return ""


def _steps(part: Any) -> Iterator[dict[str, Any]]:
    """The single ones of a sequence, or of sequences in it."""
    if not part:
        return
    inner = next((part[key] for key in ("normalizers", "pretokenizers", "decoders") if key in part), None)
    if inner is None:
        yield part
    else:
        for step in inner:
            yield from _steps(step)
