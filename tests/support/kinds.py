"""Networks as strangers' scripts save them, and what must become of each: exact, asked, or refused with the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from export.read import read
from export.reader import ReadOptions
from export.verify import TOLERANCE, step_logits
from tui_gen.errors import TuiGenError
from tui_gen.library import codec_for
from tui_gen.runtime.model import Model
from tui_gen.runtime.operators import check_operators
from tui_gen.text.codec import TextCodec

Outcome = Literal["exact", "asked", "refused"]
Logits = Callable[[Tensor], Tensor]
_STEPS = 24
_BATCH = 2


@dataclass(frozen=True)
class Kind:
    """A network and how it is saved, with the outcome.

    `exact`: converts unaided, or with side files in `options`. `asked`: refuses with the question `says`, and is exact
    once `answers` are given. `refused`: for the reason `says`.
    """

    name: str
    save: Callable[[Path], tuple[Path, Logits]]
    """Writes into an empty folder as the script does. Returns what the exporter is given, and the network's own forward
    pass: of a text int64[batch, n] -> [batch, n, vocab]; of a picture, levels int64[batch, tokens] in raster order ->
    the logits of each, [batch, tokens, levels].
    """
    outcome: Outcome = "exact"
    says: str = ""
    """A regular expression."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """As typed after --assume; `scaling`, and other fields of `ReadOptions`, in `options`."""
    options: ReadOptions = field(default_factory=ReadOptions)
    replies: Mapping[str, object] = field(default_factory=dict)
    """Fields of `ReadOptions` that answer what is asked, where it is no --assume."""
    prompts: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Texts, and their tokens by the script's own vocabulary, the one that begins a text first."""
    prints: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Texts as the script prints these tokens."""

    factory: str = ""
    """`module:function` of the owner's, that builds the network."""

    def __str__(self) -> str:
        return self.name


def check(kind: Kind, folder: Path) -> None:
    """Fails if the outcome is another one, or if logits differ from the network's own."""
    torch.manual_seed(1)
    path, logits = kind.save(folder)
    if kind.outcome != "exact":
        with pytest.raises(TuiGenError, match=kind.says) as fault:
            read(path, kind.options, factory=kind.factory or None)[1].build()
        assert "\n" not in str(fault.value)
    if kind.outcome != "refused":
        options = replace(kind.options, assume={**kind.options.assume, **kind.answers}, **kind.replies)
        _compare(path, options, logits, kind.factory or None)
        _compare_texts(kind, path, options)


def _compare_texts(kind: Kind, path: Path, options: ReadOptions) -> None:
    if not (kind.prompts or kind.prints):
        return
    exportable = read(path, options)[1].build()
    codec = codec_for(exportable.card, exportable.tokenizer)
    assert isinstance(codec, TextCodec)
    assert {text: codec.prompt([text])[0].tolist() for text in kind.prompts} == dict(kind.prompts)
    assert {codec.decode(tokens): list(tokens) for tokens in kind.prints.values()} == dict(kind.prints)


def _compare(path: Path, options: ReadOptions, logits: Logits, factory: str | None) -> None:
    exportable = read(path, options, factory=factory)[1].build()
    graph = exportable.network.step_graph()
    card = exportable.network.completed(exportable.card)
    check_operators(graph.SerializeToString())
    model = Model(graph.SerializeToString(), card, provider="cpu")
    rng = np.random.default_rng(0)
    if card.image:
        levels = rng.integers(0, card.image.levels, (_BATCH, card.image.area))
        prompt = codec_for(card, exportable.tokenizer or None).prompt([""] * _BATCH)
        tokens, first = np.concatenate([prompt, levels[:, :-1]], axis=1), prompt.shape[1] - 1
    else:
        levels = tokens = rng.integers(0, card.vocab_size, (_BATCH, _STEPS))
        first = 0
    with torch.no_grad():
        expected = logits(torch.from_numpy(levels)).numpy()
    found = step_logits(model, tokens)[:, first:]
    assert found.shape == expected.shape
    # a script may put out log-probabilities, or logits with a constant added: the distribution is what counts
    found, expected = (values - values.max(axis=-1, keepdims=True) for values in (found, expected))
    assert np.abs(found - expected).max() <= TOLERANCE * max(1.0, float(np.ptp(expected)))
