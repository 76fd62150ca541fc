"""What is no recurrent language model is passed on, or refused in a line that says what it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from export.checkpoints.checkpoint import Checkpoint
from export.reader import ReadOptions
from export.text.metadata import refuse_foreign
from export.text.read import read_text
from tests.support.text_layouts import build, checkpoint_of, read
from tests.support.text_networks import Usual, V
from tui_gen.errors import TuiGenError


def _network(**parts: nn.Module) -> Checkpoint:
    return Checkpoint("a test's", dict(nn.ModuleDict(parts).state_dict()))


def _with(checkpoint: Checkpoint, **extra: Tensor) -> Checkpoint:
    more = {name.replace("__", "."): tensor for name, tensor in extra.items()}
    return Checkpoint("a test's", {**checkpoint.tensors, **more})


USUAL = checkpoint_of(Usual(nn.LSTM(5, 7)))


@pytest.mark.parametrize(
    ("checkpoint", "says"),
    [
        (
            _network(emb=nn.Embedding(V, 5), rnn=nn.LSTM(5, 7, bidirectional=True), fc=nn.Linear(14, V)),
            r"rnn reads the text in both directions \(rnn.weight_ih_l0_reverse\), so it cannot write one",
        ),
        (
            _network(emb=nn.Embedding(V, 6), rnn_forward=nn.GRU(6, 6), rnn_backward=nn.GRU(6, 6), fc=nn.Linear(6, V)),
            "this reads the text in both directions",
        ),
        (
            _network(
                encoder=nn.ModuleDict({"emb": nn.Embedding(V, 6), "rnn": nn.GRU(6, 6)}),
                decoder=nn.ModuleDict({"emb": nn.Embedding(V, 6), "rnn": nn.GRU(6, 6), "out": nn.Linear(6, V)}),
            ),
            "this turns one text into another, with recurrent layers of an encoder and a decoder",
        ),
        (
            _network(emb=nn.Embedding(500, 5), rnn=nn.GRU(5, 7), fc=nn.Linear(7, 2)),
            r"this reads 500 tokens but predicts 2 values \(.*\): a classifier or a tagger, not a language model",
        ),
        (
            _network(rnn=nn.LSTM(300, 7), fc=nn.Linear(7, V)),
            "rnn reads 300 numbers, but the file has no embedding so wide and the network predicts 11 values",
        ),
        (_network(rnn=nn.LSTM(5, 7)), "this is LSTM rnn 5 to 7 alone: there is no layer that predicts a token"),
        (
            _network(rnn=nn.LSTM(1, 7), fc=nn.Linear(7, 1)),
            r"this predicts a single number \(.*\): it goes on with a series, .* and writes no text",
        ),
        (
            _with(USUAL, attn__weight=torch.ones(7, 14)),
            r"these parts do not make a chain .*; networks with such parts \(attention\) are not supported",
        ),
        (
            _with(USUAL, pos_embedding=torch.ones(1, 30, 5)),
            r"told: pos_embedding \[1, 30, 5\]; networks with such parts \(features of positions\) are not",
        ),
        (
            _network(
                emb=nn.Embedding(40, 5),
                rnn=nn.LSTM(5, 8),
                decoder=nn.AdaptiveLogSoftmaxWithLoss(8, 40, [10, 20], div_value=2.0),
            ),
            "an adaptive softmax",
        ),
        (
            _with(USUAL, fc_mu__weight=torch.ones(3, 7), fc_logvar__weight=torch.ones(3, 7)),
            "the latent variables of an autoencoder",
        ),
        (_with(USUAL, conv1__weight=torch.ones(4, 5, 3)), r"conv1.weight \[4, 5, 3\]; .* \(convolutions\)"),
        (_with(USUAL, gain=torch.ones(7)), r"use cannot be told: gain \[7\]; if some .* in training only"),
        (
            _with(USUAL, cell__w_ci=torch.ones(7)),
            r"such parts \(the peephole connections of an LSTM\) are not supported",
        ),
        (
            _network(emb=nn.Embedding(V, 5), rnn=nn.LSTM(5, 7), top=nn.LSTM(7, 7), fc=nn.Linear(14, V)),
            r"; fc reads 14 numbers, and no part gives so many",
        ),
        (
            _network(
                emb=nn.Embedding(V, 5),
                cell=nn.ModuleDict({"x2h": nn.Linear(5, 7), "h2h": nn.Linear(7, 7), "norm": nn.LayerNorm(7)}),
                fc=nn.Linear(7, V),
            ),
            "cell.norm normalises inside of a recurrent cell, which is not supported",
        ),
        (
            Checkpoint("a test's", {**USUAL.tensors, "rnn.weight_hh_l0": torch.ones(28)}),
            r"rnn is no RNN, LSTM or GRU that is known: weight_ih \[28, 5\], weight_hh \[28\]",
        ),
        (
            Checkpoint("a test's", {**USUAL.tensors, "rnn.weight_hh_l0": torch.ones(14, 7)}),
            r"rnn is no RNN, LSTM or GRU that is known: weight_ih \[28, 5\], weight_hh \[14, 7\]",
        ),
        (
            Checkpoint("a test's", {k: v for k, v in USUAL.tensors.items() if k != "rnn.weight_hh_l0"}),
            "rnn lacks weight_ih or weight_hh; the checkpoint is incomplete",
        ),
        (
            _network(i2h=nn.Linear(3 + V + 7, 7), i2o=nn.Linear(3 + V + 7, V), o2o=nn.Linear(7 + V, V)),
            r"reads 14 numbers beside its state, but i2o.weight predicts 11 tokens: .* such as a category",
        ),
    ],
)
def test_what_cannot_write_is_refused_in_a_line_that_says_why(checkpoint: Checkpoint, says: str) -> None:
    with pytest.raises(TuiGenError, match=says) as fault:
        read(checkpoint)
    assert "\n" not in str(fault.value)


def test_a_normalisation_beside_a_cell_is_asked_about() -> None:
    parts = {"emb": nn.Embedding(V, 5), "x2h": nn.Linear(5, 7), "h2h": nn.Linear(7, 7), "norm": nn.LayerNorm(7)}
    checkpoint = _network(**parts, fc=nn.Linear(7, V))
    assert any(missing.option == "--assume norm=after|inside" for missing in read(checkpoint).diagnosis.missing)
    with pytest.raises(TuiGenError, match="norm normalises inside of a recurrent cell"):
        read(checkpoint, norm="inside")


def test_parts_that_play_no_part_can_be_left_out() -> None:
    checkpoint = _with(USUAL, value_head__weight=torch.ones(1, 7), gain=torch.ones(7))
    with pytest.raises(TuiGenError, match="ignore"):
        read(checkpoint)
    tokens = torch.arange(6).view(1, 6)
    logits = build(checkpoint, ignore="value_head,gain").network.sequence_logits(tokens)
    assert torch.equal(logits, build(USUAL).network.sequence_logits(tokens))


def test_what_is_harmless_is_left_out_unasked() -> None:
    checkpoint = _with(
        USUAL,
        criterion__weight=torch.ones(V),
        loss_fn__weight=torch.ones(V),
        step=torch.tensor(3),
        bn__num_batches_tracked=torch.tensor(3),
    )
    assert not read(checkpoint).diagnosis.notes


def test_whole_numbers_that_are_left_out_are_told() -> None:
    notes = read(_with(USUAL, allowed=torch.arange(5))).diagnosis.notes
    assert notes == ("allowed: whole numbers are no weights and are left out",)


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint("a test's", {}),
        _network(conv=nn.Conv2d(1, 4, 3), out=nn.Conv2d(4, 9, 1)),
        _network(u_init=nn.Conv2d(1, 4, 3), hidden=nn.Linear(9, 4), i2h=nn.Linear(9, 4), h2h=nn.Linear(4, 4)),
        _network(wte=nn.Embedding(V, 5), hidden=nn.Linear(5, 9), output=nn.Linear(9, V)),
        _network(h=nn.TransformerEncoderLayer(8, 2, 16), i2h=nn.Linear(8, 8), h2h=nn.Linear(8, 8)),
    ],
    ids=["nothing", "convolutions", "convolutions with such names", "no memory", "attention"],
)
def test_what_is_not_recurrent_is_left_to_others(checkpoint: Checkpoint) -> None:
    assert read_text(checkpoint, ReadOptions(assume={"anything": "else"})) is None


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["transformer.h.0.attn.c_attn.weight", "lm_head.weight"], "this is a transformer"),
        (["encoder.layers.0.self_attn.in_proj_weight"], "this is a transformer"),
        (["layers.0.q_proj.weight"], "this is a transformer"),
        (["backbone.layers.0.mixer.A_log"], "this is a state-space language model"),
    ],
)
def test_foreign_language_models_are_named(names: list[str], says: str) -> None:
    with pytest.raises(TuiGenError, match=says):
        refuse_foreign(Checkpoint("a test's", {name: torch.ones(4, 4) for name in names}))


def test_what_is_not_known_is_not_named() -> None:
    tensors: dict[str, Any] = {"conv.weight": torch.ones(4, 4, 3, 3), "conv.attention.weight": torch.ones(4)}
    refuse_foreign(Checkpoint("a test's", tensors))


def test_a_layer_that_has_lost_a_bias_is_told() -> None:
    state = {name: tensor for name, tensor in USUAL.tensors.items() if "bias_hh" not in name}
    notes = read(Checkpoint("a test's", state)).diagnosis.notes
    assert any(note.endswith("has no bias_hh, which counts as zeros") for note in notes)
