"""The contract of every model: (token, *state) -> (logits, *state), batch first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tui_gen.errors import TuiGenError

MAX_STATE = 2**25
"""Numbers that a state may hold for one sample, with the logits."""
STATE_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
}
"""ONNX types that a state may have, and NumPy's names for them."""


@dataclass(frozen=True)
class Port:
    """An input or output of the graph: name, ONNX type, shape; a text in the shape is a symbolic dimension."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.type}[{', '.join(map(str, self.shape))}]"


def check_contract(inputs: Sequence[Port], outputs: Sequence[Port], vocab_size: int) -> None:
    """Raises TuiGenError that names the input or output which breaks the contract.

    Inputs: `token` int64[batch], then `state.<name>` [batch, ...]. Outputs: `logits` float32[batch, vocab_size], then
    `next.<name>` with the types and shapes of the states, in their order.
    """
    if not inputs or inputs[0].name != "token":
        raise _fault("the first input must be 'token'", inputs)
    if not outputs or outputs[0].name != "logits":
        raise _fault("the first output must be 'logits'", outputs)
    _check_port(inputs[0], "tensor(int64)", ())
    _check_port(outputs[0], "tensor(float)", (vocab_size,))
    for state in inputs[1:]:
        _check_state(state)
    names = [state.name.removeprefix("state.") for state in inputs[1:]]
    expected = [f"next.{name}" for name in names]
    if [port.name for port in outputs[1:]] != expected:
        raise _fault(f"the outputs after 'logits' must be {expected}", outputs[1:])
    for state, after in zip(inputs[1:], outputs[1:], strict=True):
        _check_port(after, state.type, state.shape[1:])
    numbers = vocab_size + sum(
        math.prod(size for size in port.shape[1:] if isinstance(size, int)) for port in inputs[1:]
    )
    if numbers > MAX_STATE:
        raise TuiGenError(
            f"model.onnx: a state and logits of {numbers:,} numbers a sample are refused; {MAX_STATE:,} are the most"
        )


def _check_state(port: Port) -> None:
    if not port.name.startswith("state."):
        raise TuiGenError(f"model.onnx: input '{port.name}' must be named state.<name>")
    if port.type not in STATE_TYPES:
        raise TuiGenError(f"model.onnx: input '{port}' has a type that a state cannot have")
    if not port.shape or isinstance(port.shape[0], int):
        raise TuiGenError(f"model.onnx: input '{port}' must have a symbolic batch as its first dimension")
    if not all(isinstance(size, int) and size >= 0 for size in port.shape[1:]):
        raise TuiGenError(f"model.onnx: input '{port}' may have no symbolic dimension but the batch")


def _check_port(port: Port, kind: str, rest: tuple[int | str | None, ...]) -> None:
    has_batch = len(port.shape) == 1 + len(rest) and not isinstance(port.shape[0], int)
    sizes_fit = all(got == want or not isinstance(got, int) for got, want in zip(port.shape[1:], rest, strict=False))
    if port.type != kind or not has_batch or not sizes_fit:
        raise TuiGenError(f"model.onnx: '{port}' must be {Port(port.name, kind, ('batch', *rest))}")


def _fault(what: str, ports: Sequence[Port]) -> TuiGenError:
    names = ", ".join(str(port) for port in ports) or "none"
    return TuiGenError(f"model.onnx: {what}; found {names}")
