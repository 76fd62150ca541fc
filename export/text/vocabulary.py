"""The vocabulary of a language model: from --vocab, from its training text by a script's rule, or from the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING

from tui_gen.errors import TuiGenError

from ..reader import Missing, ReadOptions
from . import metadata
from .special_tokens import Texts, find_boundaries, is_characters, joins_nothing, line_end, meaning, token_name
from .tokenizer_json import (
    BYTE_SPACE,
    TokenizerFile,
    byte_text,
    byte_tokenizer_file,
    character_tokenizer_file,
    number_tokenizer_json,
    piece_mark,
    piece_tokenizer_file,
    text_of_bytes,
    word_tokenizer_file,
)
from .vocabulary_files import BYTES, CHARACTER_SETS, read_text_file, read_vocabulary_file
from .vocabulary_values import StoredVocabulary, contradicts, find_vocabularies

if TYPE_CHECKING:  # the help names the rules, and would wait for PyTorch
    from ..assumptions import Assumptions
    from ..checkpoints.checkpoint import Checkpoint

STOP = "<stop>"
"""The token without a text that stands before and after every line of a list of names."""
ADJUSTMENTS = (
    "--assume specials=<pad>,<unk> puts tokens first (specials=<pad>,...,<eos>: one of them last); lowercase=yes,\n"
    "  min_count=N and max_size=N, the number of all other tokens, do as they say; so they do with --vocab"
)
"""What varies between scripts that follow the same rule."""
_REST = "..."
"""Stands for all other tokens in a list of special ones."""
_USUAL_SPECIALS = (("<unk>",), ("<pad>", "<unk>"), ("<pad>", "<unk>", "<eos>"), ("<s>", "<pad>", "</s>", "<unk>"))
"""By their number, what scripts put before other tokens."""
_OTHER_SPECIALS = ("<pad>", "<unk>", "<sos>", "<eos>", "<mask>")
_LEAST_COUNTS = range(2, 21)
"""How often scripts want a token to occur."""
_SIDE = "side"
"""What the vocabulary of --vocab or --vocab-rule is called beside one that the checkpoint holds."""


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


@dataclass(frozen=True)
class _Source:
    """A vocabulary of the size of the weights."""

    name: str
    """As an answer to --assume vocabulary."""
    origin: str
    """For people."""
    tokens: Texts
    tokenizer: str = ""
    is_bytes: bool = False


@dataclass(frozen=True)
class _Evidence:
    """What the checkpoint says of its tokens, beside their names."""

    settings: list[metadata.Setting]
    unused: frozenset[int]
    """Ids whose row of a table is all zeros, as that of padding stays."""


def read_vocabulary(checkpoint: Checkpoint, options: ReadOptions, size: int, assumptions: Assumptions) -> Vocabulary:
    """Of a model that predicts `size` tokens. Raises TuiGenError for a vocabulary of another size, naming both."""
    evidence = _Evidence(list(metadata.settings(checkpoint)), _unused_ids(checkpoint, size))
    side = _side(options, size, assumptions)
    stored, others = _stored(evidence, size, assumptions)
    best = _likeliest([*([side] if side else []), *stored], assumptions)
    if best:
        return _of_source(best, evidence, assumptions)
    return _nameless(size, others, evidence, assumptions, _fitting_rules(options.corpus, size))


def _unused_ids(checkpoint: Checkpoint, size: int) -> frozenset[int]:
    ids: set[int] = set()
    for tensor in checkpoint.tensors.values():
        if tensor.ndim == 2 and len(tensor) == size and tensor.is_floating_point():
            zeros = [*map(int, (tensor == 0).all(dim=1).nonzero())]
            ids |= {*zeros} if len(zeros) * 2 < size else set()
    return frozenset(ids)


def _side(options: ReadOptions, size: int, assumptions: Assumptions) -> _Source | None:
    """What --vocab or --vocab-rule gives; None without them."""
    if options.vocab == BYTES:
        _check_size("--vocab bytes", 256, size)
        return _Source(_SIDE, "the 256 bytes of UTF-8", [byte_text(bytes([byte])) for byte in range(256)], "", True)
    if options.vocab:
        specials = _specials(assumptions)
        file = read_vocabulary_file(options.vocab, size - sum(map(len, specials or ())), assumptions)
        adjustable = _Adjustable(file.tokens, file.counts)
        tokens = file.tokens if file.tokenizer else adjustable.adjusted(assumptions)
        _check_size(f"--vocab {options.vocab}", len(tokens), size, () if file.tokenizer else adjustable.cures(size))
        return _Source(_SIDE, f"from {file.origin}", tokens, file.tokenizer, file.is_bytes)
    if options.vocab_rule:
        origin = f"{options.vocab_rule} of {', '.join(path.name for path in options.corpus)}"
        tokens = [*tokens_by_rule(options.vocab_rule, options.corpus, assumptions)]
        cures = _rule_cures(options.vocab_rule, options.corpus, size) if len(tokens) != size else ()
        _check_size(f"the vocabulary by {origin}", len(tokens), size, cures)
        return _Source(_SIDE, origin, tokens)
    return None


def _check_size(what: str, count: int, size: int, cures: Sequence[str] = ()) -> None:
    """cures: what would give the right number."""
    if count != size:
        cure = f"exactly so many with {' or '.join(cures)}" if cures else "it is another model's, or incomplete"
        raise TuiGenError(f"{what} has {count:,} tokens, but the weights predict {size:,}; {cure}")


def _stored(evidence: _Evidence, size: int, assumptions: Assumptions) -> tuple[list[_Source], list[StoredVocabulary]]:
    """The vocabularies in the checkpoint, and those of another size."""
    first, last = _specials(assumptions) or ((), ())
    fitting, others = find_vocabularies(evidence.settings, size - len(first) - len(last))
    fitting = [one for one in fitting if one.is_hinted or not fitting[0].is_hinted]
    for one in fitting[:1]:
        _tell_unnamed(one, evidence, assumptions)
    sources = [
        _Source(one.key, one.origin, [*first, *one.tokens, *last], one.tokenizer, one.is_bytes) for one in fitting
    ]
    if not sources and any(assumptions.answer(key) for key in ("lowercase", "max_size")):
        adjusted = [(one, _Adjustable(one.tokens).adjusted(assumptions)) for one in others]
        sources = [_Source(one.key, one.origin, tokens) for one, tokens in adjusted if len(tokens) == size]
    return sources, others


def _tell_unnamed(vocabulary: StoredVocabulary, evidence: _Evidence, assumptions: Assumptions) -> None:
    """Ids past the last one of a vocabulary: padding and the like, unless that stands first."""
    tokens = vocabulary.tokens
    unnamed = [at for at in range(len(tokens)) if not any(tokens[at:])]
    if unnamed and tokens[0] and 0 in evidence.unused:
        what = f"which id is padding: the embedding of 0 is all zeros, but {vocabulary.key} says {tokens[0]!r}"
        assumptions.ask("specials", what, usage=f"<pad>|{_REST},<pad>")
    elif unnamed:
        default = ",".join([_REST, *(f"<{at}>" for at in unnamed)])
        what = f"where the {len(unnamed)} special tokens stand that {vocabulary.key} lacks"
        assumptions.assume("specials", default, what, usage=f"<pad>,{_REST},<eos>")


def _likeliest(sources: Sequence[_Source], assumptions: Assumptions) -> _Source | None:
    """The first, unless another one gives an id another token, which is asked about."""
    rivals: list[_Source] = []
    for source in sources:
        if not any(source.tokens == rival.tokens for rival in rivals):
            rivals += [source] if not rivals or contradicts(source.tokens, rivals[0].tokens) else []
    if len(rivals) < 2:
        return next(iter(rivals), None)
    names = [rival.name for rival in rivals]
    answer = next((source for source in sources if source.name == assumptions.options.assume.get("vocabulary")), None)
    if answer and answer.name not in names:  # another name of the same tokens
        names = [answer.name if rival.tokens == answer.tokens else rival.name for rival in rivals]
    pairs = enumerate(zip(rivals[0].tokens, rivals[1].tokens, strict=True))
    at, texts = next((at, texts) for at, texts in pairs if None not in texts and texts[0] != texts[1])
    shown = [f"{name} (--vocab)" if name == _SIDE else name for name in names]
    says = " and ".join(f"{text!r} by {name}" for text, name in zip(texts, shown, strict=False))
    what = f"which vocabulary is right: id {at} is {says}"
    name = assumptions.ask("vocabulary", what, choices=names)
    return rivals[names.index(name)]


def _of_source(source: _Source, evidence: _Evidence, assumptions: Assumptions) -> Vocabulary:
    is_coded = source.is_bytes or piece_mark(source.tokens) == BYTE_SPACE
    tokens = [*map(text_of_bytes, source.tokens)] if is_coded else source.tokens
    kind, file = _tokenizer_file(source, assumptions)
    boundaries = find_boundaries(tokens, evidence.settings, evidence.unused, assumptions, is_named=True)
    facts = (("vocabulary", f"{len(tokens):,} {kind}, {source.origin}"), ("text", file.text), *boundaries.facts)
    return Vocabulary(file.json, boundaries.bos, boundaries.eos, facts, tuple(_notes(source.tokens)))


def _notes(tokens: Texts) -> Iterator[str]:
    """What one may not expect of these tokens."""
    if line := line_end(tokens):
        yield f"{line} ends a line, and is printed as a newline; the text goes on"
    if gaps := [str(at) for at, token in enumerate(tokens) if token is None]:
        yield f"no token has the id {', '.join(gaps)}"
    if doubles := [token for token, count in Counter(tokens).items() if token is not None and count > 1]:
        yield f"{doubles[0]!r} and such stand there more than once; the last one is typed, others go by their numbers"


def _tokenizer_file(source: _Source, assumptions: Assumptions) -> tuple[str, TokenizerFile]:
    """What the tokens are, and their tokenizer.json."""
    tokens = source.tokens
    answer = assumptions.answer("join", choices=("nothing", "spaces"))
    if source.tokenizer:
        return "tokens", TokenizerFile(source.tokenizer, "split and joined as its tokenizer.json says")
    if source.is_bytes:
        return "tokens", byte_tokenizer_file(tokens)
    if answer is None and (mark := piece_mark(tokens)):
        return "pieces of words", piece_tokenizer_file(tokens, mark)
    joined = joins_nothing(tokens) if answer is None else answer == "nothing"
    if joined is None:
        what = "what stands between tokens when they are printed"
        joined = assumptions.assume("join", "nothing", what, choices=("nothing", "spaces")) == "nothing"
    if joined:
        return "characters" if is_characters(tokens) else "tokens", character_tokenizer_file(tokens)
    return "words", word_tokenizer_file(tokens, line_end=line_end(tokens))


def _nameless(
    size: int,
    others: Sequence[StoredVocabulary],
    evidence: _Evidence,
    assumptions: Assumptions,
    rules: Sequence[str],
) -> Vocabulary:
    """rules: those that make so many tokens of the corpus."""
    near = min(others, key=lambda other: abs(size - len(other.tokens)), default=None)
    cures = _Adjustable(near.tokens).cures(size, is_file=False) if near else []
    hint = f" ({' or '.join(cures)} gives them all)" if cures else ""
    beside = f"; {near.key} in the file has {len(near.tokens):,} tokens, the weights {size:,}{hint}" if near else ""
    sizes = {**{name: len(characters) for name, characters in CHARACTER_SETS.items()}, BYTES: 256}
    known = next((f" (--vocab {name} has {size} too)" for name, count in sizes.items() if count == size), "")
    of_corpus = f" ({size:,} tokens come of the corpus by --vocab-rule {' or '.join(rules)})" if rules else ""
    missing = Missing(
        f"the vocabulary{of_corpus or known}{beside}",
        "--vocab FILE, or --corpus FILE... --vocab-rule RULE",
        "tokens are called `token 17`, and typed so or as `17`",
    )
    tokens: Texts = [token_name(at) for at in range(size)]
    boundaries = find_boundaries(tokens, evidence.settings, evidence.unused, assumptions, is_named=False)
    facts = (("vocabulary", "only numbers"), *boundaries.facts)
    return Vocabulary(number_tokenizer_json(size), boundaries.bos, boundaries.eos, facts, missing=(missing,))


def _specials(assumptions: Assumptions) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Tokens that --assume puts before and after the others; None where it says nothing."""
    answer = assumptions.answer("specials", f"<pad>,{_REST},<eos>")
    if answer is None:
        return None
    names = answer.split(",")
    at = names.index(_REST) if _REST in names else len(names)
    return tuple(names[:at]), tuple(names[at + 1 :])


def _number(key: str, assumptions: Assumptions) -> int | None:
    """A whole number that --assume gives."""
    answer = assumptions.answer(key, "N")
    if answer is not None and not answer.isdecimal():
        raise TuiGenError(f"--assume {key}={answer} is not a whole number")
    return None if answer is None else int(answer)


@dataclass(frozen=True)
class _Adjustable:
    """Tokens as a file or a rule gives them, before what a script does beside."""

    tokens: Texts
    counts: Sequence[float] = ()
    """How often each occurs; empty where that is not known."""
    specials: tuple[str, ...] = ()
    """Tokens before these."""

    def adjusted(self, assumptions: Assumptions) -> Texts:
        """With what --assume says of them. Raises TuiGenError for an answer that needs counts."""
        first, last = _specials(assumptions) or (self.specials, ())
        least, most = _number("min_count", assumptions), _number("max_size", assumptions)
        if least is not None and not self.counts:
            raise TuiGenError(f"--assume min_count={least} needs a count beside every token, which --vocab has not")
        base = self._lowercased() if assumptions.answer("lowercase", choices=("yes", "no")) == "yes" else self
        rest = [token for token in base._common(least) if token is None or token not in (*first, *last)]
        return [*first, *rest[:most], *last]

    def _lowercased(self) -> _Adjustable:
        counts: dict[str | None, float] = {}
        for token, count in zip(self.tokens, self.counts or [0.0] * len(self.tokens), strict=True):
            lower = token and token.lower()
            counts[lower] = counts.get(lower, 0.0) + count
        return _Adjustable([*counts], [*counts.values()] if self.counts else (), self.specials)

    def _common(self, least: int | None) -> Texts:
        """Those that occur so often, and special ones."""
        if least is None:
            return self.tokens
        pairs = zip(self.tokens, self.counts, strict=True)
        return [token for token, count in pairs if count >= least or (not count and meaning(token))]

    def count(self) -> int:
        """How many they are without any adjustment."""
        return len(self.specials) + len(self.tokens)

    def cures(self, size: int, *, is_file: bool = True) -> list[str]:
        """Answers to --assume, as typed, that make exactly `size` tokens of these; the simplest ones.

        is_file: whether they are lines, of which the first may be none. Without counts, nothing but a coincidence tells
        of two answers together.
        """
        leasts = (None, *_LEAST_COUNTS) if self.counts else (None,)
        cures: list[tuple[int, str]] = []
        for lowercase, least in product((False, True), leasts):
            tokens = (self._lowercased() if lowercase else self)._common(least)
            if lowercase and not self.counts and len(tokens) == len({*self.tokens}):
                continue  # it joins nothing but what is there twice
            missing = size - len(tokens) - len(self.specials)
            names = _likely_specials(missing, tokens) if 0 < missing <= len(_USUAL_SPECIALS) else ()
            if missing == len(names) and (lowercase or least or names) and (self.counts or not (lowercase and names)):
                changes = lowercase + bool(least) + bool(names)
                cures.append((changes, _typed((*self.specials, *names), least, lowercase=lowercase)))
        if not cures and len(self.tokens) > size:
            most = f"--assume max_size={size - len(self.specials)}, if the script kept only the first"
            first = (self.tokens[0] or "") if is_file and len(self.tokens) == size + 1 else ""
            header = f"no first line, {first!r}, if it is a header"
            cures = [(1, cure) for cure in ((header, most) if len(first) > 1 else (most,))]
        fewest = min((changes for changes, _ in cures), default=0)
        return [cure for changes, cure in cures if changes == fewest][:2]


def _likely_specials(count: int, tokens: Texts) -> tuple[str, ...]:
    """So many special tokens that a vocabulary lacks."""
    meanings = {meaning(token) for token in tokens}
    usual = _USUAL_SPECIALS[count - 1]
    if not {*map(meaning, usual)} & meanings:
        return usual
    return tuple(islice((name for name in _OTHER_SPECIALS if meaning(name) not in meanings), count))


def _typed(specials: Sequence[str], least: int | None, *, lowercase: bool) -> str:
    parts = [f"--assume specials={','.join(specials)} (`{_REST},{specials[-1]}` puts it last)"] if specials else []
    parts += ["--assume lowercase=yes"] if lowercase else []
    return " ".join([*parts, *([f"--assume min_count={least}"] if least else [])])


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
    "words-by-frequency-sorted-eos": Rule(
        "words and <eos> after each line, the commonest first; equally common ones sorted",
        _words_and_ends,
        _by_frequency_sorted,
    ),
    "sorted-words": Rule("words between spaces, sorted", str.split, _by_code_point),
}
"""By the names that the command line takes."""


def tokens_by_rule(name: str, corpus: Sequence[Path], assumptions: Assumptions) -> Texts:
    """Tokens in the order of their ids. Raises TuiGenError for an unknown rule, or unreadable files."""
    rule = RULES.get(name)
    if rule is None:
        raise TuiGenError(f"there is no rule {name}; --vocab-rule takes {', '.join(RULES)}")
    if not corpus:
        raise TuiGenError(f"--vocab-rule {name} needs the text that the network was trained on: --corpus FILE")
    lowercase = assumptions.answer("lowercase", choices=("yes", "no")) == "yes"
    return _by_rule(rule, map(read_text_file, corpus), lowercase=lowercase).adjusted(assumptions)


def _by_rule(rule: Rule, texts: Iterable[str], *, lowercase: bool) -> _Adjustable:
    tokens = [token for text in texts for token in rule.split(text.lower() if lowercase else text)]
    counts = Counter(tokens)
    distinct = [token for token in rule.order(tokens) if token not in rule.specials]
    return _Adjustable([*distinct], [counts[token] for token in distinct], rule.specials)


def _fitting_rules(corpus: Sequence[Path], size: int) -> list[str]:
    """The rules that make exactly `size` tokens of a corpus."""
    texts = [*map(read_text_file, corpus)]
    return [name for name, rule in RULES.items() if _by_rule(rule, texts, lowercase=False).count() == size]


def _rule_cures(name: str, corpus: Sequence[Path], size: int) -> list[str]:
    """What makes exactly `size` tokens of a corpus: other answers to --assume, or another rule."""
    texts = [*map(read_text_file, corpus)]
    rules = [f"--vocab-rule {other}" for other in _fitting_rules(corpus, size)]
    return [*rules[:2], *_by_rule(RULES[name], texts, lowercase=False).cures(size)]
