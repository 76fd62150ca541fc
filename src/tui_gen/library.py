"""Models on this machine: where they are looked for, which there are, and how one is opened.

A model is a folder, or a file of its own: a graph whose metadata has the card and the tokenizer.

Nothing heavy is loaded before a model is opened. A model that does not ship is tried in a child process first, because
a file that crashes onnxruntime must not crash the player.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from tui_gen import hub
from tui_gen.card import ModelCard
from tui_gen.checkpoint import Answers, Conversion, check_exporter, is_checkpoint, known_conversion, open_checkpoint
from tui_gen.child import Report
from tui_gen.errors import TuiGenError, UsageError, errors_of
from tui_gen.files import digest, read_bytes, read_text
from tui_gen.terminal_text import did_you_mean, say
from tui_gen.training_run import (
    MODEL,
    epoch_folders,
    epoch_of,
    epoch_title,
    is_run,
    log_folder,
    network_folder,
    newest_model,
)

if TYPE_CHECKING:
    from tui_gen.images.codec import ImageCodec
    from tui_gen.runtime.model import Model
    from tui_gen.runtime.placement import Work
    from tui_gen.runtime.session import Provider
    from tui_gen.text.codec import TextCodec
    from tui_gen.text.tokenizer import Encoder

GRAPH = "model.onnx"
CARD_KEY, TOKENIZER_KEY = "tui-gen.card", "tui-gen.tokenizer"
"""Of the metadata of a graph: what config.json says of the network, and tokenizer.json."""
_TRIAL = "A text, in 2 lines:\nnaïve – 漢字 😀 <unk> [UNK]  " + "a" * 40
"""That a foreign tokenizer must encode."""
MAX_GRAPH = 400 * 2**20
"""Bytes of a graph that nobody vouches for."""


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
        graph = graph_file(self.path)
        return os.path.getsize(graph) if os.path.isfile(graph) else 0


@dataclass(frozen=True)
class LoadedModel:
    """An opened model: what it says of itself, how people talk to it, and the network."""

    card: ModelCard
    codec: TextCodec | ImageCodec
    model: Model
    path: Path
    """Of its folder, of a graph, a run or a checkpoint: what it is opened by; of a model of the hub its address."""
    conversion: Conversion | None = None
    """How it came of a checkpoint."""
    epoch: int | None = None
    """Of a network of a run, after which one it was published."""
    snapshot: hub.Snapshot | None = None
    """Which commit it is of a model of the hub."""

    @property
    def folder(self) -> Path:
        """Where its files lie, or its graph."""
        source = self.conversion or self.snapshot
        return source.folder if source else self.path

    @property
    def address(self) -> str:
        """What opens the same model again: its path; of one of the hub with the commit."""
        return self.snapshot.address if self.snapshot else str(self.path)

    @property
    def name(self) -> str:
        """That of the card; of a network of a run with its epoch."""
        return self.card.name if self.epoch is None else epoch_name(self.card, self.epoch)


def epoch_name(card: ModelCard, epoch: int) -> str:
    """What to call a network of a run."""
    return f"{card.name} · {epoch_title(epoch, card.part)}"


def distinct_names(loaded_models: Sequence[LoadedModel]) -> list[str]:
    """What to call several models: their names; of those with one name, the ends of their paths that differ."""
    names = [model.name for model in loaded_models]
    paths = [model.path if model.snapshot else model.path.resolve() for model in loaded_models]
    for name in {name for name in names if names.count(name) > 1}:
        alike = [number for number, other in enumerate(names) if other == name]
        if len({paths[number] for number in alike}) < len(alike):
            labels = [name, *(f"{name} ({count})" for count in range(2, len(alike) + 1))]
        else:
            parts = [paths[number].parts for number in alike]
            common = next(at for at, folders in enumerate(zip(*parts, strict=False)) if len(set(folders)) > 1)
            labels = [os.path.join(*each[common:]) for each in parts]
        for number, label in zip(alike, labels, strict=True):
            names[number] = label
    return names


def shipped_folder() -> Path:
    """Where the models that come with the package are: inside it, or at the top of a source checkout."""
    inside = Path(__file__).parent / "models"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "models"


def search_path() -> list[Path]:
    """Folders of model folders, in the order in which a name is looked up."""
    folders = os.environ.get("TUI_GEN_MODELS", "").split(os.pathsep)
    user = Path(platformdirs.user_data_dir("tui-gen", appauthor=False)) / "models"
    return [*(Path(folder) for folder in folders if folder), user, shipped_folder()]


def find_models() -> list[Entry]:
    """Every model folder on the search path, by kind and name; of two with one name, the first found."""
    entries: dict[str, Entry] = {}
    for folder in search_path():
        for path in _model_folders(folder):
            entries.setdefault(path.name, _entry(path))
    return sorted(
        entries.values(), key=lambda entry: (entry.card is None, entry.card and entry.card.kind == "image", entry.name)
    )


def cached_models() -> list[Entry]:
    """Models of the hub that were downloaded, by their addresses; of what else the cache holds, nothing."""
    entries = {address: _entry(folder) for address, folder in hub.cached_folders().items()}
    return [replace(entry, name=address, path=Path(address)) for address, entry in entries.items() if entry.card]


def networks_beside(model: Path) -> list[Entry]:
    """The networks of the run that a model is of: the newest, then earlier ones that are kept, the latest first."""
    run = log_folder(model)
    if run == model:
        return []
    entries = [_entry(path) for path in (run / MODEL, *reversed(epoch_folders(run).values())) if path.is_dir()]
    epochs = [epoch_of(entry.path) for entry in entries]
    return [
        entry if epoch is None or not entry.card else replace(entry, name=epoch_name(entry.card, epoch))
        for entry, epoch in zip(entries, epochs, strict=True)
    ]


def locate(model: str) -> Path:
    """The folder of a model, given as a path or by name; of a run, that of its newest network; or the file of one that
    has no folder; or a checkpoint, of which a model is made when it is opened; or the address of one of the hub, which
    is downloaded then.

    Raises TuiGenError that says which models there are.
    """
    if hub.is_address(model):
        return Path(str(hub.parse_address(model)))
    return _locate_here(os.path.abspath(model) if hub.is_address(Path(model)) else model)  # one behind ./


def _locate_here(model: str) -> Path:
    """The same of what is on this machine."""
    if os.path.isfile(os.path.join(model, "config.json")) and not is_checkpoint(model):  # unlike Path, never raises
        return Path(model)
    if network_folder(Path(model)) != Path(model):
        return Path(model)
    if model.endswith(".onnx") and os.path.isfile(model):
        file = Path(model)
        return file.parent if file.name == GRAPH and (file.parent / "config.json").is_file() else file
    entries = find_models()
    for entry in entries:
        if entry.name == model:
            return entry.path
    if newest := newest_model(model):
        return newest
    if is_checkpoint(model):
        own = os.path.join(model, "checkpoint.pt")  # beside which our trainer keeps other files
        return Path(own if is_checkpoint(own) else model)
    if is_run(model):
        raise TuiGenError(f"{model} has no network yet; tui-gen watch {shlex.quote(model)} waits for one")
    if os.path.isdir(model):
        raise TuiGenError(f"{model} is not a model folder: it has no config.json")
    names = [entry.name for entry in entries]
    meant = f"{did_you_mean(model, names)} ".lstrip()
    installed = ", ".join(names) or "none"
    raise TuiGenError(f"there is no model {model!r}, by name or as a folder; {meant}installed: {installed}")


def model_folder(model: Path, answers: Answers = (), tell: Report = say) -> Path:
    """The folder of a model, as it was located; of a checkpoint, that of the model which is made of it now; of a model
    of the hub, that in the cache, into which it is downloaded.

    answers: what the checkpoint does not say. tell: takes lines about what is done, where something is. Raises
    TuiGenError that says what is missing.
    """
    source = _fetched(model, answers, tell) or _converted(model, answers, tell)
    return source.folder if source else model


def check_model(model: Path, answers: Answers = ()) -> None:
    """Raises TuiGenError for a model without a card that can be read, and for a checkpoint that cannot be converted;
    opens neither, and asks no hub.
    """
    if hub.is_address(model):
        _refuse_answers(model, answers)
    elif not is_checkpoint(model):
        _refuse_answers(model, answers)
        read_card(model)
    elif not known_conversion(model, answers):
        check_exporter()


def _refuse_answers(model: Path, answers: Answers) -> None:
    if answers:
        raise UsageError(f"{answers[0][0]} says what a checkpoint does not, and {model} is a model; leave it out")


def _fetched(model: Path, answers: Answers, tell: Report) -> hub.Snapshot | None:
    """None for what is no model of the hub."""
    if not hub.is_address(model):
        return None
    _refuse_answers(model, answers)
    return hub.fetch(model, tell=lambda line: tell(f"{model}: {line}"))


def _converted(model: Path, answers: Answers, tell: Report) -> Conversion | None:
    """None for what is a model already."""
    if not is_checkpoint(model):
        _refuse_answers(model, answers)
        return None
    lines = list[str]()
    conversion = open_checkpoint(model, answers, tell=lines.append)
    if lines:  # it was not converted before
        tell(f"converted {model}: {conversion.diagnosis.summary}")
        for guess in conversion.guesses:
            tell(f"assumed, {guess}")
        tell(f"to keep it: {conversion.command}")
    return conversion


def open_model(
    model: str | Path,
    *,
    provider: Provider = "auto",
    threads: int = 0,
    device: int = 0,
    trust: bool = False,
    answers: Answers = (),
) -> LoadedModel:
    """Opens a model. Raises TuiGenError that names the file at fault.

    model: a name, or the path of a model folder, of a graph or of a checkpoint; a `Path` is never taken for a name; or
    `hf:user/model@revision`, of the hub, as either.
    answers: what a checkpoint does not say, as the exporter's options. threads: at most so
    many, on the CPU; 0 takes as many as make the model fastest on this machine. device: which GPU. trust: whoever made
    the graph is known, so it may be of any operators and size.
    """
    from tui_gen.text.encoder_process import EncoderProcess

    path = locate(model) if isinstance(model, str) else model
    snapshot = _fetched(path, answers, say)
    conversion = None if snapshot else _converted(path, answers, say)
    source = snapshot or conversion
    folder = source.folder if source else network_folder(path)
    card, graph = read_card(folder), _read_graph(graph_file(folder), trust=trust)
    tokenizer, foreign = read_tokenizer(folder), folder.resolve().parent != shipped_folder().resolve()
    if not source and network_folder(path) != folder:  # a later network took its place while it was read
        return open_model(path, provider=provider, threads=threads, device=device, trust=trust)
    sha256 = digest(graph)
    _check_hash(folder, card, sha256)
    place = f"{folder}: its {TOKENIZER_KEY}" if folder.is_file() else f"{folder / 'tokenizer.json'}"
    with errors_of(place):
        encoder = EncoderProcess(tokenizer) if tokenizer and foreign else None  # starts beside what follows
    with errors_of(f"{folder}:"):
        if foreign:
            from tui_gen.runtime import probe
            from tui_gen.runtime.session import limit_memory

            probe.check(graph, sha256, trust=trust)
            limit_memory()
        network = _on_cpu(graph, sha256, card, threads)
        network.use(provider, device)
    with errors_of(place):
        if encoder:
            encoder.try_out(f"{card.prompt_prefix}{card.prompt_example}\n{_TRIAL}")
        codec, epoch = codec_for(card, tokenizer, encoder), _epoch(path, card)
        return LoadedModel(card, codec, network, path, conversion, epoch, snapshot)


def _epoch(path: Path, card: ModelCard) -> int | None:
    """After which a network was published, by its place in a run, or by the card of one that was copied out of it."""
    return card.epoch if (epoch := epoch_of(path)) is None else epoch


def _on_cpu(graph: bytes, sha256: str, card: ModelCard, threads: int) -> Model:
    """With the threads that were asked for, or the fastest number of them."""
    import numpy as np

    from tui_gen.runtime.model import Model
    from tui_gen.runtime.placement import cores, fastest_threads
    from tui_gen.runtime.session import RUNTIME

    models: dict[int, Model] = {}
    processors = threads or cores()

    def open_with(count: int) -> Work:
        model = models.get(count) or Model(graph, card, provider="cpu", threads=count, processors=processors)
        models[count] = model
        tokens, state = np.zeros(1, dtype=np.int64), model.start(1)
        return lambda: model.step(tokens, state)

    open_with(1)  # for what a damaged file has to be told, before anything is measured
    count = threads or fastest_threads(sha256, RUNTIME, open_with)
    open_with(count)
    return models[count]


def graph_file(model: Path) -> Path:
    """The ONNX file of a model, given by its folder or by this file."""
    return model if model.is_file() else model / GRAPH


def network_files(model: Path) -> list[Path]:
    """Those that decide what a model makes: of a folder, or the graph that says what it is."""
    names = (GRAPH, "config.json", "tokenizer.json")
    return [model] if model.is_file() else [path for name in names if (path := model / name).is_file()]


def _read_graph(path: Path, *, trust: bool = False) -> bytes:
    """Raises TuiGenError for a file that cannot be read, and for one that is too large for a stranger's."""
    if not trust and path.is_file() and path.stat().st_size > MAX_GRAPH:
        raise TuiGenError(
            f"{path} is larger than {MAX_GRAPH // 2**20} MB; in a folder of its own, --trust opens it, if you know who "
            "made it"
        )
    return read_bytes(path)


def needs_trust(graph: bytes) -> bool:
    """Whether a graph has operators or a size that are only opened for somebody who vouches for it."""
    from tui_gen.runtime.operators import check_operators

    try:
        check_operators(graph)
    except TuiGenError:
        return True
    return len(graph) > MAX_GRAPH


def read_tokenizer(model: Path) -> str | None:
    """The text of tokenizer.json, of a folder or in the metadata of a graph; None where there is none."""
    if model.is_file():
        return _metadata(model).get(TOKENIZER_KEY)
    path = model / "tokenizer.json"
    return read_text(path) if path.exists() else None


def _metadata(graph: Path) -> dict[str, str]:
    from tui_gen.runtime.onnx_graph import UnknownFormError, read_metadata

    try:
        return read_metadata(_read_graph(graph))
    except (ValueError, UnknownFormError) as fault:
        raise TuiGenError(f"{graph} is not an ONNX file, or a damaged one") from fault


def _card_text(model: Path) -> str:
    """The text of config.json, of a folder or in the metadata of a graph."""
    if not model.is_file():
        return read_text(model / "config.json")
    text = _metadata(model).get(CARD_KEY)
    if not text:
        raise TuiGenError(
            f"{model} does not say what it is: its metadata has no {CARD_KEY}; put it into a folder as {GRAPH}, with "
            "its config.json and tokenizer.json, or export the network again"
        )
    return text


def read_card(folder: Path) -> ModelCard:
    """The card of a model, by its folder or graph. Raises TuiGenError that names the file and the fault."""
    text, path = _card_text(folder), folder if folder.is_file() else folder / "config.json"
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


def _check_hash(folder: Path, card: ModelCard, sha256: str) -> None:
    if card.sha256 and card.sha256 != sha256:
        graph = folder / "model.onnx"
        raise TuiGenError(
            f"{graph} is not the file that config.json describes (sha256 differs); export or copy it again"
        )


def codec_for(card: ModelCard, tokenizer: str | None, encoder: Encoder | None = None) -> TextCodec | ImageCodec:
    """The codec of a model. Raises TuiGenError that says what is wrong with tokenizer.json.

    tokenizer: its text. encoder: as of `PromptTokenizer`.
    """
    from tui_gen.images.codec import ImageCodec
    from tui_gen.text.codec import TextCodec

    if card.image:
        if card.image.conditions and not tokenizer:
            raise TuiGenError("is missing; the model's prompts need it")
        return ImageCodec(card, tokenizer, encoder)
    if not tokenizer:
        raise TuiGenError("is missing")
    return TextCodec(card, tokenizer, encoder)
