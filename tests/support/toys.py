"""Real tiny models, built with onnx.helper and without torch: what is tested is the runtime that people run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from export.build_tokenizer import character_tokenizer, phrase_tokenizer, word_tokenizer
from tui_gen.library import CARD_KEY, TOKENIZER_KEY, read_card
from tui_gen.runtime.onnx_graph import with_metadata

WORDS = ("<end>", "<unk>", "the", "cat", "dog", "sat", "ran", ".")
END, UNKNOWN, THE, CAT, DOG, SAT, RAN, DOT = range(8)
GREEDY_TEXT = "cat sat. the cat sat. the cat sat. the"
"""What the text model says after `the` at temperature 0, before it ends."""

CHARACTERS = "\n abc"

HEIGHT, WIDTH, LEVELS = 4, 6, 3
START, BRIGHT, DARK, WARM_UP = 3, 4, 5, 6
PHRASES = ("bright", "deep dark")
IMAGE = {"height": HEIGHT, "width": WIDTH, "levels": LEVELS, "conditions": [BRIGHT, DARK]}
STRIPES = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) % LEVELS
"""What the image model draws at temperature 0 without a condition; `bright` turns every pixel to the last level."""
STRIPE_GREYS = np.array([0, 128, 255])[STRIPES]
FLAG = np.stack([np.resize([[2, 0, 0], [0, 2, 0], [0, 0, 2]], (WIDTH, 3))] * HEIGHT)
"""Levels of red, green and blue [height, width, 3]: red, green and blue columns, what the model in colour draws."""


def _bigrams() -> NDArray[np.float32]:
    table = np.zeros((len(WORDS), len(WORDS)), dtype=np.float32)
    table[:, END], table[:, UNKNOWN] = -4.25, -9
    likely = {END: THE, UNKNOWN: DOT, THE: CAT, CAT: SAT, DOG: RAN, SAT: DOT, RAN: DOT, DOT: THE}
    for word, following in likely.items():
        table[word, following] = 2
    table[THE, DOG] = table[CAT, RAN] = 1
    return table


BIGRAMS = _bigrams()


def text_graph(table: NDArray[np.float32] = BIGRAMS, *, growth: float = 0.5) -> bytes:
    """Logits of the next token are a row of the table; each token read adds `growth` to the logit of token 0."""
    vocab = len(table)
    constants = {
        "table": table.astype(np.float32),
        "growth": np.eye(1, vocab, dtype=np.float32) * np.float32(growth),
        "one": np.ones((1, 1), dtype=np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "token"], ["row"]),
        helper.make_node("Mul", ["state.count", "growth"], ["grown"]),
        helper.make_node("Add", ["row", "grown"], ["logits"]),
        helper.make_node("Add", ["state.count", "one"], ["next.count"]),
    ]
    return _graph(nodes, constants, vocab, {"count": (TensorProto.FLOAT, (1,))})


def image_graph(pattern: NDArray[Any] = STRIPES, *, ahead: int = 0, leaky: bool = False) -> bytes:
    """The pattern, pulled to the last level by `bright` and to the first by `deep dark`.

    Pixels and warm-up tokens are counted in an int64; the pattern begins after `ahead` of them. A leaky one adds the
    mean of the tokens that all samples have just read.
    """
    pull = np.zeros((WARM_UP + 1, LEVELS), dtype=np.float32)
    pull[BRIGHT, LEVELS - 1] = pull[DARK, 0] = 8
    constants = {
        "pattern": 4 * np.eye(LEVELS, dtype=np.float32)[np.roll(pattern.ravel(), ahead)],
        "pull": pull,
        "counted": np.array([*[1] * LEVELS, 0, 0, 0, 1]),
        "area": np.array(pattern.size),
        "share": np.array(float(leaky), dtype=np.float32),
        "samples": np.array([0]),
    }
    nodes = [
        helper.make_node("Gather", ["counted", "token"], ["count"]),
        helper.make_node("Add", ["state.position", "count"], ["next.position"]),
        helper.make_node("Gather", ["pull", "token"], ["pulled"]),
        helper.make_node("Add", ["state.condition", "pulled"], ["next.condition"]),
        helper.make_node("Mod", ["next.position", "area"], ["at"]),
        helper.make_node("Gather", ["pattern", "at"], ["row"]),
        helper.make_node("Cast", ["token"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["number", "samples"], ["mean"]),
        helper.make_node("Mul", ["mean", "share"], ["leak"]),
        helper.make_node("Add", ["next.condition", "leak"], ["moved"]),
        helper.make_node("Add", ["row", "moved"], ["logits"]),
    ]
    states = {"position": (TensorProto.INT64, ()), "condition": (TensorProto.FLOAT, (LEVELS,))}
    return _graph(nodes, constants, LEVELS, states)


def remembering_graph(weights: Mapping[int, float], *, threshold: float = 0.0) -> bytes:
    """The logit of level 1 is a weighted sum of the last tokens, by how many tokens ago; nothing below a threshold."""
    length = max(weights)
    table = np.zeros((length, LEVELS), dtype=np.float32)
    for ago, weight in weights.items():
        table[length - ago, 1] = weight
    constants = {
        "table": table,
        "threshold": np.array(-threshold, dtype=np.float32),
        "behind": np.array([1]),
        "first": np.array([1]),
        "last": np.array([length + 1]),
    }
    nodes = [
        helper.make_node("Cast", ["token"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["number", "behind"], ["newest"]),
        helper.make_node("Concat", ["state.read", "newest"], ["all"], axis=1),
        helper.make_node("Slice", ["all", "first", "last", "behind"], ["next.read"]),
        helper.make_node("MatMul", ["next.read", "table"], ["sums"]),
        helper.make_node("Add", ["sums", "threshold"], ["above"]),
        helper.make_node("Relu", ["above"], ["logits"]),
    ]
    return _graph(nodes, constants, LEVELS, {"read": (TensorProto.FLOAT, (length,))})


def layered_graph(**shapes: tuple[int, ...]) -> bytes:
    """Logits of the next token are a row of a table; each part of the state, of any names and shapes, is halved."""
    constants = {"table": BIGRAMS, "half": np.array(0.5, dtype=np.float32)}
    nodes = [helper.make_node("Gather", ["table", "token"], ["logits"])]
    names = {name.replace("_", "."): (TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    nodes += [helper.make_node("Mul", [f"state.{name}", "half"], [f"next.{name}"]) for name in names]
    return _graph(nodes, constants, len(WORDS), names)


def text_folder(path: Path, *, graph: bytes = b"", tokenizer: str = "", **card: Any) -> Path:
    """Words in short sentences that end after about a dozen of them. `card` changes config.json."""
    facts = {"kind": "text", "architecture": "toy bigrams", "vocab_size": len(WORDS), "bos": END, "eos": END}
    return _write(path, graph or text_graph(), {**facts, **card}, tokenizer or words())


def endless_text_folder(path: Path, **changes: Any) -> Path:
    """The same words, but they never end: for runs that are paused, turned and stopped."""
    return text_folder(path, **{"graph": text_graph(growth=-1.0), "eos": None, **changes})


def running_text_folder(path: Path) -> Path:
    """The same words and no end, but in these texts most cats run."""
    table = BIGRAMS.copy()
    table[CAT, RAN] += 2
    return endless_text_folder(path, graph=text_graph(table, growth=-1.0))


def character_folder(path: Path, **changes: Any) -> Path:
    """The letters a, b and c, the space and the newline, which ends a text; no token stands for unknown letters."""
    table = np.zeros((len(CHARACTERS), len(CHARACTERS)), dtype=np.float32)
    facts = {"graph": text_graph(table), "tokenizer": characters(), "vocab_size": len(CHARACTERS), **changes}
    return text_folder(path, **facts)


def image_folder(path: Path, *, graph: bytes = b"", tokenizer: str | None = None, **card: Any) -> Path:
    """4 x 6 pixels of 3 greys, with two conditions. `tokenizer=""` leaves tokenizer.json out."""
    facts = {"kind": "image", "architecture": "toy stripes", "vocab_size": LEVELS, "bos": START, "image": IMAGE}
    return _write(path, graph or image_graph(), {**facts, **card}, phrases() if tokenizer is None else tokenizer)


def colour_folder(path: Path, **changes: Any) -> Path:
    """The same in colour: three tokens a pixel, and no conditions."""
    image = {"height": HEIGHT, "width": WIDTH, "levels": LEVELS, "channels": 3}
    return image_folder(path, **{"graph": image_graph(FLAG), "tokenizer": "", "image": image, **changes})


def warm_up_folder(path: Path, **changes: Any) -> Path:
    """The same stripes by a model that reads two tokens more before the first pixel; without them they are shifted."""
    facts = {"graph": image_graph(ahead=2), "image": {**IMAGE, "warm_up": [WARM_UP, WARM_UP]}}
    return image_folder(path, **{**facts, **changes})


def lone_file(path: Path, folder: Path, *, without: str = "") -> Path:
    """The graph of a folder with what it takes to play it in its metadata, but for what is left out."""
    tokenizer = (folder / "tokenizer.json").read_text(encoding="utf-8")
    texts = {CARD_KEY: read_card(folder).lasting_json(), TOKENIZER_KEY: tokenizer}
    texts = {key: text for key, text in texts.items() if key != without}
    path.write_bytes(with_metadata((folder / "model.onnx").read_bytes(), texts))
    return path


def learned(folder: Path, *samples: Any, unit: str = "nats per token", prompt: str = "the", **facts: Any) -> Path:
    """Writes the log of a training with so many epochs, each with its sample as the first version wrote it, or, where
    `facts` say more of how it was drawn, with its samples."""
    key = "samples" if facts else "sample"
    lines = [
        {
            "epoch": at,
            "unit": unit,
            "train_loss": 4 / at,
            "validation_loss": 3 / at,
            "prompt": prompt,
            **facts,
            key: sample,
        }
        for at, sample in enumerate(samples, start=1)
    ]
    (folder / "training.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


def words() -> str:
    """tokenizer.json of the text model."""
    return str(word_tokenizer([" ".join(WORDS[2:])], vocab_size=len(WORDS), min_count=1).to_str())


def characters() -> str:
    """tokenizer.json of the character model."""
    return str(character_tokenizer(CHARACTERS, lowercase=True).to_str())


def phrases() -> str:
    """tokenizer.json of the image model."""
    return str(phrase_tokenizer(PHRASES, first_id=BRIGHT).to_str())


def multiplying(letter: str) -> str:
    """tokenizer.json of the text model that makes 10^24 letters of each one."""
    replacement = {"type": "Replace", "pattern": {"String": letter}, "content": letter * 1000}
    return json.dumps(json.loads(words()) | {"normalizer": {"type": "Sequence", "normalizers": [replacement] * 8}})


def bytes_bpe(*merges: tuple[str, str]) -> str:
    """tokenizer.json of byte-level pieces: every byte is a token, so most characters take several."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {piece: index for index, piece in enumerate([*alphabet, *map("".join, merges)])}
    tokenizer = Tokenizer(models.BPE(vocab, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return str(tokenizer.to_str())


def spoil(folder: Path, file: str, content: bytes | None) -> Path:
    """Overwrites a file of a model folder, or takes it away."""
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    return folder


def renamed(graph: bytes, old: str, new: str) -> bytes:
    """The graph with another name for one of its values."""
    model = onnx.load_from_string(graph)
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for port in (*model.graph.input, *model.graph.output):
        port.name = new if port.name == old else port.name
    return bytes(model.SerializeToString())


def with_external_data(graph: bytes, folder: Path) -> bytes:
    """The graph with its table moved into `weights.bin` in a folder."""
    model = onnx.load_from_string(graph)
    options: dict[str, Any] = {"location": "weights.bin", "size_threshold": 0}
    onnx.save_model(model, folder / "model.onnx", save_as_external_data=True, **options)
    return (folder / "model.onnx").read_bytes()


def _graph(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, NDArray[Any]],
    vocab: int,
    states: Mapping[str, tuple[int, tuple[int, ...]]],
) -> bytes:
    def ports(prefix: str) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(f"{prefix}.{name}", dtype, ["batch", *shape])
            for name, (dtype, shape) in states.items()
        ]

    token = helper.make_tensor_value_info("token", TensorProto.INT64, ["batch"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", vocab])
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "toy", [token, *ports("state")], [logits, *ports("next")], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _write(path: Path, graph: bytes, facts: dict[str, Any], tokenizer: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "model.onnx").write_bytes(graph)
    card = {"name": path.name, "sha256": hashlib.sha256(graph).hexdigest(), **facts}
    (path / "config.json").write_text(json.dumps(card), encoding="utf-8")
    if tokenizer:
        (path / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    return path
