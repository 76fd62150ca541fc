"""What a language model writes, beside what it was trained on: samples, ends, copies, variety."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_gen.generation.generate import generate
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import SamplingParams, Tokens
from tui_gen.text.codec import TextCodec

from ..training.data import Texts

TEMPERATURES = (0.5, 0.8, 1.1)
SAMPLES, LENGTH, EXCERPT, SEED = 200, 300, 200, 1
"""Samples that figures are taken from and their greatest length; tokens of a sample for people; the seed of all."""
_MULTIPLIER = np.uint64(6364136223846793005)


def text_report(loaded_model: LoadedModel, texts: Texts) -> dict[str, Any]:
    """`samples`, one unedited for each temperature, and `figures` by name, of samples at the card's temperature."""
    excerpts = [
        {"temperature": temperature, "text": _text(loaded_model, _sample(loaded_model, temperature, 1, EXCERPT)[0])}
        for temperature in TEMPERATURES
    ]
    samples = _sample(loaded_model, loaded_model.card.temperature, SAMPLES, LENGTH)
    return {"samples": excerpts, "figures": _figures(loaded_model, samples, texts)}


def _figures(loaded_model: LoadedModel, samples: Sequence[Tokens], texts: Texts) -> dict[str, str]:
    units = "characters" if texts.in_characters else "words and marks"
    how = f"{len(samples)} samples of up to {LENGTH} {units} at temperature {loaded_model.card.temperature:g}"
    prompt = _prompt(loaded_model, 1).shape[1]
    continuations = [sample[prompt:] for sample in samples]
    variety = distinct([_text(loaded_model, tokens, skip=0).split() for tokens in continuations], 2)
    figures = {"distinct-2 of words": f"{variety:.3f}, of {how}"} if variety else {}
    if texts.eos is not None:
        known = {document.tobytes() for document in texts.train}
        figures["end by themselves"] = f"{sum(tokens[-1] == texts.eos for tokens in continuations)} of {how}"
        figures["stand whole in the training data"] = f"{sum(sample.tobytes() in known for sample in samples)} of {how}"
    run = longest_copy([tokens[tokens != texts.eos] for tokens in continuations], texts.train)
    figures["longest run copied from the training text"] = f"{run} {units}, in {how}"
    return figures


def _prompt(loaded_model: LoadedModel, samples: int) -> Tokens:
    """The card's example, int64[samples, n]."""
    assert isinstance(loaded_model.codec, TextCodec)
    return loaded_model.codec.prompt([loaded_model.codec.complete(loaded_model.card.prompt_example)] * samples)


def _sample(loaded_model: LoadedModel, temperature: float, samples: int, length: int) -> list[Tokens]:
    """Each sample's tokens, prompt and end token included."""
    prompt = _prompt(loaded_model, samples)
    steps = list(generate(loaded_model.model, prompt, SamplingParams(temperature), length=length, seed=SEED))
    tokens = np.stack([prompt[:, 0], *(step.tokens for step in steps)], axis=1)
    live = np.stack([np.ones(samples, dtype=bool), *(step.live for step in steps)], axis=1)
    return [row[mask] for row, mask in zip(tokens, live, strict=True)]


def _text(loaded_model: LoadedModel, tokens: Tokens, *, skip: int = 1) -> str:
    """The text of a sample without its first tokens and its end."""
    assert isinstance(loaded_model.codec, TextCodec)
    reader = loaded_model.codec.reader()
    return "".join(reader.read(int(token)) for token in tokens[skip:] if token != loaded_model.card.eos).strip("\n")


def distinct(samples: Sequence[Sequence[Hashable]], size: int) -> float:
    """Different runs of so many tokens, as a part of all; 0 where there is none.

    Li et al., A Diversity-Promoting Objective Function for Neural Conversation Models, 2016.
    """
    runs = [tuple(sample[at : at + size]) for sample in samples for at in range(len(sample) - size + 1)]
    return len(set(runs)) / len(runs) if runs else 0.0


def longest_copy(samples: Sequence[Tokens], train: Sequence[Tokens]) -> int:
    """Tokens of the longest run of a sample that stands in a document of the training text as well."""
    least, most = 0, max((len(sample) for sample in samples), default=0)
    while least < most:  # a run that is copied has shorter ones in it, so that one can search by halves
        size = (least + most + 1) // 2
        is_copy = bool(np.isin(_hashes(samples, size), _hashes(train, size)).any())
        least, most = (size, most) if is_copy else (least, size - 1)
    return least


def _hashes(documents: Sequence[Tokens], size: int) -> NDArray[np.uint64]:
    """A number for each run of so many tokens; equal runs have equal ones, others hardly ever."""
    return np.concatenate([_document_hashes(document, size) for document in documents])


def _document_hashes(document: Tokens, size: int) -> NDArray[np.uint64]:
    if len(document) < size:
        return np.zeros(0, dtype=np.uint64)
    values, hashes = document.astype(np.uint64) + np.uint64(1), np.zeros(len(document) - size + 1, dtype=np.uint64)
    length, at = 1, 0
    power = values  # of runs whose length is a power of two; binary digits of `size` put the run together
    with np.errstate(over="ignore"):
        while True:
            if size & length:
                hashes = hashes * _power(length) + power[at : at + len(hashes)]
                at += length
            if length * 2 > size:
                return hashes
            power = power[:-length] * _power(length) + power[length:]
            length *= 2


def _power(exponent: int) -> np.uint64:
    return np.uint64(pow(int(_MULTIPLIER), exponent, 2**64))
