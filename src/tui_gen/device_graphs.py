"""The graphs that a model runs as on a device."""

from __future__ import annotations

from functools import cache

from tui_gen.device_messages import NARROW, is_possible
from tui_gen.errors import TuiGenError
from tui_gen.lane import Opened, Recordable
from tui_gen.on_device import Opener
from tui_gen.providers import open_cuda, open_recorded
from tui_gen.runtime import Place, Session
from tui_gen.sampling_graph import sampler, with_sampler
from tui_gen.unrolled import unrolled


def device_opener(graph: bytes, vocab_size: int, place: Place) -> Opener:
    """What opens a step function on a device: recurrent operators written out and sampling appended if it can be.

    The opener raises TuiGenError that says what is missing.
    """

    def opener(*, recorded: bool) -> Opened:
        plain = unrolled(graph)
        if not is_possible(vocab_size):
            raise TuiGenError(f"a GPU does not draw from a vocabulary of {vocab_size}")
        drawing = with_sampler(plain or graph, vocab_size)

        @cache
        def sorting(*, sorts: bool) -> Recordable:
            return _open(sampler(vocab_size, most=None if sorts else NARROW), place, recorded=recorded)

        step = _open(drawing or plain or graph, place, recorded=recorded and plain is not None)
        return Opened(step, drawing is not None, lambda sorts: sorting(sorts=sorts), place)

    return opener


def _open(graph: bytes, place: Place, *, recorded: bool) -> Recordable:
    if place.kind == "cpu":
        return Recordable(Session(graph, 1), recorded=False)
    return (
        Recordable(*open_recorded(graph, place.number))
        if recorded
        else Recordable(open_cuda(graph, place.number), recorded=False)
    )
