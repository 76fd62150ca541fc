"""Text for a terminal: `say` and `show`, the door to it; `scrub`, which makes it harmless; and words in sentences."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import islice
from typing import IO, Any

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Unicode 17.0: Default_Ignorable_Code_Point, Bidi_Control, separators of lines, controls, surrogates and format
characters, but for those that draw a sign (Prepended_Concatenation_Mark).
"""
_EMOJI = (
    "a9 ae 203c 2049 2122 2139 2194-2199 21a9-21aa 231a-231b 2328 23cf 23e9-23f3 23f8-23fa 24c2 25aa-25ab 25b6 25c0 "
    "25fb-25fe 2600-2604 260e 2611 2614-2615 2618 261d 2620 2622-2623 2626 262a 262e-262f 2638-263a 2640 2642 "
    "2648-2653 265f-2660 2663 2665-2666 2668 267b 267e-267f 2692-2697 2699 269b-269c 26a0-26a1 26a7 26aa-26ab "
    "26b0-26b1 26bd-26be 26c4-26c5 26c8 26ce-26cf 26d1 26d3-26d4 26e9-26ea 26f0-26f5 26f7-26fa 26fd 2702 2705 "
    "2708-270d 270f 2712 2714 2716 271d 2721 2728 2733-2734 2744 2747 274c 274e 2753-2755 2757 2763-2764 2795-2797 "
    "27a1 27b0 27bf 2934-2935 2b05-2b07 2b1b-2b1c 2b50 2b55 3030 303d 3297 3299 1f004 1f0cf 1f170-1f171 1f17e-1f17f "
    "1f18e 1f191-1f19a 1f201-1f202 1f21a 1f22f 1f232-1f23a 1f250-1f251 1f300-1f321 1f324-1f393 1f396-1f397 "
    "1f399-1f39b 1f39e-1f3f0 1f3f3-1f3f5 1f3f7-1f4fd 1f4ff-1f53d 1f549-1f54e 1f550-1f567 1f56f-1f570 1f573-1f57a "
    "1f587 1f58a-1f58d 1f590 1f595-1f596 1f5a4-1f5a5 1f5a8 1f5b1-1f5b2 1f5bc 1f5c2-1f5c4 1f5d1-1f5d3 1f5dc-1f5de "
    "1f5e1 1f5e3 1f5e8 1f5ef 1f5f3 1f5fa-1f64f 1f680-1f6c5 1f6cb-1f6d2 1f6d5-1f6d8 1f6dc-1f6e5 1f6e9 1f6eb-1f6ec "
    "1f6f0 1f6f3-1f6fc 1f7e0-1f7eb 1f7f0 1f90c-1f93a 1f93c-1f945 1f947-1f9ff 1fa70-1fa7c 1fa80-1fa8a 1fa8e-1fac6 "
    "1fac8 1facd-1fadc 1fadf-1faea 1faef-1faf8"
)
"""Unicode 17.0: Emoji, but for digits, # and *, and for letters of flags."""
_JOINTS = ("\u200d", "\ufe0e", "\ufe0f")
"""The zero-width joiner, and the selectors of how an emoji is drawn."""
SIGN = "\ufffd"
"""What a character that cannot be shown is replaced by."""
_MOST_NAMES, _LONGEST_NAME = 5000, 300
"""That a word is compared with."""
LONGEST = 1000
"""Characters of one thing that a person is told: whatever it echoes may be of any length."""


def scrub(text: str) -> str:
    """Replaces, one for one, every character that a terminal would obey or hide: control characters other than newline
    and tab, invisible and direction-changing ones, surrogates and tags. C0 controls become their visible pictures.
    Joiners and variation selectors stay within an emoji sequence; at the end of what is given they join nothing.
    """
    return _HIDDEN.sub(_visible, text)


def scrub_line(text: str) -> str:
    """The same for text that must stay on one line: newlines and tabs become visible too."""
    return scrub(text).replace("\n", "\u240a").replace("\t", "\u2409")


def _visible(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    if character in _JOINTS and _emoji_joints().match(match.string, match.start()):
        return character
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else SIGN


@cache
def _emoji_joints() -> re.Pattern[str]:
    """Where a variation selector follows an emoji, or a joiner stands between two."""
    ranges = (part.partition("-") for part in _EMOJI.split())
    emoji = "".join(f"{chr(int(first, 16))}-{chr(int(last or first, 16))}" for first, _, last in ranges)
    keycap = "(?<=[0-9#*])\ufe0f(?=\u20e3)"
    return re.compile(
        f"(?<=[{emoji}])[\ufe0e\ufe0f]|{keycap}|(?:(?<=[{emoji}])|(?<=[{emoji}]\ufe0f))\u200d(?=[{emoji}])"
    )


def has_joints(text: str) -> bool:
    """Whether a text has emoji sequences, whose width depends on the terminal."""
    return any(joint in text for joint in _JOINTS)


class PieceScrubber:
    """`scrub` for a text that comes in pieces: what may join emoji waits for what follows it."""

    def __init__(self) -> None:
        self._before = self._held = ""

    def scrub(self, piece: str) -> str:
        """The next piece, harmless."""
        text = self._before + self._held + piece
        self._held = text[-1:] if text.endswith(_JOINTS) else ""
        text = text[: len(text) - len(self._held)]
        before, self._before = self._before, text[-2:]
        return scrub(text)[len(before) :]


def brief(text: str, longest: int = LONGEST) -> str:
    """The text; of one that is longer, so many characters of its beginning and of its end, which has the cure."""
    if len(text) <= longest:
        return text
    end = longest // 3
    return f"{text[: longest - end - 1]}…{text[len(text) - end :]}"


def say(*lines: str, prog: str = "tui-gen") -> None:
    """Tells things on stderr, each in one line. prog: what each begins with."""
    for line in lines:
        print(f"{prog}: {scrub_line(brief(line))}", file=sys.stderr)


def show(*lines: str) -> None:
    """Writes results to stdout at once, each in one line."""
    print(*map(scrub_line, lines), sep="\n", flush=True)


def say_text(text: str) -> None:
    """Writes a text of several lines to stderr, and ends the last."""
    print(scrub(text), file=sys.stderr)


def show_text(text: str) -> None:
    """Writes a text of several lines to stdout at once, and ends the last."""
    print(scrub(text), flush=True)


def allows_escapes() -> bool:
    """Whether escape codes may be written, wherever to: neither where a person wants no colours (no-color.org), nor for
    a terminal that would show them as text.
    """
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def shows_colours(file: IO[Any]) -> bool:
    """Whether what is written to a file is seen on a terminal that takes colours."""
    return file.isatty() and allows_escapes()


def counted(number: int, unit: str) -> str:
    """A number of things that take an s in the plural, as in `1 word` and `1,204 words`."""
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Alternatives, as in `a, b or c`."""
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def nearest(word: str, names: Iterable[str], *, cutoff: float = 0.6) -> list[str]:
    """The names that a person may have meant by a word which is none of them: at most four, the nearest first.

    cutoff: how much of the letters must agree, as of `difflib.get_close_matches`; of names that begin with the word,
    none need.
    """
    import difflib  # of use for mistakes alone

    by_lower_case = {name.lower(): name for name in islice(names, _MOST_NAMES) if len(name) <= _LONGEST_NAME}
    start = word.lower()[:_LONGEST_NAME]
    if start in by_lower_case:
        return [by_lower_case[start]]
    longer = sorted((name for name in by_lower_case if start and name.startswith(start)), key=len)
    close = difflib.get_close_matches(start, by_lower_case, n=4, cutoff=cutoff)
    return [by_lower_case[name] for name in dict.fromkeys([*longer, *close])][:4]


def did_you_mean(word: str, names: Iterable[str], *, cutoff: float = 0.6) -> str:
    """A question with the names that are `nearest`; empty where none is near."""
    near = nearest(word, names, cutoff=cutoff)
    return f"did you mean {listed(near)}?" if near else ""
