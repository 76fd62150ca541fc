"""A network is proved to be the original by answers that its owner's module gave, in whatever layout they come."""

from __future__ import annotations

import io
import json
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.__main__ import main
from export.factory.read import read_factory
from export.original import compare_original, read_reference
from export.read import read
from export.reader import Exportable, Reading, ReadOptions
from tests.support import factories
from tests.support.damage import count_refusals, damaged, with_damaged_parts
from tests.support.factories import LEVELS, H, V, W
from tests.support.text_networks import E as WIDTH
from tests.support.text_networks import H as HIDDEN
from tests.support.text_networks import Usual
from tests.support.text_networks import V as TOKENS
from tui_gen.cli.main import main as tui_gen
from tui_gen.errors import TuiGenError
from tui_gen.library import open_model
from tui_gen.tui.widgets.header import about_text

BATCH, STEPS = 3, 8


def _compare(reading: Reading, path: Path, inputs: Tensor, logits: Tensor, **others: Tensor) -> float:
    arrays = {name: tensor.detach().numpy() for name, tensor in {"inputs": inputs, "logits": logits, **others}.items()}
    np.savez(path / "answers.npz", **arrays)
    exportable: Exportable = reading.build()
    reference = read_reference(path / "answers.npz")
    return compare_original(exportable.network, [reference], reading.diagnosis).relative_logit_difference


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> tuple[Reading, nn.Module]:
    torch.manual_seed(3)
    module, path = Usual(nn.LSTM(WIDTH, HIDDEN)).eval(), tmp_path_factory.mktemp("text") / "model.pt"
    torch.save(module.state_dict(), path)
    return read(path, ReadOptions())[1], module


TEXT: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "batch first": lambda ids, logits: (ids, logits),
    "time-major": lambda ids, logits: (ids.T, logits.transpose(0, 1)),
    "time-major, flat log-probabilities": lambda ids, logits: (
        ids.T,
        logits.transpose(0, 1).reshape(-1, TOKENS).log_softmax(1),
    ),
    "batch first, flat": lambda ids, logits: (ids, logits.reshape(-1, TOKENS)),
    "logits before time": lambda ids, logits: (ids, logits.transpose(1, 2)),
    "probabilities of the last step": lambda ids, logits: (ids, logits[:, -1].softmax(1)),
    "one-hot, time-major, last step": lambda ids, logits: (functional.one_hot(ids.T, TOKENS).float(), logits[:, -1:]),
    "one text": lambda ids, logits: (ids[0], logits[0]),
    "ids as floats with an axis": lambda ids, logits: (ids[:, :, None].float(), logits),
}


@pytest.mark.parametrize("layout", TEXT)
def test_answers_of_a_language_model_are_read_in_every_layout(
    layout: str, language: tuple[Reading, nn.Module], tmp_path: Path
) -> None:
    reading, module = language
    ids = torch.randint(TOKENS, (BATCH, STEPS), generator=torch.Generator().manual_seed(0))
    assert _compare(reading, tmp_path, *TEXT[layout](ids, module(ids))) < 1e-5


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda ids, logits: (ids, logits.flip(0)),
            "first in sample . after token 1 of 8, so what a single token passes",
        ),
        (lambda ids, logits: (ids, logits[..., 1:]), r"are \[3, 8, 10\] for inputs \[3, 8\], .*predicts 11 tokens"),
        (lambda ids, logits: (ids + 9, logits), "have token 19, and the network that was read knows 11"),
        (lambda ids, logits: (ids / 10, logits), "neither token ids nor one-hot of 11"),
    ],
)
def test_where_a_language_model_parts_from_the_original_is_told(
    change: Any, says: str, language: tuple[Reading, nn.Module], tmp_path: Path
) -> None:
    reading, module = language
    ids = torch.arange(BATCH * STEPS).view(BATCH, STEPS) % TOKENS
    with pytest.raises(TuiGenError, match=says) as fault:
        _compare(reading, tmp_path, *change(ids, module(ids)))
    assert "\n" not in str(fault.value)


PICTURES: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "as the module is called": lambda image, logits: (image, logits),
    "whole numbers": lambda image, logits: ((image * (LEVELS - 1)).round().long(), logits),
    "channels last": lambda image, logits: (image.permute(0, 2, 3, 1), logits.permute(0, 2, 3, 1)),
    "a depth of one": lambda image, logits: (image, logits[:, :, None]),
    "a row per picture": lambda image, logits: (image.flatten(1), logits.flatten(2).transpose(1, 2)),
    "a row per pixel": lambda image, logits: (image[:, 0], logits.permute(0, 2, 3, 1).reshape(-1, LEVELS)),
    "probabilities": lambda image, logits: (image, logits.softmax(1)),
}


def _drawing(factory: str = "label") -> Reading:
    options = ReadOptions(size=(H, W), scaling="level/(levels-1)")
    return read_factory(f"tests.support.factories:{factory}", None, options)


def _image() -> Tensor:
    return torch.randint(LEVELS, (BATCH, 1, H, W), generator=torch.Generator().manual_seed(0)) / (LEVELS - 1)


@pytest.mark.parametrize("layout", PICTURES)
def test_answers_of_a_picture_network_are_read_in_every_layout(layout: str, tmp_path: Path) -> None:
    torch.manual_seed(5)  # the class table of the module is random
    reading = _drawing()
    torch.manual_seed(5)
    module, labels = factories.label().eval(), torch.tensor([2, 0, 1])
    image = _image()
    inputs, logits = PICTURES[layout](image, module(image, labels))
    assert _compare(reading, tmp_path, inputs, logits, labels=labels) < 1e-5


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda image, logits: (image, torch.where(torch.arange(W) == 3, logits.flip(1), logits)), "row 0, column 3"),
        (lambda image, logits: (image * 2 - 1, logits), "are levels as --scaling -1..1 makes them"),
        (
            lambda image, logits: (functional.one_hot((image[:, 0] * 3).long(), 4).permute(0, 3, 1, 2), logits),
            r"are \[3, 4, 4, 5\], from 0 to 1: not pictures of 4x5",
        ),
        (lambda image, logits: (image[:, :, 1:], logits), "not pictures of 4x5 with 4 levels"),
        (lambda image, logits: (image, logits[:, 1:]), "of which no order is 4 levels of 3 pictures of 4x5"),
    ],
)
def test_where_a_picture_network_parts_from_the_original_is_told(change: Any, says: str, tmp_path: Path) -> None:
    module = factories.masks_data().eval()
    image = _image()
    with pytest.raises(TuiGenError, match=says) as fault:
        _compare(_drawing("masks_data"), tmp_path, *change(image, module(image)))
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"inputs": np.zeros(3)}, "holds inputs, and needs inputs, .* and logits"),
        ({"inputs": np.array([{}]), "logits": np.zeros(3)}, "inputs in .* must be plain numbers, .* not 1 of object"),
        ({"inputs": np.zeros(3), "logits": np.array([np.nan])}, "has numbers that are not finite"),
        ({"inputs": np.array(["a"]), "logits": np.zeros(3)}, "must be plain numbers"),
        ({"inputs": np.zeros(3), "logits": np.array([1j])}, "must be plain numbers, .* not 1 of complex128"),
        ({"inputs": np.zeros(3), "logits": np.zeros(3, np.float16)}, "are float16, too coarse to prove anything"),
    ],
)
def test_arrays_that_are_no_reference_are_told(arrays: dict[str, Any], says: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "answers.npz", **arrays)
    with pytest.raises(TuiGenError, match=says) as fault:
        read_reference(tmp_path / "answers.npz")
    assert "\n" not in str(fault.value)


def _single_array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


def _archive(*, length: int = 3) -> bytes:
    """length: what the head of the inputs claims."""
    file, head = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (length,)})
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("inputs", "logits"):
            archive.writestr(f"{name}.npy", head.getvalue() + bytes(12))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (_single_array(), "is a single array; write it with np.savez"),
        (_archive()[:200], "is a damaged or incomplete .npz file; write it with np.savez"),
        (pickle.dumps({}), "is no .npz file; write it with np.savez"),
        (_archive(length=2**40), "must be plain numbers, at most 268,435,456, not 1,099,511,627,776 of float32"),
    ],
)
def test_a_file_that_is_no_reference_is_told(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "answers.npz").write_bytes(content)
    with pytest.raises(TuiGenError, match=says) as fault:
        read_reference(tmp_path / "answers.npz")
    assert "\n" not in str(fault.value)


def test_damaged_references_are_told_cleanly(tmp_path: Path, language: tuple[Reading, nn.Module]) -> None:
    reading, module = language
    ids, path, rng = torch.arange(6).view(2, 3), tmp_path / "answers.npz", random.Random(0)
    np.savez(path, inputs=ids.numpy(), logits=module(ids).detach().numpy())
    original, exportable = path.read_bytes(), reading.build()
    mutants = [
        with_damaged_parts(original, rng, ".npy") if number % 2 else damaged(original, rng) for number in range(300)
    ]

    def compare() -> None:
        compare_original(exportable.network, [read_reference(path)], reading.diagnosis)

    assert count_refusals(path, mutants, compare) < len(mutants)


def test_a_folder_says_what_its_proof_is_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(3)
    module = Usual(nn.LSTM(WIDTH, HIDDEN)).eval()
    torch.save(module.state_dict(), tmp_path / "model.pt")
    ids = torch.arange(2 * STEPS).view(2, STEPS) % V
    answers = {"inputs": ids.numpy(), "logits": module(ids).detach().numpy()}
    np.savez(tmp_path / "answers.npz", **answers)
    words = [str(tmp_path / "model.pt"), "-o", str(tmp_path / "model")]

    assert main(words) == 0
    assert "that it was read right, this does not prove: --reference FILE.npz" in capsys.readouterr().out
    card = open_model(tmp_path / "model", provider="cpu").card
    assert card.export["parity"]["against"] == "the network as it was read"
    assert card.proof.endswith("steps, not with the original")

    assert main([*words, "--reference", str(tmp_path / "answers.npz")]) == 0
    printed = capsys.readouterr().out
    assert "the network as it was read, against the original: the logits in answers.npz:" in printed
    assert "this does not prove" not in printed
    loaded_model = open_model(tmp_path / "model", provider="cpu")
    card = loaded_model.card
    assert card.export["parity"]["against"] == "the original: the logits in answers.npz"
    assert card.proof in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert f"proved   {card.proof}" in about_text(loaded_model)
    assert tui_gen(["inspect", str(tmp_path / "model")]) == 0
    assert f"proved          {card.proof}\n" in capsys.readouterr().out
    assert json.loads((tmp_path / "model" / "config.json").read_text())["export"]["parity"]["original_positions"] == 16

    answers["logits"][1, 5] += np.arange(TOKENS)
    np.savez(tmp_path / "answers.npz", **answers)
    assert main([*words, "--reference", str(tmp_path / "answers.npz")]) == 1
    fault = capsys.readouterr().err
    assert "is not the original" in fault
    assert "first in sample 1 after token 6 of 8, so what is remembered of tokens is at fault" in fault
    assert "guessed was what its script does without tensors" in fault  # and not what changes no logit
