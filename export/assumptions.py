"""What a checkpoint does not say of its network: answered with --assume and other options, asked, or assumed.

What several networks have in common that differ in what they compute is asked: nothing is converted before a person
answers. What all but a few do alike is assumed, printed and kept in the card.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tui_gen.errors import TuiGenError

from .checkpoints.checkpoint import Checkpoint
from .reader import Missing, ReadOptions

SCALINGS = ("level/levels", "level/(levels-1)", "/255", "-1..1", "raw")
_SHAPE = re.compile(r"(image|img|input|data)_?(size|shape|dims?)")
_DEPTH = 4
"""How deep hyper-parameters are searched."""


@dataclass
class Assumptions:
    """Answers to the questions of a reader, by key, and a list of what nobody answered."""

    options: ReadOptions
    checkpoint: Checkpoint
    missing: list[Missing] = field(default_factory=list)
    _usages: dict[str, str] = field(default_factory=dict, init=False)
    """How the answer to each question is typed, by its key."""

    def answer(self, key: str, usage: str = "", *, choices: Collection[str] = ()) -> str | None:
        """What `--assume KEY=...` says; None without it. Raises TuiGenError for what is none of the choices.

        usage: how the answer is typed; default: the choices.
        """
        self._usages[key] = f"{key}={usage or '|'.join(choices) or '...'}"
        value = self.options.assume.get(key)
        if choices and value is not None and value not in choices:
            raise TuiGenError(f"--assume {key} must be one of {', '.join(choices)}, not {value!r}")
        return value

    def assume(self, key: str, default: str, what: str, *, choices: Collection[str] = (), usage: str = "") -> str:
        """The answer to a question; without one the default, which is listed as missing.

        what: what the file does not say, such as `the nonlinearity of rnn`. usage: as `answer` takes it.
        """
        usage = usage or ("|".join(dict.fromkeys((default, *choices))) if choices else "")
        value = self.answer(key, usage, choices=choices)
        if value is None:
            missing = Missing(what, f"--assume {self._usages[key]}", default)
            self.missing += [] if missing in self.missing else [missing]
        return default if value is None else value

    def ask(self, key: str, what: str, *, choices: Sequence[str] = (), usage: str = "") -> str:
        """The answer to a question that only a person can answer; until then the first choice, for the diagnosis alone.

        what: what the file does not say, such as `whether crops share memory`, with the evidence if there is any.
        """
        value = self.answer(key, usage, choices=choices)
        if value is None:
            missing = Missing(what, f"--assume {self._usages[key]}")
            self.missing += [] if missing in self.missing else [missing]
        return value if value is not None else choices[0] if choices else ""

    def names(self, key: str, usage: str) -> tuple[str, ...]:
        """The names that an answer lists with commas between; none without an answer."""
        return tuple(filter(None, (self.answer(key, usage) or "").split(",")))

    def check_all_used(self) -> None:
        """Raises TuiGenError for an --assume that answers no question of this network."""
        unknown = self.options.assume.keys() - self._usages.keys()
        if unknown:
            usages = ", ".join(sorted(self._usages.values())) or "none"
            raise TuiGenError(f"--assume {min(unknown)}=... is no question of this network; its questions: {usages}")

    def size(self) -> tuple[int, int]:
        """Height and width of the images; (0, 0) if nobody says it, which is then listed as missing."""
        size = self.options.size or _image_size(self.checkpoint)
        if size is None:
            self.missing.append(Missing("the size of the images", "--size HxW"))
        return size or (0, 0)

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
        scaling = self.options.scaling
        if scaling is None:
            self.missing.append(Missing("how levels became its input", "--scaling HOW", default))
        elif scaling not in SCALINGS:
            others = "; embedding and one-hot are found out" if scaling in ("embedding", "one-hot") else ""
            raise TuiGenError(f"--scaling must be one of {', '.join(SCALINGS)}, not {scaling!r}{others}")
        level = torch.arange(levels, dtype=torch.float32)
        return {
            "level/levels": level / levels,
            "level/(levels-1)": level / (levels - 1),
            "/255": level / 255,
            "-1..1": level / (levels - 1) * 2 - 1,
            "raw": level,
        }[scaling or default]


def _image_size(checkpoint: Checkpoint) -> tuple[int, int] | None:
    """Height and width that buffers or hyper-parameters state."""
    numbers: dict[str, int] = {}
    for name, tensor in checkpoint.tensors.items():
        if tensor.numel() == 1 and not (tensor.is_floating_point() or tensor.is_complex()):
            numbers[name.rpartition(".")[2].strip("_").lower()] = int(tensor)
    for settings in (checkpoint.facts, *(module.attributes for module in checkpoint.modules.values())):
        _collect_numbers(settings, numbers, 0)
    for rows, columns in (("h", "w"), ("height", "width"), ("image_height", "image_width")):
        if numbers.get(rows, 0) > 0 and numbers.get(columns, 0) > 0:
            return numbers[rows], numbers[columns]
    side = numbers.get("image_size") or numbers.get("img_size")
    return (side, side) if side else None


def _collect_numbers(settings: Mapping[str, Any], numbers: dict[str, int], depth: int) -> None:
    """Whole numbers by name, and the sides of an image's shape as `height` and `width`; the first of a name counts."""
    for key, value in settings.items():
        name = str(key).strip("_").lower()
        if isinstance(value, dict) and depth < _DEPTH:
            _collect_numbers(value, numbers, depth + 1)
        elif type(value) is int:
            numbers.setdefault(name, value)
        elif _SHAPE.fullmatch(name) and isinstance(value, (list, tuple)) and all(type(side) is int for side in value):
            for side, length in zip(("height", "width"), _rows_and_columns(value), strict=False):
                numbers.setdefault(side, length)


def _rows_and_columns(shape: Sequence[int]) -> Sequence[int]:
    """Height and width of (height, width), (channels, height, width) or (height, width, channels); else nothing."""
    if len(shape) == 3:
        shape = shape[1:] if shape[0] in (1, 3) else shape[:2] if shape[2] in (1, 3) else ()
    return shape if len(shape) == 2 and min(shape) > 0 else ()
