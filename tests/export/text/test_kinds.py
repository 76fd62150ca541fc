"""Language models as strangers save them: each is exact, asked about, or refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from export.reader import ReadOptions
from tests.support.kinds import Kind, Logits, check
from tests.support.open_networks import (
    BackwardReader,
    BesideAClass,
    Chain,
    ConcatenatedSkips,
    DeepCell,
    GatesOfItsOwn,
    Highway,
    Lists,
    MixtureOfSoftmaxes,
    Mogrifier,
    NormedCell,
    OfAClass,
    OwnLayers,
    OwnNorm,
    PastTheLayer,
    Peepholes,
    Projected,
    ResidualBlocks,
    Shift,
    TanhTwice,
    Tempered,
    Tied,
    WithOwnLSTM,
    WithUnusedNorm,
    lstm,
    square,
    usual,
)
from tests.support.text_networks import Cells, E, H, Usual, V
from tests.support.vocabularies import VOCABULARIES

Save = Callable[[Path], tuple[Path, Logits]]


def _saved(make: nn.Module | Callable[[], nn.Module], name: str = "model.pt", **beside: Any) -> Save:
    """As a state dict; with values beside it, under `model` in a dict with them."""

    def save(folder: Path) -> tuple[Path, Logits]:
        network = make if isinstance(make, nn.Module) else make()
        state = network.state_dict()
        torch.save({"model": state, **beside} if beside else state, folder / name)
        return folder / name, network.eval()

    return save


def _as_safetensors(make: Callable[[], nn.Module]) -> Save:
    """Sorted by name, as that library leaves it."""

    def save(folder: Path) -> tuple[Path, Logits]:
        network = make()
        state = network.state_dict()
        torch.save({name: state[name].contiguous() for name in sorted(state)}, folder / "model.pt")
        return folder / "model.pt", network.eval()

    return save


def _whole(make: Callable[[], nn.Module], **attributes: Any) -> Save:
    """As a pickled module."""

    def save(folder: Path) -> tuple[Path, Logits]:
        network = make()
        for name, value in attributes.items():
            setattr(network, name, value)
        functions, network.functions = getattr(network, "functions", None), None  # no plain value
        torch.save(network, folder / "model.pt")
        network.functions = functions
        return folder / "model.pt", network.eval()

    return save


def _normed() -> nn.LayerNorm:
    norm = nn.LayerNorm(H)
    nn.init.normal_(norm.weight)
    return norm


def _head(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(*modules, nn.Linear(H, V))


def _with_head(*modules: nn.Module) -> Chain:
    return Chain({"emb": nn.Embedding(V, E), "rnn": lstm(), "head": _head(*modules)})


def _with_two_sequences() -> Chain:
    first = nn.Sequential(nn.Linear(E, 6), nn.Tanh(), nn.Linear(6, E), nn.Tanh())
    head = nn.Sequential(nn.Dropout(), nn.Linear(H, 6), nn.Tanh(), nn.Linear(6, V))
    return Chain({"emb": nn.Embedding(V, E), "first": first, "rnn": lstm(), "head": head})


def _sequence(*after_embedding: nn.Module) -> Chain:
    return Chain({"body": nn.Sequential(nn.Embedding(V, E), *after_embedding, lstm(), nn.Linear(H, V))})


def _log_probabilities(embedding: nn.Embedding) -> Chain:
    parts = {"emb": embedding, "drop": nn.Dropout(), "rnn": lstm(), "drop2": nn.Dropout(), "out": nn.Linear(H, V)}
    return Chain(parts, {"out": lambda value: functional.log_softmax(functional.log_softmax(value, -1), -1)})


def _in_list(*between: nn.Module) -> Chain:
    layers = nn.ModuleList([lstm(H), *between, lstm(H), *between, lstm(H)])
    return Chain({"emb": nn.Embedding(V, H), "layers": layers, "out": nn.Linear(H, V)})


def _relu_rnn() -> nn.Module:
    return Usual(nn.RNN(E, H, nonlinearity="relu"))


def _with_relu_in_sum() -> Chain:
    network = square(["lstm1"])
    network.inner = {"lstm1": torch.relu}
    return network


def _scaled(factor: float) -> Chain:
    return usual({"emb": lambda value: value * factor})


def _with_bent_logits(*before: nn.Module) -> Chain:
    head = nn.Sequential(*before, nn.Linear(H, V), nn.Dropout(), nn.ELU())
    return Chain({"emb": nn.Embedding(V, E), "rnn": lstm(), "head": head})


def _with_output_embedding() -> Chain:
    proj, out = nn.Linear(H, E, bias=False), nn.Linear(E, V, bias=False)
    return Chain({"embedding": nn.Embedding(V, E), "rnn": lstm(), "proj": proj, "out_emb": out})


_AWD = ("dropout", "dropouth", "dropouti", "dropoute")
BLOCKS = "blocks.0.lstm:blocks.0.linear,blocks.1.lstm:blocks.1.linear"
GAPS = [
    Kind(
        "an ELU between a LayerNorm and the output, in a sequence",
        _saved(lambda: _with_head(_normed(), nn.ELU())),
        "asked",
        r"which activation follows head\.0 \(of head\.1 the file has no tensors: .*--assume activation=head\.0:relu",
        {"activation": "elu"},
    ),
    Kind(
        "a dropout there",
        _saved(lambda: _with_head(_normed(), nn.Dropout())),
        "asked",
        "head.1 the file has no tensors",
        {"activation": "none"},
    ),
    Kind("the same, pickled", _whole(lambda: _with_head(_normed(), nn.ELU(0.7), nn.Dropout()))),
    Kind(
        "a ReLU after the embedding, in a sequence",
        _saved(lambda: _sequence(nn.ReLU())),
        "asked",
        r"which activation follows 0 \(of 1",
        {"activation": "0:relu"},
    ),
    Kind("the same, pickled with a SiLU", _whole(lambda: _sequence(nn.SiLU()))),
    Kind(
        "two gaps of different kinds",
        _saved(lambda: _with_head(nn.Linear(H, 6), nn.Dropout(), nn.Linear(6, H), nn.GELU())),
        "asked",
        r"activation=head\.0:relu,head\.2:relu",
        {"activation": "head.0:none,head.2:gelu"},
    ),
    Kind(
        "a sequence that begins with an activation",
        _saved(lambda: _with_head(nn.Tanh())),
        "asked",
        r"follows rnn \(of head\.0",
        {"activation": "rnn:tanh"},
    ),
    Kind(
        "a sequence that begins with a dropout, after one that ends with an activation",
        _saved(_with_two_sequences),
        "asked",
        "activation=first.0:relu,first.2:relu,rnn:none,head.1:relu",
        {"activation": "tanh,rnn:none"},
    ),
    Kind(
        "an answer for linear layers, which is none for a gap after a recurrent one",
        _saved(_with_two_sequences),
        "asked",
        "activation=tanh,rnn:none",
        {"activation": "tanh,rnn:none"},
        ReadOptions(assume={"activation": "tanh"}),
    ),
    Kind(
        "normalisation and activation between linear layers of other names",
        _saved(
            lambda: usual(
                {"bn": functional.leaky_relu}, fc=nn.Linear(H, 6), bn=nn.BatchNorm1d(6), fc2=nn.Linear(6, H)
            )
        ),
        "asked",
        "which activation follows fc and bn",
        {"activation": "fc:none,bn:leaky_relu,fc2:none"},
    ),
    Kind(
        "linear layers in a list, with an activation of the script's between",
        _saved(
            lambda: Chain(
                {
                    "emb": nn.Embedding(V, E),
                    "rnn": lstm(),
                    "layers": nn.ModuleList([Chain({"fc": nn.Linear(H, 6)}, {"fc": torch.tanh}).fc, nn.Linear(6, V)]),
                }
            )
        ),
        "asked",
        r"which activation follows layers\.0",
        {"activation": "none"},
    ),
    Kind("layers side by side, without a gap", _saved(lambda: _with_head(_normed(), nn.Linear(H, 6), nn.Linear(6, H)))),
    Kind(
        "a softmax before the output, pickled",
        _whole(lambda: _with_head(nn.Softmax(dim=-1))),
        "refused",
        "what head.0 does, a torch.nn.modules.activation.Softmax, is not known",
    ),
    Kind(
        "a module of the owner's without tensors, pickled",
        _whole(lambda: usual(shift=Shift())),
        "refused",
        r"what shift does, a tests\.support\.open_networks\.Shift; tell it with --assume ignore=shift",
    ),
    Kind(
        "an activation that stands outside of sequences, pickled",
        _whole(lambda: usual(relu=nn.ReLU())),
        "asked",
        r"which part is followed by relu \(relu\), .*; tell it with --assume activation=none\|rnn:relu",
        {"activation": "rnn:relu"},
    ),
    Kind(
        "one after the logits, pickled",
        _whole(_with_bent_logits),
    ),
    Kind(
        "the same, after an activation of a hidden layer",
        _whole(lambda: _with_bent_logits(nn.Linear(H, H), nn.ELU())),
    ),
    Kind(
        "one that is used twice, pickled",
        _whole(TanhTwice),
        "asked",
        r"which activation follows fc \(the file has tanh, which may follow other parts, too\)",
        {"activation": "rnn:tanh,fc:tanh"},
    ),
    Kind(
        "one that stands right after a linear layer, pickled",
        _whole(lambda: usual(fc=nn.Linear(H, H), tanh=nn.Tanh(), drop=nn.Dropout())),
    ),
    Kind(
        "a projection with an activation, in a sequence, before a tied output",
        _saved(Projected),
        "asked",
        r"follows to_emb\.0 \(alone in a sequence, .*--assume activation=to_emb\.0:relu",
        {"activation": "to_emb.0:tanh"},
    ),
]  # fmt: skip
SETTINGS = [
    Kind(
        "residual connections in the settings",
        _saved(lambda: square(["lstm1", "lstm2"]), args={"use_residual": True}),
        "asked",
        "add their input to their output, for its settings say args.use_residual=True; tell it with "
        "--assume residual=lstm1,lstm2",
        {"residual": "lstm1,lstm2"},
    ),
    Kind("no residual connections, in the settings", _saved(square, config={"model": {"skipConnections": "false"}})),
    Kind("layers as wide as their input", _saved(square), "asked", r"residual=none\|lstm1,lstm2", {"residual": "none"}),
    Kind(
        "a residual connection of the script's alone",
        _saved(lambda: square(["lstm2"])),
        "asked",
        "residual connection",
        {"residual": "lstm2"},
    ),
    Kind(
        "a backward language model",
        _saved(BackwardReader, is_forward_lm=False),
        "asked",
        "read from the beginning of a text, but its settings say is_forward_lm=False; .*direction=forward.backward",
        {"direction": "backward"},
    ),
    Kind("a forward one", _saved(BackwardReader, is_forward_lm=True)),
    Kind(
        "a backward one in a nested text",
        _saved(BackwardReader, hyper_parameters={"opt": {"direction": "RTL"}}),
        "asked",
        "direction='RTL'",
        {"direction": "backward"},
    ),
    Kind(
        "settings that say tied, weights that are not",
        _saved(lambda: Usual(nn.LSTM(H, H)), args={"tie_weights": True}),
        "asked",
        "which are not the embedding's, but its settings say args.tie_weights=True",
        {"tied": "no"},
    ),
    Kind(
        "settings that say tied, widths that cannot be",
        _saved(lambda: Usual(nn.LSTM(E, H)), config='{"model": {"tie_word_embeddings": true}}'),
        "asked",
        "but its settings say config.model.tie_word_embeddings=True; tell it with --assume tied=no",
        {"tied": "no"},
    ),
    Kind("tied, as its settings say, without an output layer", _saved(Tied, config={"shareEmbeddings": True})),
    Kind("without an output layer", _saved(Tied)),
    Kind("tied after a projection", _saved(partial(Tied, project=True))),
    Kind(
        "the same, as wide as the vocabulary, as a person tells",
        _saved(partial(Tied, project=True, width=V)),
        answers={"output": "embedding", "activation": "proj:none"},
    ),
    Kind("an output of its own, where the embedding is as wide as the vocabulary", _saved(Usual(nn.LSTM(V, H)))),
    Kind(
        "settings that say not tied, and no output layer",
        _saved(Tied, tie_word_embeddings=False),
        "asked",
        "the output would have the embedding's weights",
        {"tied": "yes"},
    ),
    Kind(
        "no biases, by the settings, where there are some",
        _saved(lambda: Usual(nn.LSTM(E, H)), args={"bias": False}),
        "asked",
        "it would add the biases that the file has, but its settings say args.bias=False",
        {"bias": "stored"},
    ),
    Kind("relu in the settings", _saved(_relu_rnn, nonlinearity="relu")),
    Kind("relu as the kind of layer", _saved(_relu_rnn, opt={"model": "RNN_RELU"})),
    Kind("relu, pickled", _whole(_relu_rnn)),
    Kind(
        "an activation in the settings that a plain layer does not have",
        _saved(lambda: Usual(nn.RNN(E, H)), rnn_activation="elu"),
        "asked",
        "of which its settings say rnn_activation='elu'; tell it with --assume nonlinearity=tanh.relu",
        {"nonlinearity": "tanh"},
    ),
    Kind(
        "an activation in the settings, between linear layers",
        _saved(lambda: usual({"fc": functional.elu}, fc=nn.Linear(H, H)), activation="elu"),
    ),
    Kind("an activation in the settings, of a plain layer", _saved(_relu_rnn, config='{"activation": "relu"}')),
    Kind(
        "an activation in the settings, and no place for it",
        _saved(lambda: usual({"rnn": torch.tanh}), activation="tanh"),
        "asked",
        "which part is followed by what its settings say, activation='tanh'; .*activation=none.rnn:tanh",
        {"activation": "rnn:tanh"},
    ),
    Kind(
        "the same, in two places",
        _saved(lambda: usual({"fc": functional.elu}, fc=nn.Linear(H, 9), fc2=nn.Linear(9, H)), hp={"act_fn": "ELU"}),
        "asked",
        "activation=fc:elu,fc2:elu",
        {"activation": "fc:elu,fc2:none"},
    ),
    Kind(
        "another kind of layer in the settings",
        _saved(lambda: Usual(nn.LSTM(E, H)), args={"rnn_type": "subLSTM"}),
        "asked",
        "whether layers with the shapes of LSTM compute as PyTorch's do, for its settings say args.rnn_type='subLSTM'",
        {"cell": "torch"},
    ),
    Kind(
        "the kind of layer in the settings",
        _saved(lambda: Usual(nn.LSTM(E, H)), args={"rnn_type": "torch.nn.LSTMCell"}),
    ),
    Kind(
        "another number of layers in the settings",
        _saved(lambda: Usual(nn.LSTM(E, H, 2)), args={"num_layers": 3}),
        "asked",
        "args.num_layers=3 where the file has 2 recurrent layers",
        {"layers": "2"},
    ),
    Kind("the number of layers in the settings", _saved(lambda: Usual(nn.LSTM(E, H, 2)), args={"nlayers": 2})),
    Kind(
        "layers of which some read along the batch",
        _whole(lambda: Chain({"emb": nn.Embedding(V, E), "a": lstm(), "b": nn.LSTM(H, E), "out": nn.Linear(E, V)})),
        "refused",
        "whether each of its recurrent layers reads along the text",
    ),
    Kind(
        "a normalisation that is switched off",
        _saved(partial(WithUnusedNorm, used=False), config={"layer_norm": False}),
        "asked",
        "it would use ln, but its settings say config.layer_norm=False",
        {"normalisation": "unused"},
    ),
    Kind(
        "one that learned nothing, for nobody calls it, as a person tells",
        _saved(partial(WithUnusedNorm, used=False, trained=False)),
        answers={"normalisation": "unused"},
    ),
    Kind("one that learned nothing and is called", _saved(partial(WithUnusedNorm, used=True, trained=False))),
    Kind("one that is switched on", _saved(partial(WithUnusedNorm, used=True), config={"use_layer_norm": True})),
    Kind(
        "one without weights",
        _saved(lambda: usual({"rnn": lambda value: functional.layer_norm(value, (H,))}), layer_norm=True),
        "refused",
        "it would normalise nothing, .* but its settings say layer_norm=True",
    ),
    Kind("an embedding that is scaled by its width", _saved(lambda: _scaled(E**0.5), args={"scale_embedding": True})),
    Kind("an embedding that is scaled by a number", _saved(lambda: _scaled(2.5), args={"embed_scale": 2.5})),
    Kind("a tied one that is scaled", _saved(partial(Tied, scale=H**0.5), config={"scale_emb": "sqrt", "tied": True})),
    Kind(
        "logits that are scaled",
        _saved(lambda: usual({"out": lambda value: value * 0.25}), config={"logit_scale": 0.25}),
    ),
]
HIDDEN = [
    Kind("an embedding with a longest row", _whole(lambda: _longest(nn.Embedding(V, E, max_norm=0.8)))),
    Kind(
        "a learned temperature",
        _saved(Tempered),
        "asked",
        "what temperature .1.7. does to the logits",
        {"temperature": "divides"},
    ),
    Kind(
        "layers and normalisations in two lists",
        _saved(Lists),
        "asked",
        "order=emb,lstms.0,norms.0,lstms.1,norms.1,out",
        {"order": "emb,lstms.0,norms.0,lstms.1,norms.1,out", "residual": "none"},
    ),
    Kind(
        "parts of equal width, sorted by name",
        _as_safetensors(lambda: square(ln=_normed())),
        "asked",
        "the order of its parts, which fit in several",
        {"order": "emb,lstm1,lstm2,ln,out", "residual": "none"},
    ),
    Kind(
        "a cell whose output is normalised",
        _saved(partial(NormedCell, inside=False)),
        "asked",
        "or the state that it feeds back",
        {"norm": "after"},
    ),
    Kind("a cell whose state is normalised", _saved(partial(NormedCell, inside=True)), "refused", "that it feeds back"),
    Kind(
        "a cell of one's own under PyTorch's names",
        _saved(WithOwnLSTM),
        "asked",
        "the order of the gates in cell",
        {"gates": "ifog"},
    ),
    Kind(
        "one with PyTorch's shapes, too, as a person tells",
        _saved(GatesOfItsOwn),
        answers={"cell": "own", "gates": "zrn", "update": "keep"},
    ),
    Kind(
        "a normalisation of one's own, by the standard deviation",
        _saved(lambda: usual(norm=OwnNorm(rms=False))),
        "asked",
        "how norm normalises: .* norm_kind=layer.std.rms",
        {"norm_kind": "std"},
    ),
    Kind(
        "one by the root mean square",
        _saved(lambda: usual(norm=OwnNorm(rms=True)), config={"norm_eps": 1e-6}),
        "asked",
        "how norm normalises: .* norm_kind=rms.layer.std",
        {"norm_kind": "rms"},
    ),
    Kind("PyTorch's own, pickled", _whole(lambda: usual(norm=nn.RMSNorm(H, eps=1e-6)))),
    Kind(
        "an activation of a sum",
        _saved(partial(ResidualBlocks, of_sum=True)),
        "asked",
        "residual connection",
        {"residual": BLOCKS, "activation": "blocks.0.linear+:elu,blocks.1.linear+:elu"},
    ),
    Kind(
        "a sum of an activation",
        _saved(partial(ResidualBlocks, of_sum=False)),
        "asked",
        "which activation follows blocks.0.linear and blocks.1.linear",
        {"residual": BLOCKS, "activation": "elu"},
    ),
    Kind(
        "recurrent layers with an activation in the sum",
        _saved(_with_relu_in_sum),
        "asked",
        "residual=none.lstm1,lstm2",
        {"residual": "lstm1", "activation": "lstm1:relu"},
    ),
    Kind(
        "a cell of two layers",
        _saved(DeepCell),
        "refused",
        "cell.h2h2 seems to be inside of the recurrent cell cell, which is not supported",
    ),
    Kind(
        "one without a module of its own",
        _saved(lambda: DeepCell(bare=True)),
        "refused",
        "^h2h2 seems to be inside of the recurrent cell",
    ),
    Kind("a layer past the recurrent one", _saved(PastTheLayer), "refused", "i2o seems to stand beside another part"),
    Kind(
        "the names of a tutorial",
        _saved(
            lambda: Chain(
                {"embedding": nn.Embedding(V, H), "gru": nn.GRU(H, H, batch_first=True), "out": nn.Linear(H, V)},
                {"embedding": torch.relu},
            )
        ),
        "asked",
        "which activation follows embedding .a decoder of these names",
        {"activation": "embedding:relu"},
    ),
    Kind(
        "cells of one's own in a list",
        _saved(OwnLayers),
        "asked",
        "the order of the gates in rnns.0",
        {"gates": "ifog"},
    ),
    Kind(
        "layers in a list with dropouts between",
        _saved(lambda: _in_list(nn.Dropout())),
        "asked",
        r"which activation follows layers\.0 \(of layers\.1 .* and layers\.2",
        {"activation": "none"},
    ),
    Kind("the same, pickled", _whole(lambda: _in_list(nn.Dropout()))),
    Kind("layers in a list", _saved(_in_list), "asked", "residual connection", {"residual": "none"}),
    Kind("the same with the settings of AWD-LSTM", _saved(_in_list, args=dict.fromkeys(_AWD, 0.5))),
    Kind(
        "a normalisation of a cell's state, beside it",
        _saved(lambda: usual(norm_c=_normed())),
        "refused",
        "norm_c normalises inside of a recurrent cell",
    ),
    Kind(
        "an activation of the logits",
        _saved(lambda: usual({"out": torch.relu}, fc=nn.Linear(H, H))),
        "asked",
        "follows fc",
        {"activation": "fc:none,out:relu"},
    ),
    Kind(
        "log-probabilities of log-probabilities, dropouts, a padding",
        _saved(lambda: _log_probabilities(nn.Embedding(V, E, padding_idx=0)), args={"dropout": 0.5, "padding_idx": 0}),
    ),
    Kind("peepholes", _saved(Peepholes), "refused", "the peephole connections of an LSTM"),
    Kind(
        "features and state that gate each other", _saved(Mogrifier), "refused", r"mogrifier\.0 seems to stand beside"
    ),
    Kind("a highway", _saved(Highway), "refused", "gate seems to stand beside another part"),
    Kind("skips side by side", _saved(ConcatenatedSkips), "refused", "out reads 14 numbers, and no part gives so many"),
    Kind("a class as the first state", _saved(OfAClass), "refused", r"country_emb .* \(features of a class\) are not"),
    Kind("an embedding of the output", _saved(_with_output_embedding)),
    Kind("a class beside each token", _saved(BesideAClass), "refused", "14 numbers, 3 more than the 11 tokens"),
    Kind("a mixture of softmaxes", _saved(MixtureOfSoftmaxes), "refused", "a mixture of softmaxes"),
    Kind("cells of PyTorch", _saved(lambda: Cells(nn.LSTMCell))),
]
USUAL = [Kind("a state dict of embedding, LSTM and linear layer", _saved(Usual(nn.LSTM(5, 7))))]


def _longest(embedding: nn.Embedding) -> Chain:
    return Chain({"emb": embedding, "rnn": lstm(), "out": nn.Linear(H, V)})


@pytest.mark.parametrize("kind", [*USUAL, *GAPS, *SETTINGS, *HIDDEN, *VOCABULARIES], ids=str)
def test_is_exact_or_asked_or_refused(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check(kind, tmp_path)
