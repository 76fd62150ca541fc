"""What names and settings in a checkpoint say of its network: foreign architectures, classes of modules, options."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tui_gen.errors import TuiGenError

from ..checkpoints.settings import statements

if TYPE_CHECKING:
    from ..checkpoints.checkpoint import Checkpoint

_ATTENTION = re.compile(
    r"attn|attention|in_proj_weight|(^|[._])(q|k|v|qkv|query|key|value)(_proj|_lin|_linear)?\.weight"
)
_MIXTURE, _AUTOENCODER = "a mixture of softmaxes", "the latent variables of an autoencoder"
_PURPOSES = (
    (re.compile(r"(^|\.)tail\.\d+\.\d+|cutoffs|adaptive"), "an adaptive softmax"),
    (_ATTENTION, "attention"),
    (re.compile(r"(^|\.)prior(\.|$)"), _MIXTURE),
    (re.compile(r"pos(ition)?(al)?_?(emb|enc)|(^|\.)(wpe|pos|pe)(\.|$)"), "features of positions"),
    (
        re.compile(r"(class|label|categor|cond|nation|country|lang|genre|author|style|topic)\w*emb"),
        "features of a class",
    ),
    (re.compile(r"log_?var|log_?sigma|(^|\.|_)mu(\.|$|_)|latent|2mean"), _AUTOENCODER),
    (re.compile(r"discriminator|(^|\.)(netD|critic)\."), "a discriminator"),
    (re.compile(r"crf|transitions"), "the transitions of a tagger"),
    (re.compile(r"(^|[._])(w_?c|[pv])_?[ifo]($|[._\d])|peep"), "the peephole connections of an LSTM"),
    (re.compile(r"conv"), "convolutions"),
)
_STATE_SPACE = re.compile(r"A_log|dt_proj|ssm|time_mix|time_decay|mixer\.conv1d")
_DEPTH = 8
_LIMIT = 100_000
"""Values that are looked at."""
_SETTINGS = 500
"""A dict with more entries holds no settings."""


def is_attention(name: str) -> bool:
    """Whether a tensor is called like a weight of attention."""
    return bool(_ATTENTION.search(name))


def refuse_foreign(checkpoint: Checkpoint) -> None:
    """Raises TuiGenError that says what a checkpoint is, if it is a known kind of network that cannot be played."""
    names = list(checkpoint.tensors)
    if any(_STATE_SPACE.search(name) for name in names):
        raise TuiGenError("this is a state-space language model; only RNN, LSTM and GRU language models are played")
    if any(map(is_attention, names)) and not any("conv" in name for name in names):
        raise TuiGenError("this is a transformer; only RNN, LSTM and GRU language models and PixelCNNs are played")


def purposes(names: Collection[str]) -> str:
    """What tensors without a place in a language model are for, in brackets; empty if nothing is known of them."""
    known = [purpose for pattern, purpose in _PURPOSES if any(pattern.search(name) for name in names)]
    known = [purpose for purpose in known if purpose != _AUTOENCODER or _MIXTURE not in known]  # it has `latent` too
    return f" ({', '.join(known)})" if known else ""


@dataclass(frozen=True)
class Setting:
    """A value and the keys that lead to it."""

    path: tuple[str, ...]
    value: Any

    @property
    def key(self) -> str:
        """The last key."""
        return self.path[-1] if self.path else ""


def settings(checkpoint: Checkpoint) -> Iterator[Setting]:
    """Every plain value of a checkpoint, containers before what they hold: its facts, then its modules' attributes."""
    yield from walk(dict(checkpoint.facts))
    for path, module in checkpoint.modules.items():
        yield from walk(dict(module.attributes), (path,) if path else ())


def walk(root: object, path: tuple[str, ...] = ()) -> Iterator[Setting]:
    """A nested value with all that it holds, up to a depth and a number that no honest file reaches."""
    pending = [Setting(path, root)]
    for _ in range(_LIMIT):
        if not pending:
            return
        setting = pending.pop()
        yield setting
        if len(setting.path) - len(path) < _DEPTH:
            pending += reversed([Setting((*setting.path, str(key)), inner) for key, inner in _inside(setting.value)])


def _inside(value: object) -> list[tuple[object, object]]:
    """What is worth a look: not each of the words of a vocabulary."""
    kinds: tuple[type, ...] = (Mapping, list, tuple)
    if isinstance(value, Mapping):
        kinds = (*kinds, str, bytes) if len(value) <= _SETTINGS else kinds
        return [(key, inner) for key, inner in value.items() if isinstance(inner, kinds)]
    if isinstance(value, list | tuple):
        return [(index, inner) for index, inner in enumerate(value) if isinstance(inner, kinds)]
    return []


def module_kind(checkpoint: Checkpoint, path: str) -> str:
    """The class of a module without its package, such as `Embedding`; empty if the file does not say."""
    module = checkpoint.modules.get(path)
    return module.kind.rpartition(".")[2] if module else ""


def attribute(checkpoint: Checkpoint, path: str, name: str) -> Any:
    """A plain attribute of a module; None if the file does not say."""
    module = checkpoint.modules.get(path)
    return module.attributes.get(name) if module else None


def nonlinearity(checkpoint: Checkpoint, path: str) -> str | None:
    """What a pickled layer bends its state with, which older versions of PyTorch keep as its mode; None for neither."""
    values = (attribute(checkpoint, path, name) for name in ("nonlinearity", "mode"))
    known = {"tanh": "tanh", "relu": "relu", "RNN_TANH": "tanh", "RNN_RELU": "relu"}
    return next((known[value] for value in values if value in known), None)


def is_of_torch(checkpoint: Checkpoint, path: str) -> bool | None:
    """Whether a module is of one of PyTorch's own classes; None if the file does not say."""
    module = checkpoint.modules.get(path)
    return module.kind.startswith("torch.nn.") if module else None


def epsilon(checkpoint: Checkpoint, path: str) -> float | None:
    """What a normalisation adds to its variance, by its attributes or the settings; None if neither says it."""
    said = {statement.meaning for statement in statements(checkpoint, "norm_epsilon")}
    value = next(
        (v for name in ("eps", "epsilon", "variance_epsilon") if (v := attribute(checkpoint, path, name))), None
    )
    if value is None and len(said) == 1 and re.fullmatch(r"[\d.]+(e-?\d+)?", text := said.pop()):
        value = float(text)
    return float(value) if isinstance(value, int | float) else None
