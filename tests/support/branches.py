"""Branches that grow by so many positions."""

from __future__ import annotations

from itertools import islice

from tui_gen.generation.branch import Branch
from tui_gen.sampling.params import SamplingParams
from tui_gen.sampling.step import Step

PLAIN = SamplingParams(1.2)


def grow(branch: Branch, count: int = 50, params: SamplingParams = PLAIN) -> list[Step]:
    """Goes on by so many positions, as the screen does; returns the steps."""
    step_buffer, steps = branch.step_buffer(), list(islice(branch.steps(params), count))
    for step in steps:
        step_buffer.append(step)
    if steps:
        step_buffer.settle()
        branch.record(step_buffer)
    return steps


def grown(branch: Branch, count: int = 50, params: SamplingParams = PLAIN) -> Branch:
    """The same branch, which has gone on by so many positions."""
    grow(branch, count, params)
    return branch
