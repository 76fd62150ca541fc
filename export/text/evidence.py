"""What the settings in a file say against the language model that its tensors make: honoured, or asked about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tui_gen.errors import TuiGenError

from ..assumptions import Assumptions
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.settings import statements
from . import metadata
from .cells import CELLS
from .layers import BatchNorm, Layer, LayerNorm, Linear, Recurrent, RecurrentLayer

_BACKWARD = {"backward", "backwards", "bwd", "bw", "reverse", "reversed"}
_OF_A_KIND = re.compile(r"lstm|gru|rnn|sru|ran$")
_SQRT_WIDTH = "sqrt-width"
_SQRT = re.compile(r"yes|.*(sqrt|root).*")


def check_direction(recurrent: Sequence[Recurrent], assumptions: Assumptions) -> list[str]:
    """Asks about a network that reads from the end; returns a note on what it writes if it does."""
    names = [layer.name for layer in recurrent if _BACKWARD & {*re.split(r"[._]", layer.name.lower())}]
    choices = ("forward", "backward")
    answer = assumptions.check_settings(
        "direction", "direction", ("forward",), "the network would read from the beginning of a text", choices=choices
    )
    if names and answer is None:
        what = f"whether the network reads a text from its end, as the name of {names[0]} says"
        answer = assumptions.ask("direction", what, choices=choices)
    if answer != "backward":
        return []
    return ["it reads and writes from the end of a text to its beginning: what it writes is reversed"]


def check_kind(recurrent: Sequence[Recurrent], checkpoint: Checkpoint, assumptions: Assumptions) -> None:
    """Asks about settings that name another kind of recurrent layer than the tensors have the shapes of."""
    kinds = {layer.kind.lower() if isinstance(layer, RecurrentLayer) else "rnn" for layer in recurrent}
    for said in statements(checkpoint, "cell"):
        name = re.sub(r"_?(tanh|relu|cell)$", "", said.meaning.rpartition(".")[2])
        if _OF_A_KIND.search(name) and name not in kinds:
            what = (
                f"whether layers with the shapes of {' and '.join(sorted(kinds)).upper()} compute as PyTorch's do, for"
            )
            assumptions.ask("cell", f"{what} its settings say {said} (others cannot be exported)", choices=CELLS)


def check_counts(recurrent: Sequence[Recurrent], checkpoint: Checkpoint, assumptions: Assumptions) -> None:
    """Asks about another number of layers than there are, and about layers of which some are not time-major.

    A PyTorch layer that is given [batch, n, features] without `batch_first` reads along the batch instead of the text.
    """
    modules = [re.sub(r"\.l\d+$", "", layer.name) for layer in recurrent]
    counts = {str(len(modules)), str(len({*modules})), *(str(modules.count(name)) for name in modules)}
    said = [said for said in statements(checkpoint, "layers") if said.meaning.isdecimal()]
    if said and not any(statement.meaning in counts for statement in said):
        what = f"why its settings say {said[0]} where the file has {len(modules)} recurrent layers"
        assumptions.ask(
            "layers", f"{what} (one that is applied again cannot be exported)", choices=(str(len(modules)),)
        )
    orders = {name: metadata.attribute(checkpoint, name, "batch_first") for name in modules}
    orders = {f"{name}.batch_first={order}": order for name, order in orders.items() if order is not None}
    if orders:
        orders.update({str(said): said.meaning == "yes" for said in statements(checkpoint, "batch_first")})
    if {True, False} <= {*orders.values()}:
        listing = ", ".join(orders)
        what = f"whether each of its recurrent layers reads along the text ({listing})"
        if assumptions.ask("along", what, choices=("text", "batch")) == "batch":
            raise TuiGenError("a layer that reads along the batch remembers nothing of the text: not a language model")


def without_unused(layers: Sequence[Layer], assumptions: Assumptions) -> tuple[Layer, ...]:
    """The same layers, without normalisations and biases that the settings switch off, if a person says so too."""
    norms = [layer.name for layer in layers if isinstance(layer, LayerNorm | BatchNorm)]
    idle = [layer.name for layer in layers if isinstance(layer, LayerNorm | BatchNorm) and _is_untrained(layer)]
    choices = ("used", "unused")
    if idle and not statements(assumptions.checkpoint, "normalisation"):
        what = f"whether it uses {', '.join(idle)}, whose numbers are those from before a training"
        if assumptions.assume("normalisation", "used", what, choices=choices) == "unused":
            layers = [layer for layer in layers if layer.name not in idle]
    elif norms:
        what = f"it would use {', '.join(norms)}"
        if assumptions.check_settings("normalisation", "normalisation", ("yes",), what, choices=choices) == "unused":
            layers = [layer for layer in layers if layer.name not in norms]
    else:
        what = "it would normalise nothing, as no tensor is for that (one without weights cannot be exported)"
        assumptions.check_settings("normalisation", "normalisation", ("no",), what, choices=("none",))
    biased = {bool(_biases(layer)) for layer in layers if isinstance(layer, Linear | RecurrentLayer)}
    agreeing = [word for word, has in (("yes", True), ("no", False)) if has in biased]
    what = (
        "it would add the biases that the file has"
        if True in biased
        else "it would add no biases, as the file has none"
    )
    answers = ("stored", "none") if True in biased else ("none",)
    if assumptions.check_settings("bias", "bias", agreeing, what, choices=answers) == "none":
        layers = [_without_bias(layer) for layer in layers]
    return tuple(layers)


def _is_untrained(norm: LayerNorm | BatchNorm) -> bool:
    """Whether a normalisation has learned nothing, as one that a script defines and never calls."""
    mean = [norm.mean] if isinstance(norm, BatchNorm) else []
    scale = [norm.weight, norm.variance] if isinstance(norm, BatchNorm) else [norm.weight]
    shift = [*mean, norm.bias]
    return all((value == 1).all() for value in scale if value is not None) and not any(
        value.any() for value in shift if value is not None
    )


def _biases(layer: Layer) -> list[Tensor]:
    biases = (layer.bias_ih, layer.bias_hh) if isinstance(layer, RecurrentLayer) else (getattr(layer, "bias", None),)
    return [bias for bias in biases if bias is not None and bool(bias.any())]


def _without_bias(layer: Layer) -> Layer:
    if isinstance(layer, RecurrentLayer):
        if layer.equations and _biases(layer):
            raise TuiGenError(f"the biases of {layer.name}, a cell of the owner's, cannot be left out")
        return replace(layer, bias_ih=None, bias_hh=None)
    return replace(layer, bias=None) if isinstance(layer, Linear) else layer


def is_tied(table: Tensor, output: Layer, assumptions: Assumptions, *, has_output: bool) -> bool:
    """Whether the output has the embedding's weights. has_output: whether the file has an output layer's weights."""
    if not has_output:
        what = "the output would have the embedding's weights, as the file has no output layer"
        if assumptions.check_settings("tied", "tied", ("yes",), what, choices=("yes",)) is None:
            stated = statements(assumptions.checkpoint, "tied")
            what = "whether the output has the embedding's weights, for the file has no output layer"
            if not stated and isinstance(output, Linear) and output.bias is None:
                assumptions.assume("tied", "yes", what, choices=("yes",))
        return True
    fits = isinstance(output, Linear) and output.weight.shape == table.shape
    if isinstance(output, Linear) and fits and torch.equal(output.weight, table):
        return True
    what = f"the output would have the weights of {output.name}, which are not the embedding's"
    choices = ("no", "yes") if fits else ("no",)
    return assumptions.check_settings("tied", "tied", ("no",), what, choices=choices) == "yes"


def embedding_factor(width: int, assumptions: Assumptions) -> float:
    """What the embedding's rows are multiplied by, as settings say it."""
    said = {statement.meaning for statement in statements(assumptions.checkpoint, "embedding_scale")}
    if not said or said <= {"no", "1"} or assumptions.answer("embedding") is not None:
        return 1.0
    value = said.pop() if len(said) == 1 else ""
    if _SQRT.fullmatch(value):
        what = "what the embedding is multiplied by, as its settings say that it is scaled"
        return width**0.5 if assumptions.assume("embedding", _SQRT_WIDTH, what) == _SQRT_WIDTH else 1.0
    if (factor := _number(value)) is not None:
        assumptions.stated("embedding_scale")
        return factor
    assumptions.check_settings(
        "embedding", "embedding_scale", (), "the embedding would not be scaled", choices=("none",)
    )
    return 1.0


def embedding_limit(table: str, assumptions: Assumptions) -> float | None:
    """The length to which longer rows of the embedding are cut when they are read; None for none."""
    limit = metadata.attribute(assumptions.checkpoint, table, "max_norm")
    if isinstance(limit, int | float) and not isinstance(limit, bool):
        assumptions.notes.append(f"rows of {table} longer than {limit:g} are cut to that length (max_norm)")
        return float(limit)
    stated = assumptions.stated("embedding_norm")
    return _number(stated) if stated else None


def cut_rows(table: Tensor, limit: float) -> Tensor:
    """float32[tokens, width] with rows no longer than a limit, as `torch.embedding_renorm_` makes them."""
    length = table.norm(dim=1, keepdim=True)
    return torch.where(length > limit, table * (limit / (length + 1e-7)), table)


def logit_factor(assumptions: Assumptions) -> float:
    """What the logits are multiplied by, as settings say it."""
    stated = assumptions.answer("logit_scale", "NUMBER") or assumptions.stated("logit_scale")
    factor = _number(stated or "1")
    if factor is None and stated not in ("no", "none"):
        assumptions.ask(
            "logit_scale", f"what the logits are multiplied by, of which its settings say {stated}", usage="NUMBER"
        )
    return 1.0 if factor is None else factor


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
