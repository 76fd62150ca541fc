"""The trainings that can be asked for by name: data, network, and what the model card says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tokenizers import Tokenizer

from export.build_tokenizer import phrase_tokenizer
from export.files import Source, source_of
from export.training import data
from export.training.networks import BookConfig, Cell, NetworkConfig, PixelCNNConfig, RecurrentConfig
from export.training.tasks import DocumentTask, ImageTask, StreamTask, Task
from tui_gen.card import ImageSpec, ModelCard
from tui_gen.library import codec_for
from tui_gen.sampling.params import Tokens
from tui_gen.text.tokenizer import PromptTokenizer


@dataclass(frozen=True)
class Training:
    """Everything that a training run needs to know."""

    task: Task
    network: NetworkConfig
    tokenizer: Tokenizer | None
    """For prompts and, in a text model, for the text; None for pictures that take no prompt."""
    card: ModelCard
    """The model card as far as it is known before the export."""
    sample_length: int = 200
    """Tokens of the sample drawn after every epoch; its prompt is the card's example."""


@dataclass(frozen=True)
class Preset:
    """A training by name. The numbers can be overridden on the command line."""

    prepare: Callable[[Path, int], Training]
    """Reads the data and sets up batches of the given size."""
    data: str
    """What `--data` must name."""
    epochs: int
    batch_size: int
    learning_rate: float = 2e-3
    ema: float = 0.999
    """Decay of the moving average of the weights that samples and exports use."""


def _recipes(
    path: Path,
    batch_size: int,
    *,
    name: str,
    cell: Cell = "lstm",
    hidden: int = 128,
    layers: int = 1,
    dropout: float = 0.0,
    description: str = "Writes recipes, word by word, in the language of old cookbooks.",
) -> Training:
    """The networks of the book's chapter 5: an embedding of 100 and layers of units."""
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
    network = _recurrent(cell, card, embedding=100, hidden=hidden, layers=layers, dropout=dropout)
    return Training(DocumentTask(texts, batch_size), network, texts.tokenizer, card)


def _characters(
    path: Path,
    batch_size: int,
    *,
    name: str,
    description: str,
    prompt_example: str,
    temperature: float,
    dropout: float,
) -> Training:
    """Two layers of 256 gated units over one long text."""
    texts = data.read_stream(path)
    card = _text_card(
        name, path, texts, description=description, prompt_example=prompt_example, temperature=temperature
    )
    network = _recurrent("gru", card, embedding=64, hidden=256, layers=2, dropout=dropout)
    return Training(StreamTask(texts, batch_size), network, texts.tokenizer, card, sample_length=400)


_shakespeare = partial(
    _characters,
    name="shakespeare",
    description="Writes plays, character by character.",
    prompt_example="ROMEO:",
    temperature=0.8,
    dropout=0.2,
)
_grimm = partial(
    _characters,
    name="grimm",
    description="Tells fairy tales and fables, character by character.",
    prompt_example="There was once a ",
    temperature=0.7,
    dropout=0.3,
)


def _names(path: Path, batch_size: int) -> Training:
    texts = data.read_lines(path)
    card = _text_card(
        "names",
        path,
        texts,
        description="Invents first names, letter by letter.",
        prompt_example="ma",
        temperature=0.9,
    )
    network = _recurrent("rnn", card, embedding=32, hidden=128)
    return Training(DocumentTask(texts, batch_size), network, texts.tokenizer, card, sample_length=20)


def _fashion(path: Path, batch_size: int) -> Training:
    images = data.read_idx(path)
    card, tokenizer = _image_card(
        "fashion",
        path,
        images,
        description="Draws clothes of ten kinds in 16 greys.",
        prompt_example="ankle boot",
    )
    network = _pixelcnn(images, one_hot=False, kernel=5, channels=34, blocks=6, stacks=2)
    return Training(ImageTask(images, batch_size, drop_condition=0.0), network, tokenizer, card)


def _fashion_book(path: Path, batch_size: int) -> Training:
    images = data.unlabelled(data.read_idx(path, levels=4, side=16))
    card, tokenizer = _image_card(
        "fashion-book",
        path,
        images,
        description="Draws clothes in 4 greys and 16x16 pixels: the PixelCNN of the book's chapter 5.",
        prompt_example="",
    )
    height, width = images.pixels.shape[1:]
    network = BookConfig(int(height), int(width), images.levels)
    return Training(ImageTask(images, batch_size, unit="nats per pixel"), network, tokenizer, card)


def _digits(path: Path, batch_size: int) -> Training:
    images = data.read_idx(path, classes=data.DIGITS)
    card, tokenizer = _image_card(
        "digits", path, images, description="Writes the digits 0 to 9 by hand, in 16 greys.", prompt_example="7"
    )
    network = _pixelcnn(images, one_hot=False, kernel=5, channels=34, blocks=6, stacks=2)
    return Training(ImageTask(images, batch_size, drop_condition=0.0), network, tokenizer, card)


def _adventurers(path: Path, batch_size: int) -> Training:
    images = data.read_npz(path)
    card, tokenizer = _image_card(
        "adventurers",
        path,
        images,
        description="Draws pixel-art adventurers with the dress and the arms that the prompt names.",
        prompt_example="elf woman, red cloak, bow",
        temperature=0.85,
    )
    network = _pixelcnn(images, one_hot=True, kernel=3, channels=40, blocks=7, stacks=2)
    task = ImageTask(images, batch_size, drop_condition=0.1, short_prompts=0.2)
    return Training(task, network, tokenizer, card)


_RECIPES = "recipes.jsonl: JSON lines of title and text"
_ONE_OF_THREE = "Writes recipes with one layer of 128 units, {}: of three that differ in nothing else."

PRESETS = {
    "recipes": Preset(partial(_recipes, name="recipes", hidden=192, layers=2, dropout=0.2), _RECIPES, 7, 32, 4e-3),
    "recipes-lstm": Preset(
        partial(_recipes, name="recipes-lstm", description=_ONE_OF_THREE.format("LSTM")), _RECIPES, 5, 32, 4e-3
    ),
    "recipes-gru": Preset(
        partial(_recipes, name="recipes-gru", cell="gru", description=_ONE_OF_THREE.format("GRU")),
        _RECIPES,
        5,
        32,
        4e-3,
    ),
    "recipes-rnn": Preset(
        partial(_recipes, name="recipes-rnn", cell="rnn", description=_ONE_OF_THREE.format("plain RNN")),
        _RECIPES,
        5,
        32,
        4e-3,
    ),
    "grimm": Preset(_grimm, "tales: a text in UTF-8, or a folder of .txt files, in order", 14, 32, 3e-3),
    "shakespeare": Preset(_shakespeare, "shakespeare.txt: any text in UTF-8", 14, 32, learning_rate=3e-3),
    "names": Preset(_names, "names.txt: a name on each line", 20, 64, learning_rate=4e-3),
    "fashion": Preset(_fashion, "fashion_mnist: the folder of its four .gz files", 8, 32),
    "fashion-book": Preset(_fashion_book, "fashion_mnist: the folder of its four .gz files", 20, 64, 1e-3),
    "digits": Preset(_digits, "mnist: the folder of its four .gz files", 6, 32),
    "adventurers": Preset(_adventurers, "adventurers.npz: pixels, palette and captions", 8, 16),
}


def _text_card(name: str, path: Path, texts: data.Texts, *, prompt_example: str, **facts: object) -> ModelCard:
    return ModelCard(
        name=name,
        kind="text",
        architecture="",
        vocab_size=texts.tokenizer.get_vocab_size(),
        bos=texts.bos,
        eos=texts.eos,
        prompt_example=_if_known(prompt_example, texts.tokenizer),
        **vars(source_of(path)),
        **facts,  # type: ignore[arg-type]
    )


def _recurrent(
    cell: Cell, card: ModelCard, *, embedding: int, hidden: int, layers: int = 1, dropout: float = 0.0
) -> RecurrentConfig:
    return RecurrentConfig(cell, card.vocab_size, embedding, hidden, layers, dropout)


def _image_card(
    name: str, path: Path, images: data.Images, *, prompt_example: str, **facts: object
) -> tuple[ModelCard, Tokenizer]:
    start = images.levels
    tokenizer = phrase_tokenizer(images.phrases, first_id=start + 1)
    height, width = images.pixels.shape[1:]
    conditions = tuple(range(start + 1, start + 1 + len(images.phrases)))
    spec = ImageSpec(int(height), int(width), images.levels, images.palette, conditions)
    seen = _as_seen(source_of(path), images)
    card = ModelCard(
        name=name,
        kind="image",
        architecture="",
        vocab_size=images.levels,
        bos=start,
        image=spec,
        prompt_example=_if_known(prompt_example, tokenizer),
        **vars(seen),
        **facts,  # type: ignore[arg-type]
    )
    return card, tokenizer


def _as_seen(source: Source, images: data.Images) -> Source:
    """What is said of known pictures, with what became of them."""
    if images.palette or not source.credit:
        return source
    height, width = images.pixels.shape[1:]
    return replace(source, data=f"{source.data}, at {images.levels} grey levels and {height}x{width} pixels")


def _if_known(example: str, tokenizer: Tokenizer) -> str:
    """The prompt, or none if the data, which a person may have chosen, has not all of its words."""
    return "" if PromptTokenizer(tokenizer.to_str()).unknown(example) else example


def _pixelcnn(
    images: data.Images, *, one_hot: bool, kernel: int, channels: int, blocks: int, stacks: int = 1
) -> PixelCNNConfig:
    height, width = (int(size) for size in images.pixels.shape[1:])
    sizes = (height, width, images.levels, channels, blocks, kernel)
    return PixelCNNConfig(*sizes, one_hot=one_hot, conditions=len(images.phrases), stacks=stacks)


def sample_prompt(training: Training, card: ModelCard) -> Tokens:
    """The card's example as one row of token ids. card: the training's, completed for the step function."""
    codec = codec_for(card, training.tokenizer.to_str() if training.tokenizer else None)
    return codec.prompt([training.card.prompt_prefix + training.card.prompt_example])
