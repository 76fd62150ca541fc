"""Image networks as they are exported: checked by changing pixels, compared for a limited time, guided by prompts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import export.__main__ as exporter
from export.compiler.compile import compile_step
from export.evaluation import evaluate
from export.image_network import ImageNetwork, check_causal
from export.images.input_output import plane_per_channel
from export.images.streaming import StreamingNetwork, exportable, guided_network
from export.training.native import image_network
from export.verify import step_logits
from tests.support.causal_networks import Attending, MaskedConv, assert_exact, values_inside
from tests.support.causal_networks import image_network as causal_network
from tests.support.export_training import pixelcnn, write_data
from tests.support.gated_networks import ColourGated, PriorGated, TutorialGated
from tests.support.image_layouts import network_of, read
from tests.support.single_stack_networks import sequential
from tui_gen.card import ImageSpec, ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.library import open_model
from tui_gen.runtime.model import Model


@pytest.mark.parametrize("build", [sequential, TutorialGated, ColourGated, PriorGated])
def test_networks_with_their_masks_are_causal(build: type[nn.Module]) -> None:
    torch.manual_seed(0)
    assume = {"crops": "copies"} if build is ColourGated else {}
    check_causal(network_of(read(build(), size=(5, 9), assume=assume)))


def test_pictures_that_are_too_large_to_be_proved_are_refused_before_anything_is_computed() -> None:
    with pytest.raises(TuiGenError, match=r"pictures of 4096x4096 pixels, .* are too large: at most 16,777,216 logits"):
        network_of(read(sequential(), size=(4096, 4096)))


def test_a_first_layer_that_sees_its_own_pixel_is_found() -> None:
    torch.manual_seed(0)
    net = sequential()
    net[0].mask[:, :, 2, 2] = 1
    pixel = r"the pixel in row (\d+), column (\d+)"
    with pytest.raises(
        TuiGenError, match=rf"not causal: {pixel} has a say in the logits of the pixel in row \1, column \2;"
    ):
        check_causal(network_of(read(net, size=(5, 9))))


def test_a_later_layer_that_sees_below_is_found() -> None:
    torch.manual_seed(0)
    net = sequential(depth=2, kernel=3)
    net[3].mask[:, :, 2, 0] = 1
    # Below and to the left of row 0, column 1, the first layer has seen row 0, column 1.
    with pytest.raises(TuiGenError, match=r"row 0, column 1 has a say in the logits of .* row 0, column 1; a mask is"):
        check_causal(network_of(read(net, size=(2, 3))))


def test_channels_that_see_later_channels_are_named() -> None:
    torch.manual_seed(0)
    net = ColourGated()
    nn.init.ones_(net.causal_conv.h_conv.mask[:, :, :, 2])
    with pytest.raises(TuiGenError, match=r"\((red|green|blue)\) has a say in the logits of .*\((red|green|blue)\)"):
        check_causal(network_of(read(net, size=(5, 9), assume={"crops": "copies"})))


def test_masks_that_are_said_to_be_missing_are_missed() -> None:
    torch.manual_seed(0)
    state = {name: tensor for name, tensor in sequential().state_dict().items() if not name.endswith("mask")}
    with pytest.raises(TuiGenError, match="a mask is missing"):
        read(state, assume={"masks": "none"}).build().network.step_graph()


class _Whisper(nn.Module):
    """Causal but for a leak that is small beside its logits."""

    def __init__(self, loudness: float) -> None:
        super().__init__()
        self.loudness = loudness

    def forward(self, planes: Tensor) -> Tensor:
        base = torch.arange(4.0)[None, :, None, None] * 25
        return base + self.loudness * planes.sum((2, 3), keepdim=True) + torch.zeros_like(planes)


@pytest.mark.parametrize(("loudness", "leaks"), [(0.1, True), (1e-6, False)])
def test_a_leak_counts_by_the_range_of_the_logits(loudness: float, leaks: bool) -> None:
    values = plane_per_channel(torch.arange(4.0), 1)
    network = ImageNetwork(_Whisper(loudness), values, 30, 30, 4)  # larger: 200 of its pixels are tried
    if leaks:
        with pytest.raises(TuiGenError, match="not causal"):
            check_causal(network)
    else:
        check_causal(network)


def test_a_slow_network_is_compared_for_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    network = StreamingNetwork(causal_network(Attending(), 5, 6))
    assert network.slow_because
    assert network.compared == ""
    monkeypatch.setattr("export.images.streaming.PROOF_SECONDS", 0.0)
    short = StreamingNetwork(network.network)
    assert short.greedy_length() == 8
    assert short.compared == "the first 8 of an image's 30 tokens"


PHRASES, USUAL = 3, 1.5


@pytest.fixture(scope="module")
def plain() -> StreamingNetwork:
    return StreamingNetwork(image_network(pixelcnn(stacks=2, width=9, conditions=PHRASES)))


@pytest.fixture(scope="module")
def guided(plain: StreamingNetwork) -> Model:
    network = guided_network(plain.network, USUAL)
    streaming = StreamingNetwork(network)
    assert not streaming.slow_because
    conditions = tuple(range(network.start + 1, network.warm_up))
    spec = ImageSpec(network.height, network.width, network.levels, conditions=conditions)
    card = ModelCard("guided", "image", "", network.levels, network.start, image=spec)
    return Model(streaming.step_graph().SerializeToString(), streaming.completed(card), provider="cpu")


def _guided_logits(model: Model, prompt: list[int], pixels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logits of every pixel but the first after those before it: float32[pixels, levels]."""
    assert model.card.image
    tokens = [model.card.bos, *prompt, *model.card.image.warm_up, *pixels[:-1]]
    return step_logits(model, np.array([tokens]))[0, 1 - len(pixels) :]


def _plain_logits(plain: StreamingNetwork, prompt: list[int], pixels: NDArray[np.int64]) -> Tensor:
    tokens = torch.tensor([[plain.network.start, *prompt, *pixels[:-1]]])
    return plain.sequence_logits(tokens)[0, 1:]


@pytest.mark.parametrize(("phrase", "scale"), [(None, USUAL), (0, 0.0), (1, 1.0), (2, 1.5), (3, 2.0), (4, 3.0)])
def test_logits_go_so_many_times_from_those_without_the_prompt_to_those_with_it(
    phrase: int | None, scale: float, plain: StreamingNetwork, guided: Model
) -> None:
    start, pixels = plain.network.start, np.random.default_rng(0).integers(plain.network.levels, size=30)
    prompt = [start + 1, start + 3]
    conditional, unconditional = _plain_logits(plain, prompt, pixels), _plain_logits(plain, [], pixels)
    words = prompt + ([] if phrase is None else [start + 1 + PHRASES + phrase])
    with torch.no_grad():
        expected = (unconditional + scale * (conditional - unconditional)).numpy()
    assert float((conditional - unconditional).abs().max()) > 0.1
    np.testing.assert_allclose(_guided_logits(guided, words, pixels), expected, atol=1e-4)


def test_inside_a_guided_network_are_rows_with_the_prompt_and_without_it(plain: StreamingNetwork) -> None:
    streaming, start = StreamingNetwork(guided_network(plain.network, USUAL)), plain.network.start
    pixels, prompt = np.random.default_rng(0).integers(plain.network.levels, size=30), [start + 1, start + 3]
    card = streaming.completed(
        exportable(plain.network, [f"class {at}" for at in range(plain.network.conditions)]).card
    )
    assert card.image
    assert card.image.copies == ("prompted", "unprompted")
    warm_up = np.full(len(card.image.warm_up), streaming.network.warm_up)  # read after the prompt
    tokens = np.concatenate([[start, *prompt], warm_up, pixels[:-1]])
    rows = values_inside(streaming.step_graph(), tokens)["inside.output.features"][1 - len(pixels) :]
    with torch.no_grad():
        for copy, words in enumerate((prompt, [])):
            np.testing.assert_allclose(rows[:, copy], _plain_logits(plain, words, pixels).numpy(), atol=1e-4)


def test_a_network_that_ignores_its_prompt_can_be_guided() -> None:
    class Ignorant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = MaskedConv("A", 1, 4, 3)

        def forward(self, planes: Tensor, _: Tensor) -> Tensor:
            logits: Tensor = self.conv(planes)
            return logits

    network = causal_network(Ignorant(), 5, 6, condition="multi_hot", conditions=2)
    guided = guided_network(network, USUAL)
    condition = torch.zeros(2, guided.conditions)
    condition[:, 1] = 1
    assert_exact(guided, compile_step(guided), conditions=np.array([[1], [1]]), condition=condition, batch=2)


def test_both_runs_of_the_network_share_its_weights() -> None:
    """At sizes like those of real networks, the file is not much larger than one that runs once."""
    network = image_network(pixelcnn(stacks=2, width=9, conditions=PHRASES, channels=24, head=24))
    once, twice = (
        StreamingNetwork(network).step_graph().ByteSize(),
        StreamingNetwork(guided_network(network, USUAL)).step_graph().ByteSize(),
    )
    assert twice < 1.25 * once


@pytest.fixture(scope="module")
def folder(adventurers_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("guided") / "adventurers"
    assert exporter.main([str(adventurers_checkpoint), "-o", str(target), "--guidance", "2.5"]) == 0
    return target


def test_the_folder_says_how_it_is_guided_and_takes_other_scales(folder: Path) -> None:
    loaded_model = open_model(folder, provider="cpu")
    scales = ("guidance 0", "guidance 1", "guidance 1.5", "guidance 2", "guidance 2.5", "guidance 3")
    assert loaded_model.codec.phrases == ("bow", "elf woman", *scales, "orc", "red cloak")
    prompt = loaded_model.codec.prompt(["orc, guidance 1", "orc, bow"])
    assert loaded_model.card.image
    assert len(set(prompt[0]) - {loaded_model.card.bos, *loaded_model.card.image.warm_up}) == 2
    with pytest.raises(TuiGenError, match="takes one of 'guidance 0' or 'guidance 1', not several"):
        loaded_model.codec.prompt(["guidance 0, orc, guidance 1"])
    facts = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert facts["export"]["guidance"] == 2.5
    assert facts["export"]["parity"]["relative_logit_difference"] < 1e-4
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "-o models/adventurers --guidance 2.5\n" in readme
    assert "has a scale of 2.5 (1 is as it learned); a prompt may name another one: guidance 0, " in readme


def test_its_figure_is_that_of_the_network_as_it_learned(
    folder: Path, adventurers_checkpoint: Path, tmp_path: Path
) -> None:
    plain_folder = tmp_path / "unguided" / "adventurers"
    assert exporter.main([str(adventurers_checkpoint), "-o", str(plain_folder)]) == 0
    data = write_data("adventurers", tmp_path)
    for model in (folder, plain_folder):
        assert evaluate.main([str(model), "--data", str(data)]) == 0
    own, plain = (open_model(model, provider="cpu").card for model in (folder, plain_folder))
    assert own.quality
    assert plain.quality
    assert own.quality.value == pytest.approx(plain.quality.value, abs=1e-3)
    assert own.quality.split.endswith("their conditions given, guidance 1")
    figure = own.measured["figures"]["held-out figure with guidance 2.5, as it draws"]
    assert figure.endswith(" bits per pixel")
    assert float(figure.split()[0]) != own.quality.value


def test_a_network_without_phrases_cannot_be_guided(
    names_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exporter.main([str(names_checkpoint), "-o", str(tmp_path / "model"), "--guidance", "2"]) == 1
    assert "--guidance needs a picture network" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
