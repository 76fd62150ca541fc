"""The reading of a network that its owner's function builds: a picture's as it is; a text's, proved against it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from tui_gen.errors import TuiGenError

from ..assumptions import OF_TEXTS, Assumptions
from ..checkpoints.checkpoint import Checkpoint
from ..image_network import ImageNetwork, check_causal
from ..images.input_output import LEVELS, LogisticMixture
from ..images.output_layout import OutputLayout
from ..images.streaming import reading_of
from ..reader import Exportable, Missing, Reading, ReadOptions
from ..text.read import read_text
from .conditions import NO_CLASS, count_classes, optional_arguments
from .images import SAME, Adapter, Mixture, Probe, attempt, check_answers, own_size, probe, unused_parts
from .owner import build_module, checkpoint_of
from .text import answers_of


def read_factory(factory: str, checkpoint: Checkpoint | None, options: ReadOptions) -> Reading:
    """The reading of the module that `package.module:function` returns, with the weights of the file if there is one.

    A network with recurrent layers and no convolutions over images is a language model. Raises TuiGenError, in one
    line, for whatever goes wrong in the owner's code, and for what cannot be played.
    """
    return read_module(build_module(factory, checkpoint), f"the module that {factory} returns", checkpoint, options)


def read_module(
    module: nn.Module, source: str, checkpoint: Checkpoint | None, options: ReadOptions, *, must_answer: bool = True
) -> Reading:
    """The same of a module that is there, on the CPU and in eval mode.

    source: what it is, for people. must_answer: whether a language model that nobody knows how to call is
    refused; else nothing proves that it was read right.
    """
    whole = checkpoint_of(module, checkpoint)
    draws = any(isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)) for part in module.modules())
    reading = None if draws else read_text(whole, options)
    if reading is not None:
        return _with_answers(reading, module, source, must_answer)
    return _picture_reading(module, whole, options, source)


def _with_answers(reading: Reading, module: nn.Module, source: str, must_answer: bool) -> Reading:
    """The same reading, to be proved against what the module itself answers."""

    def make() -> Exportable:
        exportable = reading.make()
        try:
            return replace(exportable, references=answers_of(module, exportable.network, source))
        except TuiGenError:
            if must_answer:
                raise
            return exportable

    return replace(reading, make=make)


def _picture_reading(module: nn.Module, checkpoint: Checkpoint, options: ReadOptions, source: str) -> Reading:
    assumptions = Assumptions(options, checkpoint)
    height, width = _size(module, assumptions)
    call = _with_answer(probe(module, height, width, options), assumptions)
    adapter = Adapter(module, call)
    torch.default_generator.manual_seed(0)  # and no seed of a GPU: a training may be going on there
    example = call.convention.example(height, width)
    notes = check_answers(adapter, example)
    notes += _read_output(adapter, call, assumptions, (height, width))
    _answer_input(adapter, assumptions)
    count = _condition_count(adapter, example, assumptions)
    levels = LEVELS if adapter.mixture else max(adapter.layout.levels, 2) if adapter.layout else 0
    encoding = call.convention.encoding(_values(adapter, levels, assumptions))
    whole = adapter if adapter.mixture is None or count else Mixture(adapter, adapter.mixture)
    network = _network(adapter, whole, encoding, (height, width), count)
    returned = f"; of what it returns, {adapter.output} is taken" if adapter.output else ""
    assumptions.check_all_used(OF_TEXTS)
    notes = [f"{source}; called with {call.convention}{returned}", *notes]
    reading = reading_of(network, assumptions, notes=notes)
    against = f"the original: {source}"
    return replace(reading, make=lambda: replace(reading.make(), against=against))


def _with_answer(call: Probe, assumptions: Assumptions) -> Probe:
    """The call, with which of several equal things that it returns are its logits: a question."""
    if not call.others:
        return call
    names = (call.output, *call.others)
    what = f"which of what it returns are its logits, where {' and '.join(names)} have the same shape"
    return replace(call, output=assumptions.ask("returns", what, choices=names))


def _size(module: nn.Module, assumptions: Assumptions) -> tuple[int, int]:
    """Height and width. Raises TuiGenError if nobody says it."""
    options = assumptions.options
    size = None if options.size else own_size(module, options)
    height, width = size or assumptions.size()
    if not height:
        name = type(module).__name__
        if not any(isinstance(part, (nn.Conv1d, nn.Conv2d)) for part in module.modules()):
            raise TuiGenError(
                f"{name} has neither recurrent layers (RNN, LSTM, GRU) nor convolutions: a language model without a "
                "state, such as a transformer, cannot be played; if it draws pictures, tell their size with --size HxW"
            )
        raise TuiGenError(f"{name} draws pictures of a size that nothing in it tells: --size HxW")
    return height, width


def _network(adapter: Adapter, module: nn.Module, encoding: Tensor, size: tuple[int, int], count: int) -> ImageNetwork:
    """module: the adapter, or what it stands in. count: classes, or properties."""
    return ImageNetwork(
        module,
        encoding,
        *size,
        levels=encoding.shape[1],
        channels=adapter.convention.channels,
        condition=adapter.convention.condition.of_network,
        conditions=count,
        label=type(adapter.module).__name__,
    )


def _values(adapter: Adapter, levels: int, assumptions: Assumptions) -> Tensor:
    """float32[levels]: the number that the module is given for each level, where it is given numbers."""
    scaling = assumptions.options.scaling
    if adapter.convention.image != "floats":
        return torch.arange(levels).float()
    if adapter.mixture is not None:
        if scaling not in (None, "-1..1"):
            raise TuiGenError(f"--scaling {scaling} does not fit: a mixture of logistics is one over -1..1")
        return torch.linspace(-1, 1, levels)
    what = "how levels became the numbers that the module is given (raw, if it scales them itself)"
    return assumptions.scaling(levels, "level/(levels-1)" if levels == 2 else "", what=what)


def _read_output(adapter: Adapter, call: Probe, assumptions: Assumptions, size: tuple[int, int]) -> list[str]:
    """Chooses the order of the axes, or a mixture; returns what there is to say of it."""
    count = call.mixtures if _is_mixture(adapter, call, assumptions) else 0
    if count:
        adapter.mixture = LogisticMixture(count, call.convention.channels)
        return [f"its numbers are the parameters of {count} logistics"]
    adapter.layout = _layout(adapter, call, assumptions, size)
    example = call.convention.example(*size)
    with torch.no_grad():
        numbers = adapter.layout.sort(adapter.numbers(example, call.convention.condition.example(len(example))))
    adapter.probabilities = _are_probabilities(numbers, assumptions)
    notes = [f"its output [batch, {adapter.layout}]"]
    if adapter.layout.levels == 1:
        notes += ["its single number per channel is that of the brighter of two levels"]
    return notes + (["it gives probabilities; their logarithms are taken"] if adapter.probabilities else [])


def _is_mixture(adapter: Adapter, call: Probe, assumptions: Assumptions) -> bool:
    """Whether its numbers are a mixture of logistics: asked of colours, and where attributes speak of one."""
    told = assumptions.answer("head", choices=("mixture", "levels"))
    names = {name for part in adapter.module.modules() for name in vars(part) if "mix" in name.lower()}
    if not call.mixtures or told == "levels":
        return False
    levels = {layout.levels for layout in call.layouts}
    usual = any(count & (count - 1) == 0 for count in levels)  # one bit, two, three: nobody has as many logistics
    if (
        told is None
        and not names
        and (assumptions.options.levels in levels or (usual and adapter.convention.channels == 1))
    ):
        return False
    count = call.mixtures * (10 if call.convention.channels == 3 else 3)
    what = (
        f"whether its {count} numbers per pixel are {call.mixtures} logistics in the order of PixelCNN++ (their "
        "weights; then for each colour means, log scales, coefficients)"
    )
    return assumptions.ask("head", what, choices=("mixture", "levels") if levels else ("mixture",)) == "mixture"


def _layout(adapter: Adapter, call: Probe, assumptions: Assumptions, size: tuple[int, int]) -> OutputLayout:
    """The order of the axes that the shape allows, and causality; asked where both allow several."""
    levels = assumptions.options.levels
    layouts = [layout for layout in call.layouts if levels in (None, max(layout.levels, 2))]
    if not layouts:
        numbers = " or ".join(str(max(layout.levels, 2)) for layout in call.layouts) or "parameters of a mixture"
        raise TuiGenError(f"--levels {levels} does not fit: the module puts out {numbers}")
    if len(layouts) > 1:
        layouts = [layout for layout in layouts if _is_causal(adapter, layout, size)] or layouts[:1]
    words = {_word(layout): layout for layout in reversed(layouts)}
    choices = tuple(_word(layout) for layout in layouts)
    told = assumptions.answer("order", choices=("levels-first", "channels-first", "levels-last"))
    if len(layouts) > 1 or told:
        what = "whether its outputs are sorted by level or by channel first"
        told = assumptions.ask("order", what, choices=choices)
    return words[told] if told else layouts[0]


def _word(layout: OutputLayout) -> str:
    """How a person names this order."""
    axes = layout.order
    if layout.sides[0] == 1:
        return "levels-last" if "H" in axes and "L" in axes and axes.index("H") < axes.index("L") else "levels-first"
    return "channels-first" if "L" not in axes or axes.index("C") < axes.index("L") else "levels-first"


def _is_causal(adapter: Adapter, layout: OutputLayout, size: tuple[int, int]) -> bool:
    adapter.layout, levels = layout, max(layout.levels, 2)
    values = torch.arange(levels) / (1 if adapter.convention.image == "whole numbers" else levels - 1)
    try:
        check_causal(
            _network(adapter, adapter, adapter.convention.encoding(values), size, adapter.convention.condition.width)
        )
    except TuiGenError:
        return False
    return True


def _are_probabilities(numbers: Tensor, assumptions: Assumptions) -> bool:
    """Of [batch, levels, ...]: numbers that add up to 1; a single one between 0 and 1 is assumed to be one."""
    between = bool(((numbers >= 0) & (numbers <= 1)).all())
    if numbers.shape[1] > 1:
        return between and bool((numbers.sum(1) - 1).abs().max() < SAME)
    if not between:
        return False
    what = "whether its single number, which is always between 0 and 1, is a probability or a logit"
    return assumptions.assume("output", "probability", what, choices=("probability", "logit")) == "probability"


def _answer_input(adapter: Adapter, assumptions: Assumptions) -> None:
    """How its image is given: only planes of a number that is neither grey's nor colour's are a question."""
    assumptions.answer("input", choices=("float", "int", "one-hot"))
    if adapter.convention.image == "one-hot":
        what = f"whether the {adapter.convention.planes} planes that it reads are its levels, of which one is 1"
        assumptions.ask("input", what, choices=("one-hot",))


def _ask_left_out(adapter: Adapter, example: Tensor, assumptions: Assumptions) -> None:
    """Whether an argument that may be left out is to be: a question where parts of the network wait for it."""
    arguments, parts = " or ".join(optional_arguments(adapter.module)), ", ".join(unused_parts(adapter, example))
    if not arguments:
        assumptions.notes += [f"these parts have no say in what it answers: {parts}"] if parts else []
    elif not assumptions.answer("classes", f"N|{NO_CLASS}"):
        waits = f", without which these do nothing: {parts}" if parts else ""
        what, default = f"what its argument {arguments} is{waits}", "" if parts else "left out"
        assumptions.missing.append(Missing(what, f"--assume classes=N|{NO_CLASS}", default))


def _condition_count(adapter: Adapter, example: Tensor, assumptions: Assumptions) -> int:
    """How many classes or properties it can be told to draw."""
    form, module, options = adapter.convention.condition, adapter.module, assumptions.options
    assumptions.answer("classes", "N")
    if form.kind in ("one-hot", "vector"):
        what = f"whether the {form.width} numbers of its condition are a class or properties that go together"
        assumptions.assume("condition", "one-hot", what, choices=("one-hot", "vector"))
    elif form.kind == "planes":
        what = "whether its second argument is a class as planes; a picture that another network draws is no prompt"
        assumptions.ask("condition", what, choices=("planes",))
    elif form.kind == "none":
        _ask_left_out(adapter, example, assumptions)
    if form.kind != "label":
        return form.width
    assumptions.answer("condition", choices=("label",))

    def takes(label: int) -> bool:
        try:
            attempt(module, adapter.convention, example, torch.full((len(example),), label))
        except Exception:  # whatever a module raises for a class that it does not know
            return False
        return True

    return count_classes(takes, options)
