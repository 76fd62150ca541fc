"""Reads a recurrent language model from a checkpoint: what it is, for people, and the network to export."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from tui_gen.card import ModelCard
from tui_gen.sampling.params import Tokens
from tui_gen.text.encoder_process import foreign_tokenizer

from ..assumptions import OF_PICTURES, Assumptions
from ..checkpoints.checkpoint import Checkpoint
from ..reader import Diagnosis, Exportable, Reading, ReadOptions
from .assemble import Assembly, assemble
from .between import UNKNOWABLE
from .layers import Layer, Linear, Recurrent, RecurrentLayer, TutorialRNN
from .state_dict import effective_weights, split_state_dict
from .step import TEXT_STEPS, TextNetwork
from .vocabulary import read_vocabulary
from .vocabulary_files import read_text_file

_ROWS = 5
_CHARACTERS = 20_000
"""Of a text, more than enough for all rows."""


def read_text(checkpoint: Checkpoint, options: ReadOptions) -> Reading | None:
    """The reading of a recurrent language model; None if nothing in the checkpoint is recurrent.

    Raises TuiGenError for a recurrent network that cannot write text one token at a time.
    """
    assumptions = Assumptions(options, checkpoint)
    tensors, notes = effective_weights(checkpoint.tensors)
    ignore = assumptions.names("ignore", "NAME,NAME")
    prefixes = tuple(f"{name}." for name in ignore)
    tensors = {name: tensor for name, tensor in tensors.items() if not f"{name}.".startswith(prefixes)}
    parts = split_state_dict(tensors, checkpoint, assumptions)
    if not parts.recurrent:
        return None
    assembly = assemble(parts, checkpoint, assumptions)
    network = assembly.network
    vocabulary = read_vocabulary(checkpoint, options, network.vocab_size, assumptions)
    assumptions.check_all_used(OF_PICTURES)
    corpus = _corpus_tokens(options.corpus, vocabulary.tokenizer, network.vocab_size)
    loss_facts, doubt = _fit(network, corpus)
    why = "nothing names the tokens" if vocabulary.missing else "it is too short"
    corpus_notes = [f"how well the corpus is predicted is not known: {why}"] if options.corpus and not corpus else []
    ignore_notes = [f"left out, as told, whatever it did in the network: {', '.join(ignore)}"] if ignore else []
    diagnosis = Diagnosis(
        f"{_label(network)}, reads and predicts {network.vocab_size:,} tokens",
        (*_facts(assembly), ("stored as", _dtypes(checkpoint)), *vocabulary.facts, *loss_facts),
        (*vocabulary.missing, *assumptions.missing, UNKNOWABLE),
        (*notes, *assumptions.notes, *parts.notes, *ignore_notes, *vocabulary.notes, *corpus_notes),
        doubt,
    )
    card = ModelCard("", "text", _label(network), network.vocab_size, bos=vocabulary.bos, eos=vocabulary.eos)
    return Reading(diagnosis, lambda: Exportable(network, card, vocabulary.tokenizer, corpus))


def _label(network: TextNetwork) -> str:
    """Such as `LSTM 2x512`, `LSTM 1150+400` or `LSTM 128 + GRU 64`."""
    labels = []
    for kind, layers in groupby(network.recurrent, key=_kind):
        widths = [layer.hidden_size for layer in layers]
        if len(widths) > 1 and len(set(widths)) == 1:
            labels.append(f"{kind} {len(widths)}x{widths[0]}")
        else:
            labels.append(f"{kind} {'+'.join(map(str, widths))}")
    return " + ".join(labels)


def _kind(layer: Recurrent) -> str:
    return layer.kind if isinstance(layer, RecurrentLayer) else "RNN"


def _facts(assembly: Assembly) -> tuple[tuple[str, str], ...]:
    """Layers, sizes and the like: (name, value)."""
    network, initial_states = assembly.network, assembly.initial_states
    spans = [[layer.name for layer in network.layers[first : last + 1]] for first, last in network.residuals]
    residuals = "; ".join(f"what {names[0]} reads is added to what {names[-1]} gives" for names in spans)
    return (
        ("reads", assembly.reads),
        ("layers", " -> ".join(map(_description, network.layers))),
        *([("residual", residuals)] if residuals else []),
        ("output", "the embedding's own weights (tied)" if assembly.tied else "weights of its own"),
        ("first state", f"learned: {', '.join(initial_states)}" if initial_states else "zeros"),
        ("parameters", f"{network.parameters_count:,}"),
    )


def _description(layer: Layer) -> str:
    if isinstance(layer, RecurrentLayer):
        projection = f" projected to {layer.outputs}" if layer.weight_hr is not None else ""
        nonlinearity = f" {layer.nonlinearity}" if layer.kind == "RNN" else ""
        return f"{layer.name}: {layer.kind} {layer.hidden_size}{nonlinearity}{projection}"
    if isinstance(layer, TutorialRNN):
        state = f"RNN {layer.hidden_size} {layer.state.activation}"
        return f"{layer.name}: {state}, predicts {layer.outputs} from token and state"
    activation = f" {layer.activation}" if isinstance(layer, Linear) and layer.activation != "none" else ""
    return f"{layer.name}: {type(layer).__name__} {layer.outputs}{activation}"


def _dtypes(checkpoint: Checkpoint) -> str:
    return ", ".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in checkpoint.tensors.values()}))


def _corpus_tokens(corpus: Sequence[Path], tokenizer: str, size: int) -> tuple[Tokens, ...]:
    """One int64[rows, n] from the beginning of the text, without what the vocabulary lacks; none if it is short."""
    if not corpus:
        return ()
    reader = foreign_tokenizer(tokenizer)
    ids = reader.ids(read_text_file(corpus[0])[:_CHARACTERS])
    known = [token for token in ids if token < size and token != reader.unknown_id][: _ROWS * TEXT_STEPS]
    rows = len(known) // TEXT_STEPS
    return (np.array(known[: rows * TEXT_STEPS], dtype=np.int64).reshape(rows, TEXT_STEPS),) if rows else ()


def _fit(network: TextNetwork, corpus: tuple[Tokens, ...]) -> tuple[list[tuple[str, str]], str]:
    """How well the training text is predicted, as a fact and a doubt."""
    if not corpus:
        return [], ""
    loss, uniform = _loss(network, corpus[0]), math.log(network.vocab_size)
    fact = f"{loss:.2f} nats per token over {corpus[0].size:,}; blind guessing would be {uniform:.2f}"
    doubt = "it predicts the corpus worse than blind guessing: the vocabulary, an assumption or the corpus is wrong"
    return [("on the corpus", fact)], doubt if loss > uniform else ""


def _loss(network: TextNetwork, tokens: Tokens) -> float:
    """Nats per token of int64[rows, n]."""
    targets = torch.from_numpy(tokens)
    logits = network.sequence_logits(targets[:, :-1])
    return float(functional.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten()))
