"""The parts of a model's state: which of its tensors holds which numbers of which layer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_gen.errors import TuiGenError
from tui_gen.generation.protocol import StateModel

Arrays = Sequence[NDArray[Any]]
"""The tensors of a state, as of `State.arrays`."""
RECURRENT = "h", "c"
"""Parts of a state that have layers: `h` is [batch, layers, width], or `h.0` and so on [batch, width] where widths
differ."""
_STATE = "state."


class Site(NamedTuple):
    """Some numbers of a state."""

    part: int
    """Which of its tensors."""
    place: tuple[Any, ...]
    """The index of all samples in it."""


class StateParts:
    """The tensors of a model's state by name."""

    def __init__(self, model: StateModel) -> None:
        names = [port.name.removeprefix(_STATE) for port in model.inputs[1:]]
        self._arrays = model.start(1).arrays()
        pairs = zip(names, self._arrays, strict=True)
        self._tensors = {
            name: at for at, (name, array) in enumerate(pairs) if array.dtype.kind == "f" and array.ndim > 1
        }
        """Those that hold real numbers."""
        self._layers = {part: self._sites_of(part) for part in RECURRENT}

    def memory(self) -> list[str]:
        """The parts that keep what was read: `h` and `c`, or where there is neither, all of a state of nothing but real
        numbers. Raises TuiGenError for one that has others, such as places in a picture.
        """
        here = [part for part in RECURRENT if self._layers[part]]
        if not here and len(self._tensors) == len(self._arrays):
            here = list(self._tensors)
        if not here:
            raise TuiGenError(f"this is for recurrent models; the state has neither h nor c, but {self._listed()}")
        return here

    def layers(self) -> dict[tuple[str, int], Site]:
        """Where each layer is, by part and layer, as far as layers are known. Raises TuiGenError as `memory`."""
        parts = [part for part in self.memory() if part in RECURRENT and self._are_known(part)]
        places = [(part, layer) for part in parts for layer in self._layers[part]]
        return {(part, layer): self._layers[part][layer] for part, layer in sorted(places, key=lambda place: place[1])}

    def rows(self, state: Arrays) -> dict[str, NDArray[Any]]:
        """The real numbers of a state, [batch, width] each, by part and layer as in `h.0`; where no layers are known,
        by row.
        """
        sites = {f"{part}.{layer}": site for part in RECURRENT for layer, site in self._layers[part].items()}
        known = {site.part for site in sites.values()}
        rows = {name: state[site.part][site.place] for name, site in sites.items()}
        for name, at in self._tensors.items():
            if at not in known:
                flat = state[at].reshape(len(state[at]), -1, state[at].shape[-1])
                rows |= {f"{name}.{row}": flat[:, row] for row in range(flat.shape[1])}
        return rows

    def sites(self, part: str, layer: int | None) -> list[Site]:
        """Where a part is, all of it or one layer. Raises TuiGenError for what is not there."""
        if not part:
            return [site for name in self.memory() for site in self.sites(name, layer)]
        if layers := self._layers.get(part):
            return list(layers.values()) if layer is None else [self._layer(part, layer)]
        if part not in self._tensors:
            raise TuiGenError(f"the state has no part {part!r:.60} that can be changed, but {self._listed()}")
        if layer is not None:
            raise TuiGenError(f"{part} has no layers; it can be forgotten as a whole")
        return [Site(self._tensors[part], (...,))]

    def unit(self, part: str, layer: int, unit: int, value: float) -> Site:
        """Where a unit is. Raises TuiGenError for one that is not there, and for a value that is too large for it."""
        if not self._layers.get(part):
            raise TuiGenError(f"a unit of h or c can be held, not of {part!r:.60}; the state has {self._listed()}")
        site = self._layer(part, layer)
        array = self._arrays[site.part]
        last = array.shape[-1] - 1
        if not 0 <= unit <= last:
            raise TuiGenError(f"{part}{of_layer(layer)} has units 0 to {last}, not {unit}")
        if not abs(value) <= float(np.finfo(array.dtype).max):
            raise TuiGenError(f"a unit cannot be held at {value:g}; its numbers are {array.dtype}")
        return Site(site.part, (*site.place, unit))

    def check_donation(self, donation: Arrays, samples: int) -> None:
        """Raises TuiGenError for a state of other samples, of another model, or of one without a memory."""
        self.memory()
        shapes = [(part.shape[1:], part.dtype) for part in donation]
        if shapes != [(part.shape[1:], part.dtype) for part in self._arrays]:
            raise TuiGenError("the state of another model cannot be taken")
        if len(donation[0]) != samples:
            raise TuiGenError(
                f"the state of a branch of {len(donation[0])} samples cannot be taken into one of {samples}; each "
                "sample takes that of the same number"
            )

    def _sites_of(self, part: str) -> dict[int, Site]:
        """The layers of `h` or `c`, by number."""
        if part in self._tensors:
            tensor = self._tensors[part]
            shape = self._arrays[tensor].shape
            rows = range(shape[1]) if len(shape) > 2 else ()
            return {row: Site(tensor, (slice(None), row)) for row in rows} or {0: Site(tensor, (...,))}
        numbers = {name: re.fullmatch(rf"{part}\.([0-9]{{1,4}})", name) for name in self._tensors}
        return {int(match[1]): Site(self._tensors[name], (...,)) for name, match in numbers.items() if match}

    def _are_known(self, part: str) -> bool:
        """Whether it is known which layers have a part: all, or those that their names say."""
        return part not in self._tensors or len(self._layers[part]) >= len(self._layers["h"])

    def _layer(self, part: str, layer: int) -> Site:
        layers = self._layers[part]
        if not self._are_known(part):
            raise TuiGenError(
                f"{len(layers)} of {len(self._layers['h'])} layers have {part}, and it is not known which; "
                "leave out the layer"
            )
        if layer not in layers:
            raise TuiGenError(f"{part} has {_numbered(layers)}, not layer {layer + 1}")
        return layers[layer]

    def _listed(self) -> str:
        names = list(self._tensors)
        return f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''}" if names else "none with real numbers"


def layers_of(model: StateModel, state: Arrays) -> dict[tuple[str, int], NDArray[Any]]:
    """The numbers [batch, width] of each layer of `h` and `c`, by part and layer, where it is known which they are.

    Raises TuiGenError as `StateParts.memory`.
    """
    return {place: state[site.part][site.place] for place, site in StateParts(model).layers().items()}


def of_layer(layer: int | None) -> str:
    """People count layers from 1, and units from 0, as the panel of states does."""
    return "" if layer is None else f" of layer {layer + 1}"


def _numbered(layers: Iterable[int]) -> str:
    numbers = [str(layer + 1) for layer in layers]
    return f"layers {', '.join(numbers)}" if len(numbers) > 1 else f"layer {numbers[0]} alone"
