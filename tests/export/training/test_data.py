"""Training data: what is read, what is held out, and what is said of files that cannot be used."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.training.data import FASHION_CLASSES, Texts, read_idx, read_lines, read_npz, read_recipes, read_stream
from tests.support.export_training import write_data, write_idx
from tui_gen.errors import TuiGenError


def _decoded(texts: Texts, rows: list[Any]) -> list[str]:
    return [texts.tokenizer.decode([token for token in row if token != texts.eos]) for row in rows]


def test_recipes_become_prompts_with_an_end_on_both_sides(tmp_path: Path) -> None:
    texts = read_recipes(write_data("recipes", tmp_path))
    assert texts.bos == texts.eos == texts.tokenizer.token_to_id("<end>")
    assert all(row[0] == row[-1] == texts.eos and texts.eos not in row[1:-1] for row in texts.train + texts.held_out)
    recipe = "recipe for roasted vegetables | take 1/2 cup of vegetables, well-beaten. then roasted it."
    assert recipe in _decoded(texts, texts.train)


def test_recipes_of_one_title_are_held_out_together_and_their_words_stay_unknown(tmp_path: Path) -> None:
    path = tmp_path / "recipes.jsonl"
    titles = [f"{kind} number{number}" for number in range(60) for kind in ("Cake", "CAKE", "cake")]
    path.write_text("".join(json.dumps({"title": title, "text": "eat it"}) + "\n" for title in titles))
    texts = read_recipes(path)
    train = Counter(_decoded(texts, texts.train))
    assert set(train.values()) == {3}
    assert not any("<unk>" in text for text in train)
    assert set(_decoded(texts, texts.held_out)) == {"recipe for cake <unk> | eat it"}
    assert len(texts.train) + len(texts.held_out) == 180


def test_long_recipes_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "recipes.jsonl"
    rows = [{"title": f"t{n}", "text": "stir " * (40 if n % 2 else 5)} for n in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = read_recipes(path, max_tokens=20)
    assert len(texts.train) + len(texts.held_out) == 30


def test_a_line_may_hold_any_character_that_json_allows(tmp_path: Path) -> None:
    path = tmp_path / "recipes.jsonl"
    rows = [{"title": f"t{n}", "text": "one\u2028two\x85three"} for n in range(30)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n\n" for row in rows), encoding="utf-8")
    texts = read_recipes(path)
    assert len(texts.train) + len(texts.held_out) == 30


def test_names_are_lines_in_characters_which_a_line_end_ends(tmp_path: Path) -> None:
    texts = read_lines(write_data("names", tmp_path))
    train, held_out = set(_decoded(texts, texts.train)), set(_decoded(texts, texts.held_out))
    assert texts.eos == texts.tokenizer.token_to_id("\n")
    assert "marin" in train | held_out
    assert held_out
    assert not train & held_out
    assert (
        texts.tokenizer.encode("MARIN").ids == texts.tokenizer.encode("marin").ids
    )  # all its names are in small letters


def test_a_stream_keeps_every_character_and_holds_out_its_end(tmp_path: Path) -> None:
    path = write_data("shakespeare", tmp_path)
    texts = read_stream(path)
    assert texts.eos is None
    text = texts.tokenizer.decode([*texts.train[0], *texts.held_out[0]])
    assert text == path.read_text(encoding="utf-8")
    assert len(texts.train[0]) == len(text) * 9 // 10


def test_idx_files_become_few_greys_with_their_class(tmp_path: Path) -> None:
    images = read_idx(write_data("fashion", tmp_path))
    assert images.pixels.shape == (100, 5, 9)
    assert images.phrases == FASHION_CLASSES
    assert (images.levels, images.held_out, images.palette) == (16, 20, None)
    classes = images.conditions.argmax(axis=1)
    np.testing.assert_array_equal(images.conditions.sum(axis=1), 1)
    np.testing.assert_array_equal(images.pixels[:, 0, 0], 25 * classes * 16 // 256)


def test_captions_become_conditions_in_any_case_and_spacing(tmp_path: Path) -> None:
    images = read_npz(write_data("adventurers", tmp_path))
    assert images.phrases == ("bow", "elf woman", "orc", "red cloak")
    np.testing.assert_array_equal(images.conditions[:4], [[0, 1, 0, 1], [1, 1, 0, 1], [1, 0, 1, 0], [0, 0, 1, 0]])
    assert images.levels == 4
    assert images.palette is not None
    assert images.palette[1] == (250, 0, 0)


def test_a_small_archive_holds_out_a_tenth(tmp_path: Path) -> None:
    path = write_data("adventurers", tmp_path)
    assert read_npz(path).held_out == 6
    assert read_npz(path, held_out=2).held_out == 2


def test_a_caption_without_words_names_no_condition(tmp_path: Path) -> None:
    _npz(tmp_path / "x.npz", captions=np.array(["", "orc, ", ", bow"]))
    images = read_npz(tmp_path / "x.npz")
    assert images.phrases == ("bow", "orc")
    np.testing.assert_array_equal(images.conditions, [[0, 0], [0, 1], [1, 0]])


def _npz(path: Path, **others: Any) -> None:
    arrays: dict[str, Any] = {
        "pixels": np.zeros((3, 4, 4), np.uint8),
        "palette": np.zeros((2, 3), np.uint8),
        "captions": np.array(["a", "b", "c"]),
    }
    with path.open("wb") as file:
        np.savez(file, **{name: array for name, array in {**arrays, **others}.items() if array is not None})


def _npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


Spoil = Callable[[Path], object]
TEXT_FAULTS: dict[str, tuple[Spoil, str]] = {
    "missing": (lambda path: None, "cannot be read: No such file"),
    "folder": (lambda path: path.mkdir(), "(cannot be read: Is a directory|holds no .txt files)"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "blank": (lambda path: path.write_bytes(b"\n \n"), "is empty"),
    "latin-1": (lambda path: path.write_bytes("crème brûlée\n".encode("latin-1")), "is not UTF-8 text: .* at byte 2"),
    "binary": (lambda path: path.write_bytes(gzip.compress(b"text")), "is not UTF-8 text"),
}
RECIPE_FAULTS: dict[str, tuple[Spoil, str]] = {
    "not json": (lambda path: path.write_text('{"title": "a", "text": "b"}\noops\n'), "line 2, is not a JSON object"),
    "cut short": (lambda path: path.write_text('{"title": "a", "te'), "line 1, is not a JSON object"),
    "no title": (lambda path: path.write_text('{"text": "b"}\n'), "line 1, is not .* with a title and a text"),
    "no text": (lambda path: path.write_text('\n{"title": "b"}\n'), "line 2, is not .* with a title and a text"),
    "title null": (lambda path: path.write_text('{"title": null, "text": "b"}'), "with a title and a text"),
    "a list": (lambda path: path.write_text("[1, 2]\n"), "line 1, is not a JSON object"),
    "a number": (lambda path: path.write_text("7\n"), "line 1, is not a JSON object"),
}


def _claim(path: Path) -> None:
    """Arrays of which the list of the zip file says that they are larger than they are."""
    _npz(path)
    content = bytearray(path.read_bytes())
    size = content.index(b"PK\x01\x02") + 24
    content[size : size + 4] = (3 * 2**30).to_bytes(4, "little")
    path.write_bytes(content)


NPZ_FAULTS: dict[str, tuple[Spoil, str]] = {
    "missing": (lambda path: None, "cannot be read: No such file"),
    "empty": (lambda path: path.write_bytes(b""), "is damaged or no .npz file"),
    "text": (lambda path: path.write_text("pixels"), "no .npz file; it must be what numpy.savez writes of pixels"),
    "one array": (_npy, "is damaged or no .npz file"),
    "pickles": (lambda path: _npz(path, captions=np.array([{"a": 1}] * 3, dtype=object)), "is damaged or no .npz"),
    "no palette": (lambda path: _npz(path, palette=None), "palette is not a file in the archive"),
    "no captions": (lambda path: _npz(path, captions=None), "captions is not a file in the archive"),
    "colour pixels": (lambda path: _npz(path, pixels=np.zeros((3, 4, 4, 3), np.uint8)), r"must be \[n, h, w\]"),
    "no pictures": (lambda path: _npz(path, pixels=np.zeros((0, 4, 4), np.uint8), captions=np.array([])), "must be"),
    "captions short": (lambda path: _npz(path, captions=np.array(["a"])), r"\[n\], not .* \[1\]"),
    "rgba palette": (lambda path: _npz(path, palette=np.zeros((2, 4), np.uint8)), r"\[k, 3\]"),
    "pixel beyond": (lambda path: _npz(path, pixels=np.full((3, 4, 4), 2, np.uint8)), "less than 2, the length"),
    "too large": (_claim, "unpacks to 3,072 MiB"),
    "float pixels": (lambda path: _npz(path, pixels=np.zeros((3, 4, 4))), "must be uint8"),
}
READERS = {"recipes": read_recipes, "lines": read_lines, "stream": read_stream}
CASES: dict[str, tuple[Callable[[Path], object], Spoil, str]] = {
    **{f"{kind}, {name}": (READERS[kind], *fault) for kind in READERS for name, fault in TEXT_FAULTS.items()},
    **{
        f"{kind}, too many characters": (
            READERS[kind],
            lambda path: path.write_text("".join(map(chr, range(0x4E00, 0x4E00 + 10_001))), encoding="utf-8"),
            "has 10,001 different characters; .* 10,000 at most",
        )
        for kind in ("lines", "stream")
    },
    **{f"recipes, {name}": (read_recipes, *fault) for name, fault in RECIPE_FAULTS.items()},
    **{f"npz, {name}": (read_npz, *fault) for name, fault in NPZ_FAULTS.items()},
}


@pytest.mark.parametrize(("reader", "spoil", "says"), CASES.values(), ids=CASES)
def test_a_bad_file_is_named(reader: Callable[[Path], object], spoil: Spoil, says: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.data"
    spoil(path)
    with pytest.raises(TuiGenError, match=f"{path}.*{says}"):
        reader(path)


IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
IDX_FAULTS: dict[str, tuple[str, Spoil, str]] = {
    "missing": (LABELS, lambda path: path.unlink(), f"{LABELS} cannot be read"),
    "empty": (IMAGES, lambda path: path.write_bytes(b""), f"{IMAGES} is not an idx file"),
    "not gzip": (IMAGES, lambda path: path.write_bytes(b"\0\0\x08\x03 and so on"), f"{IMAGES} cannot be read"),
    "cut gzip": (IMAGES, lambda path: path.write_bytes(path.read_bytes()[:-9]), f"{IMAGES} cannot be read"),
    "bad gzip": (IMAGES, lambda path: path.write_bytes(path.read_bytes()[:20] + b"\xff" * 30), f"{IMAGES} cannot be"),
    "wrong magic": (IMAGES, lambda path: write_idx(path, np.zeros(3)), f"{IMAGES} is not an idx file of bytes in 3"),
    "cut header": (IMAGES, lambda path: path.write_bytes(gzip.compress(bytes([0, 0, 8, 3, 0]))), f"{IMAGES} is cut"),
    "cut data": (
        IMAGES,
        lambda path: path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1])),
        f"{IMAGES} is cut short",
    ),
    "fewer labels": (LABELS, lambda path: write_idx(path, np.zeros(3)), "do not belong together"),
    "other size": (IMAGES, lambda path: write_idx(path, np.zeros((80, 9, 9))), "do not belong together"),
    "label 10": (LABELS, lambda path: write_idx(path, np.full(80, 10)), "has a label 10"),
}


@pytest.mark.parametrize(("name", "spoil", "says"), IDX_FAULTS.values(), ids=IDX_FAULTS)
def test_a_bad_idx_file_is_named(name: str, spoil: Spoil, says: str, tmp_path: Path) -> None:
    folder = write_data("fashion", tmp_path)
    spoil(folder / name)
    with pytest.raises(TuiGenError, match=f"{folder}.*{says}"):
        read_idx(folder)
