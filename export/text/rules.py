"""How training scripts make a vocabulary of their text: the rules for --vocab-rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from export.text.questions import Questions
from tui_gen.errors import TuiGenError

STOP = "<stop>"
"""The token without a text that stands before and after every line of a list of names."""


@dataclass(frozen=True)
class Rule:
    """A text's tokens, and their ids."""

    summary: str
    """For people, in a line."""
    split: Callable[[str], list[str]]
    """A text's tokens as they stand."""
    order: Callable[[Sequence[str]], list[str]]
    """Distinct tokens in the order of their ids."""
    specials: tuple[str, ...] = ()
    """Tokens before these."""


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def _words_and_ends(text: str) -> list[str]:
    return [word for line in _lines(text) for word in (*line.split(), "<eos>")]


def _characters_of_lines(text: str) -> list[str]:
    return [char for line in _lines(text) for char in line.strip()]


def _sorted(tokens: Sequence[str]) -> list[str]:
    return sorted(set(tokens))


def _first(tokens: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(tokens))


def _frequent(tokens: Sequence[str]) -> list[str]:
    return [token for token, _ in Counter(tokens).most_common()]


def _frequent_sorted(tokens: Sequence[str]) -> list[str]:
    counts = Counter(tokens)
    return sorted(counts, key=lambda token: (-counts[token], token))


RULES: dict[str, Rule] = {
    "sorted-characters": Rule("every character, in code point order: sorted(set(text))", list, _sorted),
    "sorted-characters-after-stop": Rule(
        "a list of names, one a line: id 0 begins and ends each, then sorted(set(characters))",
        _characters_of_lines,
        _sorted,
        (STOP,),
    ),
    "first-appearance-characters": Rule("every character, in the order of first appearance", list, _first),
    "characters-by-frequency": Rule("every character, the commonest first", list, _frequent),
    "words-first-appearance": Rule("words between spaces, in the order of first appearance", str.split, _first),
    "words-first-appearance-eos": Rule(
        "words and <eos> after each line, in the order of first appearance; name the files in the script's order",
        _words_and_ends,
        _first,
    ),
    "words-by-frequency": Rule(
        "words between spaces, the commonest first; equally common ones as they appear", str.split, _frequent
    ),
    "words-by-frequency-sorted": Rule(
        "words between spaces, the commonest first; equally common ones sorted", str.split, _frequent_sorted
    ),
    "sorted-words": Rule("words between spaces, sorted", str.split, _sorted),
}
"""By the names that the command line takes."""

ADJUSTMENTS = "--assume specials=<pad>,<unk> puts tokens first, lowercase=yes and min_count=N do as they say"
"""What varies between scripts that follow the same rule."""


def by_rule(name: str, corpus: Sequence[Path], questions: Questions) -> list[str]:
    """Tokens in the order of their ids. Raises TuiGenError for an unknown rule, or unreadable files."""
    rule = RULES.get(name)
    if rule is None:
        raise TuiGenError(f"there is no rule {name}; --vocab-rule takes {', '.join(RULES)}")
    if not corpus:
        raise TuiGenError(f"--vocab-rule {name} needs the text that the network was trained on: --corpus FILE")
    lowercase = questions.given("lowercase", "lowercase=yes") == "yes"
    tokens: list[str] = []
    for path in corpus:
        text = read_text_file(path)
        tokens += rule.split(text.lower() if lowercase else text)
    ordered = rule.order(_common(tokens, questions.given("min_count", "min_count=N")))
    told = questions.given("specials", "specials=<pad>,<unk>")
    specials = tuple(told.split(",")) if told else rule.specials
    return [*specials, *(token for token in ordered if token not in specials)]


def _common(tokens: list[str], least: str | None) -> list[str]:
    if least is None:
        return tokens
    if not least.isdecimal():
        raise TuiGenError(f"--assume min_count={least} is not a whole number")
    counts = Counter(tokens)
    return [token for token in tokens if counts[token] >= int(least)]


def read_text_file(path: Path) -> str:
    """A UTF-8 text with plain newlines. Raises TuiGenError that names the file."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise TuiGenError(f"{path} is not UTF-8 text: {fault.reason} at byte {fault.start}") from fault
    except OSError as fault:
        raise TuiGenError(f"{path} cannot be read: {fault.strerror}") from fault
