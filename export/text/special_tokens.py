"""Special tokens: what their names mean, and which of them begin and end a text."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tui_gen.errors import TuiGenError

from .metadata import Setting

if TYPE_CHECKING:  # the help would wait for PyTorch
    from ..assumptions import Assumptions

Texts = list[str | None]
"""The text of each id; None where none is known."""
_BEGINNINGS = ("bos", "s", "sos", "start", "go", "cls")
"""What stands before a text alone."""
_SEPARATORS = ("stop", "endoftext", "eos", "/s", "end")
"""What ends a text, and begins one where nothing else does."""
_ENDS = ("stop", "endoftext", "eos", "eop", "end", "/s", "eot", "sep")
_PARTNERS = {
    "bos": ("eos", "eot"),
    "sos": ("eos", "eot"),
    "s": ("/s",),
    "start": ("end", "stop", "eop", "eot", "eos"),
    "go": ("eos", "end", "stop"),
    "cls": ("sep",),
}
"""What ends a text that begins so."""
_UNKNOWN = ("unk", "unknown", "oov")
_FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>")
"""What stands first in the dictionaries of fairseq, whose language models begin a text with `</s>`. Tokenizers for
masked models begin so as well, with a <mask> beside.
"""
_FILLERS = ("pad", "padding", "mask", "blank")
"""What stands in no text."""
_MARKED = re.compile(
    r"<\|?(.+?)\|?>|\[([A-Z]+)\]|_{1,2}([A-Za-z]+)_{1,2}|@{1,2}([A-Za-z]+)@{1,2}|xx(bos|eos|unk|pad)|(start|end)seq"
    r"|_{1,2}([A-Z]{2,})|(?:SENTENCE_)?([A-Z]{3,})(?:_TOKEN|_token)?"
)
_BOTH = ("sos/eos", "bos/eos", "eos/sos", "eos/bos", "start/end")
_AFFIXES = re.compile(r"^sentence[-_](?=start$|end$)|(?<=\w)[-_]?tok(en)?$")
"""What may stand around the name of a special token."""
_BARE = {"BOS", "SOS", "START", "GO", "EOS", "END", "STOP", "EOT", "UNK", "UNKNOWN", "OOV", "PAD", "CLS", "SEP", "MASK"}
_LONG_START = re.compile(r"(start|begin)(ning)?[-_ ]?(of)?[-_ ]?(text|sentence|sequence|seq|line)?")
_LONG_END = re.compile(r"end[-_ ](of[-_ ])?(text|sentence|sequence|seq|line)")
_BEGIN_AND_END = ("^", "$")
"""Of vocabularies without white space, such as those of molecules."""
_SIGNS = "^$<>|~#@*!_%&"
"""What may stand for a beginning or an end among characters without white space."""
_STATED = re.compile(
    r"_*(?:(?P<bos>bos|sos|document_delimiter)|(?P<eos>eos|eot)|(?:(?P<begin>start|begin|init|go)|(?P<end>end|stop))(?=.*(tok|char|symbol|word)))"
    r"(?:_?(?:of_(?:text|sequence|sentence)_?)?(?:tok|token|char|character|symbol|word|id|idx|ix|index|ind))*"
)
"""Names of settings that say what begins or ends a text."""
_MOST_SETTINGS = 500
_WITHOUT_SPACES = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
"""Letters of languages that set no spaces between words."""


def meaning(token: str | None) -> str:
    """`<EOS>`, `[EOS]`, `EOS` and `__eos__` all mean `eos`; empty for a token that is a text."""
    match = _MARKED.fullmatch(token or "")
    if not match or (match[7] or match[8] or match[2] or "BOS") not in _BARE:
        return token if token in ("\n", " ") else ""
    name = _AFFIXES.sub("", next(part for part in match.groups() if part).lower())
    name = "stop" if name in _BOTH else name
    return "start" if _LONG_START.fullmatch(name) else "end" if _LONG_END.fullmatch(name) else name


def is_special(token: str | None) -> bool:
    """Whether a token longer than a character stands for no text."""
    return token is None or (len(token) > 1 and bool(meaning(token)))


def unknown_token(tokens: Texts) -> str | None:
    """The token for what the vocabulary does not have."""
    return next((token for token in tokens if token and meaning(token) in _UNKNOWN), None)


def is_characters(tokens: Texts) -> bool:
    """Whether every token but the special ones is a single character."""
    texts = [token for token in tokens if token and not is_special(token)]
    return bool(texts) and all(len(token) == 1 for token in texts)


def joins_nothing(tokens: Texts) -> bool | None:
    """Whether tokens of a character and longer ones stand side by side without spaces; None for a doubtful mixture."""
    texts = [token for token in tokens if token and not is_special(token)]
    if is_characters(tokens) or any(text.isspace() and text != "\n" for text in texts):
        return True
    letters = [text for text in texts if text.isalnum()]
    doubtful = sum(len(text) == 1 or bool(_WITHOUT_SPACES.match(text)) for text in letters)
    return None if doubtful * 4 > len(letters) else False


def line_end(tokens: Texts) -> str | None:
    """`<eos>` among words without a beginning of texts: it ends the lines of a text, which runs on."""
    if is_characters(tokens) or _named_beginnings(tokens) or _of_meanings(tokens, ("stop", "endoftext")):
        return None
    return next((token for token in tokens if token and meaning(token) == "eos"), None)


def token_name(token: int) -> str:
    """What a token without a text is called."""
    return f"token {token}"


def text_and_id(tokens: Texts, token: int) -> str:
    """For people."""
    text = tokens[token]
    return f"{text!r}, id {token}" if text else token_name(token)


@dataclass(frozen=True)
class Boundaries:
    """What begins and ends every text."""

    bos: int
    eos: int | None
    facts: tuple[tuple[str, str], ...]
    """For the diagnosis: which, why, and how to change it."""


@dataclass(frozen=True)
class _Choice:
    """Tokens that may begin, or end, a text."""

    tokens: tuple[int | None, ...]
    """The likeliest first; several make a question. None: no token does."""
    why: str
    is_named: bool = False
    """Whether the token's name says it, and it is no guess."""
    ends: tuple[int | None, ...] = ()
    """What then may end the text."""


def find_boundaries(
    tokens: Texts, settings: Iterable[Setting], unused: Collection[int], assumptions: Assumptions, *, is_named: bool
) -> Boundaries:
    """From --assume, from settings beside the weights, from the names of the tokens.

    unused: ids whose embedding is all zeros, as that of padding stays. is_named: whether the tokens have texts.
    """
    stated = list(_stated(settings))
    if not is_named:
        stated = [(key, (name, value)) for key, (name, value) in stated if type(value) is int]
    begin = _beginning(tokens, unused) if is_named else _Choice((0,), "the first, for want of names", is_named=True)
    bos, why = _decide("bos", tokens, begin, [value for key, value in stated if key == "bos"], assumptions)
    ends = [value for key, value in stated if key == "eos"]
    end = _end(tokens, begin, bos)
    if (line := line_end(tokens)) is not None:
        ends = [(name, value) for name, value in ends if _token_of(tokens, value) != tokens.index(line)]
    eos, end_why = _decide("eos", tokens, end, ends, assumptions)
    text = "nothing: it writes on" if eos is None else text_and_id(tokens, eos)
    because = f" ({why}; --assume bos=TOKEN changes it)" if why else ""
    end_because = f" ({end_why}; --assume eos=TOKEN changes it)" if end_why else ""
    facts = (("starts from", f"{text_and_id(tokens, bos or 0)}{because}"), ("ends at", f"{text}{end_because}"))
    return Boundaries(bos or 0, eos, facts)


def _of_meanings(tokens: Texts, meanings: Sequence[str]) -> list[int]:
    """Ids of the tokens of such meanings, in the order of the meanings."""
    by_meaning: dict[str, list[int]] = {}
    for at, token in enumerate(tokens):
        by_meaning.setdefault(meaning(token), []).append(at)
    return [at for name in meanings for at in by_meaning.get(name, ())]


def _named_beginnings(tokens: Texts) -> list[int]:
    """Ids of the tokens whose names say that they begin a text; GO is a word where no EOS is."""
    if tokens[: len(_FAIRSEQ)] == [*_FAIRSEQ] and "<mask>" not in tokens:
        return [tokens.index("</s>"), 0]
    return _of_meanings(tokens, _BEGINNINGS) or ([tokens.index("GO")] if {"GO", "EOS"} <= {*tokens} else [])


def _beginning(tokens: Texts, unused: Collection[int]) -> _Choice:
    if begins := _named_beginnings(tokens):
        return _Choice(tuple(begins), "by its name", is_named=True)
    if ends := _of_meanings(tokens, _SEPARATORS):
        return _Choice(tuple(ends), "what ends one text stands before the next")
    white = _of_meanings(tokens, ("\n", " "))[:1]
    nameless = [0] if tokens[0] is None and None not in tokens[1:] and 0 not in unused else []
    if tokens.count("\n") and not nameless and _is_list_of_lines(tokens):
        line = tokens.index("\n")
        return _Choice((line,), "a line break stands around every text of a list without spaces", ends=(line,))
    if white:
        return _Choice((*nameless, *white), "what a line or a word begins after")
    if nameless and is_characters(tokens):
        return _Choice((0,), "it has no text of its own, as in lists of names", ends=(0,))
    return _of_first(tokens)


def _is_list_of_lines(tokens: Texts) -> bool:
    """Whether characters of names, molecules and the like: without spaces, of a language that sets some."""
    return is_characters(tokens) and " " not in tokens and not any(map(_WITHOUT_SPACES.match, filter(None, tokens)))


def _of_first(tokens: Texts) -> _Choice:
    """Without white space and without a name that says it."""
    if tokens[0] == "." and is_characters(tokens) and "," not in tokens:
        return _Choice((0,), "a dot of the first id stands around every name in lists of names", ends=(0,))
    if joins_nothing(tokens) is not False:
        return _of_signs(tokens)
    return _Choice((_first_text(tokens),), "the first id, for no token is called a beginning")


def _first_text(tokens: Texts) -> int:
    """The first id that is neither padding nor what stands for the unknown."""
    return next((at for at, token in enumerate(tokens) if meaning(token) not in (*_UNKNOWN, *_FILLERS)), 0)


def _of_signs(tokens: Texts) -> _Choice:
    """Characters without white space may have one that stands for the beginning."""
    signs = [at for at, token in enumerate(tokens) if token and token in _SIGNS]
    if {*_BEGIN_AND_END} <= {*tokens}:
        return _Choice(
            (tokens.index("^"),), "^ and $ stand around texts without white space", ends=(tokens.index("$"),)
        )
    if signs:
        first = {_first_text(tokens)} - {*signs}
        return _Choice((*signs, *first), "none is called a beginning", ends=(None, *signs))
    return _Choice((_first_text(tokens),), "the first character, for none is called a beginning")


def _end(tokens: Texts, begin: _Choice, bos: int | None) -> _Choice:
    """bos: what begins a text."""
    if (line := line_end(tokens)) is not None:
        return _Choice((None,), f"{line} ends a line, and the text goes on")
    if ends := _of_meanings(tokens, _ENDS):
        partners = _of_meanings(tokens, _PARTNERS.get(meaning(tokens[bos or 0]), ()))
        return _Choice(tuple(partners[:1] or ([bos] if bos in ends else ends)), "by its name", is_named=True)
    if begin.ends and (len(begin.tokens) > 1 or bos == begin.tokens[0]):
        return _Choice(begin.ends, begin.why)
    return _Choice((None,), "no token is called an end", is_named=True)


def _decide(
    key: str, tokens: Texts, choice: _Choice, stated: list[tuple[str, object]], assumptions: Assumptions
) -> tuple[int | None, str]:
    """The token, and why; no reason where that is asked about or assumed.

    key: bos or eos. stated: names and values of settings.
    """
    does = "begins" if key == "bos" else "ends"
    answer = assumptions.answer(key, "TOKEN")
    if answer is not None:
        return _answered(tokens, key, answer), "as told"
    ids = {_token_of(tokens, value) for _, value in stated}
    saying = " and ".join(dict.fromkeys(f"{name}={value!r}" for name, value in stated))
    if len(ids) == 1 and None not in ids:
        return ids.pop(), f"the file says {saying}"
    if ids:
        what = f"which token {does} a text: it says {saying}, " + ("no token of it" if None in ids else "which differ")
        assumptions.ask(key, what, usage="TOKEN")
        return choice.tokens[0], ""
    if len(choice.tokens) > 1:
        typed = [_typed(tokens, token) for token in choice.tokens]
        assumptions.ask(key, f"which token {does} a text, {' or '.join(typed)}", usage="|".join(typed))
        return choice.tokens[0], ""
    if not choice.is_named:
        assumptions.assume(key, _typed(tokens, choice.tokens[0]), f"what {does} a text ({choice.why})", usage="TOKEN")
    return choice.tokens[0], choice.why if choice.is_named else ""


def _stated(settings: Iterable[Setting]) -> Iterator[tuple[str, tuple[str, object]]]:
    """`bos` or `eos`, with the name and the value of each setting that says it."""
    for setting in settings:
        if not isinstance(setting.value, Mapping) or len(setting.value) > _MOST_SETTINGS:
            continue
        for name, value in setting.value.items():
            match = _STATED.fullmatch(str(name).lower())
            content = value.get("content") if isinstance(value, Mapping) else value
            is_id = type(content) is int and content >= 0
            if match and (is_id or (isinstance(content, str | bytes) and content)):
                yield "bos" if match["bos"] or match["begin"] else "eos", (str(name), content)


def _token_of(tokens: Texts, value: object) -> int | None:
    """The id that a setting means; None for what is none of the vocabulary."""
    if type(value) is int:
        return value if value < len(tokens) else None
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return tokens.index(text) if isinstance(text, str) and text in tokens else None


def _answered(tokens: Texts, key: str, answer: str) -> int | None:
    """What --assume says: an id, a text, or none."""
    if answer == "none" and key == "eos":
        return None
    text = answer.encode().decode("unicode_escape") if answer.startswith("\\") else answer
    if text in tokens:
        return tokens.index(text)
    if answer.isdecimal() and int(answer) < len(tokens):
        return int(answer)
    raise TuiGenError(f"--assume {key}={answer} is no token of the vocabulary, and no id below {len(tokens)}")


def _typed(tokens: Texts, token: int | None) -> str:
    """A token as an answer to --assume."""
    if token is None:
        return "none"
    text = tokens[token]
    if text == "\n":
        return "\\n"
    return text if text and text.isprintable() and not text.isspace() and text.isascii() else str(token)
