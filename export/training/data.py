"""Reading training data: documents, one long text or labelled pictures, with a part of each held out."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tui_gen.errors import TuiGenError
from tui_gen.files import MAX_BYTES, open_bytes
from tui_gen.json_fields import parse_json
from tui_gen.sampling.params import FREE, Tokens

from ..build_tokenizer import END, character_tokenizer, word_tokenizer

MAX_CHARACTERS = 10_000
"""Different ones in a text."""
_NPZ_NEEDED = "it must be what numpy.savez writes of pixels uint8[n, h, w], palette uint8[k, 3] and captions [n]"
DIGITS = tuple("0123456789")
FASHION_CLASSES = (
    "t-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


@dataclass(frozen=True)
class Texts:
    """Token sequences. A document begins and ends with the end token; a stream is one sequence without ends."""

    tokenizer: Tokenizer
    bos: int
    eos: int | None
    train: list[Tokens]
    held_out: list[Tokens]

    @property
    def in_characters(self) -> bool:
        """Whether each token is a character; otherwise it is a word or a mark."""
        return max(map(len, self.tokenizer.get_vocab())) == 1

    @property
    def unit(self) -> str:
        """What a loss is counted in."""
        return "nats per character" if self.in_characters else "nats per token"


@dataclass(frozen=True)
class Images:
    """Pictures as levels uint8[n, height, width], with the conditions that hold for each as uint8[n, conditions]."""

    levels: int
    phrases: tuple[str, ...]
    """Names of the conditions, as a person types them."""
    palette: tuple[tuple[int, int, int], ...] | None
    pixels: NDArray[np.uint8]
    conditions: NDArray[np.uint8]
    held_out: int
    """How many pictures at the end are held out."""

    @property
    def train(self) -> int:
        """How many before them are trained on."""
        return len(self.pixels) - self.held_out

    @property
    def area(self) -> int:
        """Pixels of a picture."""
        return int(self.pixels[0].size)


def pad(documents: Sequence[Tokens]) -> Tokens:
    """int64[documents, n], with `FREE` after the end of all but the longest."""
    batch = np.full((len(documents), max(map(len, documents))), FREE, dtype=np.int64)
    for row, document in zip(batch, documents, strict=True):
        row[: len(document)] = document
    return batch


def read_recipes(path: Path, *, max_tokens: int = 200, vocab_size: int = 10_000) -> Texts:
    """JSON lines of {title, text}: `recipe for TITLE | TEXT` in lower-cased words; recipes of up to max_tokens.

    One title in twenty is held out, by a hash, because recipes repeat between books.
    """
    lines = enumerate(_text(path).split("\n"), start=1)
    recipes = [_recipe(path, number, line) for number, line in lines if line.strip()]
    texts = [(f"recipe for {title} | {text}", _is_held_out(title.lower())) for title, text in recipes]
    splitter = word_tokenizer([], vocab_size=2).pre_tokenizer
    texts = [(text, out) for text, out in texts if len(splitter.pre_tokenize_str(text)) <= max_tokens]
    tokenizer = word_tokenizer((text for text, out in texts if not out), vocab_size=vocab_size)
    return _documents(texts, tokenizer, end=_id(tokenizer, END))


def read_lines(path: Path) -> Texts:
    """One short document a line, in characters; one line in twenty is held out, by a hash. A line's end ends it."""
    lines = [line.strip() for line in _text(path).splitlines() if line.strip()]
    tokenizer = _characters(path, "".join(lines), lowercase=all(line == line.lower() for line in lines))
    return _documents([(line, _is_held_out(line)) for line in lines], tokenizer, end=_id(tokenizer, "\n"))


def read_stream(path: Path) -> Texts:
    """One long text in characters, or a folder of .txt files one after another; the last tenth is held out."""
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    if not files:
        raise TuiGenError(f"{path} holds no .txt files")
    text = "\n".join(map(_text, files))
    tokenizer = _characters(path, text)
    ids = np.array(tokenizer.encode(text).ids, dtype=np.int64)
    train, held_out = np.split(ids, [len(ids) * 9 // 10])
    return Texts(tokenizer, _id(tokenizer, "\n"), None, [train], [held_out])


def read_idx(
    folder: Path, *, levels: int = 16, classes: Sequence[str] = FASHION_CLASSES, side: int | None = None
) -> Images:
    """A folder of the four gzipped idx files of MNIST or Fashion-MNIST; the test files are held out.

    side: of the pictures, if they are to be resized, bilinear without antialiasing, as the book does.
    """
    image_parts = [_idx(folder / f"{part}-images-idx3-ubyte.gz", 3) for part in ("train", "t10k")]
    label_parts = [_idx(folder / f"{part}-labels-idx1-ubyte.gz", 1) for part in ("train", "t10k")]
    sizes = {part.shape[1:] for part in image_parts}
    if list(map(len, image_parts)) != list(map(len, label_parts)) or len(sizes) > 1:
        raise TuiGenError(f"{folder} holds files that do not belong together: sizes or numbers of pictures differ")
    pixels, labels = np.concatenate(image_parts), np.concatenate(label_parts)
    greys = _resize(pixels, side) if side else pixels.astype(np.float64)
    if labels.max(initial=0) >= len(classes):
        raise TuiGenError(f"{folder} has a label {labels.max()}; there are {len(classes)} classes, counted from 0")
    pixels = (greys * levels // 256).astype(np.uint8)
    conditions = np.eye(len(classes), dtype=np.uint8)[labels]
    return Images(levels, tuple(classes), None, pixels, conditions, held_out=len(image_parts[1]))


def without_conditions(images: Images) -> Images:
    """The same pictures, unlabelled."""
    return replace(images, phrases=(), conditions=images.conditions[:, :0])


def _resize(pixels: NDArray[np.uint8], side: int) -> NDArray[np.float64]:
    """[n, h, w] -> [n, side, side]."""
    import torch  # read_idx is used without it, too

    planes = torch.from_numpy(pixels.astype(np.float32))[:, None]
    planes = torch.nn.functional.interpolate(planes, (side, side), mode="bilinear", antialias=False)
    return planes[:, 0].double().numpy()


def _check_size(path: Path) -> None:
    """Raises TuiGenError for a NumPy archive that unpacks to more than any file may have."""
    with open_bytes(path) as file, zipfile.ZipFile(file) as archive:
        size = sum(part.file_size for part in archive.infolist())
    if size > MAX_BYTES:
        raise TuiGenError(f"{path} unpacks to {size >> 20:,} MiB, which is too large for what it is")


def read_npz(path: Path, *, held_out: int = 2000) -> Images:
    """A NumPy archive of `pixels` uint8[n, h, w], `palette` uint8[k, 3] and `captions`, phrases between commas.

    held_out: how many pictures at the end, but at most a tenth.
    """
    try:
        _check_size(path)
        with np.load(path, allow_pickle=False) as archive:
            pixels, palette, captions = archive["pixels"], archive["palette"], archive["captions"]
    except KeyError as fault:
        raise TuiGenError(f"{path}: {fault.args[0]}; {_NPZ_NEEDED}") from fault
    except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as fault:
        raise TuiGenError(f"{path} is damaged or no .npz file; {_NPZ_NEEDED}") from fault
    if pixels.ndim != 3 or palette.shape[1:] != (3,) or captions.shape != pixels.shape[:1] or not pixels.size:
        shapes = f"{list(pixels.shape)}, {list(palette.shape)} and {list(captions.shape)}"
        raise TuiGenError(f"{path}: pixels, palette and captions must be [n, h, w], [k, 3] and [n], not {shapes}")
    if pixels.dtype != np.uint8 or pixels.max() >= len(palette):
        raise TuiGenError(f"{path}: pixels must be uint8 and less than {len(palette)}, the length of the palette")
    phrases_of = [[" ".join(phrase.lower().split()) for phrase in str(caption).split(",")] for caption in captions]
    phrases = sorted({phrase for row in phrases_of for phrase in row if phrase})
    if len(pixels) * len(phrases) > MAX_BYTES:
        raise TuiGenError(f"{path}: {len(phrases):,} phrases are too many for {len(pixels):,} pictures")
    number = {phrase: index for index, phrase in enumerate(phrases)}
    conditions = np.zeros((len(pixels), len(phrases)), dtype=np.uint8)
    for row, names in zip(conditions, phrases_of, strict=True):
        row[[number[phrase] for phrase in names if phrase]] = 1
    colours = tuple((int(r), int(g), int(b)) for r, g, b in palette)
    return Images(len(palette), tuple(phrases), colours, pixels, conditions, min(held_out, len(pixels) // 10))


def _recipe(path: Path, number: int, line: str) -> tuple[str, str]:
    """Title and text of a line of JSON."""
    with contextlib.suppress(TuiGenError):
        match parse_json(line):
            case {"title": str(title), "text": str(text)}:
                return title, text
    raise TuiGenError(f"{path}, line {number}, is not a JSON object with a title and a text")


def _documents(texts: list[tuple[str, bool]], tokenizer: Tokenizer, *, end: int) -> Texts:
    """texts: each with whether it is held out."""
    train, held_out = list[Tokens](), list[Tokens]()
    for encoding, (_, out) in zip(tokenizer.encode_batch([text for text, _ in texts]), texts, strict=True):
        (held_out if out else train).append(np.array([end, *encoding.ids, end], dtype=np.int64))
    return Texts(tokenizer, end, end, train, held_out)


def _characters(path: Path, text: str, *, lowercase: bool = False) -> Tokenizer:
    """A token for each character, and for the end of a line."""
    count = len(set(text))
    if count > MAX_CHARACTERS:
        raise TuiGenError(
            f"{path} has {count:,} different characters; a network of characters takes {MAX_CHARACTERS:,} at most"
        )
    return character_tokenizer(text + "\n", lowercase=lowercase)


def _id(tokenizer: Tokenizer, token: str) -> int:
    number = tokenizer.token_to_id(token)
    if number is None:
        raise TuiGenError(f"the text has no {token!r}, which separates its parts")
    return number


def _is_held_out(key: str) -> bool:
    return hashlib.sha256(key.encode()).digest()[0] % 20 == 0


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as fault:
        raise TuiGenError(f"{path} is not UTF-8 text: {fault.reason} at byte {fault.start}") from fault
    except OSError as fault:
        raise TuiGenError(f"{path} cannot be read: {fault.strerror}") from fault
    if not text.strip():
        raise TuiGenError(f"{path} is empty")
    return text


def _idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The idx format: two zero bytes, 8 for unsigned bytes, the number of dimensions, then each as a big-endian int."""
    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as fault:
        raise TuiGenError(f"{path} cannot be read: {fault}") from fault
    if raw[:4] != bytes([0, 0, 8, dimensions]):
        raise TuiGenError(f"{path} is not an idx file of bytes in {dimensions} dimensions")
    try:
        shape = np.frombuffer(raw, ">u4", dimensions, offset=4)
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except ValueError as fault:
        raise TuiGenError(f"{path} is cut short, or its header is wrong: {fault}") from fault
