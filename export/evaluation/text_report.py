"""What a language model writes, beside what it was trained on: samples, ends, copies, variety."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.training.data import Ids, Texts
from tui_gen.generation.generate import generate
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import SamplingParams, Tokens
from tui_gen.text.codec import TextCodec

TEMPERATURES = (0.5, 0.8, 1.1)


SAMPLES, LENGTH, SHOWN, SEED = 200, 300, 200, 1
"""Samples that figures are taken from and their greatest length; tokens of a sample that is shown; the seed of all."""


_MULTIPLIER = np.uint64(6364136223846793005)


def text_report(loaded_model: LoadedModel, texts: Texts) -> dict[str, Any]:
    """`samples`, one unedited for each temperature, and `figures` by name, of samples at the card's temperature."""
    assert isinstance(loaded_model.codec, TextCodec)
    shown = [
        {"temperature": temperature, "text": _written(loaded_model, _sampled(loaded_model, temperature, 1, SHOWN)[0])}
        for temperature in TEMPERATURES
    ]
    made = _sampled(loaded_model, loaded_model.card.temperature, SAMPLES, LENGTH)
    return {"samples": shown, "figures": _figures(loaded_model, made, texts)}


def _figures(loaded_model: LoadedModel, made: Sequence[Ids], texts: Texts) -> dict[str, str]:
    assert isinstance(loaded_model.codec, TextCodec)
    units = "characters" if texts.in_characters else "words and marks"
    how = f"{len(made)} samples of up to {LENGTH} {units} at temperature {loaded_model.card.temperature:g}"
    prompt = loaded_model.codec.prompt([_prompt(loaded_model)]).shape[1]
    drawn = [sample[prompt:] for sample in made]
    variety = distinct([_written(loaded_model, sample, skip=0).split() for sample in drawn], 2)
    found = {"distinct-2 of words": f"{variety:.3f}, of {how}"} if variety else {}
    if texts.eos is not None:
        known = {document.tobytes() for document in texts.train}
        found["end by themselves"] = f"{sum(sample[-1] == texts.eos for sample in drawn)} of {how}"
        found["stand whole in the training data"] = f"{sum(sample.tobytes() in known for sample in made)} of {how}"
    run = longest_copy([_without(sample, texts.eos) for sample in drawn], texts.train)
    found["longest run copied from the training text"] = f"{run} {units}, in {how}"
    return found


def _without(tokens: Ids, end: int | None) -> Ids:
    return tokens[tokens != end]


def _prompt(loaded_model: LoadedModel) -> str:
    assert isinstance(loaded_model.codec, TextCodec)
    return loaded_model.codec.complete(loaded_model.card.prompt_example)


def _sampled(loaded_model: LoadedModel, temperature: float, samples: int, length: int) -> list[Ids]:
    """Each sample's tokens, prompt and end token included."""
    prompt = loaded_model.codec.prompt([_prompt(loaded_model)] * samples)
    steps = list(generate(loaded_model.model, prompt, SamplingParams(temperature), length=length, seed=SEED))
    tokens = np.stack([prompt[:, 0], *(step.tokens for step in steps)], axis=1)
    live = np.stack([np.ones(samples, dtype=bool), *(step.live for step in steps)], axis=1)
    return [row[mask] for row, mask in zip(tokens, live, strict=True)]


def _written(loaded_model: LoadedModel, tokens: Tokens, *, skip: int = 1) -> str:
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


def longest_copy(samples: Sequence[Ids], train: Sequence[Ids]) -> int:
    """Tokens of the longest run of a sample that stands in a document of the training text as well."""
    least, most = 0, max((len(sample) for sample in samples), default=0)
    while least < most:  # a run that is copied has shorter ones in it, so that one can search by halves
        size = (least + most + 1) // 2
        copied = bool(np.isin(_hashes(samples, size), _hashes(train, size)).any())
        least, most = (size, most) if copied else (least, size - 1)
    return least


def _hashes(documents: Sequence[Ids], size: int) -> NDArray[np.uint64]:
    """A number for each run of so many tokens; equal runs have equal ones, others hardly ever."""
    return np.concatenate([_document_hashes(document, size) for document in documents])


def _document_hashes(document: Ids, size: int) -> NDArray[np.uint64]:
    if len(document) < size:
        return np.zeros(0, dtype=np.uint64)
    values, found = document.astype(np.uint64) + np.uint64(1), np.zeros(len(document) - size + 1, dtype=np.uint64)
    length, at = 1, 0
    power = values  # of runs whose length is a power of two; binary digits of `size` put the run together
    with np.errstate(over="ignore"):
        while True:
            if size & length:
                found = found * _power(length) + power[at : at + len(found)]
                at += length
            if length * 2 > size:
                return found
            power = power[:-length] * _power(length) + power[length:]
            length *= 2


def _power(exponent: int) -> np.uint64:
    return np.uint64(pow(int(_MULTIPLIER), exponent, 2**64))
