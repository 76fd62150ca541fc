"""The command line that makes a branch again, or a comparison, where a single run of each model makes it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch
from tui_gen.generation.describe import operations_text
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import SamplingParams, Tokens
from tui_gen.sampling.sweep import Sweep
from tui_gen.terminal_text import scrub_line


@dataclass(frozen=True)
class Reproduction:
    """How to make a branch again."""

    command: str | None
    """One line for a shell; None where no single run makes it."""
    reason: str = ""
    """Why there is none, as in `it left another branch`."""


class NamedBranch(NamedTuple):
    """A branch with its model."""

    name: str
    """Of the model, or its folder, as to be typed."""
    loaded_model: LoadedModel
    branch: Branch


def command_for(
    name: str, loaded_model: LoadedModel, branch: Branch, *, beside: Sequence[NamedBranch] = ()
) -> Reproduction:
    """The `tui-gen generate` that prints what a branch shows. name: of the model, or its folder, as to be typed.

    beside: what it is compared with.
    """
    columns = [NamedBranch(name, loaded_model, branch), *beside]
    reasons = [*(_hindrance(*column) for column in columns), _unlikeness([column.branch for column in columns])]
    reason = next(filter(None, reasons), "")
    return Reproduction(None, reason) if reason else Reproduction(_command(columns))


def _hindrance(name: str, loaded_model: LoadedModel, branch: Branch) -> str:
    """Why it cannot be a single run; empty if it can."""
    start, prompt = branch.start, _prompt(loaded_model, branch)
    if start.parent or start.at > 1 or start.override is not None or branch.operations:
        surgery = ", ".join(operations_text(branch, loaded_model.codec))
        return f"its state was changed: {surgery}" if surgery else "it left another branch"
    if len(branch.turns) > 1:
        return "knobs were turned while it ran"
    if prompt is None or not np.array_equal(prompt, start.prompt):
        return "its prompt is more than text, such as a picture to complete"
    if len(branch) < start.prompt.shape[1]:
        return "it was stopped within its prompt"
    if start.text in ("-", "--") or any(scrub_line(word) != word for word in (name, start.text)):
        return "its prompt cannot be typed on a command line"
    return ""


def _prompt(loaded_model: LoadedModel, branch: Branch) -> Tokens | None:
    """What its text alone makes; None if that is no prompt."""
    try:
        return loaded_model.codec.prompt([branch.start.text] * branch.samples)
    except TuiGenError:
        return None


def _unlikeness(branches: Sequence[Branch]) -> str:
    """Why the branches of a comparison cannot come of one command; empty if they can."""
    starts = [(each.start.text, each.start.seed, each.samples, each.start.sweep) for each in branches]
    if any(start != starts[0] for start in starts) or any(_params(each) != _params(branches[0]) for each in branches):
        return "the models ran with other knobs"
    length = max(map(_length, branches))
    if any(_length(each) < length and not each.ended for each in branches):
        return "the models were stopped at other places"
    return ""


def _params(branch: Branch) -> SamplingParams:
    return branch.turns[0][1] if branch.turns else branch.start.params


def _length(branch: Branch) -> int:
    """Tokens that were made past the prompt."""
    return len(branch) - branch.start.prompt.shape[1]


def _command(columns: Sequence[NamedBranch]) -> str:
    name, branch = columns[0].name, columns[0].branch
    options = [
        *(
            f"--with={column.name}" if column.name.startswith("-") else word
            for column in columns[1:]
            for word in ("--with", column.name)
        ),
        *_knobs(_params(branch), branch.start.sweep),
        *_samples(branch),
        "-l",
        str(max(_length(column.branch) for column in columns)),
        "--seed",
        str(branch.start.seed),
    ]
    positional = [name, *([branch.start.text] if branch.start.text else [])]
    if any(word.startswith("-") for word in positional):
        return shlex.join(["tui-gen", "generate", *options, "--", *positional])
    return shlex.join(["tui-gen", "generate", *positional, *options])


def _samples(branch: Branch) -> list[str]:
    """Of a sweep, each value is a sample."""
    if sweep := branch.start.sweep:
        values = ",".join(_exact(sweep.knob, value) for value in sweep.values)
        return ["--sweep", f"{sweep.knob.replace('_', '-')}={values}"]
    return ["-n", str(branch.samples)] if branch.samples > 1 else []


def _knobs(params: SamplingParams, sweep: Sweep | None) -> list[str]:
    """The temperature always, for its default is the model's; the others where they are not at theirs."""
    options = []
    for knob in fields(SamplingParams):
        value, is_sweep = getattr(params, knob.name), sweep is not None and sweep.knob == knob.name
        if not is_sweep and (knob.name == "temperature" or value != knob.default):
            option = "-t" if knob.name == "temperature" else f"--{knob.name.replace('_', '-')}"
            options += [option, _exact(knob.name, value)]
    return options


def _exact(knob: str, value: float) -> str:
    """In as few digits as give the very same number again."""
    return repr(int(value) if knob == "top_k" else float(value)).removesuffix(".0")
