"""The vocabulary of a language model: from --vocab, from its training text by a script's rule, or from the file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tui_gen.errors import TuiGenError

from ..reader import Missing, ReadOptions
from . import metadata
from .vocabulary_files import (
    BEGINNINGS,
    BYTES,
    CHARACTER_SETS,
    ENDS,
    StoredVocabulary,
    Texts,
    byte_tokenizer_json,
    character_tokenizer_json,
    find_vocabularies,
    first_meaning,
    is_characters,
    meaning,
    number_tokenizer_json,
    read_text_file,
    read_vocabulary_file,
    token_name,
    word_tokenizer_json,
)

if TYPE_CHECKING:  # the help names the rules, and would wait for PyTorch
    from ..assumptions import Assumptions
    from ..checkpoints.checkpoint import Checkpoint

STOP = "<stop>"
"""The token without a text that stands before and after every line of a list of names."""
ADJUSTMENTS = "--assume specials=<pad>,<unk> puts tokens first, lowercase=yes and min_count=N do as they say"
"""What varies between scripts that follow the same rule."""


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


def read_vocabulary(checkpoint: Checkpoint, options: ReadOptions, size: int, assumptions: Assumptions) -> Vocabulary:
    """Of a model that predicts `size` tokens. Raises TuiGenError for a vocabulary of another size, naming both."""
    if options.vocab == BYTES:
        _check_size("--vocab bytes", 256, size)
        return _vocabulary(
            byte_tokenizer_json(), [None] * 10 + ["\n"] + [None] * 245, "the 256 bytes of UTF-8", assumptions
        )
    if options.vocab:
        file = read_vocabulary_file(options.vocab, size)
        if file.tokenizer:
            return _of_tokenizer(file.tokenizer, file.origin, size, assumptions)
        _check_size(f"--vocab {options.vocab}", len(file.tokens), size)
        return _of_tokens(file.tokens, f"from {file.origin}", assumptions)
    if options.vocab_rule:
        tokens: Texts = [*tokens_by_rule(options.vocab_rule, options.corpus, assumptions)]
        origin = f"{options.vocab_rule} of {', '.join(path.name for path in options.corpus)}"
        _check_size(f"the vocabulary by {origin}", len(tokens), size, cure=ADJUSTMENTS)
        return _of_tokens(tokens, origin, assumptions)
    best, others = find_vocabularies(metadata.settings(checkpoint), size)
    if best is None:
        return _nameless(size, others, assumptions)
    vocabulary = _of_tokens(best.tokens, f"in the file under {best.key}", assumptions)
    contradictions = (
        f"{other.key} has the same tokens in another order; {best.key} is used"
        for other in others
        if other.tokens != best.tokens and {*other.tokens} == {*best.tokens}
    )
    return replace(vocabulary, notes=(*vocabulary.notes, *contradictions))


def _check_size(what: str, count: int, size: int, *, cure: str = "it is another model's, or incomplete") -> None:
    if count != size:
        raise TuiGenError(f"{what} has {count:,} tokens, but the weights predict {size:,}; {cure}")


def _of_tokens(tokens: Texts, origin: str, assumptions: Assumptions) -> Vocabulary:
    if is_characters(tokens):
        return _vocabulary(
            character_tokenizer_json(tokens), tokens, f"{len(tokens):,} characters, {origin}", assumptions
        )
    line_end = None  # `<eos>` among words without a beginning of texts: a text of lines, which runs on
    if first_meaning(tokens, BEGINNINGS[: BEGINNINGS.index("eos")]) is None:
        line_end = next((token for token in tokens if token and meaning(token) == "eos"), None)
    tokenizer = word_tokenizer_json(tokens, line_end=line_end)
    return _vocabulary(tokenizer, tokens, f"{len(tokens):,} words, {origin}", assumptions, line_end=line_end)


def _of_tokenizer(tokenizer: str, origin: str, size: int, assumptions: Assumptions) -> Vocabulary:
    """Of a tokenizer.json, which is used as it is."""
    settings = json.loads(tokenizer)
    ids = settings["model"]["vocab"]
    if isinstance(ids, list):  # of a unigram model: [token, score] each
        ids = {token: at for at, (token, _) in enumerate(ids)}
    ids = {**ids, **{token["content"]: token["id"] for token in settings.get("added_tokens") or ()}}
    _check_size(f"--vocab {origin}", max(ids.values(), default=-1) + 1, size)
    tokens: Texts = [token_name(at) for at in range(size)]
    for token, at in ids.items():
        tokens[at] = "\n" if token == "Ċ" else token
    return _vocabulary(tokenizer, tokens, f"{len(ids):,} tokens, {origin}", assumptions)


def _nameless(size: int, others: Sequence[StoredVocabulary], assumptions: Assumptions) -> Vocabulary:
    near = [f"; {other.key} in the file has {len(other.tokens):,} tokens, the weights {size:,}" for other in others]
    sizes = {**{name: len(characters) for name, characters in CHARACTER_SETS.items()}, BYTES: 256}
    hint = next((f" (--vocab {name} has {size} too)" for name, count in sizes.items() if count == size), "")
    missing = Missing(
        f"the vocabulary{hint}{''.join(near[:1])}",
        "--vocab FILE, or --corpus FILE... --vocab-rule RULE",
        "tokens are called `token 17`, and typed so or as `17`",
    )
    tokens: Texts = [token_name(at) for at in range(size)]
    return replace(_vocabulary(number_tokenizer_json(size), tokens, "only numbers", assumptions), missing=(missing,))


def _vocabulary(
    tokenizer: str, tokens: Texts, description: str, assumptions: Assumptions, *, line_end: str | None = None
) -> Vocabulary:
    stop = _nameless_stop(tokens)
    bos = _token_id(tokens, "bos", assumptions, first_meaning(tokens, BEGINNINGS) if stop is None else stop) or 0
    default = first_meaning(tokens, ENDS) if stop is None else stop
    eos = _token_id(tokens, "eos", assumptions, None if line_end else default)
    end = "nothing: it writes on" if eos is None else _text_and_id(tokens, eos)
    facts = (("vocabulary", description), ("starts from", _text_and_id(tokens, bos)), ("ends at", end))
    notes = [f"{line_end} ends a line, and is printed as a newline; the text goes on"] if line_end else []
    if stop is not None:
        notes.append(f"{_text_and_id(tokens, stop)} is taken for the beginning and the end of every text")
    return Vocabulary(tokenizer, bos, eos, facts, tuple(notes))


def _nameless_stop(tokens: Texts) -> int | None:
    """Id 0 of lists of names: without a text of its own, or a dot where there are no spaces and lines to end."""
    if tokens[0] is None and None not in tokens[1:]:
        return 0
    is_dot = tokens[0] == "." and is_characters(tokens) and not {" ", "\n", ","} & {*tokens}
    return 0 if is_dot else None


def _token_id(tokens: Texts, key: str, assumptions: Assumptions, default: int | None) -> int | None:
    """What --assume says of the first or the last token: an id, a text, or none."""
    answer = assumptions.answer(key, "TOKEN")
    if answer is None:
        return default
    if answer == "none" and key == "eos":
        return None
    text = answer.encode().decode("unicode_escape") if answer.startswith("\\") else answer
    if text in tokens:
        return tokens.index(text)
    if answer.isdecimal() and int(answer) < len(tokens):
        return int(answer)
    raise TuiGenError(f"--assume {key}={answer} is no token of the vocabulary, and no id below {len(tokens)}")


def _text_and_id(tokens: Texts, token: int) -> str:
    text = tokens[token]
    return f"{text!r}, id {token}" if text else token_name(token)


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


def _by_code_point(tokens: Sequence[str]) -> list[str]:
    return sorted(set(tokens))


def _by_appearance(tokens: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(tokens))


def _by_frequency(tokens: Sequence[str]) -> list[str]:
    return [token for token, _ in Counter(tokens).most_common()]


def _by_frequency_sorted(tokens: Sequence[str]) -> list[str]:
    counts = Counter(tokens)
    return sorted(counts, key=lambda token: (-counts[token], token))


RULES: dict[str, Rule] = {
    "sorted-characters": Rule("every character, in code point order: sorted(set(text))", list, _by_code_point),
    "sorted-characters-after-stop": Rule(
        "a list of names, one a line: id 0 begins and ends each, then sorted(set(characters))",
        _characters_of_lines,
        _by_code_point,
        (STOP,),
    ),
    "first-appearance-characters": Rule("every character, in the order of first appearance", list, _by_appearance),
    "characters-by-frequency": Rule("every character, the commonest first", list, _by_frequency),
    "words-first-appearance": Rule("words between spaces, in the order of first appearance", str.split, _by_appearance),
    "words-first-appearance-eos": Rule(
        "words and <eos> after each line, in the order of first appearance; name the files in the script's order",
        _words_and_ends,
        _by_appearance,
    ),
    "words-by-frequency": Rule(
        "words between spaces, the commonest first; equally common ones as they appear", str.split, _by_frequency
    ),
    "words-by-frequency-sorted": Rule(
        "words between spaces, the commonest first; equally common ones sorted", str.split, _by_frequency_sorted
    ),
    "sorted-words": Rule("words between spaces, sorted", str.split, _by_code_point),
}
"""By the names that the command line takes."""


def tokens_by_rule(name: str, corpus: Sequence[Path], assumptions: Assumptions) -> list[str]:
    """Tokens in the order of their ids. Raises TuiGenError for an unknown rule, or unreadable files."""
    rule = RULES.get(name)
    if rule is None:
        raise TuiGenError(f"there is no rule {name}; --vocab-rule takes {', '.join(RULES)}")
    if not corpus:
        raise TuiGenError(f"--vocab-rule {name} needs the text that the network was trained on: --corpus FILE")
    lowercase = assumptions.answer("lowercase", "yes") == "yes"
    tokens: list[str] = []
    for path in corpus:
        text = read_text_file(path)
        tokens += rule.split(text.lower() if lowercase else text)
    least = assumptions.answer("min_count", "N")
    if least is not None:
        if not least.isdecimal():
            raise TuiGenError(f"--assume min_count={least} is not a whole number")
        counts = Counter(tokens)
        tokens = [token for token in tokens if counts[token] >= int(least)]
    answer = assumptions.answer("specials", "<pad>,<unk>")
    specials = answer.split(",") if answer else rule.specials
    return [*specials, *(token for token in rule.order(tokens) if token not in specials)]
