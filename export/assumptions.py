"""What a file of an image network does not say: size, levels, scaling. Told by options, guessed aloud, or asked for."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from export.checkpoints.checkpoint import Checkpoint
from export.reader import Missing, ReadOptions
from tui_gen.errors import TuiGenError

SCALINGS = ("level/levels", "level/(levels-1)", "/255", "-1..1", "raw")
_SHAPE = re.compile(r"(image|img|input|data)_?(size|shape|dims?)")
_DEPTH = 4
"""How deep hyper-parameters are looked for."""


@dataclass
class Answers:
    """Collects what is known, assumed and missing while a reader goes through a file."""

    options: ReadOptions
    checkpoint: Checkpoint
    missing: list[Missing] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)

    def assume(self, key: str, default: str, what: str, *, choices: tuple[str, ...] = ()) -> str:
        """An answer to a question of the reader's: the person's, or else the default, which is said aloud."""
        self.asked.add(key)
        given = self.options.assume.get(key)
        if given is None:
            others = f"--assume {key}={'|'.join(choices)}" if choices else f"--assume {key}=..."
            self.missing.append(Missing(what, others, default))
            return default
        if choices and given not in choices:
            raise TuiGenError(f"--assume {key} must be one of {', '.join(choices)}, not {given!r}")
        return given

    def size(self) -> tuple[int, int]:
        """Height and width of the images; (0, 0) if nobody says it, which is then listed as missing."""
        if self.options.size:
            return self.options.size
        found = _size_in(self.checkpoint)
        if found is None:
            self.missing.append(Missing("the size of the images", "--size HxW"))
        return found or (0, 0)

    def levels(self, rows: int, channels: int) -> int:
        """Values that a pixel can have. rows: what the network puts out per place; one per channel is of two levels."""
        if rows % channels:
            raise TuiGenError(f"the network puts out {rows} numbers per pixel, which {channels} channels do not share")
        levels = max(rows // channels, 2)
        if self.options.levels not in (None, levels):
            numbers = "1 number, for 2 levels," if rows == channels else f"{levels}"
            raise TuiGenError(f"--levels {self.options.levels} does not fit: it puts out {numbers} per channel")
        return levels

    def scaling(self, levels: int, default: str) -> Tensor:
        """float32[levels]: what the network reads for each level."""
        given = self.options.scaling
        if given is not None and given not in SCALINGS:
            others = "; embedding and one-hot are found out" if given in ("embedding", "one-hot") else ""
            raise TuiGenError(f"--scaling must be one of {', '.join(SCALINGS)}, not {given!r}{others}")
        if given is None:
            self.missing.append(Missing("how levels became its input", "--scaling HOW", default))
        return scaled(levels, given or default)

    def check_all_used(self) -> None:
        """Raises TuiGenError for an --assume that answers no question of this network."""
        unknown = set(self.options.assume) - self.asked
        if unknown:
            known = ", ".join(sorted(self.asked)) or "none"
            raise TuiGenError(f"--assume {min(unknown)}: this network raises no such question; its questions: {known}")


def scaled(levels: int, how: str) -> Tensor:
    """float32[levels]: the network's input for each level."""
    level = torch.arange(levels, dtype=torch.float32)
    return {
        "level/levels": level / levels,
        "level/(levels-1)": level / (levels - 1),
        "/255": level / 255,
        "-1..1": level / (levels - 1) * 2 - 1,
        "raw": level,
    }[how]


def _size_in(checkpoint: Checkpoint) -> tuple[int, int] | None:
    """The size that buffers or hyper-parameters state."""
    values: dict[str, int] = {}
    for name, tensor in checkpoint.tensors.items():
        if tensor.numel() == 1 and not (tensor.is_floating_point() or tensor.is_complex()):
            values[name.rpartition(".")[2].strip("_").lower()] = int(tensor)
    _collect(checkpoint.facts, values, 0)
    for facts in checkpoint.modules.values():
        _collect(facts.attributes, values, 0)
    for rows, columns in (("h", "w"), ("height", "width"), ("image_height", "image_width")):
        if values.get(rows, 0) > 0 and values.get(columns, 0) > 0:
            return values[rows], values[columns]
    side = values.get("image_size") or values.get("img_size")
    return (side, side) if side else None


def _collect(facts: Mapping[str, Any], values: dict[str, int], depth: int) -> None:
    for key, value in facts.items():
        name = str(key).strip("_").lower()
        if isinstance(value, dict) and depth < _DEPTH:
            _collect(value, values, depth + 1)
        elif type(value) is int:
            values.setdefault(name, value)
        elif _SHAPE.fullmatch(name) and isinstance(value, (list, tuple)) and all(type(side) is int for side in value):
            rows_and_columns = _of_shape(value)
            if rows_and_columns:
                values.setdefault("height", rows_and_columns[0])
                values.setdefault("width", rows_and_columns[1])


def _of_shape(shape: Sequence[int]) -> tuple[int, int] | None:
    """Height and width of (height, width), (channels, height, width) or (height, width, channels)."""
    sides = list(shape)
    if len(sides) == 3:
        sides = sides[1:] if sides[0] in (1, 3) else sides[:2] if sides[2] in (1, 3) else []
    return (sides[0], sides[1]) if len(sides) == 2 and min(sides) > 0 else None


class Questions:
    """Collects the questions that one reading asks."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self._answers, self._asked = answers, dict[str, str]()
        self.missing: list[Missing] = []

    def ask(self, key: str, what: str, assumed: str, choices: Collection[str]) -> str:
        """The answer to `--assume KEY=...`, or what is assumed. Raises TuiGenError for one that is no choice.

        what: what the file does not say, such as `the nonlinearity of rnn`.
        """
        options = "|".join(dict.fromkeys((assumed, *choices)))
        given = self.given(key, f"{key}={options}")
        if given is None:
            missing = Missing(what, f"--assume {key}={options}", assumed)
            self.missing += [] if missing in self.missing else [missing]
            return assumed
        if given not in choices:
            raise TuiGenError(f"--assume {key}={given} is none of {', '.join(choices)}")
        return given

    def given(self, key: str, shown: str = "") -> str | None:
        """The answer that was given, to a question that need not be answered. shown: how the answer is typed."""
        self._asked[key] = shown or f"{key}=..."
        return self._answers.get(key)

    def check(self) -> None:
        """Raises TuiGenError for an answer to a question that was not asked."""
        for key in self._answers.keys() - self._asked.keys():
            known = ", ".join(sorted(self._asked.values())) or "none"
            raise TuiGenError(f"--assume {key}=... is no question about this file; what can be told of it: {known}")
