"""Input encoding and output layout of an image network: levels as planes, and its last numbers as logits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tui_gen.errors import TuiGenError

from ..assumptions import SCALINGS, Assumptions
from ..image_network import ConditionKind, ImageNetwork
from .layers import Conv, Layers, Norm

COLOURS = 3
_PICTURES = {"grey": 1, "colour": COLOURS}
"""Channels."""
LEVELS = 256
_HALF = 1 / 255
"""Half of a bin, for values in [-1, 1]."""
_MIN_LOG_SCALE = -7.0
_EDGE = 0.999


def sort_levels(numbers: Tensor, levels: int, channels: int, *, channels_first: bool) -> Tensor:
    """A last layer's numbers as logits: [batch, levels * channels, h, w] -> [batch, levels[, channels], h, w].

    A single number per channel is the logit of the brighter of two levels. channels_first: whether all levels of red
    come before those of green.
    """
    batch, rows, height, width = numbers.shape
    if rows == channels:
        numbers, channels_first = torch.cat([torch.zeros_like(numbers), numbers], dim=1), False
    if channels == 1:
        return numbers
    if channels_first:
        return numbers.view(batch, channels, levels, height, width).transpose(1, 2)
    return numbers.view(batch, levels, channels, height, width)


class Logits(nn.Module):
    """A network's last numbers as logits: of levels, sorted, or of a mixture.

    span: the values that the darkest and the brightest level have in the planes of a picture.
    """

    def __init__(self, levels: int, channels: int, *, channels_first: bool = False) -> None:
        super().__init__()
        self.levels, self.channels, self.channels_first = levels, channels, channels_first
        self.mixture: LogisticMixture | None = None
        self.span = (-1.0, 1.0)

    def forward(self, numbers: Tensor, picture: Tensor) -> Tensor:
        """numbers: [batch, rows, h, w]; picture: [batch, channels, h, w] as the network reads it."""
        if self.mixture is None:
            return sort_levels(numbers, self.levels, self.channels, channels_first=self.channels_first)
        dark, bright = self.span
        logits: Tensor = self.mixture(numbers, (picture - dark) * (2 / (bright - dark)) - 1)
        return logits


class WholeNetwork(nn.Module):
    """A body with what stands beside the picture before it, and what its numbers mean after it."""

    def __init__(self, body: nn.Module, layout: InputOutput, classes: int) -> None:
        super().__init__()
        self.body, self.logits, self.planes = body, layout.logits, layout.planes
        self.conditional = classes > 0

    def forward(self, picture: Tensor, condition: Tensor | None = None) -> Tensor:
        """float32[batch, planes, h, w], and int64[batch] of classes where there are such, -> logits."""
        parts = [picture, *self._beside(picture, condition)]
        planes = torch.cat(parts if self.planes.first else parts[::-1], dim=1) if len(parts) > 1 else picture
        numbers = self.body(planes, condition) if self.conditional else self.body(planes)
        logits: Tensor = self.logits(numbers, picture)
        return logits

    def _beside(self, picture: Tensor, condition: Tensor | None) -> list[Tensor]:
        if self.planes.ones:
            return [torch.ones_like(picture[:, :1])]
        if not self.planes.classes or condition is None:
            return []
        one_hot = functional.one_hot(condition, self.planes.classes).to(picture.dtype)
        return [one_hot[:, :, None, None].expand(-1, -1, *picture.shape[2:])]


@dataclass(frozen=True)
class Planes:
    """What the planes of a network's first layer are."""

    channels: int
    """Of the picture."""
    one_hot: bool = False
    """Whether the picture is a plane for each level of a single channel, of which one is 1."""
    classes: int = 0
    """Planes beside the picture of which one, that of the class, is 1 everywhere."""
    ones: bool = False
    """Whether a plane of ones stands beside the picture."""
    first: bool = True
    """Whether the picture comes first."""


@dataclass(frozen=True)
class InputOutput:
    """What stands before a network's first layer and after its last."""

    planes: Planes
    levels: int
    encoding: Tensor
    """As `ImageNetwork.encoding`."""
    logits: Logits
    notes: tuple[str, ...] = ()
    """What was inferred from what."""

    def network(self, size: tuple[int, int], body: nn.Module, *, label: str, classes: int = 0) -> ImageNetwork:
        """A body over images of this height and width, which puts out the numbers of its last layer.

        classes: those that it takes itself. Raises TuiGenError if those of its planes are others.
        """
        own = self.planes.classes
        if own and classes not in (0, own):
            raise TuiGenError(f"it has {own} planes for classes, but embeddings of {classes} classes")
        module = WholeNetwork(body, self, classes)
        channels = self.planes.channels
        kind: ConditionKind = "class" if own or classes else "none"
        return ImageNetwork(
            module.eval(), self.encoding, *size, self.levels, channels, kind, conditions=own or classes, label=label
        )


@dataclass(frozen=True)
class Habits:
    """What the scripts of a family are known to do that leaves no tensor; empty where nobody knows."""

    scaling: str = ""
    order: str = ""


def read_input_output(
    inputs: int, last: Conv, table: Tensor | None, assumptions: Assumptions, *, habits: Habits
) -> InputOutput:
    """From the planes that the first layer reads, the last layer, and an embedding of the levels [levels, planes].

    Raises TuiGenError if input and output do not fit together.
    """
    planes = Planes(1) if table is not None else _planes(inputs, last.outputs, assumptions)
    channels, single = planes.channels, last.outputs == planes.channels
    mixture = None if table is not None or planes.one_hot else _mixture(last.outputs, channels, assumptions)
    levels = check_levels(assumptions) if mixture else assumptions.levels(last.outputs, channels)
    what = f"its last layer puts out logits of {levels} levels" if not mixture else "its last layer puts out a mixture"
    agreeing = (str(levels), str(channels * levels), *(("1",) if single else ()))
    if table is None:  # the levels of codes have other names
        assumptions.check_settings("output", "levels", agreeing, what, choices=("mixture" if mixture else "levels",))
    logits = Logits(levels, channels)
    if table is not None:
        encoding = _table_encoding(table, levels, inputs, assumptions)
    elif planes.one_hot:
        encoding = torch.eye(levels)[None]
    else:
        stated = assumptions.stated("scaling", choices=SCALINGS)
        values = assumptions.scaling(levels, stated or habits.scaling)
        encoding, logits.span = plane_per_channel(values, channels), (float(values[0]), float(values[-1]))
    logits.mixture = mixture
    undecided = any(missing.option.startswith("--assume output=") for missing in assumptions.missing)
    of_colours = channels > 1 and not (single or mixture or undecided)
    logits.channels_first = of_colours and _channels_first(last, assumptions, habits)
    return InputOutput(planes, levels, encoding, logits, tuple(_layout_notes(planes, mixture, single=single)))


def check_statements(layers: Layers, assumptions: Assumptions, *, classes: int) -> None:
    """Asks about settings in the file that contradict what was read of classes, normalisations and biases."""
    norms = any(isinstance(part, Norm) for part in layers.parts)
    biases = {conv.bias is not None for conv in layers.convs}
    words = {True: "yes", False: "no"}
    for subject, found, what in (
        ("conditions", {classes > 0}, f"it was read with {classes or 'no'} classes"),
        ("normalisation", {norms}, f"it was read with {'' if norms else 'no '}normalisations"),
        ("bias", biases, f"its convolutions have {'' if True in biases else 'no '}biases"),
    ):
        agreeing = [words[fact] for fact in found]
        assumptions.check_settings(subject, subject, agreeing, what, choices=("as-read",))


def _layout_notes(planes: Planes, mixture: LogisticMixture | None, *, single: bool) -> Iterator[str]:
    if planes.one_hot:
        yield "it reads a plane for each level, of which one is 1 (one-hot)"
    if planes.classes:
        yield f"{planes.classes} planes beside the picture say the class: one of them is 1 everywhere"
    if planes.ones:
        yield "a plane of ones stands beside the picture"
    if mixture:
        yield f"its numbers are a mixture of {mixture.components} logistics"
    if single:
        yield "its single number per channel is the logit of the brighter of two levels"


def _planes(inputs: int, rows: int, assumptions: Assumptions) -> Planes:
    """What the planes are; asked where as many may be several things. Raises TuiGenError where they can be none."""
    if assumptions.options.scaling == "one-hot":
        if inputs != rows:
            raise TuiGenError(f"--scaling one-hot does not fit: it reads {inputs} planes and puts out {rows} levels")
        return Planes(1, one_hot=True)
    choices = dict(_possible_planes(inputs, rows))
    if not choices:
        raise TuiGenError(
            f"its first layer reads {inputs} planes and its last puts out {rows} numbers a pixel, which is neither a "
            "picture, grey or colour, nor a plane for each level; the network can be exported with "
            "--factory package.module:function"
        )
    if len(choices) == 1 and next(iter(choices)) in _PICTURES:
        return next(iter(choices.values()))
    what = f"what the {inputs} planes are that its first layer reads (its last puts out {rows} numbers a pixel)"
    return choices[assumptions.ask("planes", what, choices=tuple(choices))]


def _possible_planes(inputs: int, rows: int) -> Iterator[tuple[str, Planes]]:
    """What so many planes may be, by the word that answers it."""
    if inputs == rows and inputs > 1:
        yield "one-hot", Planes(1, one_hot=True)
    for name, channels in _PICTURES.items():
        beside = inputs - channels
        if rows % channels and not is_mixture(rows, channels):
            continue
        if not beside:
            yield name, Planes(channels)
        elif beside == 1:
            yield f"{name}+ones", Planes(channels, ones=True)
            yield f"ones+{name}", Planes(channels, ones=True, first=False)
        elif beside > (2 if channels == 1 else 1):  # three planes are colours
            yield f"{name}+classes", Planes(channels, classes=beside)
            yield f"classes+{name}", Planes(channels, classes=beside, first=False)


def is_mixture(rows: int, channels: int) -> bool:
    """Whether so many numbers can be a mixture of logistics, as `LogisticMixture` reads it."""
    return rows % (3 if channels == 1 else 1 + 3 * channels) == 0


def _mixture(rows: int, channels: int, assumptions: Assumptions) -> LogisticMixture | None:
    """The mixture that the last numbers are; None for logits of levels. Asked where they may be either."""
    count = rows // (3 if channels == 1 else 1 + 3 * channels)
    if not is_mixture(rows, channels) or count == 1:
        return None
    if assumptions.stated("mixture") == str(count):
        return LogisticMixture(count, channels)
    if assumptions.stated("levels") == str(rows / channels).removesuffix(".0"):
        return None
    choices = ("levels", "mixture") if rows % channels == 0 else ("mixture",)
    what = f"what the {rows} numbers are that it puts out per pixel: logits of levels, or a mixture of logistics"
    if assumptions.ask("output", what, choices=choices) == "levels":
        return None
    return LogisticMixture(count, channels)


def check_levels(assumptions: Assumptions) -> int:
    """The levels of a mixture. Raises TuiGenError for a --levels of others."""
    if assumptions.options.levels not in (None, LEVELS):
        raise TuiGenError(f"--levels {assumptions.options.levels} does not fit: its mixture is over {LEVELS} levels")
    return LEVELS


def plane_per_channel(values: Tensor, channels: int) -> Tensor:
    """float32[channels, levels, channels]: each channel's levels [levels] in a plane of its own."""
    encoding = torch.zeros(channels, len(values), channels)
    for channel in range(channels):
        encoding[channel, :, channel] = values
    return encoding


def _table_encoding(table: Tensor, levels: int, inputs: int, assumptions: Assumptions) -> Tensor:
    if assumptions.options.scaling not in (None, "embedding"):
        raise TuiGenError("--scaling does not fit: the file has an embedding of the levels, which it reads instead")
    if table.shape[1] != inputs or len(table) < levels:
        raise TuiGenError(
            f"its embedding {list(table.shape)} does not fit a network that reads {inputs} planes of {levels} levels"
        )
    return table[None, :levels].contiguous()


def _channels_first(last: Conv, assumptions: Assumptions, habits: Habits) -> bool:
    """Whether the levels of red come before those of green: told by which inputs the last layer's rows may see.

    Nothing but the script says it where they see all of them; then it is asked, or assumed where its habits are known.
    """
    rows, columns = last.kernel
    inputs = (last.weight[:, :, rows // 2, columns // 2] != 0).sum(1)
    by_level, by_channel = inputs.view(-1, COLOURS), inputs.view(COLOURS, -1).T
    if bool((by_level == by_level[0]).all()) != bool((by_channel == by_channel[0]).all()):
        return bool((by_channel == by_channel[0]).all())
    choices = ("levels-first", "channels-first")
    what = "whether its outputs are sorted by level or by channel first"
    if habits.order:
        return assumptions.assume("order", habits.order, what, choices=choices) == choices[1]
    return assumptions.ask("order", what, choices=choices) == choices[1]


class LogisticMixture(nn.Module):
    """A mixture of logistics over levels (PixelCNN++, section 2.1); a channel's means depend on those before it."""

    values: Tensor

    def __init__(self, components: int, channels: int) -> None:
        super().__init__()
        self.components, self.channels = components, channels
        self.register_buffer("values", torch.linspace(-1, 1, LEVELS)[:, None, None], persistent=False)

    def forward(self, parameters: Tensor, pixels: Tensor) -> Tensor:
        """Log-probabilities of every level.

        parameters: [batch, components * (1 + 3 * channels), h, w], or [batch, 3 * components, h, w] for one channel.
        pixels: [batch, channels, h, w] in [-1, 1]. Returns [batch, 256, h, w] or [batch, 256, channels, h, w].
        """
        count = self.components
        weights = functional.log_softmax(parameters[:, :count], dim=1)
        per_channel = (3 if self.channels > 1 else 2) * count
        logits = []
        for channel in range(self.channels):
            first = count + channel * per_channel
            mean, log_scale = parameters[:, first : first + count], parameters[:, first + count : first + 2 * count]
            mean = mean + self._from_earlier(parameters, pixels, channel)
            log_scale = log_scale.clamp(min=_MIN_LOG_SCALE)
            every = log_probability(self.values.to(mean), mean[:, :, None], log_scale[:, :, None])
            logits.append(torch.logsumexp(weights[:, :, None] + every, dim=1))
            own = log_probability(pixels[:, channel : channel + 1], mean, log_scale)
            weights = functional.log_softmax(weights + own, dim=1)  # the components' posterior, given the channel
        return logits[0] if self.channels == 1 else torch.stack(logits, dim=2)

    def _from_earlier(self, parameters: Tensor, pixels: Tensor, channel: int) -> Tensor | float:
        """What the channels before add to a channel's means."""
        if channel == 0:
            return 0.0
        count, terms = self.components, []
        for earlier in range(channel):
            which = 0 if channel == 1 else 1 + earlier
            first = count + which * 3 * count + 2 * count
            terms.append(torch.tanh(parameters[:, first : first + count]) * pixels[:, earlier : earlier + 1])
        return sum(terms[1:], terms[0])


def log_probability(value: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Of the bin around a value in [-1, 1], under a logistic distribution; shapes by broadcasting.

    Between the bin's ends a and b, sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)): as logarithms,
    exact however small it is, for 1 - exp(-2x) = 2 tanh(x) / (1 + tanh(x)).
    """
    distance, inverse = value - mean, torch.exp(-log_scale)
    below_end = -functional.softplus(-inverse * (distance + _HALF))
    above_start = -functional.softplus(inverse * (distance - _HALF))
    half = torch.tanh(inverse * _HALF)
    inside = below_end + above_start + torch.log(2 * half / (1 + half))
    inside = torch.where(value < -_EDGE, below_end, inside)
    return torch.where(value > _EDGE, above_start, inside)
