"""The trainings that can be asked for by name: data, network, and what the model card says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from tui_gen.card import ImageSpec, ModelCard
from tui_gen.text.tokenizer import PromptTokenizer

from ..build_tokenizer import phrase_tokenizer
from ..files import Source, source_of
from . import data

if TYPE_CHECKING:  # the help names the trainings, and would wait for PyTorch
    from .networks import BookConfig, CellName, NetworkConfig, PixelCNNConfig
    from .tasks import ImageTask, Task


@dataclass(frozen=True)
class Training:
    """Everything that a training run needs to know."""

    task: Task
    network: NetworkConfig
    tokenizer: Tokenizer
    """For prompts and, in a text model, for the text."""
    card: ModelCard
    """The model card as far as it is known before the export."""
    sample_length: int = 200
    """Tokens of each sample drawn after an epoch; their prompt is the card's example."""
    guidance: float | None = None
    """The scale of classifier-free guidance that those of pictures are drawn with; None for a network without."""


@dataclass(frozen=True)
class Preset:
    """A training by name. The numbers can be overridden on the command line."""

    name: str
    set_up: Callable[[str, Path, int], Training]
    """From the name, the data and the batch size."""
    data: str
    """What `--data` must name."""
    epochs: int
    batch_size: int
    learning_rate: float = 2e-3
    ema: float = 0.999
    """Decay of the moving average of the weights that samples and exports use."""

    def prepare(self, path: Path, batch_size: int) -> Training:
        """Reads the data and sets up batches of the given size."""
        return self.set_up(self.name, path, batch_size)


def _recipes(
    name: str,
    path: Path,
    batch_size: int,
    *,
    cell: CellName = "lstm",
    hidden_size: int = 128,
    layers: int = 1,
    dropout: float = 0.0,
    description: str = "Writes recipes, word by word, in the language of old cookbooks.",
) -> Training:
    """The networks of the book's chapter 5: an embedding of 100 and layers of units."""
    from .networks import RecurrentConfig
    from .tasks import DocumentTask

    texts = data.read_recipes(path)
    card = _text_card(
        name,
        path,
        texts,
        description=description,
        prompt_prefix="recipe for ",
        prompt_example="roasted vegetables",
        temperature=0.7,
    )
    network = RecurrentConfig(cell, card.vocab_size, 100, hidden_size, layers, dropout)
    return Training(DocumentTask(texts, batch_size), network, texts.tokenizer, card)


def _one_of_three(cell: CellName, label: str) -> Preset:
    """Recipes by networks that differ in the cell alone."""
    description = f"Writes recipes with one layer of 128 units, {label}: of three that differ in nothing else."
    return Preset(f"recipes-{cell}", partial(_recipes, cell=cell, description=description), _RECIPES, 5, 32, 4e-3)


def _characters(name: str, path: Path, batch_size: int, *, dropout: float, **facts: Any) -> Training:
    """Two layers of 256 gated units over one long text. facts: of the card."""
    from .networks import RecurrentConfig
    from .tasks import StreamTask

    texts = data.read_stream(path)
    card = _text_card(name, path, texts, **facts)
    network = RecurrentConfig("gru", card.vocab_size, 64, 256, 2, dropout)
    return Training(StreamTask(texts, batch_size), network, texts.tokenizer, card, sample_length=400)


def _names(name: str, path: Path, batch_size: int, **facts: Any) -> Training:
    """A layer of 128 plain units over a name at a time. facts: of the card."""
    from .networks import RecurrentConfig
    from .tasks import DocumentTask

    texts = data.read_lines(path)
    card = _text_card(name, path, texts, **facts)
    network = RecurrentConfig("rnn", card.vocab_size, 32, 128)
    return Training(DocumentTask(texts, batch_size), network, texts.tokenizer, card, sample_length=20)


def _pictures(
    name: str,
    path: Path,
    batch_size: int,
    *,
    read: Callable[[Path], data.Images] = data.read_idx,
    network: Callable[[data.Images], PixelCNNConfig | BookConfig],
    task: Callable[[data.Images, int], ImageTask],
    guidance: float | None = None,
    **facts: Any,
) -> Training:
    """facts: of the card."""
    images = read(path)
    card, tokenizer = _image_card(name, path, images, **facts)
    guidance = guidance if images.phrases else None
    return Training(task(images, batch_size), network(images), tokenizer, card, guidance=guidance)


def _two_stacks(images: data.Images, **sizes: Any) -> PixelCNNConfig:
    from .networks import PixelCNNConfig

    height, width = map(int, images.pixels.shape[1:])
    return PixelCNNConfig(height, width, images.levels, conditions=len(images.phrases), stacks=2, **sizes)


def _book(images: data.Images) -> BookConfig:
    from .networks import BookConfig

    height, width = map(int, images.pixels.shape[1:])
    return BookConfig(height, width, images.levels)


def _image_task(images: data.Images, batch_size: int, **options: Any) -> ImageTask:
    from .tasks import ImageTask

    return ImageTask(images, batch_size, **options)


def _book_images(path: Path) -> data.Images:
    return data.without_conditions(data.read_idx(path, levels=4, side=16))


_RECIPES = "recipes.jsonl: JSON lines of title and text"
_FASHION = "fashion_mnist: the folder of its four .gz files"
_labelled_greys = partial(
    _pictures,
    network=partial(_two_stacks, one_hot=False, kernel=5, channels=34, blocks=6),
    task=partial(_image_task, drop_condition=0.0),
)
_PRESETS = (
    Preset("recipes", partial(_recipes, hidden_size=192, layers=2, dropout=0.2), _RECIPES, 7, 32, 4e-3),
    _one_of_three("lstm", "LSTM"),
    _one_of_three("gru", "GRU"),
    _one_of_three("rnn", "plain RNN"),
    Preset(
        "grimm",
        partial(
            _characters,
            dropout=0.3,
            description="Tells fairy tales and fables, character by character.",
            prompt_example="There was once a ",
            temperature=0.7,
        ),
        "tales: a text in UTF-8, or a folder of .txt files, in order",
        epochs=14,
        batch_size=32,
        learning_rate=3e-3,
    ),
    Preset(
        "shakespeare",
        partial(
            _characters,
            dropout=0.2,
            description="Writes plays, character by character.",
            prompt_example="ROMEO:",
            temperature=0.8,
        ),
        "shakespeare.txt: any text in UTF-8",
        epochs=14,
        batch_size=32,
        learning_rate=3e-3,
    ),
    Preset(
        "names",
        partial(_names, description="Invents first names, letter by letter.", prompt_example="ma", temperature=0.9),
        "names.txt: a name on each line",
        epochs=20,
        batch_size=64,
        learning_rate=4e-3,
    ),
    Preset(
        "fashion",
        partial(_labelled_greys, description="Draws clothes of ten kinds in 16 greys.", prompt_example="ankle boot"),
        _FASHION,
        epochs=8,
        batch_size=32,
    ),
    Preset(
        "fashion-book",
        partial(
            _pictures,
            read=_book_images,
            network=_book,
            task=partial(_image_task, unit="nats per pixel"),
            description="Draws clothes in 4 greys and 16x16 pixels: the PixelCNN of the book's chapter 5.",
            prompt_example="",
        ),
        _FASHION,
        epochs=20,
        batch_size=64,
        learning_rate=1e-3,
    ),
    Preset(
        "digits",
        partial(
            _labelled_greys,
            read=partial(data.read_idx, classes=data.DIGITS),
            description="Writes the digits 0 to 9 by hand, in 16 greys.",
            prompt_example="7",
        ),
        "mnist: the folder of its four .gz files",
        epochs=6,
        batch_size=32,
    ),
    Preset(
        "adventurers",
        partial(
            _pictures,
            read=data.read_npz,
            network=partial(_two_stacks, one_hot=True, kernel=3, channels=40, blocks=7),
            task=partial(_image_task, drop_condition=0.1, short_prompts=0.2),
            description="Draws pixel-art adventurers with the dress and the arms that the prompt names.",
            prompt_example="elf woman, red cloak, bow",
            temperature=0.85,
            guidance=1.25,
        ),
        "adventurers.npz: pixels, palette and captions",
        epochs=8,
        batch_size=16,
    ),
)
PRESETS = {preset.name: preset for preset in _PRESETS}


def _text_card(name: str, path: Path, texts: data.Texts, **facts: Any) -> ModelCard:
    vocab_size = texts.tokenizer.get_vocab_size()
    card = ModelCard(name, "text", "", vocab_size, texts.bos, texts.eos, **vars(source_of(path)), **facts)
    return _with_known_example(card, texts.tokenizer)


def _image_card(name: str, path: Path, images: data.Images, **facts: Any) -> tuple[ModelCard, Tokenizer]:
    start = images.levels
    tokenizer = phrase_tokenizer(images.phrases, first_id=start + 1)
    height, width = map(int, images.pixels.shape[1:])
    conditions = tuple(range(start + 1, start + 1 + len(images.phrases)))
    spec = ImageSpec(height, width, images.levels, images.palette, conditions)
    source = _resized(source_of(path), images)
    card = ModelCard(name, "image", "", images.levels, bos=start, image=spec, **vars(source), **facts)
    return _with_known_example(card, tokenizer), tokenizer


def _resized(source: Source, images: data.Images) -> Source:
    """What is said of known pictures, with what became of them."""
    if images.palette or not source.credit:
        return source
    height, width = images.pixels.shape[1:]
    return replace(source, data=f"{source.data}, at {images.levels} grey levels and {height}x{width} pixels")


def _with_known_example(card: ModelCard, tokenizer: Tokenizer) -> ModelCard:
    """Without the example if the data, which a person may have chosen, has not all of its words."""
    unknown = PromptTokenizer(tokenizer.to_str()).unknown(card.prompt_example)
    return replace(card, prompt_example="") if unknown else card
