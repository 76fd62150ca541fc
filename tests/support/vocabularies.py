"""Vocabularies as strangers' scripts save them, inside of checkpoints and beside them, with a network of 11 tokens."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from torch import nn

from export.reader import ReadOptions
from tests.support.kinds import Kind, Logits
from tests.support.text_networks import E, H, Usual, V

CHARS = [*"\n abcdefghi"]
BY_CHAR = {char: at for at, char in enumerate(CHARS)}
WORDS = ["<pad>", "<unk>", "<sos>", "<eos>", "the", "cat", "sat", "on", "a", "mat", "dog"]
BY_WORD = {word: at for at, word in enumerate(WORDS)}
ATOMS = ["$", "^", "C", "N", "O", "Cl", "Br", "c", "1", "(", ")"]
BYTES = [b"\n", b" ", b"a", b"b", b"\xc3", b"\xa9", b"\xaa", b"c", b"d", b"e", b"f"]


class Box:
    """An object of a script with any attributes."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


class Field(Box):
    """What prepares texts, with the vocabulary inside."""


class Compiled:
    """A vocabulary of compiled code, whose state is a tuple."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def __getstate__(self) -> tuple[Any, ...]:
        return "0.0.2", [1], self.tokens, []

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.tokens = state[2]


class Wrapper(nn.Module):
    """A vocabulary that is a module."""

    def __init__(self, vocab: Compiled) -> None:
        super().__init__()
        self.vocab = vocab


class Table(dict[str, int]):
    """A dict with attributes of its own."""

    def __init__(self, tokens: Mapping[str, int], **attributes: Any) -> None:
        super().__init__(tokens)
        vars(self).update(attributes)


def _default() -> int:
    return 1


def _saved(*, padding: int | None = None, **beside: Any) -> Callable[[Path], tuple[Path, Logits]]:
    """A checkpoint with values beside its weights. padding: the id whose embedding is zeros."""

    def save(folder: Path) -> tuple[Path, Logits]:
        network = Usual(nn.LSTM(E, H))
        if padding is not None:
            network.encoder = nn.Embedding(V, E, padding_idx=padding)
        torch.save({"model_state_dict": network.state_dict(), "epoch": 3, **beside}, folder / "model.pt")
        return folder / "model.pt", network.eval()

    return save


def _with_side(content: str | bytes, name: str = "vocab.txt", **beside: Any) -> Callable[[Path], tuple[Path, Logits]]:
    """A checkpoint, and a file of the vocabulary in the working directory."""

    def save(folder: Path) -> tuple[Path, Logits]:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return _saved(**beside)(folder)

    return save


def _keras(**attributes: Any) -> dict[str, Any]:
    index = {word: at + 1 for at, word in enumerate([*WORDS[1:], "rare", "rarer"])}
    docs = dict.fromkeys(index, 1)
    counts = OrderedDict((word, 9 - at // 2) for word, at in index.items())
    return {"word_counts": counts, "word_docs": docs, "word_index": index, "num_words": V, **attributes}


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(BY_WORD, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\S+"), behavior="removed", invert=True)
    return tokenizer


SIDE = ReadOptions(vocab="vocab.txt")
ABC = {"ab c": [0, 2, 3, 1, 4]}
CAT = {"the cat": [2, 4, 5]}
COUNTS = [0, 0, 0, 0, 99, 50, 50, 20, 9, 3, 3]


def _columns(*columns: list[Any], sign: str, header: str = "") -> str:
    return header + "".join(sign.join(map(str, row)) + "\n" for row in zip(*columns, strict=True))


_IN_FILE = [
    Kind(
        "dicts with bytes as keys, lists of bytes",
        _saved(
            dictionary=Box(
                item2idx={char.encode(): at for char, at in BY_CHAR.items()}, idx2item=[char.encode() for char in CHARS]
            )
        ),
        prompts=ABC,
    ),
    Kind(
        "one dict for both directions",
        _saved(
            vocabulary=Box(
                _tokens={**{token: at for at, token in enumerate(ATOMS)}, **dict(enumerate(ATOMS))}, _current_id=V
            )
        ),
        prompts={"CCl1": [1, 2, 5, 8]},
        prints={"Cc1Br": [2, 7, 8, 6]},
    ),
    Kind(
        "a field that holds the vocabulary, its counter beside",
        _saved(
            TEXT=Field(
                init_token="<sos>",
                eos_token="<eos>",
                lower=True,
                vocab=Box(itos=WORDS, stoi=defaultdict(_default, BY_WORD), freqs=Counter(["the", "the", "cat"])),
            )
        ),
        prompts=CAT,
    ),
    Kind("a vocabulary of compiled code in a module", _saved(vocab=Wrapper(Compiled(WORDS))), prompts=CAT),
    Kind(
        "a tokenizer of transformers", _saved(tokenizer=Box(_tokenizer=_tokenizer(), _bos_token="<sos>")), prompts=CAT
    ),
    Kind(
        "a slow tokenizer of transformers",
        _saved(
            tokenizer=Box(encoder=BY_WORD, decoder=dict(enumerate(WORDS)), bpe_ranks={("t", "h"): 0, ("th", "e"): 1})
        ),
        prompts=CAT,
    ),
    Kind("a tokenizer as JSON", _saved(tokenizer=_tokenizer().to_str()), prompts=CAT),
    Kind("Keras' tokenizer", _saved(padding=0, tokenizer=Box(**_keras())), prompts={"the cat": [2, 4, 5]}),
    Kind(
        "Keras' tokenizer as JSON",
        _saved(
            padding=0,
            tokenizer=json.dumps(
                {
                    "class_name": "Tokenizer",
                    "config": {
                        key: json.dumps(value) if isinstance(value, dict) else value for key, value in _keras().items()
                    },
                }
            ),
        ),
        prompts={"the cat": [2, 4, 5]},
    ),
    Kind("a class that extends dict", _saved(vocab=Table(BY_WORD, size=V, unk="<unk>")), prompts=CAT),
    Kind("a class that extends dict, without attributes", _saved(vocab=Table(BY_WORD)), prompts=CAT),
    Kind("pairs of token and id", _saved(vocab=[[word, at] for word, at in BY_WORD.items()]), prompts=CAT),
    Kind(
        "words without beginning and end in one direction",
        _saved(
            lang=Box(
                word2index=dict(list(BY_WORD.items())[4:]), index2word=dict(enumerate(WORDS)), word2count={"the": 3}
            )
        ),
        prompts=CAT,
    ),
    Kind("numbers of bytes to ids", _saved(char2idx={ord(char): at for char, at in BY_CHAR.items()}), prompts=ABC),
    Kind("bytes that are no UTF-8", _saved(vocab=BYTES), prompts={"aé": [0, 2, 4, 5]}, prints={"aéb": [2, 4, 5, 3]}),
    Kind(
        "an id more than tokens, for padding at the end",
        _saved(char_to_ix={char: at for at, char in enumerate(CHARS[:-1])}, padding=V - 1),
        prompts=ABC,
    ),
    Kind(
        "an id more than tokens, which may stand first",
        _saved(char_to_ix={char: at for at, char in enumerate(CHARS[:-1])}, padding=0),
        "asked",
        "which id is padding: the embedding of 0 is all zeros, .*--assume specials=<pad>",
        {"specials": "<pad>", "bos": "\\n"},
        prompts={"ab c": [1, 3, 4, 2, 5]},
    ),
    Kind(
        "two directions that contradict each other",
        _saved(stoi=BY_WORD, itos=[*WORDS[:4], *reversed(WORDS[4:])]),
        "asked",
        "id 4 is 'the' by stoi and 'dog' by itos; tell it with --assume vocabulary=stoi.itos",
        {"vocabulary": "itos"},
        prompts={"the cat": [2, 10, 9]},
    ),
    Kind(
        "vocabularies of two languages",
        _saved(
            src_vocab=BY_WORD,
            trg_vocab={**{word: at for at, word in enumerate(WORDS[:4])}, **{f"le{at}": at for at in range(4, V)}},
        ),
        "asked",
        "which vocabulary is right",
        {"vocabulary": "trg_vocab"},
        prompts={"le5": [2, 5]},
    ),
]
_BESIDE = [
    Kind(
        "token and count, special tokens before them",
        _with_side(
            "\n".join([*WORDS[:4], *(f"{word} {count}" for word, count in zip(WORDS[4:], COUNTS[4:], strict=True))])
        ),
        options=SIDE,
        prompts=CAT,
    ),
    Kind("token and count, all of them", _with_side(_columns(WORDS, COUNTS, sign=" ")), options=SIDE, prompts=CAT),
    Kind(
        "token and count, ids by alphabet or by count",
        _with_side(_columns([*sorted(WORDS[4:]), *WORDS[:4]], [3, 50, 3, 20, 3, 50, 99, 0, 0, 0, 0], sign="\t")),
        "asked",
        "whether the ids of --vocab go by its lines or by the counts.*--assume ids=lines.counts",
        {"ids": "counts", "bos": "<sos>"},
        SIDE,
        prompts={"the cat dog": [2, 4, 5, 9]},
    ),
    Kind(
        "token and id",
        _with_side(_columns(WORDS[::-1], [*range(V)][::-1], sign="\t")),
        "asked",
        r"what the columns of --vocab are, as in '<pad>\\t0'; tell it with --assume columns=token,count.token,id",
        {"columns": "token,id"},
        SIDE,
        prompts=CAT,
    ),
    Kind(
        "token and id in any order",
        _with_side(_columns(WORDS[5:] + WORDS[:5], [*range(5, V), *range(5)], sign=" ")),
        options=SIDE,
        prompts=CAT,
    ),
    Kind("id and token", _with_side(_columns([*range(V)], WORDS, sign=" ")), options=SIDE, prompts=CAT),
    Kind(
        "token and id with commas and a header",
        _with_side(_columns(WORDS, [*range(V)], sign=",", header="word,index\n")),
        options=SIDE,
        prompts=CAT,
    ),
    Kind(
        "id, token and count, quoted",
        _with_side(
            _columns(
                [*range(V)],
                [f'"{char}"' for char in [*CHARS[:2], ",", *CHARS[3:]]],
                COUNTS,
                sign=",",
                header=",char,count\n",
            )
        ),
        options=SIDE,
        prompts={"b, c": [0, 3, 2, 1, 4]},
    ),
    Kind(
        "count and token, as uniq -c writes them",
        _with_side(
            "".join(f"{count:7d} {word}\n" for word, count in zip(WORDS, [199 - at for at in range(V)], strict=True))
        ),
        options=SIDE,
        prompts=CAT,
    ),
    Kind(
        "numbers as tokens, with numbers beside them",
        _with_side(_columns([5, 3, 8, 4, 7, 9, 2, 6, 1, 0, 10], [90, 80, 70, 60, 50, 40, 30, 20, 10, 5, 1], sign=" ")),
        "asked",
        "what the columns of --vocab are",
        {"columns": "token,count", "join": "spaces"},
        SIDE,
        prompts={"3 8": [0, 1, 2]},
    ),
    Kind(
        "tokens that end in numbers",
        _with_side("\n".join(f"{word} {at}" for word in ("note", "rest") for at in range(V))[:77]),
        options=SIDE,
    ),
    Kind(
        "id: token", _with_side("".join(f"{at}: {word}\n" for at, word in enumerate(WORDS))), options=SIDE, prompts=CAT
    ),
    Kind("a printed dict", _with_side(str(BY_CHAR)), options=SIDE, prompts=ABC),
    Kind(
        "lines of JSON",
        _with_side("".join(f'{{"id": {at}, "word": "{word}"}}\n' for at, word in enumerate(WORDS))),
        options=SIDE,
        prompts=CAT,
    ),
    Kind(
        "vectors under a line of their sizes",
        _with_side(f"{V} 5\n" + "".join(f"{word} 0.1 -2 3 4 5e-3\n" for word in WORDS)),
        options=SIDE,
        prompts=CAT,
    ),
    Kind(
        "some lines without a number",
        _with_side(_columns(WORDS[:9], [99 - at for at in range(9)], sign=" ") + "new york\nb c"),
        "asked",
        "what the columns of --vocab are, as in 'new york'; tell it with --assume columns=token,count.token",
        {"columns": "token,count"},
        SIDE,
        prompts=CAT,
    ),
    Kind(
        "scores of pieces",
        _with_side(
            _columns(
                ["<unk>", "<s>", "</s>", "▁the", "▁cat", "s", "▁", "▁sat", "t", "a", "c"],
                [0, 0, 0, *(-1.5 - at for at in range(8))],
                sign="\t",
            )
        ),
        options=SIDE,
        prompts={"the cats": [1, 3, 4, 5]},
        prints={"the cats sat": [3, 4, 5, 7]},
    ),
    Kind(
        "pairs of token and count in JSON",
        _with_side(json.dumps([[word, count] for word, count in zip(WORDS, COUNTS, strict=True)]), "counts.json"),
        options=ReadOptions(vocab="counts.json"),
        prompts=CAT,
    ),
    Kind("a header over plain tokens", _with_side("token\n" + "\n".join(WORDS)), options=SIDE, prompts=CAT),
    Kind("an empty line at the end", _with_side("\n".join(WORDS) + "\n\n"), options=SIDE, prompts=CAT),
    Kind(
        "special tokens that the file lacks",
        _with_side(_columns(WORDS[4:], COUNTS[4:], sign=" ")),
        "asked",
        "has 7 tokens, but the weights predict 11; exactly so many with --assume specials=<s>,<pad>,</s>,<unk>",
        {"specials": "<pad>,<unk>,<sos>,<eos>"},
        SIDE,
        prompts=CAT,
    ),
    Kind(
        "tokens that are too rare",
        _with_side(_columns([*WORDS, "rat", "hat"], [*[5] * V, 2, 2], sign=" ")),
        "asked",
        "has 13 tokens, but the weights predict 11; exactly so many with --assume min_count=3",
        {"min_count": "3"},
        SIDE,
        prompts=CAT,
    ),
    Kind(
        "capitals that were made small",
        _with_side("\n".join([*WORDS, "The", "Cat"])),
        "asked",
        "exactly so many with --assume lowercase=yes",
        {"lowercase": "yes"},
        SIDE,
        prompts=CAT,
    ),
    Kind(
        "a list of the commonest was cut",
        _with_side("\n".join([*WORDS, *(f"rare{at}" for at in range(50))])),
        "asked",
        "exactly so many with --assume max_size=11",
        {"max_size": "11"},
        SIDE,
        prompts=CAT,
    ),
    Kind(
        "a vocabulary of another model",
        _with_side("the\ncat\n"),
        "refused",
        "has 2 tokens, but the weights predict 11; it is another model's, or incomplete",
        options=SIDE,
    ),
    Kind(
        "a side file against the checkpoint's own",
        _with_side("\n".join(reversed(WORDS)), stoi=BY_WORD),
        "asked",
        "id 0 is 'dog' by side \\(--vocab\\) and '<pad>' by stoi; tell it with --assume vocabulary=side.stoi",
        {"vocabulary": "stoi"},
        SIDE,
        prompts=CAT,
    ),
]
_ENDS = [
    Kind(
        "a beginning among the settings", _saved(itos=CHARS, args=Box(bos_token="a", eos_id=2)), prompts={"b": [2, 3]}
    ),
    Kind(
        "settings that name no token",
        _saved(itos=CHARS, bos_token="<s>"),
        "asked",
        "which token begins a text: it says bos_token='<s>', no token of it; tell it with --assume bos=TOKEN",
        {"bos": "a"},
        prompts={"b": [2, 3]},
    ),
    Kind(
        "two beginnings",
        _saved(itos=["<bos>", "<go>", *WORDS[2:]]),
        "asked",
        "which token begins a text, <bos> or <sos> or <go>; tell it with --assume bos=<bos>.<sos>.<go>",
        {"bos": "<go>"},
        prompts={"the": [1, 4]},
    ),
    Kind(
        "fairseq's dictionary, after whose end a text begins",
        _saved(itos=["<s>", "<pad>", "</s>", "<unk>", *WORDS[4:]]),
        "asked",
        "which token begins a text, </s> or <s>; tell it with --assume bos=</s>.<s>",
        {"bos": "</s>"},
        prompts={"the": [2, 4]},
    ),
    Kind("two ends", _saved(itos=["<go>", "<stop>", "</s>", "<pad>", *WORDS[4:]]), prompts={"the": [0, 4]}),
    Kind(
        "signs that may begin and end",
        _saved(itos=["|", "$", *"abcdefghi"]),
        "asked",
        r"which token begins a text, \| or \$; .* nor which token ends a text, none or \| or \$",
        {"bos": "$", "eos": "|"},
        prompts={"ab": [1, 2, 3]},
    ),
]
_PIECES = [
    Kind(
        f"pieces of words with {mark}",
        _saved(vocab=["<unk>", "<s>", "</s>", *pieces]),
        prompts={text: [1, *ids]},
        prints={text + tail: ids},
    )
    for mark, pieces, text, ids, tail in (
        ("▁", ["▁the", "▁cat", "s", "▁", "a", "t", "c", "▁s"], "the cats sat", [3, 4, 5, 10, 7, 8], ""),
        ("Ġ", ["the", "Ġcat", "s", "Ġ", "a", "t", "c", "Ġs"], "the cats sat", [3, 4, 5, 10, 7, 8], ""),
        (
            "</w>",
            ["the</w>", "cat", "s</w>", "s", "a", "t</w>", "c", "cat</w>"],
            "the cats sat",
            [3, 4, 5, 6, 7, 8],
            " ",
        ),
        ("##", ["the", "cat", "##s", "s", "##a", "##t", "c", "d"], "the cats sat", [3, 4, 5, 6, 7, 8], ""),
        ("@@", ["the", "cat@@", "s", "s@@", "a@@", "t", "c", "cat"], "the cats sat", [3, 4, 5, 6, 7, 8], " "),
    )
]
VOCABULARIES = [*_IN_FILE, *_BESIDE, *_ENDS, *_PIECES]
