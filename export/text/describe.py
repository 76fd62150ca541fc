"""A language model in words: what inspect prints, and what the model card calls it."""

from __future__ import annotations

from itertools import groupby

from export.text.assemble import Assembly
from export.text.combined import Combined
from export.text.maps import Linear
from export.text.network import TextNetwork
from export.text.parts import Layer, Part
from export.text.recurrence import Recurrence


def label(network: TextNetwork) -> str:
    """Such as `LSTM 2x512`, `LSTM 1150+400` or `LSTM 128 + GRU 64`."""
    named = []
    for kind, layers in groupby(network.layers, key=_kind):
        widths = [layer.hidden for layer in layers]
        same = len(set(widths)) == 1
        named.append(f"{kind} {_times(len(widths), widths[0]) if same else '+'.join(map(str, widths))}")
    return " + ".join(named)


def _times(count: int, width: int) -> str:
    return f"{count}x{width}" if count > 1 else str(width)


def _kind(layer: Layer) -> str:
    return layer.kind if isinstance(layer, Recurrence) else "RNN"


def summary(network: TextNetwork) -> str:
    """In a line."""
    return f"{label(network)}, reads and predicts {network.vocab_size:,} tokens"


def facts(assembly: Assembly, starts: list[str]) -> tuple[tuple[str, str], ...]:
    """Layers, sizes and the like: (name, value). starts: the names of learned first states."""
    network = assembly.network
    return (
        ("reads", assembly.reads),
        ("layers", " -> ".join(_shown(part) for part in network.parts)),
        *([("residual", _residual(network))] if network.residuals else []),
        ("output", "the embedding's own weights (tied)" if assembly.tied else "weights of its own"),
        ("first state", f"learned: {', '.join(starts)}" if starts else "zeros"),
        ("parameters", f"{network.parameters_count:,}"),
    )


def _residual(network: TextNetwork) -> str:
    spans = [[part.name for part in network.parts[first : last + 1]] for first, last in network.residuals]
    return "; ".join(f"what {names[0]} reads is added to what {names[-1]} gives" for names in spans)


def _shown(part: Part) -> str:
    if isinstance(part, Recurrence):
        projected = f" projected to {part.outputs}" if part.weight_hr is not None else ""
        bend = f" {part.nonlinearity}" if part.kind == "RNN" else ""
        return f"{part.name}: {part.kind} {part.hidden}{bend}{projected}"
    if isinstance(part, Combined):
        return f"{part.name}: RNN {part.hidden} {part.state.activation}, predicts {part.outputs} from token and state"
    after = f" {part.activation}" if isinstance(part, Linear) and part.activation != "none" else ""
    return f"{part.name}: {type(part).__name__} {part.outputs}{after}"
