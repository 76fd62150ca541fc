"""What a reader of checkpoints is given and returns: options; a diagnosis for people, and a network to export."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tui_gen.card import AS_READ
from tui_gen.errors import TuiGenError

if TYPE_CHECKING:  # the help would wait for PyTorch
    import numpy as np
    import onnx
    from numpy.typing import NDArray
    from torch import Tensor

    from tui_gen.card import ModelCard
    from tui_gen.sampling.params import Tokens

MAX_PIXELS = 2**16
"""Of a picture, which is drawn pixel by pixel, and proved so."""


@dataclass(frozen=True)
class ReadOptions:
    """What a person tells the exporter because the file does not."""

    vocab: str | None = None
    """A side file with the vocabulary, or the name of a known one such as `printable`."""
    corpus: tuple[Path, ...] = ()
    """The training text, to rebuild the vocabulary from."""
    vocab_rule: str | None = None
    """How the training script made a vocabulary of that text."""
    size: tuple[int, int] | None = None
    """Height and width of the images."""
    levels: int | None = None
    """How many values a pixel, or one of its channels, can have."""
    scaling: str | None = None
    """How the training script turned levels into the network's input."""
    assume: dict[str, str] = field(default_factory=dict)
    """Answers to other questions that a reader asks, by the names that its diagnosis gives them."""


@dataclass(frozen=True)
class Missing:
    """Something that the file does not say."""

    what: str
    """Such as `the vocabulary`."""
    option: str
    """The option that supplies it, as typed, such as `--vocab FILE`."""
    default: str = ""
    """What stands in for it, a guess; empty for a question: nothing is converted before somebody answers it."""
    choices: tuple[str, ...] = ()
    """All values that the option can have, where they are few."""


@dataclass(frozen=True)
class Diagnosis:
    """What a checkpoint is, before anything is converted."""

    summary: str
    """In a line, such as `LSTM 2x256, reads and predicts 100 tokens`."""
    facts: tuple[tuple[str, str], ...] = ()
    """Layers, sizes and the like: (name, value), in the order to print them."""
    missing: tuple[Missing, ...] = ()
    notes: tuple[str, ...] = ()
    """What was inferred from what, and what the network does that one may not expect."""
    doubt: str = ""
    """Why this cannot be right, although it could be converted: only when forced."""

    def check_answered(self) -> None:
        """Raises TuiGenError that names what must be told, and the options that tell it."""
        questions = [
            f"{missing.what}; tell it with {missing.option}" for missing in self.missing if not missing.default
        ]
        if questions:
            raise TuiGenError(f"the file does not say {'; nor '.join(questions)}")


class Network(Protocol):
    """A network in PyTorch's hands: what a step function is proved equal to."""

    @property
    def parameters_count(self) -> int:
        """Trained numbers."""
        ...

    def step_graph(self) -> onnx.ModelProto:
        """The step function of the network, with its weights as they are now."""
        ...

    def completed(self, card: ModelCard) -> ModelCard:
        """A card with what a player must know of the step function."""
        ...

    def random_tokens(self, batch: int, rng: np.random.Generator) -> Tokens:
        """int64[batch, n]: tokens such as the network reads, and as many as it takes to prove the step function."""
        ...

    def greedy_length(self) -> int:
        """How many tokens a greedy run must make to prove the step function: a whole picture, or a long text."""
        ...

    def sequence_logits(self, tokens: Tensor) -> Tensor:
        """Logits after each of the last m tokens of int64[batch, n], by the full pass: float32[batch, m, vocab].

        m is n for a text; for an image, the last token of the prompt and every one after it.
        """
        ...


@dataclass(frozen=True, eq=False)
class Reference:
    """What the original network answered, in the layouts of whoever asked it."""

    source: str
    """Whose answers these are, such as `the logits in answers.npz`."""
    inputs: NDArray[Any]
    """Exactly as the original was given them."""
    logits: NDArray[Any]
    """Or log-probabilities, or probabilities."""
    labels: NDArray[Any] | None = None
    """The class beside each picture, as a number or one-hot; or vectors."""


@dataclass(frozen=True)
class Exportable:
    """A network with everything that its folder needs."""

    network: Network
    card: ModelCard
    """As far as it is known; the name comes from the command line."""
    tokenizer: str = ""
    """The text of tokenizer.json; empty for an image model without conditions."""
    real: tuple[Tokens, ...] = ()
    """int64[batch, n] each: pieces of data that the network was trained on, where the exporter was given some."""
    log: tuple[Mapping[str, Any], ...] = ()
    """The training log, a line per epoch, where the file has one."""
    against: str = AS_READ
    """What `network` is."""
    references: Iterable[Reference] = ()
    """Answers of the original to the same question, asked in several ways, some when their turn comes; `network` must
    agree with one of them.
    """


@dataclass(frozen=True)
class Reading:
    """What a reader made of a checkpoint that it recognised."""

    diagnosis: Diagnosis
    make: Callable[[], Exportable]
    """Where all questions are answered."""

    def build(self) -> Exportable:
        """The network to export. Raises TuiGenError that names the options which supply what is missing."""
        self.diagnosis.check_answered()
        return self.make()
