"""However a language model is written and stored, its step function says what its own forward pass says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export.verify import step_logits
from tests.export.text.checkpoints import V, build, logits_of, model_of
from tests.export.text.layouts import LAYOUTS


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", LAYOUTS)
def test_the_step_function_equals_the_modules_own_forward_pass(name: str) -> None:
    layout = LAYOUTS[name]
    torch.manual_seed(3)
    module = layout.make().eval()
    exportable = build(layout.checkpoint(module), **layout.assume)
    model = model_of(exportable)
    for batch in (1, 5):
        tokens = np.random.default_rng(batch).integers(V, size=(batch, 20))
        whole = logits_of(module, tokens)
        np.testing.assert_allclose(step_logits(model, tokens), whole, atol=1e-5, rtol=0)
        oracle = exportable.network.sequence_logits(torch.from_numpy(tokens)).numpy()
        np.testing.assert_allclose(oracle, whole, atol=1e-5, rtol=0)
    if name != "weight norm":  # counts a length and a direction as one
        assert exportable.network.parameters_count == sum(weight.numel() for weight in module.parameters())
