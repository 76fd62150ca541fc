"""Plain values beside a network's weights, as evidence of what tensors do not tell: read by one table of names.

What a script calls `args.tie_weights`, `config.tieWeights` or `--tie-weights` says the same here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tui_gen.errors import TuiGenError
from tui_gen.json_fields import MAX_NUMBER, parse_json

if TYPE_CHECKING:  # the help of commands would wait for PyTorch
    from .checkpoint import Checkpoint, ModuleFacts

_DEPTH = 8
_PLAIN = (bool, int, float, str)
_LIMIT = 100_000
"""Values that are looked at."""
_ENTRIES = 500
"""A dict or list with more entries holds no settings."""
_SHOWN = 80
"""Characters of a name, and of a value, that are looked at and told."""
_OTHERS = re.compile(r"optim|sched|scaler$|^(callbacks|loops|history|logs?|state)$", re.IGNORECASE)
"""Keys that the settings of something else stand under."""
_TRUE, _FALSE = ("true", "yes", "on", "y"), ("false", "no", "off", "n")
_NEGATIONS = re.compile(r"(no|not|disable|without)_")
_YES = {"yes": "yes", "no": "no", "1": "yes", "0": "no"}
"""Meanings of a switch."""
_FUNCTIONS = {
    **{name: name for name in ("relu", "tanh", "sigmoid", "elu", "gelu", "leaky_relu", "silu")},
    "rnn_relu": "relu",
    "rnn_tanh": "tanh",
    "leakyrelu": "leaky_relu",
    "swish": "silu",
    "none": "none",
    "linear": "none",
    "identity": "none",
}


@dataclass(frozen=True)
class Row:
    """Names of a setting, and what its values mean."""

    names: re.Pattern[str]
    """Of the last key, in lower case with underscores."""
    meanings: Mapping[str, str] | None = None
    """By value: `yes`, `no`, a number, or a text in lower case; others say nothing. None: the value itself."""


def _row(names: str, meanings: Mapping[str, str] | None = None) -> Row:
    return Row(re.compile(names), meanings)


_USE = r"(?:(?:use|with|has|is|add|apply|enable|do)_)?"
SUBJECTS: dict[str, tuple[Row, ...]] = {
    # text: whether layers add their input to their output
    "residual": (
        _row(_USE + r"(residuals?|res|skips?|shortcuts?)(_conn(ection)?s?|_layers?|_lstm|_rnn)?", _YES),
        _row(_USE + r"highways?(_\w+)?", {"yes": "highway", "1": "highway", "no": "no", "0": "no"}),
    ),
    # from which end a language model reads
    "direction": (
        _row(r"(is_)?forward(_lm|_only)?", {"yes": "forward", "no": "backward"}),
        _row(
            _USE + r"(backwards?|reversed?)(_lm|_text|_order|_input|_sequences?|_direction)?",
            {"yes": "backward", "no": "forward", "1": "backward", "0": "forward"},
        ),
        _row(
            r"(lm_|reading_|text_|model_)?direction",
            {
                **dict.fromkeys(("forward", "forwards", "fwd", "ltr", "left-to-right", "l2r"), "forward"),
                **dict.fromkeys(("backward", "backwards", "bwd", "rtl", "right-to-left", "r2l", "reverse"), "backward"),
                **dict.fromkeys(("both", "bidirectional", "bi"), "both"),
            },
        ),
        _row(_USE + r"(bidirectional|bi_?directional|bi(_?(rnn|lstm|gru))?)", {"yes": "both", "1": "both"}),
    ),
    # whether the output has the embedding's weights
    "tied": (
        _row(_USE + r"(tied?|shared?|tying|sharing)(_(in_?out|word|input|output|decoder))*(_(emb|embeds?|embeddings?|"
             r"weights?|softmax|projections?|encoder|decoder|in_?out|all))*", _YES),
        _row(r"(weight|embedding)s?_(tying|sharing|tied|shared)", _YES),
    ),
    # whether layers add a bias
    "bias": (_row(_USE + r"(rnn_|lstm_|gru_|decoder_|output_|out_|linear_|fc_|proj_)?bias(es)?", _YES),),
    "activation": (
        _row(r"(?!(out|output|final|last|gate|recurrent|attention|attn)_)(\w+_)?(activations?|act"
             r"|activation_(fn|function|type|name)|act_(fn|func|function)|nonlinearity|non_linearity|nonlin)",
             _FUNCTIONS),
    ),
    # what a simple recurrent layer bends its state with
    "nonlinearity": (
        _row(r"(rnn_|cell_|recurrent_)?(nonlinearity|non_linearity|nonlin)", _FUNCTIONS),
        _row(r"(rnn|cell|recurrent)_(activation|act)(_fn|_function)?", _FUNCTIONS),
        _row(r"\w+", {"rnn_relu": "relu", "rnn_tanh": "tanh"}),
    ),
    "batch_first": (_row(r"batch_first", _YES),),
    # of what kind the recurrent layers are
    "cell": (_row(r"(rnn|cell|recurrent|unit)_(type|kind|cell|unit|class|name)|cell"),),
    # how many recurrent layers there are
    "layers": (
        _row(r"(n|num|nb|nr|number_of|no_of)?_?(rnn|lstm|gru|hidden|recurrent|cell|decoder)?_?(layers?|lyrs?)(_(num|count|n|no))?"),
        _row(r"(rnn|lstm|gru)_depth"),
    ),
    # whether features are normalised
    "normalisation": (
        _row(_USE + r"(layer|batch|rms|instance|group)_?norm(ali[sz]ation|alize)?s?", _YES),
        _row(_USE + r"(ln|bn)", _YES),
        _row(_USE + r"norm(ali[sz]ation|ali[sz]e|_type|_layer)?s?",
             {**_YES, "none": "no", **dict.fromkeys(("layer", "batch", "rms", "layernorm", "layer_norm", "batchnorm",
              "batch_norm", "ln", "bn", "pre", "post"), "yes")}),
    ),
    # what a normalisation adds to its variance
    "norm_epsilon": (_row(r"((layer|batch|rms)_?norm|norm|ln|bn)_eps(ilon)?"),),
    # what the embedding's rows are multiplied by: `sqrt-width`, or a number
    "embedding_scale": (
        _row(_USE + r"(scale_emb(ed(ding)?s?)?|emb(ed(ding)?s?)?_?scal(e|ing|ed)|scaled_emb(ed(ding)?s?)?|"
             r"emb(ed(ding)?s?)?_(multiplier|factor|gain))"),
    ),
    # to which length longer rows of the embedding are cut
    "embedding_norm": (_row(r"(emb(ed(ding)?s?)?)_max_norm|max_norm_emb(ed(ding)?s?)?"),),
    # what the logits are multiplied by
    "logit_scale": (
        _row(r"(logits?|outputs?|out|softmax)_(scale|scaling|multiplier|mult|factor)"),
        _row(r"scale_(logits?|outputs?)"),
    ),
    # images: values that a pixel can have
    "levels": (
        _row(r"(n|num|nb|nr)?_?(colou?r|pixel|grey|gray|intensity|quanti[sz]ation|output|out|q)?_?(levels|bins)"),
        _row(r"(n|num|nb)?_?(colou?rs|categories)|colou?r_depth|k_?levels"),
        _row(r"(n|num|nb|colou?r|pixel)?_?bits", {str(bits): str(2**bits) for bits in range(1, 9)}),
    ),
    # how many logistics a mixture has
    "mixture": (_row(r"(n|nr|num|nb)_?(logistic_?)?(mix(tures?|es)?)(_components)?|mixtures|(n|num)_components"),),
    # how levels became the network's input
    "scaling": (
        _row(
            _USE + r"((input|pixel|image|img|data)s?_)?((re)?scal(e|ing)|normali[sz](e|ation)|range|preprocess(ing)?)",
            {
                **dict.fromkeys(("-1..1", "[-1,1]", "[-1, 1]", "(-1,1)", "(-1, 1)", "symmetric"), "-1..1"),
                **dict.fromkeys(("raw", "none", "integers"), "raw"),
                **dict.fromkeys(("/255", "255"), "/255"),
                **dict.fromkeys(("0..1", "[0,1]", "[0, 1]", "(0,1)", "(0, 1)", "unit", "zero_one"), "level/(levels-1)"),
            },
        ),
    ),
    # whether blocks, or the horizontal one of two stacks, add their input
    "block_residual": (_row(_USE + r"(horizontal_|block_)?res(idual)?s?(_conn(ection)?s?)?", _YES),),
    # whether a class is read
    "conditions": (
        _row(_USE + r"((class|label)_)?(cond(ition(al|ing|ed)?)?)(_on_(class|label)s?)?", {"yes": "yes", "no": "no"}),
        _row(r"(n|num|nb|nr)_?(cond_?|condition_)?(class|classes|labels)", {"0": "no", "none": "no"}),
    ),
    # the mask of a convolution
    "mask": (_row(r"(mask_?)?(type|kind)|mask", {"a": "A", "b": "B"}),),
}  # fmt: skip
"""By subject: the names that a script may have for it."""


@dataclass(frozen=True)
class Setting:
    """A plain value and the keys that lead to it."""

    path: tuple[str, ...]
    value: bool | int | float | str | tuple[Any, ...]

    @property
    def name(self) -> str:
        """Its last key, in lower case with underscores."""
        return _name(self.path[-1])

    def __str__(self) -> str:
        return f"{'.'.join(self.path)[-_SHOWN:]}={self.value!r:.{_SHOWN}}"


@dataclass(frozen=True)
class Statement:
    """What a setting says on a subject."""

    meaning: str
    setting: Setting

    def __str__(self) -> str:
        return str(self.setting)


def _name(key: str) -> str:
    """`tieWeights`, `--tie-weights` and `model.tie_weights` -> `tie_weights`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key.rpartition(".")[2]).replace("-", "_")
    return words.lower().strip("_")


def plain_settings(checkpoint: Checkpoint) -> Iterator[Setting]:
    """Numbers, texts, switches and short lists of them: the facts', then those of modules of the owner's classes.

    What modules of PyTorch's own classes are told concerns each of them alone.
    """
    yield from _walk(checkpoint.facts, ())
    for path, module in checkpoint.modules.items():
        if not module.kind.startswith("torch.nn."):
            yield from _walk(module.attributes, (path,) if path else ())


def _walk(root: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Setting]:
    pending: list[tuple[tuple[str, ...], Any]] = [(path, root)]
    for _ in range(_LIMIT):
        if not pending:
            return
        where, value = pending.pop()
        if isinstance(value, Mapping) and len(value) <= _ENTRIES and len(where) - len(path) < _DEPTH:
            entries = [((*where, str(key)), inner) for key, inner in value.items() if not _OTHERS.search(str(key))]
            pending += reversed(entries)
        elif isinstance(value, str) and value.lstrip().startswith("{") and (inner := _json(value)) is not None:
            pending.append((where, inner))
        elif isinstance(value, bool | int | float | str) and where:
            yield Setting(where, value)
        elif isinstance(value, list | tuple) and where and len(value) <= _ENTRIES:
            if all(isinstance(inner, bool | int | float | str) for inner in value):
                yield Setting(where, tuple(value))
            else:
                pending += reversed([((*where, str(at)), inner) for at, inner in enumerate(value)])


def _json(text: str) -> dict[str, Any] | None:
    """The object that a text holds; None if it is none, or too long for settings."""
    try:
        value = parse_json(text, longest=_LIMIT)
    except TuiGenError:
        return None
    return value if isinstance(value, dict) else None


def statements(checkpoint: Checkpoint, subject: str) -> list[Statement]:
    """What the settings of a file say on one of SUBJECTS, in the file's order."""
    said = []
    for setting in plain_settings(checkpoint):
        meaning = _meaning(setting, SUBJECTS[subject])
        if meaning is not None:
            said.append(Statement(meaning, setting))
    return said


def _meaning(setting: Setting, rows: tuple[Row, ...]) -> str | None:
    """What a setting means by the first row that has its name; `no_bias` is `bias` the other way round."""
    if len(setting.name) > _SHOWN:
        return None
    negation = _NEGATIONS.match(setting.name)
    for name in (setting.name, setting.name[negation.end() :] if negation else ""):
        row = next((row for row in rows if name and row.names.fullmatch(name)), None)
        value = _value(setting.value, negate=name != setting.name)
        if row and value is not None:
            return value if row.meanings is None else row.meanings.get(value)
    return None


def _value(value: object, *, negate: bool) -> str | None:
    """`yes`, `no`, a number, or a text in lower case; None for a list, and for what is no switch but negated."""
    text = value.strip().lower() if isinstance(value, str) else ""
    if value is True or text in _TRUE:
        return "no" if negate else "yes"
    if value is False or text in _FALSE:
        return "yes" if negate else "no"
    if negate or isinstance(value, list | tuple):
        return None
    if isinstance(value, int | float):
        return f"{value:.9g}" if abs(value) <= MAX_NUMBER else None
    return text or None


def stated_in(module: ModuleFacts, subject: str) -> str:
    """What the attributes of one module say on a subject; empty if nothing."""
    settings = (Setting((name,), value) for name, value in module.attributes.items() if isinstance(value, _PLAIN))
    return next(filter(None, (_meaning(setting, SUBJECTS[subject]) for setting in settings)), "")
