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
from .checkpoints.settings import Statement, plain_settings, statements
from .reader import Missing, ReadOptions

SCALINGS = ("level/levels", "level/(levels-1)", "/255", "-1..1", "raw")
OF_PICTURES = dict.fromkeys(("size", "levels", "scaling"), "which writes text")
"""Options that a network over text has no use for."""
OF_TEXTS = dict.fromkeys(("vocab", "vocab_rule", "corpus"), "which draws pictures")
"""Options that a network over images has no use for."""
_SIDES = ("image_size", "img_size", "image_dim", "img_dim")
"""What scripts call the height that is also the width."""
_SHAPE = re.compile(r"(image|img|input|data)_?(size|shape|dims?)")


@dataclass
class Assumptions:
    """Answers to the questions of a reader, by key, and a list of what nobody answered."""

    options: ReadOptions
    checkpoint: Checkpoint
    missing: list[Missing] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What settings in the file were taken for."""
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

    def assume(
        self, key: str, default: str, what: str, *, choices: Sequence[str] = (), subject: str = "", usage: str = ""
    ) -> str:
        """The answer to a question; without one the default, which is listed as missing.

        what: what the file does not say, such as `the nonlinearity of rnn`. subject: of settings that may say it; if
        they say something else than one of the choices, it is asked. usage: as `answer` takes it.
        """
        usage = usage or ("|".join(dict.fromkeys((default, *choices))) if choices else "")
        value = self.answer(key, usage, choices=choices)
        if value is None and subject:
            value = self.stated(subject, choices=choices)
            if value is None and (said := statements(self.checkpoint, subject)):
                every = (*dict.fromkeys((default, *choices)),)
                return self.ask(key, f"{what}, of which its settings say {_listing(said)}", choices=every)
        if value is None:
            every = (*dict.fromkeys((default, *choices)),) if choices else ()
            missing = Missing(what, f"--assume {self._usages[key]}", default, every)
            self.missing += [] if missing in self.missing else [missing]
        return default if value is None else value

    def ask(self, key: str, what: str, *, choices: Sequence[str] = (), usage: str = "") -> str:
        """The answer to a question that only a person can answer; until then the first choice, for the diagnosis alone.

        what: what the file does not say, such as `whether crops share memory`, with the evidence if there is any.
        """
        value = self.answer(key, usage, choices=() if usage else choices)
        if value is None:
            option = f"--assume {self._usages[key]}"
            asked = {missing.option for missing in self.missing if not missing.default}
            missing = Missing(what, option, choices=() if usage else (*choices,))
            self.missing += [] if option in asked else [missing]  # one answer for all that ask the same
        return value if value is not None else choices[0] if choices else ""

    def stated(self, subject: str, *, choices: Collection[str] = ()) -> str | None:
        """What the settings in the file say on a subject (`checkpoints.settings.SUBJECTS`), which is noted.

        None if they say nothing, nothing of the choices, or not all the same: then it is assumed or asked.
        """
        said = statements(self.checkpoint, subject)
        meanings = {statement.meaning for statement in said}
        if len(meanings) != 1 or (choices and not meanings <= {*choices}):
            return None
        self.notes += [note] if (note := f"{said[0]} in the file: taken at its word") not in self.notes else []
        return meanings.pop()

    def check_settings(
        self, key: str, subject: str, agreeing: Collection[str], what: str, *, choices: Sequence[str], usage: str = ""
    ) -> str | None:
        """Asks about settings in the file which contradict what would be built; None where nobody says anything.

        agreeing: meanings on the subject that do not contradict it. what: what would be built, in words. choices: the
        first is what would be built, the others what can be built as well.
        """
        against = [said for said in statements(self.checkpoint, subject) if said.meaning not in agreeing]
        if not against:
            return self.answer(key, usage, choices=() if usage else choices)
        return self.ask(key, f"{what}, but its settings say {_listing(against)}", choices=choices, usage=usage)

    def names(self, key: str, usage: str) -> tuple[str, ...]:
        """The names that an answer lists with commas between; none without an answer."""
        return tuple(filter(None, (self.answer(key, usage) or "").split(",")))

    def check_all_used(self, idle: Mapping[str, str]) -> None:
        """Raises TuiGenError for an --assume that answers no question of this network, and for an option without use.

        idle: fields of the options, and why this network has no use for them.
        """
        for name, why in idle.items():
            if getattr(self.options, name) not in (None, ()):
                raise TuiGenError(f"--{name.replace('_', '-')} says nothing of this network, {why}; leave it out")
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

    def scaling(self, levels: int, likely: str, *, what: str = "how levels became its input") -> Tensor:
        """float32[levels]: what the network reads for each level.

        likely: what is assumed, where the file shows whose script wrote it; empty where it must be asked. what: what
        nobody says, in words.
        """
        scaling = self.options.scaling
        if scaling is None:
            choices = "|".join(f"'{choice}'" if "(" in choice else choice for choice in SCALINGS)  # a shell reads it
            self.missing.append(Missing(what, f"--scaling {choices}", likely, SCALINGS))
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
        }[scaling or likely or SCALINGS[0]]


def _listing(said: Sequence[Statement]) -> str:
    """Settings as they stand in the file, each once."""
    return ", ".join(list(dict.fromkeys(map(str, said)))[:3])


def _image_size(checkpoint: Checkpoint) -> tuple[int, int] | None:
    """Height and width that buffers or hyper-parameters state."""
    numbers: dict[str, int] = {}
    for name, tensor in checkpoint.tensors.items():
        if tensor.numel() == 1 and not (tensor.is_floating_point() or tensor.is_complex()):
            numbers[name.rpartition(".")[2].strip("_").lower()] = int(tensor)
    for setting in plain_settings(checkpoint):
        if type(setting.value) is int:
            numbers.setdefault(setting.name, setting.value)
        elif _SHAPE.fullmatch(setting.name) and isinstance(setting.value, tuple):
            for name, length in zip(("height", "width"), _rows_and_columns(setting.value), strict=False):
                numbers.setdefault(name, length)
    for rows, columns in (("h", "w"), ("height", "width"), ("image_height", "image_width")):
        if numbers.get(rows, 0) > 0 and numbers.get(columns, 0) > 0:
            return numbers[rows], numbers[columns]
    side = next((numbers[name] for name in _SIDES if numbers.get(name)), None)
    return (side, side) if side else None


def _rows_and_columns(shape: Sequence[Any]) -> Sequence[int]:
    """Height and width of (height, width), (channels, height, width) or (height, width, channels); else nothing."""
    if not all(type(side) is int for side in shape):
        return ()
    if len(shape) == 3:
        shape = shape[1:] if shape[0] in (1, 3) else shape[:2] if shape[2] in (1, 3) else ()
    return shape if len(shape) == 2 and min(shape) > 0 else ()
