"""What a prompt moves in a picture is what is left when it is taken away."""

from __future__ import annotations

import numpy as np
import pytest

from tests.inspection.test_branch_trace import grown
from tui_gen.generation.describe import head_of
from tui_gen.inspection.branch_trace import BranchTrace
from tui_gen.inspection.conditioning import prompt_effect
from tui_gen.inspection.inside import Inside, trace
from tui_gen.library import LoadedModel, open_model
from tui_gen.sampling.params import Floats, Tokens, log_softmax


def logprobs(loaded_model: LoadedModel, tokens: Tokens) -> Floats:
    """After every token, [n, levels]."""
    state, rows = loaded_model.model.start(1), []
    for token in tokens:
        logits, state = loaded_model.model.step(np.array([token]), state)
        rows.append(log_softmax(logits)[0])
    return np.stack(rows)


def bits(one: Floats, other: Floats) -> Floats:
    result: Floats = (np.exp(one) * (one - other)).sum(axis=1) / np.log(2)
    return result


@pytest.mark.parametrize(("name", "prompt"), [("fashion", "ankle boot"), ("adventurers", "orc man, axe")])
def test_each_pixel_has_the_bits_by_which_the_prompt_changes_it(name: str, prompt: str) -> None:
    loaded_model = open_model(name, provider="cpu", threads=1)
    image, bos = loaded_model.card.image, loaded_model.card.bos
    assert image
    branch = grown(loaded_model, 220, prompt=loaded_model.codec.prompt([prompt]))
    head, position = head_of(branch, loaded_model.codec), 150
    looked = BranchTrace(branch, Inside(loaded_model.model))
    *parts, effect = prompt_effect(looked, image, head=head, position=position, empty=bos)
    assert np.isnan(parts[0].bits[100])
    tokens = branch.tokens[:, 0].astype(np.int64)
    phrases = [at for at, token in enumerate(tokens[:head]) if token in image.conditions]
    own, without = logprobs(loaded_model, tokens), np.where(np.isin(np.arange(len(tokens)), phrases), bos, tokens)
    drawn = slice(head - 1, len(tokens))
    np.testing.assert_allclose(
        effect.bits[: len(tokens) - head + 1], bits(own, logprobs(loaded_model, without))[drawn], atol=1e-5
    )
    assert [at for at, _ in effect.by_phrase] == (phrases if len(phrases) > 1 else [])
    for at, series in effect.by_phrase:
        alone = tokens.copy()
        alone[at] = bos
        np.testing.assert_allclose(
            series[: len(tokens) - head + 1], bits(own, logprobs(loaded_model, alone))[drawn], atol=1e-5
        )
    values, others = (trace(loaded_model.model, each).values for each in (tokens, without))
    layer = "blocks.3.vertical"
    one, other = (each[f"{layer}.features"][position] for each in (values, others))
    assert dict(effect.moved)[layer] == pytest.approx(np.linalg.norm(one - other) / np.linalg.norm(one), rel=1e-3)
