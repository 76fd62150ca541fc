"""Recognises anybody's recurrent language model by its tensors."""

from __future__ import annotations

import math

from export.loading.contents import Checkpoint
from export.reading import Diagnosis, Exportable, Reading, ReadOptions
from export.text.assemble import Assembly, assemble
from export.text.corpus import loss, pieces_of
from export.text.describe import facts, label, summary
from export.text.faults import leftover, normalised_inside, two_networks
from export.text.foreign import refuse_foreign
from export.text.pieces import Pieces, take_apart
from export.text.questions import Questions
from export.text.starts import with_starts
from export.text.tensors import settled
from export.text.vocabulary import Vocabulary, vocabulary
from tui_gen.card import ModelCard
from tui_gen.sampling import Tokens

__all__ = ["read_text", "refuse_foreign"]


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
