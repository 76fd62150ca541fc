"""How training scripts make a vocabulary of their text: the rules for --vocab-rule."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from export.assumptions import Questions
from export.checkpoints.checkpoint import Checkpoint
from export.reader import Missing, ReadOptions
from export.text import evidence
from export.text.vocabulary_files import (
    BYTES,
    ENDS,
    KNOWN,
    STARTS,
    Found,
    Tokens,
    byte_file,
    character_file,
    find_tokens,
    first_meaning,
    is_characters,
    meaning,
    nameless_file,
    read_side,
    read_text_file,
    token_name,
    word_file,
)
from tui_gen.errors import TuiGenError

STOP = "<stop>"
"""The token without a text that stands before and after every line of a list of names."""
ADJUSTMENTS = "--assume specials=<pad>,<unk> puts tokens first, lowercase=yes and min_count=N do as they say"
"""What varies between scripts that follow the same rule."""


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


@dataclass(frozen=True)
class Vocabulary:
    """What the tokens of a model mean."""

    tokenizer: str
    """The text of tokenizer.json."""
    bos: int
    eos: int | None
    facts: tuple[tuple[str, str], ...]
    """For the diagnosis."""
    notes: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()


def vocabulary(checkpoint: Checkpoint, options: ReadOptions, size: int, questions: Questions) -> Vocabulary:
    """Of a model that predicts `size` tokens. Raises TuiGenError for a vocabulary of another size, naming both."""
    if options.vocab == BYTES:
        _check_size("--vocab bytes", 256, size)
        return _finished(byte_file(), [None] * 10 + ["\n"] + [None] * 245, "the 256 bytes of UTF-8", questions)
    if options.vocab:
        side = read_side(options.vocab, size)
        if side.tokenizer:
            return _passed(side.tokenizer, side.origin, size, questions)
        assert side.tokens is not None
        _check_size(f"--vocab {options.vocab}", len(side.tokens), size)
        return _of_tokens(side.tokens, f"from {side.origin}", questions)
    if options.vocab_rule:
        tokens: Tokens = [*by_rule(options.vocab_rule, options.corpus, questions)]
        made = f"{options.vocab_rule} of {', '.join(path.name for path in options.corpus)}"
        _check_size(f"the vocabulary by {made}", len(tokens), size, cure=ADJUSTMENTS)
        return _of_tokens(tokens, made, questions)
    found, others = find_tokens(evidence.values(checkpoint), size)
    if found:
        words = _of_tokens(found.tokens, f"in the file under {found.place}", questions)
        return replace(words, notes=(*words.notes, *_contradictions(found, others)))
    return _nameless(size, others, questions)


def _contradictions(found: Found, others: Iterable[Found]) -> Iterator[str]:
    """Vocabularies of the same tokens under other ids."""
    for other in others:
        if other.tokens != found.tokens and {*other.tokens} == {*found.tokens}:
            yield f"{other.place} has the same tokens in another order; {found.place} is used"


def _check_size(what: str, has: int, size: int, *, cure: str = "it is another model's, or incomplete") -> None:
    if has != size:
        raise TuiGenError(f"{what} has {has:,} tokens, but the weights predict {size:,}; {cure}")


def _of_tokens(tokens: Tokens, origin: str, questions: Questions) -> Vocabulary:
    if is_characters(tokens):
        kind, text, line_end = "characters", character_file(tokens), None
    else:
        line_end = _line_end(tokens)
        kind, text = "words", word_file(tokens, line_end=line_end)
    return _finished(text, tokens, f"{len(tokens):,} {kind}, {origin}", questions, line_end=line_end)


def _line_end(tokens: Tokens) -> str | None:
    """`<eos>` among words without a beginning of texts: a text of lines, which runs on."""
    if first_meaning(tokens, STARTS[: STARTS.index("eos")]) is not None:
        return None
    return next((token for token in tokens if token and meaning(token) == "eos"), None)


def _finished(
    text: str, tokens: Tokens, described: str, questions: Questions, *, line_end: str | None = None
) -> Vocabulary:
    stop = _nameless_stop(tokens)
    bos = _told(tokens, "bos", questions, first_meaning(tokens, STARTS) if stop is None else stop)
    likely = first_meaning(tokens, ENDS) if stop is None else stop
    eos = _told(tokens, "eos", questions, None if line_end else likely)
    bos = 0 if bos is None else bos
    ends = _shown(tokens, eos) if eos is not None else "nothing: it writes on"
    facts = (("vocabulary", described), ("starts from", _shown(tokens, bos)), ("ends at", ends))
    notes: tuple[str, ...] = (
        (f"{line_end} ends a line, and is printed as a newline; the text goes on",) if line_end else ()
    )
    if stop is not None:
        notes += (f"{_shown(tokens, stop)} is taken for the beginning and the end of every text",)
    return Vocabulary(text, bos, eos, facts, notes)


def _nameless_stop(tokens: Tokens) -> int | None:
    """Id 0 of lists of names: without a text of its own, or a dot where there are no spaces and lines to end."""
    if tokens[0] is None and None not in tokens[1:]:
        return 0
    dotted = tokens[0] == "." and is_characters(tokens) and not {" ", "\n", ","} & {*tokens}
    return 0 if dotted else None


def _told(tokens: Tokens, which: str, questions: Questions, likely: int | None) -> int | None:
    """What --assume says of the first or the last token: an id, a text, or none."""
    told = questions.given(which, f"{which}=TOKEN")
    if told is None:
        return likely
    if told == "none" and which == "eos":
        return None
    text = told.encode().decode("unicode_escape") if told.startswith("\\") else told
    if text in tokens:
        return tokens.index(text)
    if told.isdecimal() and int(told) < len(tokens):
        return int(told)
    raise TuiGenError(f"--assume {which}={told} is no token of the vocabulary, and no id below {len(tokens)}")


def _shown(tokens: Tokens, token: int) -> str:
    text = tokens[token]
    return f"{text!r}, id {token}" if text else token_name(token)


def _passed(text: str, origin: str, size: int, questions: Questions) -> Vocabulary:
    """A tokenizer.json as it is."""
    ids = _ids(json.loads(text))
    _check_size(f"--vocab {origin}", max(ids.values(), default=-1) + 1, size)
    tokens: Tokens = [None] * size
    for token, at in ids.items():
        tokens[at] = "\n" if token == "Ċ" else token
    gapless = [token if token is not None else token_name(at) for at, token in enumerate(tokens)]
    return _finished(text, [*gapless], f"{len(ids):,} tokens, {origin}", questions)


def _ids(facts: dict[str, Any]) -> dict[str, int]:
    vocab = facts["model"]["vocab"]
    if isinstance(vocab, list):  # of a unigram model: [token, score] each
        vocab = {token: at for at, (token, _) in enumerate(vocab)}
    return {**vocab, **{added["content"]: added["id"] for added in facts.get("added_tokens") or ()}}


def _nameless(size: int, others: Iterable[Found], questions: Questions) -> Vocabulary:
    near = "".join(
        f"; {other.place} in the file has {len(other.tokens):,} tokens, the weights {size:,}" for other in [*others][:1]
    )
    hint = next((f" (--vocab {name} has {size} too)" for name, known in KNOWN.items() if len(known) == size), "")
    hint = " (--vocab bytes has 256 too)" if size == 256 else hint
    missing = Missing(
        f"the vocabulary{hint}{near}",
        "--vocab FILE, or --corpus FILE... --vocab-rule RULE",
        "tokens are called `token 17`, and typed so or as `17`",
    )
    made = _finished(nameless_file(size), [token_name(at) for at in range(size)], "only numbers", questions)
    return Vocabulary(made.tokenizer, made.bos, made.eos, made.facts, made.notes, (missing,))
