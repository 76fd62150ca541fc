"""Names of networks that are no recurrent language models, and why they cannot be played."""

from __future__ import annotations

import re
from collections.abc import Iterable

from export.loading.contents import Checkpoint
from tui_gen.errors import TuiGenError

_ATTENTION = re.compile(
    r"attn|attention|in_proj_weight|(^|[._])(q|k|v|qkv|query|key|value)(_proj|_lin|_linear)?\.weight"
)
_PARTS = (
    (re.compile(r"(^|\.)tail\.\d+\.\d+|cutoffs|adaptive"), "an adaptive softmax"),
    (_ATTENTION, "attention"),
    (re.compile(r"pos(ition)?(al)?_?(emb|enc)|(^|\.)(wpe|pos|pe)(\.|$)"), "features of positions"),
    (re.compile(r"log_?var|log_?sigma|(^|\.|_)mu(\.|$|_)|latent|2mean"), "the latent variables of an autoencoder"),
    (re.compile(r"discriminator|(^|\.)(netD|critic)\."), "a discriminator"),
    (re.compile(r"crf|transitions"), "the transitions of a tagger"),
    (re.compile(r"(^|[._])w_?c_?[ifo]($|[._\d])|peephole"), "the peephole connections of an LSTM"),
    (re.compile(r"conv"), "convolutions"),
)
_STATE_SPACE = re.compile(r"A_log|dt_proj|ssm|time_mix|time_decay|mixer\.conv1d")


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


def explained(given: Iterable[str]) -> str:
    """What tensors without a place in a language model seem to be, in brackets; empty if nothing is known of them."""
    names = list(given)
    found = [what for pattern, what in _PARTS if any(pattern.search(name) for name in names)]
    return f" ({', '.join(found)})" if found else ""
