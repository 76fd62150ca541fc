"""Text for a terminal: `scrub`, the one door for foreign text; whether it takes colours; and words in sentences."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import IO, Any

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f\U000e0100-\U000e01ef]"
)
SIGN = "\ufffd"
"""What a character that cannot be shown is replaced by."""


def scrub(text: str) -> str:
    """Replaces, one for one, every character that a terminal would obey or hide: control characters other than newline
    and tab, invisible and direction-changing ones, surrogates and tags. C0 controls become their visible pictures.
    """
    return _HIDDEN.sub(_visible, text)


def scrub_line(text: str) -> str:
    """The same for text that must stay on one line: newlines and tabs become visible too."""
    return scrub(text).replace("\n", "\u240a").replace("\t", "\u2409")


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else SIGN


def say(*lines: str) -> None:
    """Tells things on stderr, each in one line."""
    for line in lines:
        print(f"tui-gen: {scrub_line(line)}", file=sys.stderr)


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

    by_lower_case = {name.lower(): name for name in names}
    start = word.lower()
    if start in by_lower_case:
        return [by_lower_case[start]]
    longer = sorted((name for name in by_lower_case if start and name.startswith(start)), key=len)
    close = difflib.get_close_matches(start, by_lower_case, n=4, cutoff=cutoff)
    return [by_lower_case[name] for name in dict.fromkeys([*longer, *close])][:4]


def did_you_mean(word: str, names: Iterable[str], *, cutoff: float = 0.6) -> str:
    """A question with the names that are `nearest`; empty where none is near."""
    near = nearest(word, names, cutoff=cutoff)
    return f"did you mean {listed(near)}?" if near else ""
