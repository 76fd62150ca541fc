"""A language model in words: what inspect prints, and what the model card calls it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from export.assumptions import Questions
from export.checkpoints.checkpoint import Checkpoint
from export.reader import Diagnosis, Exportable, Reading, ReadOptions
from export.text.assemble import Assembly, assemble, leftover, normalised_inside, two_networks
from export.text.evidence import refuse_foreign
from export.text.layers import Combined, Layer, Linear, Part, Recurrence
from export.text.state_dict import Pieces, settled, take_apart, with_starts
from export.text.step import TEXT_STEPS, TextNetwork
from export.text.vocabulary import Vocabulary, vocabulary
from export.text.vocabulary_files import read_text_file
from tui_gen.card import ModelCard
from tui_gen.sampling.params import Tokens
from tui_gen.text.tokenizer import PromptTokenizer

_ROWS = 5
_CHARACTERS = 20_000
"""Of a text, more than enough for all rows."""
__all__ = ["read_text", "refuse_foreign"]


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


def pieces_of(corpus: Sequence[Path], tokenizer: str, size: int) -> tuple[Tokens, ...]:
    """One int64[rows, n] from the beginning of the text, without what the vocabulary lacks; none if it is short."""
    if not corpus:
        return ()
    reader = PromptTokenizer(tokenizer)
    ids = reader.ids(read_text_file(corpus[0])[:_CHARACTERS])
    known = [token for token in ids if token < size and token != reader.unknown_id][: _ROWS * TEXT_STEPS]
    rows = len(known) // TEXT_STEPS
    return (np.array(known[: rows * TEXT_STEPS], dtype=np.int64).reshape(rows, TEXT_STEPS),) if rows else ()


def loss(network: TextNetwork, tokens: Tokens) -> float:
    """Nats per token of int64[rows, n]."""
    given = torch.from_numpy(tokens)
    logits = network.sequence_logits(given[:, :-1])
    return float(functional.cross_entropy(logits.flatten(0, 1), given[:, 1:].flatten()))


def read_text(checkpoint: Checkpoint, options: ReadOptions) -> Reading | None:
    """The reading of a recurrent language model; None if nothing in the checkpoint is recurrent.

    Raises TuiGenError for a recurrent network that cannot write text one token at a time.
    """
    questions = Questions(options.assume)
    tensors, notes = settled(checkpoint.tensors)
    ignored = tuple(filter(None, (questions.given("ignore", "ignore=NAME,NAME") or "").split(",")))
    tensors = {name: tensor for name, tensor in tensors.items() if not _ignored(name, ignored)}
    pieces = take_apart(tensors, checkpoint, questions)
    if not pieces.layers:
        return None
    assembly, starts = _assembled(pieces, checkpoint, questions)
    words = vocabulary(checkpoint, options, assembly.network.vocab_size, questions)
    questions.check()
    real = pieces_of(options.corpus, words.tokenizer, assembly.network.vocab_size)
    seen, notes_of_corpus, doubt = _predicts(assembly, real, given=bool(options.corpus))
    diagnosis = Diagnosis(
        summary(assembly.network),
        (*facts(assembly, starts), ("stored as", _types(checkpoint)), *words.facts, *seen),
        (*words.missing, *questions.missing),
        (*notes, *pieces.notes, *_told(ignored), *words.notes, *notes_of_corpus),
        doubt,
    )
    return Reading(diagnosis, lambda: _exportable(assembly, words, real))


def _told(ignored: tuple[str, ...]) -> list[str]:
    return [f"left out, as told, whatever it did in the network: {', '.join(ignored)}"] if ignored else []


def _ignored(name: str, ignored: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in ignored)


def _assembled(pieces: Pieces, checkpoint: Checkpoint, questions: Questions) -> tuple[Assembly, list[str]]:
    """The network, and the names of its learned first states."""
    fault = two_networks(pieces) or normalised_inside(pieces, questions)
    if fault:
        raise fault
    pieces.layers, starts = with_starts(pieces.layers, pieces.loose)
    assembly = assemble(pieces, checkpoint, questions)
    if pieces.loose:
        raise leftover(pieces.loose)
    return assembly, starts


def _types(checkpoint: Checkpoint) -> str:
    kinds = {str(tensor.dtype).removeprefix("torch.") for tensor in checkpoint.tensors.values()}
    return ", ".join(sorted(kinds))


def _predicts(
    assembly: Assembly, real: tuple[Tokens, ...], *, given: bool
) -> tuple[list[tuple[str, str]], list[str], str]:
    """How well the training text is predicted, as a fact, a note and a doubt. given: whether there was a text."""
    if not real:
        strange = (
            "the corpus is too short, or its vocabulary unknown (name a --vocab or a --vocab-rule), to see how well "
            "it is predicted"
        )
        return [], [strange] if given else [], ""
    value, blind = loss(assembly.network, real[0]), math.log(assembly.network.vocab_size)
    fact = f"{value:.2f} nats per token over {real[0].size:,}; blind guessing would be {blind:.2f}"
    wrong = "it predicts the corpus worse than blind guessing: the vocabulary, an assumption or the corpus is wrong"
    return [("on the corpus", fact)], [], wrong if value > blind else ""


def _exportable(assembly: Assembly, words: Vocabulary, real: tuple[Tokens, ...]) -> Exportable:
    network = assembly.network
    card = ModelCard("", "text", label(network), network.vocab_size, bos=words.bos, eos=words.eos)
    return Exportable(network, card, words.tokenizer, real)
