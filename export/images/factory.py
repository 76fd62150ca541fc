"""Networks that only their owner can build: a function of the owner's makes the module, in the owner's environment."""

from __future__ import annotations

import contextlib
import importlib
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from export.images.ends import asked_channels_first, plane_per_channel
from export.images.exportable import reading_of
from export.images.network import ImageNetwork
from export.images.probing import Adapted, probe
from export.images.telling import Answers
from export.loading.contents import Checkpoint
from export.reading import Reading, ReadOptions
from tui_gen.errors import TuiGenError


def read_factory(factory: str, found: Checkpoint | None, options: ReadOptions) -> Reading:
    """The reading of the module that `package.module:function` returns, with the weights of the file if there is one.

    Raises TuiGenError, in one line, for whatever goes wrong in the owner's code, and for a module that is not called
    with an image, or with an image and a class.
    """
    module = _built(factory)
    if found is not None and found.tensors:
        _load(module, found)
    answers = Answers(options, found or Checkpoint("", {}))
    height, width = answers.size()
    if not height:
        raise TuiGenError("a network of a --factory needs the size of its images: --size HxW")
    adapted = probe(module.eval(), height, width, options)
    if adapted.order == "flat" and adapted.channels > 1:
        adapted.channels_first = asked_channels_first(answers)
    classes = adapted.classes
    network = ImageNetwork(
        adapted,
        _encoding(adapted, answers),
        height,
        width,
        adapted.levels,
        adapted.channels,
        condition="class" if classes else "none",
        conditions=classes,
        label=type(module).__name__,
    )
    answers.asked.update(("input", "classes"))
    answers.check_all_used()
    return reading_of(network, answers, notes=[f"built by {factory}; {adapted.described}"])


def _encoding(adapted: Adapted, answers: Answers) -> Tensor:
    if adapted.whole_numbers:
        values = torch.arange(adapted.levels, dtype=torch.float32)
    else:
        values = answers.scaling(adapted.levels, "level/(levels-1)")
    return plane_per_channel(values, adapted.channels)


def _built(factory: str) -> nn.Module:
    module_name, colon, function = factory.partition(":")
    if not (module_name and colon and function):
        raise TuiGenError(f"--factory takes package.module:function, not {factory!r}")
    with _working_directory_importable():
        try:
            made = getattr(importlib.import_module(module_name), function)()
        except Exception as fault:  # whatever the owner's code raises
            lines = str(fault).strip().splitlines()
            raise TuiGenError(f"{factory} failed: {type(fault).__name__}: {lines[0] if lines else ''}") from fault
    if not isinstance(made, nn.Module):
        raise TuiGenError(f"{factory} must return a torch.nn.Module, not {type(made).__name__}")
    return made


@contextlib.contextmanager
def _working_directory_importable():  # type: ignore[no-untyped-def]
    sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.path.remove(str(Path.cwd()))


def _load(module: nn.Module, found: Checkpoint) -> None:
    """Puts the file's weights into the module, whose names may have a prefix that was stripped from the file's."""
    wanted = set(module.state_dict())
    prefixes = ["", *sorted({name.partition(".")[0] + "." for name in wanted})]
    named = ({prefix + name: tensor for name, tensor in found.tensors.items()} for prefix in prefixes)
    fitting = next((tensors for tensors in named if wanted == set(tensors)), None)
    if fitting is None:
        lacking, unknown = sorted(wanted - set(found.tensors)), sorted(set(found.tensors) - wanted)
        told = [
            f"{what} {len(names)} of {whose} tensors, such as {names[0]}"
            for what, whose, names in (("lacks", "the module's", lacking), ("is alone with", "its", unknown))
            if names
        ]
        raise TuiGenError(f"the file's weights are of another network: it {' and '.join(told)}")
    try:
        module.load_state_dict(fitting)
    except RuntimeError as fault:
        lines = str(fault).strip().splitlines()
        raise TuiGenError(f"the file's weights do not fit the module: {lines[-1].strip()}") from None
