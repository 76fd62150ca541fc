"""Opens a foreign model in a child process first: a file that crashes onnxruntime must not crash the player."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs

from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.files import digest, read_bytes, read_text
from tui_gen.images.codec import ImageCodec
from tui_gen.runtime.model import Model
from tui_gen.runtime.placement import CachedMeasurement, Work, fastest_threads
from tui_gen.runtime.session import RUNTIME, Provider
from tui_gen.text.codec import TextCodec

_CHILD = "import sys; from tui_gen.runtime.session import open_blindly; open_blindly(sys.argv[1])"
_SECONDS = 20


def check(graph: bytes, sha256: str, runtime: str) -> None:
    """Raises TuiGenError if opening this ONNX file crashes or hangs. runtime: onnxruntime's version; a file that passed
    once with it is not tried again.
    """
    measurement = CachedMeasurement("opened", sha256, runtime)
    if measurement.read() is not None:
        return
    with tempfile.TemporaryDirectory(prefix="tui-gen-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(graph)
        _open_in_child(path)
    measurement.write("")


def _open_in_child(path: Path) -> None:
    # -P: a foreign model's folder may be the working directory, and nothing in it may be imported.
    command = [sys.executable, "-P", "-c", _CHILD, str(path)]
    try:
        status = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired as fault:
        raise TuiGenError(f"model.onnx is refused: opening it takes more than {_SECONDS} s") from fault
    if status != 0:
        raise TuiGenError(f"model.onnx is refused: opening it crashes onnxruntime (exit status {status})")


@dataclass(frozen=True)
class Entry:
    """A model folder that was found; one that cannot be read says why in `fault`."""

    name: str
    path: Path
    card: ModelCard | None
    fault: str = ""

    @property
    def size(self) -> int:
        """Bytes of model.onnx."""
        graph = self.path / "model.onnx"
        return os.path.getsize(graph) if os.path.isfile(graph) else 0


@dataclass(frozen=True)
class LoadedModel:
    """An opened model: what it says of itself, how people talk to it, and the network."""

    card: ModelCard
    codec: TextCodec | ImageCodec
    model: Model
    path: Path


def shipped_folder() -> Path:
    """Where the models that come with the package are: inside it, or at the top of a source checkout."""
    inside = Path(__file__).parent / "models"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "models"


def search_path() -> list[Path]:
    """Folders of model folders, in the order in which a name is looked up."""
    named = os.environ.get("TUI_GEN_MODELS", "").split(os.pathsep)
    user = Path(platformdirs.user_data_dir("tui-gen", appauthor=False)) / "models"
    return [*(Path(folder) for folder in named if folder), user, shipped_folder()]


def find_models() -> list[Entry]:
    """Every model folder on the search path, by kind and name; of two with one name, the first found."""
    found: dict[str, Entry] = {}
    for folder in search_path():
        for path in _model_folders(folder):
            found.setdefault(path.name, _entry(path))
    return sorted(
        found.values(), key=lambda entry: (entry.card is None, entry.card and entry.card.kind == "image", entry.name)
    )


def locate(model: str) -> Path:
    """The folder of a model, given as a path or by name. Raises TuiGenError that says which models there are."""
    if os.path.isfile(os.path.join(model, "config.json")):  # unlike Path, never raises
        return Path(model)
    entries = find_models()
    for entry in entries:
        if entry.name == model:
            return entry.path
    if os.path.isdir(model):
        raise TuiGenError(f"{model} is not a model folder: it has no config.json")
    names = ", ".join(entry.name for entry in entries) or "none"
    raise TuiGenError(f"there is no model {model!r}, by name or as a folder; installed: {names}")


def open_model(folder: Path, *, provider: Provider = "auto", threads: int = 0, device: int = 0) -> LoadedModel:
    """Opens a model folder. Raises TuiGenError that names the file at fault.

    threads: per step on the CPU; 0 takes as many as make the model fastest on this machine. device: which GPU.
    """
    card = read_card(folder)
    graph = read_bytes(folder / "model.onnx")
    sha256 = digest(graph)
    _check_hash(folder, card, sha256)
    tokenizer = read_text(folder / "tokenizer.json") if (folder / "tokenizer.json").exists() else None
    try:
        codec = codec_for(card, tokenizer)
    except TuiGenError as fault:
        raise TuiGenError(f"{folder / 'tokenizer.json'} {fault}") from fault
    try:
        if folder.resolve().parent != shipped_folder().resolve():
            check(graph, sha256, RUNTIME)
        model = _on_cpu(graph, sha256, card, threads)
        model.use(provider, device)
        return LoadedModel(card, codec, model, folder)
    except TuiGenError as fault:
        raise TuiGenError(f"{folder}: {fault}") from fault


def _on_cpu(graph: bytes, sha256: str, card: ModelCard, threads: int) -> Model:
    """With the threads that were asked for, or the fastest number of them."""
    models: dict[int, Model] = {}

    def opened(count: int) -> Work:
        models[count] = model = models.get(count) or Model(graph, card, provider="cpu", threads=count)
        tokens, state = np.zeros(1, dtype=np.int64), model.start(1)
        return lambda: model.step(tokens, state)

    opened(1)  # for what a damaged file has to be told, before anything is measured
    count = threads or fastest_threads(sha256, RUNTIME, opened)
    opened(count)
    return models[count]


def read_card(folder: Path) -> ModelCard:
    """The card of a model folder. Raises TuiGenError that names the file and the fault."""
    path = folder / "config.json"
    text = read_text(path)
    try:
        return ModelCard.from_json(text)
    except TuiGenError as fault:
        raise TuiGenError(f"{path}: {fault}") from fault


def _model_folders(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):  # a folder that may not be read holds no models for us
        yield from (path for path in sorted(folder.iterdir()) if os.path.isfile(path / "config.json"))


def _entry(path: Path) -> Entry:
    try:
        return Entry(path.name, path, read_card(path))
    except TuiGenError as fault:
        return Entry(path.name, path, None, str(fault))


def _check_hash(folder: Path, card: ModelCard, found: str) -> None:
    if card.sha256 and card.sha256 != found:
        graph = folder / "model.onnx"
        raise TuiGenError(
            f"{graph} is not the file that config.json describes (sha256 differs); export or copy it again"
        )


def codec_for(card: ModelCard, tokenizer: str | None) -> TextCodec | ImageCodec:
    """The codec of a model; tokenizer is the text of its tokenizer.json. Raises TuiGenError that says what is wrong."""
    if card.image:
        if card.image.conditions and not tokenizer:
            raise TuiGenError("is missing; the model's prompts need it")
        return ImageCodec(card, tokenizer)
    if not tokenizer:
        raise TuiGenError("is missing")
    return TextCodec(card, tokenizer)
