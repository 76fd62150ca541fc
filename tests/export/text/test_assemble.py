"""How the parts of a language model are put in order: what is inferred, what is asked, and what an answer changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from export.checkpoints.checkpoint import Checkpoint
from export.convert import diagnosis_lines
from export.text.between import UNKNOWABLE
from tests.support.recurrent_cells import CELLS
from tests.support.text_layouts import LAYOUTS, assert_exact, build, checkpoint_of, model_of, read
from tests.support.text_networks import H, LayerByLayer, TwoModules, Usual, V, with_weight_drop
from tui_gen.errors import TuiGenError


def _lines(checkpoint: Checkpoint, **assume: str) -> list[str]:
    return [line.strip() for line in diagnosis_lines(checkpoint, read(checkpoint, **assume).diagnosis)]


def test_a_whole_module_with_its_vocabulary_leaves_open_what_no_file_tells() -> None:
    module = Usual(nn.RNN(5, 7, 2, nonlinearity="relu"))
    checkpoint = checkpoint_of(module, {"chars": [*"\n abcdefghi"], "bos": "\n"}, whole=True, rnn_type="RNN_RELU")
    assert _lines(checkpoint) == [
        "RNN 2x7, reads and predicts 11 tokens",
        "file         a test's",
        "reads        11 tokens, each a row of encoder, 5 wide",
        "layers       rnn.l0: RNN 7 relu -> rnn.l1: RNN 7 relu -> decoder: Linear 11",
        "output       weights of its own",
        "first state  zeros",
        "parameters   353",
        "stored as    float32",
        "vocabulary   11 characters, in the file under chars",
        "text         printed side by side; prompts lower-cased, for it has small letters only",
        "starts from  '\\n', id 0 (the file says bos='\\n'; --assume bos=TOKEN changes it)",
        "ends at      nothing: it writes on (no token is called an end; --assume eos=TOKEN changes it)",
        "not in the file: what its script does without tensors, such as an activation (PART:relu), adding a part's "
        "input to its output, or reading a text from its end (assumed: nothing but what is said above; to change it, "
        "--assume activation=PART:FUNCTION,..., --assume residual=PART,FIRST:LAST,... and --assume "
        "direction=backward)",
    ]


def test_shared_weights_narrow_layers_and_dropout_on_weights_are_told() -> None:
    lines = _lines(with_weight_drop(LayerByLayer(), copies=True))
    assert lines[0] == "LSTM 7+7+5, reads and predicts 11 tokens"
    assert "output       the embedding's own weights (tied)" in lines
    assert any(line.startswith("note: rnns.0.weight_hh_l0_raw, ") and "without dropout" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("projected LSTM", "rnn.l0: LSTM 7 projected to 4 -> rnn.l1"),
        ("one-hot LSTM", "reads        11 tokens, each a 1 among zeros (one-hot)"),
        ("a number a token", "reads        11 tokens, each as one number"),
        ("learned start", "first state  learned: h0, c0"),
        ("joined RNN", "first state  learned: start"),
        ("weight norm", "2 weights are stored as direction and length; they are multiplied out"),
        ("one sequence", "body.1: GRU 7 -> body.2: BatchNorm 7 -> body.4: Linear 11"),
        ("tutorial", "cell: RNN 7 none, predicts 11 from token and state"),
    ],
)
def test_what_is_unusual_is_told(name: str, says: str) -> None:
    layout = LAYOUTS[name]
    assert any(says in line for line in _lines(layout.checkpoint(layout.make()), **layout.assume))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("one-hot RNN", "what its simple recurrent layers bend their state with (assumed: tanh; to change it, --as"),
        ("joined GRU", "whether the update gate of cell says what to keep of the old state, or what to wri"),
        (
            "named GRU",
            "whether cell resets its state before or after the product (needed: --assume reset=after|before)",
        ),
        (
            "i2h and h2h, LSTM",
            "the order of the gates in cell (i input, f forget, g candidate, o output) (needed: --assume gates=ifgo|",
        ),
        ("a number a token", "how it turns a token into a number (needed: --assume number=id/vocabulary|id"),
    ],
)
def test_what_no_tensor_tells_is_told(name: str, says: str) -> None:
    layout = LAYOUTS[name]
    lines = [line for line in _lines(layout.checkpoint(layout.make())) if line.startswith("not in the file")]
    assert any(f"not in the file: {says}" in line for line in lines)


@pytest.mark.parametrize(
    ("make", "answer", "other"),
    [
        (CELLS["joined GRU"], {"update": "keep"}, {"update": "write"}),
        (TwoModules, {"activation": "tanh"}, {"activation": "leaky_relu(0.3)"}),
        (CELLS["tutorial with a last layer"], {"nonlinearity": "tanh"}, {}),
        (CELLS["joined RNN"], {"nonlinearity": "sigmoid"}, {}),
    ],
    ids=["update", "activation", "tutorial", "nonlinearity"],
)
def test_an_answer_changes_the_network(
    make: Callable[[], nn.Module], answer: dict[str, str], other: dict[str, str]
) -> None:
    checkpoint = checkpoint_of(make())
    tokens = torch.arange(8).view(1, 8)
    by_default, by_answer = (
        build(checkpoint, **answers).network.sequence_logits(tokens) for answers in (other, answer)
    )
    assert (by_default - by_answer).abs().max() > 1e-3
    ((key, value),) = answer.items()
    options = [missing.option for missing in read(checkpoint, **answer).diagnosis.missing if missing != UNKNOWABLE]
    assert key not in "".join(options)
    assert model_of(build(checkpoint, **{key: value})).card.vocab_size == V


def test_answers_that_are_no_answers_are_told() -> None:
    checkpoint = checkpoint_of(Usual(nn.RNN(5, 7)))
    with pytest.raises(TuiGenError, match="--assume nonlinearity must be one of tanh, relu"):
        read(checkpoint, nonlinearity="reluu")
    with pytest.raises(TuiGenError, match=r"--assume reset=\.\.\. is no question of this network; its questions: .*ig"):
        read(checkpoint, reset="after")


class _Ambiguous(nn.Module):
    """A linear layer as wide as everything else: before or after the recurrent one?"""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.mix = nn.Embedding(V, 6), nn.Linear(6, 6)
        self.rnn, self.out = nn.GRU(6, 6, batch_first=True), nn.Linear(6, V)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.out(torch.tanh(self.mix(self.rnn(self.emb(tokens))[0])))
        return logits


def test_an_order_that_sizes_do_not_tell_is_assumed_and_can_be_told() -> None:
    module = _Ambiguous()
    checkpoint = checkpoint_of(module)
    (missing, *_) = [missing for missing in read(checkpoint).diagnosis.missing if "order" in missing.what]
    assert (missing.option, missing.default) == ("--assume order=NAME,NAME,...", "emb,mix,rnn,out")
    assert_exact(module, build(checkpoint, order="emb,rnn,mix,out", activation="tanh"))
    with pytest.raises(TuiGenError, match=r"--assume order=\.\.\. must name every part, and mix too"):
        read(checkpoint, order="emb,rnn,out")


def test_activations_that_a_pickled_network_has_as_modules_are_taken() -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.rnn = nn.Embedding(V, 5), nn.LSTM(5, 7, batch_first=True)
            self.fc = nn.Sequential(nn.Linear(7, 9), nn.Dropout(), nn.Tanh(), nn.Linear(9, 8), nn.Linear(8, V))

    lines = _lines(checkpoint_of(Deep(), whole=True))
    assert any("fc.0: Linear 9 tanh -> fc.3: Linear 8 -> fc.4: Linear 11" in line for line in lines)
    assert not any("which activation" in line or "what follows" in line for line in lines)


class Residual(nn.Module):
    """Each layer adds to what it reads; the last one to what stands before its normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(V, H)
        self.first, self.second = nn.LSTM(H, H, batch_first=True), nn.GRU(H, H, batch_first=True)
        self.norm, self.third = nn.LayerNorm(H), nn.LSTM(H, H, batch_first=True)
        self.out = nn.Linear(H, V)
        nn.init.normal_(self.norm.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        x = torch.relu(self.embedding(tokens))
        x = x + self.first(x)[0]
        x = x + self.second(x)[0]
        x = x + self.third(self.norm(x))[0]
        logits: Tensor = self.out(x)
        return logits


TOLD = {"embedding": "relu", "residual": "first,second,norm:third", "order": "embedding,first,second,norm,third,out"}


def test_told_residual_connections_and_activations_are_exact() -> None:
    torch.manual_seed(0)
    module = Residual()
    assert_exact(module, build(checkpoint_of(module), **TOLD))


def test_a_likely_residual_connection_is_asked_and_named() -> None:
    checkpoint = checkpoint_of(Residual())
    questions = {missing.option: missing for missing in read(checkpoint, order=TOLD["order"]).diagnosis.missing}
    assert "first, second, third" in questions["--assume residual=none|first,second,third"].what
    diagnosis = read(checkpoint, **TOLD).diagnosis
    assert ("residual", "what first reads is added to what first gives") in [
        (name, value.partition(";")[0]) for name, value in diagnosis.facts
    ]
    assert diagnosis.missing[-1] == UNKNOWABLE
    assert not any("residual" in missing.option for missing in diagnosis.missing[:-1])


def test_layers_of_one_module_are_not_asked_about() -> None:
    module = nn.ModuleDict({"e": nn.Embedding(V, H), "rnn": nn.LSTM(H, H, 2), "out": nn.Linear(H, V)})
    assert not any("residual" in missing.option for missing in read(checkpoint_of(module)).diagnosis.missing[:-1])


@pytest.mark.parametrize(
    ("assume", "says"),
    [
        ({"residual": "nobody"}, "names no parts in their order, which is first"),
        ({"residual": "second:first"}, "names no parts in their order"),
        ({"residual": "first:out"}, "first reads 7 numbers, out gives 11"),
        ({"embedding": "loud"}, "must be one of none, tanh, relu"),
    ],
)
def test_residual_connections_that_cannot_be_are_told(assume: dict[str, str], says: str) -> None:
    with pytest.raises(TuiGenError, match=says):
        read(checkpoint_of(Residual()), order=TOLD["order"], **assume)
