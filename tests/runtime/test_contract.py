"""Each way to break the contract names the input or output at fault."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tui_gen.errors import TuiGenError
from tui_gen.runtime.contract import STATE_TYPES, Port, check_contract

INT, FLOAT = "tensor(int64)", "tensor(float)"
TOKEN, LOGITS = Port("token", INT, ("batch",)), Port("logits", FLOAT, ("batch", 8))
H, NEXT_H = Port("state.h", FLOAT, ("batch", 2, 5)), Port("next.h", FLOAT, ("batch", 2, 5))
N, NEXT_N = Port("state.n", INT, ("batch",)), Port("next.n", INT, ("batch",))


def refusal(inputs: list[Port], outputs: list[Port]) -> str:
    with pytest.raises(TuiGenError) as caught:
        check_contract(inputs, outputs, 8)
    return str(caught.value)


def test_a_model_with_states_of_any_number_and_type_keeps_the_contract() -> None:
    check_contract([TOKEN], [LOGITS], 8)
    check_contract([TOKEN, H, N], [LOGITS, NEXT_H, NEXT_N], 8)
    for kind in STATE_TYPES:
        check_contract([TOKEN, replace(H, type=kind)], [LOGITS, replace(NEXT_H, type=kind)], 8)


def test_sizes_that_the_graph_leaves_open_in_its_outputs_are_accepted() -> None:
    check_contract([TOKEN, H], [replace(LOGITS, shape=(None, "v")), replace(NEXT_H, shape=("b", "x", 5))], 8)


@pytest.mark.parametrize("inputs", [[], [replace(TOKEN, name="ids")], [H, TOKEN]])
def test_the_first_input_must_be_token(inputs: list[Port]) -> None:
    message = refusal(inputs, [LOGITS])
    assert "the first input must be 'token'" in message
    assert (inputs[0].name if inputs else "none") in message


@pytest.mark.parametrize("outputs", [[], [replace(LOGITS, name="probs")], [NEXT_H, LOGITS]])
def test_the_first_output_must_be_logits(outputs: list[Port]) -> None:
    assert "the first output must be 'logits'" in refusal([TOKEN, H], outputs)


@pytest.mark.parametrize(
    "token", [replace(TOKEN, type=FLOAT), replace(TOKEN, shape=("b", "t")), replace(TOKEN, shape=(1,))]
)
def test_token_must_be_int64_with_a_free_batch(token: Port) -> None:
    assert f"'{token}' must be token: tensor(int64)[batch]" in refusal([token], [LOGITS])


@pytest.mark.parametrize(
    "logits",
    [
        replace(LOGITS, type="tensor(double)"),
        replace(LOGITS, shape=("b", 9)),
        replace(LOGITS, shape=(1, 8)),
        replace(LOGITS, shape=("b", 1, 8)),
    ],
)
def test_logits_must_be_float32_as_wide_as_the_vocabulary(logits: Port) -> None:
    assert f"'{logits}' must be logits: tensor(float)[batch, 8]" in refusal([TOKEN], [logits])


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        (replace(H, name="hidden"), "input 'hidden' must be named state.<name>"),
        (replace(H, type="tensor(string)"), "input 'state.h: tensor(string)[batch, 2, 5]' has a type"),
        (replace(H, shape=(1, 2, 5)), "must have a symbolic batch as its first dimension"),
        (replace(H, shape=()), "must have a symbolic batch as its first dimension"),
        (replace(H, shape=("batch", "time", 5)), "may have no symbolic dimension but the batch"),
        (replace(H, shape=("batch", 2**20, 2**20)), "is too large for a state"),
    ],
)
def test_a_state_must_be_named_typed_and_sized(state: Port, fault: str) -> None:
    assert fault in refusal([TOKEN, state], [LOGITS, NEXT_H])


@pytest.mark.parametrize("after", [[], [NEXT_H, NEXT_N, NEXT_N], [NEXT_N, NEXT_H], [NEXT_H, replace(NEXT_N, name="n")]])
def test_the_next_states_must_follow_in_the_order_of_the_states(after: list[Port]) -> None:
    assert "the outputs after 'logits' must be ['next.h', 'next.n']" in refusal([TOKEN, H, N], [LOGITS, *after])


@pytest.mark.parametrize(
    "after", [replace(NEXT_H, type=INT), replace(NEXT_H, shape=("b", 2, 6)), replace(NEXT_H, shape=("b", 2))]
)
def test_a_next_state_must_look_like_its_state(after: Port) -> None:
    assert f"'{after}' must be next.h: tensor(float)[batch, 2, 5]" in refusal([TOKEN, H], [LOGITS, after])
