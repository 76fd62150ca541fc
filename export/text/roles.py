"""What the names of a hand-written recurrent cell's weights say: what each reads, and which gate it opens."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Source = Literal["x", "h", "xh", "y", ""]
"""The token's features, the state, both side by side, a prediction; or unsaid."""


@dataclass(frozen=True)
class Role:
    """What a weight or a bias is for."""

    source: Source
    gate: str
    """i, f, g, o of an LSTM; r, z, n of a GRU; h: the state; y: a prediction; *: several gates at once."""


_SOURCES: dict[str, Source] = {
    **dict.fromkeys(("x", "xt", "i", "in", "inp", "input", "inputs", "e", "emb", "embed", "embedding"), "x"),
    **dict.fromkeys(("h", "hid", "hidden", "hprev", "state", "prev", "recurrent"), "h"),
    **dict.fromkeys(("xh", "hx", "ih", "combined", "cat", "concat", "concatenated"), "xh"),
    **dict.fromkeys(("o", "out", "output"), "y"),
}
_GATES = {
    **dict.fromkeys(("i", "in", "input", "ingate"), "i"),
    **dict.fromkeys(("f", "forget", "fgt"), "f"),
    **dict.fromkeys(("o", "out", "output"), "o"),
    **dict.fromkeys(("g", "c", "cell", "cand", "candidate", "memory", "modulation", "ctilde", "cbar", "chat"), "g"),
    **dict.fromkeys(("r", "reset"), "r"),
    **dict.fromkeys(("z", "u", "update", "upd"), "z"),
    **dict.fromkeys(("h", "hid", "hidden", "state", "hbar", "htilde", "htilda", "hhat", "hcand"), "h"),
    **dict.fromkeys(("n", "new"), "n"),
    **dict.fromkeys(("y", "q", "v", "vocab", "logits"), "y"),
    **dict.fromkeys(("gates", "all"), "*"),
}
_FILLER = {
    "w",
    "weight",
    "weights",
    "wt",
    "linear",
    "lin",
    "fc",
    "dense",
    "gate",
    "layer",
    "kernel",
    "proj",
    "b",
    "bias",
}
_LETTERS = {
    "u": Role("x", "h"),
    "w": Role("h", "h"),
    "v": Role("h", "y"),
    "b": Role("", "h"),
    "bias": Role("", "h"),
    "c": Role("", "y"),
}
"""As Goodfellow et al. (2016), section 10.2, have them; where the shapes say so, U and W are the other way round."""
_SOURCE_ALONE: dict[str, Source] = {"x": "x", "wx": "x", "h": "h", "wh": "h"}
_CELL = re.compile(r"(^|[._])(rnn|lstm|gru)?_?(cell|recurrent|recurrence|rnn|lstm)($|[._\d])", re.IGNORECASE)
_ARROW = re.compile(r"(\w+?)_?(?:2|to)_?(\w+)")


def roles(stems: Iterable[str]) -> dict[str, Role]:
    """Of the names of weights that stand side by side, without `.weight`; those that say nothing are left out."""
    stems = list(stems)
    found = {stem: role for stem in stems if (role := _role(stem))}
    if any(role == Role("h", "n") for role in found.values()):  # then `W_in` beside `W_hn` is no input gate
        found.update({stem: Role("x", "n") for stem in found if _words(stem) == ["in"]})
    bare = {stem.lower() for stem in stems}
    if {"u", "w"} <= bare:
        found.update({stem: _LETTERS[stem.lower()] for stem in stems if stem.lower() in _LETTERS})
    return {**found, **_by_source(stems)} if not {role.gate for role in found.values()} & {*"rzif"} else found


def _by_source(stems: list[str]) -> dict[str, Role]:
    """`Wx` beside `Wh`: weights named by what they read alone, and the bias beside them."""
    reads = {stem: source for stem in stems if (source := _SOURCE_ALONE.get("".join(_words(stem))))}
    if sorted(reads.values()) != ["h", "x"]:
        return {}
    named = {stem: Role(source, "h") for stem, source in reads.items()}
    return {**named, **{stem: Role("", "h") for stem in stems if stem.lower() in ("b", "bias")}}


def of_lone_weight(name: str) -> Role | None:
    """Of the only weight of a module, or of one that is called after the whole cell: it reads token and state."""
    return Role("xh", "*") if _CELL.search(name) else None


def _words(stem: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", stem).lower()
    return [word for word in re.split(r"[_.]+", spaced) if word and word not in _FILLER]


def _role(stem: str) -> Role | None:
    words = _words(stem)
    words = ["xh", *words[2:]] if [_SOURCES.get(word) for word in words[:2]] == ["x", "h"] and words[2:] else words
    arrow = _ARROW.fullmatch("_".join(words))
    if arrow and arrow[1] in _SOURCES and arrow[2] in _GATES:
        return Role(_SOURCES[arrow[1]], _GATES[arrow[2]])
    if len(words) == 2:
        first, second = words
        if first == "u" and second in _GATES:  # U is for the state where W is for the input
            return Role("h", _GATES[second])
        for source, gate in ((first, second), (second, first)):
            if source in _SOURCES and gate in _GATES:
                return Role(_SOURCES[source], _GATES[gate])
    return _one_word(words[0]) if len(words) == 1 else None


def _one_word(word: str) -> Role | None:
    """`forget`, `xf`, `whf`, `uf`."""
    if word in _GATES:
        return Role("", _GATES[word])
    if word[0] in "wb" and len(word) in (2, 3):
        return _one_word(word[1:])
    if word[0] == "u" and word[1:] in _GATES:
        return Role("h", _GATES[word[1:]])
    if len(word) == 2 and word[0] in "xeih" and word[1] in _GATES:
        return Role(_SOURCES[word[0]], _GATES[word[1]])
    return None
