"""Proof that a network was read right: its logits against those that the original gave to the same inputs."""

from __future__ import annotations

import itertools
import math
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tui_gen.errors import TuiGenError
from tui_gen.files import open_regular, read_beginning

from .assumptions import SCALINGS, Assumptions
from .checkpoints.checkpoint import Checkpoint
from .checkpoints.foreign import listing
from .files import read_array_header
from .image_network import ImageNetwork
from .images.input_output import LEVELS, LogisticMixture
from .images.output_layout import output_layouts
from .images.streaming import StreamingNetwork
from .reader import Diagnosis, Network, ReadOptions, Reference
from .text.step import TextNetwork
from .verify import TOLERANCE

MOST_NUMBERS = 2**28
"""In an array of a reference."""
_CHUNK = 8
"""Samples that the network reads at once."""
_CLOSE = 1e-3
"""Of the distance between two levels' numbers: an input as near as this is that level."""
_KEYS = {
    "inputs": ("inputs", "input", "x"),
    "logits": ("logits", "outputs", "output", "y"),
    "labels": ("labels", "label"),
}
_DAMAGED = (ValueError, KeyError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What an archive that is damaged raises, or one that is locked with a password."""
_HOW = "write it with np.savez(FILE, inputs=x.numpy(), logits=model(x).detach().numpy())"


@dataclass(frozen=True)
class OriginalParity:
    """How far the network as it was read was from the original, at most."""

    max_abs_logit_difference: float
    relative_logit_difference: float
    """The same as a part of the range of the logits."""
    positions: int
    """Tokens after which logits were compared."""
    source: str
    """Whose logits these were."""


@dataclass(frozen=True)
class _Pair:
    """A way to read a reference: tokens, and the distribution after each, or after the last."""

    tokens: Tensor
    """int64[batch, n], of a picture its levels in raster order."""
    expected: Tensor
    """float32[batch, m, vocab]: log-probabilities of the last m positions."""
    condition: Tensor | None = None


@dataclass(frozen=True)
class _Match:
    parity: OriginalParity
    wrong: int
    """Positions that differ by more than is allowed."""
    where: str
    """The first of them, for people."""


def read_reference(path: Path) -> Reference:
    """`inputs`, `logits` and, if there are any, `labels` of an .npz file. Raises TuiGenError if they are not there.

    The size of an array is known before any of it is read, and nothing that is pickled is ever loaded.
    """
    try:
        with open(open_regular(path), "rb") as file, zipfile.ZipFile(file) as archive:
            arrays = {key: _array(path, archive, names) for key, names in _KEYS.items()}
            names = listing([name.removesuffix(".npy") for name in archive.namelist()]) or "nothing"
    except (*_DAMAGED, MemoryError):
        raise TuiGenError(f"{path} {_other_file(path)}; {_HOW}") from None
    inputs, logits = arrays["inputs"], arrays["logits"]
    if inputs is None or logits is None:
        raise TuiGenError(
            f"{path} holds {names}, and needs inputs, as the original was given them, and logits, as it answered; "
            f"{_HOW}"
        )
    return Reference(f"the logits in {path.name}", inputs, logits, arrays["labels"])


def _other_file(path: Path) -> str:
    """What a file is that is no archive of arrays."""
    begin = read_beginning(path, 6)
    if begin == b"\x93NUMPY":
        return "is a single array"
    return "is a damaged or incomplete .npz file" if begin.startswith(b"PK") else "is no .npz file"


def _array(path: Path, archive: zipfile.ZipFile, names: Sequence[str]) -> NDArray[Any] | None:
    name = next((name for name in names if f"{name}.npy" in archive.namelist()), None)
    if name is None:
        return None
    with archive.open(f"{name}.npy") as stream:
        shape, dtype = read_array_header(stream)
    kind, count = f"{name} in {path}", math.prod(shape)
    if dtype.kind not in "biuf" or not 0 < count <= MOST_NUMBERS:
        raise TuiGenError(f"{kind} must be plain numbers, at most {MOST_NUMBERS:,}, not {count:,} of {dtype}")
    if dtype.kind == "f" and dtype.itemsize < 4:
        raise TuiGenError(f"{kind} are {dtype}, too coarse to prove anything: let the network answer in float32")
    with archive.open(f"{name}.npy") as stream:
        values = np.lib.format.read_array(stream, allow_pickle=False)
    if not np.isfinite(values).all():
        raise TuiGenError(f"{kind} has numbers that are not finite")
    return np.asarray(values, np.float32 if dtype.kind == "f" else np.int64)


def compare_original(network: Network, references: Iterable[Reference], diagnosis: Diagnosis) -> OriginalParity:
    """Compares with each reference, in every way it can be read, until one agrees.

    Raises TuiGenError that says where and how far apart the nearest is, and which guesses may be wrong.
    """
    pairs = ((pair, reference.source) for reference in references for pair in _pairs(network, reference))
    matches = list[_Match]()
    for pair, source in pairs:
        matches.append(_compare(network, pair, source))
        if not matches[-1].wrong:
            return matches[-1].parity
    nearest = min(matches, key=lambda match: (match.wrong, match.parity.relative_logit_difference))
    parity = nearest.parity
    raise TuiGenError(
        f"the network as it was read is not the original: its logits differ by up to "
        f"{parity.max_abs_logit_difference:.2g} ({parity.relative_logit_difference:.2g} of their range) from "
        f"{parity.source}, at {nearest.wrong:,} of {parity.positions:,} positions, {nearest.where}; "
        f"{TOLERANCE:.2g} of it is allowed, so nothing was written; {_suspects(diagnosis)}"
    )


_OF_TOKENS = ("--vocab", "--assume bos=", "--assume eos=", "--assume join=")
"""Of what tokens mean, which changes no logit."""


def _suspects(diagnosis: Diagnosis) -> str:
    """What to look at."""
    guesses = [
        f"{missing.what}: {missing.default} ({missing.option})"
        for missing in diagnosis.missing
        if missing.default and not missing.option.startswith(_OF_TOKENS)
    ]
    if guesses:
        return f"guessed was {'; '.join(guesses)}"
    return (
        "nothing was guessed, so look at what leaves no tensor, and at how the answers were made: in eval mode, from "
        "the first state"
    )


def _compare(network: Network, pair: _Pair, source: str) -> _Match:
    """How far apart they are, and where first."""
    own = _own(network, pair)
    known = torch.isfinite(pair.expected)
    difference = torch.where(known, (own - pair.expected).abs(), 0.0).amax(2)
    visible = pair.expected[known]
    scale = max(1.0, float(visible.max() - visible.min()))
    worst = float(difference.max())
    parity = OriginalParity(worst, worst / scale, difference.numel(), source)
    wrong = torch.nonzero(~(difference <= TOLERANCE * scale))
    return _Match(parity, len(wrong), _place(network, pair, *wrong[0].tolist()) if len(wrong) else "")


def _place(network: Network, pair: _Pair, sample: int, position: int) -> str:
    """Where they part first, and what that means."""
    if isinstance(network, StreamingNetwork):
        pixel, channel = divmod(position, network.network.channels)
        row, column = divmod(pixel, network.network.width)
        of_channel = f", channel {channel}" if network.network.channels > 1 else ""
        return f"first in sample {sample} at row {row}, column {column}{of_channel}"
    length = pair.tokens.shape[1]
    position += length - pair.expected.shape[1]
    cause = (
        "so what a single token passes is at fault" if position == 0 else "so what is remembered of tokens is at fault"
    )
    return f"first in sample {sample} after token {position + 1} of {length}" + (
        f", {cause}" if pair.expected.shape[1] == length else ""
    )


@torch.no_grad()
def _own(network: Network, pair: _Pair) -> Tensor:
    """Log-probabilities of the network as it was read, for the last m positions: float32[batch, m, vocab]."""
    rows = []
    for first in range(0, len(pair.tokens), _CHUNK):
        tokens = pair.tokens[first : first + _CHUNK]
        if isinstance(network, StreamingNetwork):
            condition = None if pair.condition is None else pair.condition[first : first + _CHUNK]
            logits = network.network.whole_logits(tokens, condition)
        else:
            logits = network.sequence_logits(tokens)
        rows.append(logits[:, -pair.expected.shape[1] :])
    return functional.log_softmax(torch.cat(rows), dim=-1)


def _pairs(network: Network, reference: Reference) -> Iterator[_Pair]:
    """Raises TuiGenError if the reference cannot be read as inputs and outputs of this network."""
    inputs, logits = torch.from_numpy(reference.inputs), torch.from_numpy(reference.logits).float()
    if isinstance(network, StreamingNetwork):
        labels = None if reference.labels is None else torch.from_numpy(reference.labels)
        yield from _picture_pairs(network.network, inputs, logits, labels, reference.source)
    elif isinstance(network, TextNetwork):
        yield from _text_pairs(network, inputs, logits, reference.source)


def _text_pairs(network: TextNetwork, inputs: Tensor, logits: Tensor, source: str) -> Iterator[_Pair]:
    """Batch first, and time-major where the shapes allow it."""
    width = network.vocab_size if network.table is None else len(network.table)
    ids = _token_ids(inputs, width, source)
    pairs = [_Pair(tokens, expected) for tokens in (ids, ids.T) for expected in _text_outputs(logits, tokens, network)]
    if not pairs:
        raise TuiGenError(
            f"{source} are {list(logits.shape)} for inputs {list(inputs.shape)}, and the network that was read "
            f"predicts {network.vocab_size:,} tokens after each: they do not fit together; {_HOW}"
        )
    yield from pairs


def _token_ids(inputs: Tensor, width: int, source: str) -> Tensor:
    """int64[rows, columns] of ids, one row, or one-hot [rows, columns, width]."""
    if inputs.ndim in (2, 3) and inputs.shape[-1] == width > 1 and _is_one_hot(inputs):
        inputs = inputs.argmax(-1)
    elif inputs.ndim == 3 and 1 in inputs.shape:
        inputs = inputs.squeeze(inputs.shape.index(1))
    if inputs.ndim == 1:
        inputs = inputs[None]
    if inputs.ndim != 2 or bool((inputs != inputs.long()).any()):
        raise TuiGenError(
            f"the inputs beside {source} are {list(inputs.shape)}, neither token ids nor one-hot of {width}"
        )
    if int(inputs.min()) < 0 or int(inputs.max()) >= width:
        raise TuiGenError(
            f"the inputs beside {source} have token {int(inputs.max())}, and the network that was read knows {width:,}"
        )
    return inputs.long()


def _is_one_hot(inputs: Tensor) -> bool:
    return bool(((inputs == 0) | (inputs == 1)).all() and (inputs.sum(-1) == 1).all())


def _text_outputs(logits: Tensor, tokens: Tensor, network: TextNetwork) -> Iterator[Tensor]:
    """Logits of any order as log-probabilities [batch, n, vocab], or [batch, 1, vocab] of the last position."""
    size, shape, (batch, length) = network.vocab_size, tuple(logits.shape), tokens.shape
    orders: dict[tuple[int, ...], Callable[[], Tensor]] = {
        (batch, length, size): lambda: logits,
        (length, batch, size): lambda: logits.transpose(0, 1),
        (batch, size, length): lambda: logits.transpose(1, 2),
        (length, size, batch): lambda: logits.permute(2, 0, 1),
        (batch, 1, size): lambda: logits,
        (1, batch, size): lambda: logits.transpose(0, 1),
        (batch, size): lambda: logits[:, None],
        (size,): lambda: logits[None, None],
    }
    if shape in orders:
        yield log_probabilities(orders[shape]())
    if shape == (batch * length, size):
        yield log_probabilities(logits.view(batch, length, size))
        yield log_probabilities(logits.view(length, batch, size).transpose(0, 1))


def log_probabilities(values: Tensor) -> Tensor:
    """Of logits, log-probabilities or probabilities [..., vocab]; -inf where a probability is zero."""
    if bool((values >= 0).all()) and bool(((values.sum(-1) - 1).abs() < TOLERANCE).all()):
        return values.log()
    return functional.log_softmax(values.float(), dim=-1)


def _picture_pairs(
    network: ImageNetwork, inputs: Tensor, logits: Tensor, labels: Tensor | None, source: str
) -> Iterator[_Pair]:
    """In every order of the axes of inputs and of logits that the shapes allow."""
    pictures = list(_levels(network, inputs))
    if not pictures:
        raise TuiGenError(_unlike(network, inputs, source))
    condition = _condition(network, labels, len(inputs), source)
    outputs = [expected for tokens, planes in pictures[:1] for expected in _picture_outputs(network, logits, planes)]
    if not outputs:
        raise TuiGenError(
            f"{source} are {list(logits.shape)}, of which no order is {network.levels} levels of "
            f"{len(inputs)} pictures of {network.height}x{network.width}"
            + (" in colour" if network.channels > 1 else "")
        )
    for (tokens, _), expected in itertools.product(pictures, outputs):
        yield _Pair(tokens, expected, condition)


def _levels(network: ImageNetwork, inputs: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Levels int64[n, tokens] in raster order, and the planes that the network sees of them."""
    count, sides = network.encoding.shape[2], (network.height, network.width)
    if inputs.ndim == 2 and inputs.shape[1] == network.area:
        inputs = inputs.view(len(inputs), -1, *sides)
    image = inputs[:, None] if inputs.ndim == 3 else inputs
    orders = ((0, 1, 2, 3), (0, 3, 1, 2)) if image.ndim == 4 else ()
    for planes in (image.permute(order) for order in orders):
        fits = tuple(planes.shape[2:]) == sides
        near = _nearest(network, planes) if fits and planes.shape[1] == count else None
        for levels in (near, _whole(network, planes) if fits else None):
            if levels is not None:
                tokens = levels.permute(0, 2, 3, 1).reshape(len(levels), -1)
                yield tokens, network.planes(tokens)


def _whole(network: ImageNetwork, image: Tensor) -> Tensor | None:
    """Whole numbers [n, channels, h, w] as levels."""
    fits = image.shape[1] == network.channels and bool((image == image.long()).all())
    return image.long() if fits and int(image.min()) >= 0 and int(image.max()) < network.levels else None


def _nearest(network: ImageNetwork, image: Tensor) -> Tensor | None:
    """The levels [n, channels, h, w] of what the network sees, float [n, planes, h, w]; None if it is none of them."""
    if network.channels == 1:
        columns = image.float().permute(0, 2, 3, 1)
        levels = _lookup(columns, network.encoding[0])
        return None if levels is None else levels[:, None]
    tables = [network.encoding[channel, :, channel : channel + 1] for channel in range(network.channels)]
    channels = [_lookup(image[:, channel, :, :, None].float(), table) for channel, table in enumerate(tables)]
    found = [levels for levels in channels if levels is not None]
    return torch.stack(found, dim=1) if len(found) == len(channels) else None


def _lookup(columns: Tensor, table: Tensor) -> Tensor | None:
    """The rows of float32[levels, planes] that [..., planes] are; None if one is no row."""
    distances, rows = torch.cdist(columns.flatten(0, -2), table).min(1)
    apart = torch.cdist(table, table) + torch.eye(len(table)) * 1e9
    return rows.view(columns.shape[:-1]) if bool((distances <= _CLOSE * apart.min()).all()) else None


def _unlike(network: ImageNetwork, inputs: Tensor, source: str) -> str:
    """Why no level is found in the inputs, and which scaling would fit them."""
    values, sides = torch.unique(inputs.float()), (network.height, network.width)
    is_of_size = sides in (tuple(inputs.shape[axis : axis + 2]) for axis in (1, 2)) or inputs.ndim == 2
    fits = is_of_size and inputs.numel() == len(inputs) * network.area
    for name in SCALINGS:
        scaled = Assumptions(ReadOptions(scaling=name), Checkpoint("", {})).scaling(network.levels, name)
        if fits and _lookup(values[:, None], scaled[:, None]) is not None:
            return (
                f"the inputs beside {source} are levels as --scaling {name} makes them, and not as the network was read"
            )
    return (
        f"the inputs beside {source} are {list(inputs.shape)}, from {float(values[0]):.3g} to {float(values[-1]):.3g}: "
        f"not pictures of {network.height}x{network.width} with {network.levels} levels in a --scaling that is known"
    )


def _condition(network: ImageNetwork, labels: Tensor | None, count: int, source: str) -> Tensor | None:
    """int64[n] of classes, or float32[n, conditions]. Raises TuiGenError if they do not fit."""
    if network.condition == "none":
        return None
    if labels is None:
        return network.no_condition(count)
    shape = tuple(labels.shape)
    if network.condition == "multi_hot" and shape == (count, network.conditions):
        return labels.float()
    if network.condition == "class":
        labels = (
            labels.argmax(1) if shape == (count, network.conditions) and network.conditions > 1 else labels.flatten()
        )
        if len(labels) == count and int(labels.min()) >= 0 and int(labels.max()) < network.conditions:
            return labels.long()
    raise TuiGenError(f"the labels beside {source} are {list(shape)}, which do not fit {network.conditions} classes")


def _picture_outputs(network: ImageNetwork, logits: Tensor, planes: Tensor) -> Iterator[Tensor]:
    """Log-probabilities [n, tokens, levels]."""
    sides = (network.channels, network.height, network.width)
    flat = network.height * network.width * network.channels
    if len(logits) == len(planes) * flat:  # one axis of all pixels of all pictures
        logits = logits.view(len(planes), flat, *logits.shape[1:])
    for layout in output_layouts(logits.shape[1:], sides) if len(logits) == len(planes) else ():
        if max(layout.levels, 2) == network.levels:
            values = layout.sort(logits)
            yield from map(_by_token, _of_two(values) if layout.levels == 1 else (values,))
    per_component = 10 if network.channels == 3 else 3
    if (
        network.levels == LEVELS
        and logits.ndim == 4
        and tuple(logits.shape[2:]) == sides[1:]
        and logits.shape[1] % per_component == 0
    ):
        mixture = LogisticMixture(logits.shape[1] // per_component, network.channels)
        yield _by_token(mixture(logits, planes))


def _of_two(values: Tensor) -> Iterator[Tensor]:
    """A single number per pixel [n, 1, ...] as logits of two levels: as a logit and, where it can be, a probability."""
    yield torch.cat([torch.zeros_like(values), values], dim=1)
    if bool(((values >= 0) & (values <= 1)).all()):
        yield torch.cat([1 - values, values], dim=1)


def _by_token(values: Tensor) -> Tensor:
    """[n, levels, h, w] or [n, levels, channels, h, w] -> log-probabilities [n, tokens, levels]."""
    values = values.permute(0, 1, 3, 4, 2) if values.ndim == 5 else values
    return log_probabilities(values.flatten(2).transpose(1, 2))
