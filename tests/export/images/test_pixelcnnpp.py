"""PixelCNN++ with strides and a mixture of logistics: recognised, exact, and slow with a reason."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.checkpoints.checkpoint import Checkpoint
from export.compiler.compile import CompiledStep
from export.images.input_output import LogisticMixture
from export.images.pixelcnnpp import read_pixelcnnpp
from export.images.streaming import StreamingNetwork
from export.reader import ReadOptions
from tests.support.causal_networks import assert_exact
from tui_gen.errors import TuiGenError

norm = nn.utils.parametrizations.weight_norm


def _elu(x: Tensor) -> Tensor:
    return functional.elu(torch.cat([x, -x], 1))


class _Nin(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lin_a = norm(nn.Linear(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.lin_a(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Down(nn.Module):
    def __init__(self, i: int, o: int, size: tuple[int, int] = (2, 3), *, stride: int = 1, shift: bool = False) -> None:
        super().__init__()
        self.conv, self.size, self.shift = norm(nn.Conv2d(i, o, size, stride)), size, shift

    def forward(self, x: Tensor) -> Tensor:
        side = (self.size[1] - 1) // 2
        x = self.conv(nn.ZeroPad2d((side, side, self.size[0] - 1, 0))(x))
        return nn.ZeroPad2d((0, 0, 1, 0))(x[:, :, :-1]) if self.shift else x


class _Right(nn.Module):
    def __init__(self, i: int, o: int, size: tuple[int, int] = (2, 2), *, stride: int = 1, shift: bool = False) -> None:
        super().__init__()
        self.conv, self.size, self.shift = norm(nn.Conv2d(i, o, size, stride)), size, shift

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(nn.ZeroPad2d((self.size[1] - 1, 0, self.size[0] - 1, 0))(x))
        return nn.ZeroPad2d((1, 0, 0, 0))(x[:, :, :, :-1]) if self.shift else x


class _Up(nn.Module):
    def __init__(self, f: int, size: tuple[int, int], *, right: bool) -> None:
        super().__init__()
        self.deconv, self.size, self.right = norm(nn.ConvTranspose2d(f, f, size, 2, output_padding=1)), size, right

    def forward(self, x: Tensor) -> Tensor:
        x = self.deconv(x)
        rows, columns, side = x.shape[2] - self.size[0] + 1, x.shape[3], (self.size[1] - 1) // 2
        return x[:, :, :rows, : columns - self.size[1] + 1] if self.right else x[:, :, :rows, side : columns - side]


class _Gated(nn.Module):
    def __init__(self, f: int, conv: type[nn.Module], skip: int) -> None:
        super().__init__()
        self.conv_input, self.conv_out = conv(2 * f, f), conv(2 * f, 2 * f)
        if skip:
            self.nin_skip = _Nin(2 * skip * f, f)

    def forward(self, x: Tensor, a: Tensor | None = None) -> Tensor:
        inner = self.conv_input(_elu(x))
        if a is not None:
            inner = inner + self.nin_skip(_elu(a))
        one, two = self.conv_out(_elu(inner)).chunk(2, dim=1)
        return x + one * torch.sigmoid(two)


class _Layers(nn.Module):
    def __init__(self, count: int, f: int, skips: tuple[int, int]) -> None:
        super().__init__()
        self.u_stream = nn.ModuleList(_Gated(f, _Down, skips[0]) for _ in range(count))
        self.ul_stream = nn.ModuleList(_Gated(f, _Right, skips[1]) for _ in range(count))


class Script(nn.Module):
    """The names and the forward pass of the script."""

    def __init__(self, channels: int, f: int = 4, count: int = 1, mixtures: int = 2, *, scales: int = 3) -> None:
        super().__init__()
        counts = [count, *[count + 1] * (scales - 1)]
        self.down_layers = nn.ModuleList(_Layers(n, f, (1, 2)) for n in counts)
        self.up_layers = nn.ModuleList(_Layers(count, f, (0, 1)) for _ in range(scales))
        self.downsize_u_stream = nn.ModuleList(_Down(f, f, stride=2) for _ in range(scales - 1))
        self.downsize_ul_stream = nn.ModuleList(_Right(f, f, stride=2) for _ in range(scales - 1))
        self.upsize_u_stream = nn.ModuleList(_Up(f, (2, 3), right=False) for _ in range(scales - 1))
        self.upsize_ul_stream = nn.ModuleList(_Up(f, (2, 2), right=True) for _ in range(scales - 1))
        self.u_init = _Down(channels + 1, f, (2, 3), shift=True)
        self.ul_init = nn.ModuleList(
            [_Down(channels + 1, f, (1, 3), shift=True), _Right(channels + 1, f, (2, 1), shift=True)]
        )
        self.nin_out = _Nin(f, (3 if channels == 1 else 10) * mixtures)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        us, uls = [self.u_init(x)], [self.ul_init[0](x) + self.ul_init[1](x)]
        for i, layers in enumerate(self.up_layers):
            for u, ul in zip(layers.u_stream, layers.ul_stream, strict=True):
                us.append(u(us[-1]))
                uls.append(ul(uls[-1], us[-1]))
            if i < len(self.downsize_u_stream):
                us.append(self.downsize_u_stream[i](us[-1]))
                uls.append(self.downsize_ul_stream[i](uls[-1]))
        a, b = us.pop(), uls.pop()
        for i, layers in enumerate(self.down_layers):
            for u, ul in zip(layers.u_stream, layers.ul_stream, strict=True):
                a = u(a, us.pop())
                b = ul(b, torch.cat([a, uls.pop()], 1))
            if i < len(self.upsize_u_stream):
                a, b = self.upsize_u_stream[i](a), self.upsize_ul_stream[i](b)
        assert not us
        return self.nin_out(functional.elu(b))


def _likelihood(parameters: Tensor, x: Tensor) -> Tensor:
    """The script's log-likelihood of whole colour pixels [batch, h, w], as its loss computes it."""
    x, p = x.permute(0, 2, 3, 1), parameters.permute(0, 2, 3, 1)
    count = p.shape[-1] // 10
    weights, rest = p[..., :count], p[..., count:].reshape(*x.shape, 3 * count)
    means, scales = rest[..., :count], rest[..., count : 2 * count].clamp(min=-7)
    c = torch.tanh(rest[..., 2 * count :])
    green = means[..., 1, :] + c[..., 0, :] * x[..., 0, None]
    blue = means[..., 2, :] + c[..., 1, :] * x[..., 0, None] + c[..., 2, :] * x[..., 1, None]
    distance = x[..., None] - torch.stack([means[..., 0, :], green, blue], -2)
    plus, minus = torch.exp(-scales) * (distance + 1 / 255), torch.exp(-scales) * (distance - 1 / 255)
    inside = torch.log((torch.sigmoid(plus) - torch.sigmoid(minus)).clamp(min=1e-12))
    value = x[..., None]
    logs = torch.where(value < -0.999, plus - functional.softplus(plus), inside)
    logs = torch.where(value > 0.999, -functional.softplus(minus), logs)
    return torch.logsumexp(logs.sum(-2) + functional.log_softmax(weights, -1), -1)


def _state(script: Script) -> dict[str, Tensor]:
    """As the script's files name what makes a weight: its length and its direction."""
    old, new = "parametrizations.weight.original", "weight_"
    return {
        name.replace(f"{old}0", f"{new}g").replace(f"{old}1", f"{new}v"): tensor
        for name, tensor in script.state_dict().items()
    }


def _streaming(state: dict[str, Tensor], size: tuple[int, int]) -> StreamingNetwork:
    reading = read_pixelcnnpp(Checkpoint("t", state), ReadOptions(size=size))
    assert reading is not None
    assert "slow" in reading.diagnosis.notes[0]
    network = reading.build().network
    assert isinstance(network, StreamingNetwork)
    return network


def test_colour_pixels_have_the_likelihood_of_the_scripts_loss() -> None:
    torch.manual_seed(0)
    script = Script(3).eval()
    network = _streaming(_state(script), (8, 8)).network
    assert (network.channels, network.levels) == (3, 256)
    pixels = torch.randint(256, (2, network.area))
    pixels[0, :6] = torch.tensor([0, 255, 0, 255, 255, 0])
    logits = network.whole_logits(pixels)
    own = logits.gather(2, pixels[:, :, None])[:, :, 0].view(2, 64, 3).sum(2)
    image = pixels.view(2, 8, 8, 3).permute(0, 3, 1, 2).float() / 255 * 2 - 1
    with torch.no_grad():
        expected = _likelihood(script(image), image).flatten(1)
    torch.testing.assert_close(own, expected, atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(logits.exp().sum(2), torch.ones(2, 192), atol=1e-4, rtol=0)


def test_grey_pixels_have_the_mixture_of_the_scripts_parameters() -> None:
    torch.manual_seed(1)
    script = Script(1).eval()
    network = _streaming(script.state_dict(), (4, 8)).network  # the names that newer PyTorch writes
    pixels = torch.randint(1, 255, (2, 32))
    own = network.whole_logits(pixels).gather(2, pixels[:, :, None])[:, :, 0]
    image = pixels.view(2, 1, 4, 8).float() / 255 * 2 - 1
    with torch.no_grad():
        weights, means, scales = script(image).flatten(2).chunk(3, dim=1)
    upper, lower = ((image.flatten(2) - means + side / 255) * torch.exp(-scales) for side in (1, -1))
    bins = (torch.softmax(weights, 1) * (torch.sigmoid(upper) - torch.sigmoid(lower))).sum(1)
    torch.testing.assert_close(own, bins.log(), atol=2e-4, rtol=1e-4)


def test_step_by_step_equals_whole_images() -> None:
    torch.manual_seed(1)
    streaming = _streaming(_state(Script(3, scales=2).eval()), (4, 8))
    assert "convolution with strides" in streaming.slow_because
    assert_exact(streaming.network, CompiledStep(streaming.step_graph(), 0, ()), batch=2)


@pytest.mark.parametrize("log_scale", [-9.0, -5.0, 0.0, 4.0])
def test_a_mixture_is_a_distribution_however_narrow_or_wide(log_scale: float) -> None:
    torch.manual_seed(2)
    parameters, pixels = torch.randn(1, 6, 3, 3), torch.rand(1, 1, 3, 3) * 2 - 1
    parameters[:, 4:] = log_scale
    logits = LogisticMixture(2, 1)(parameters, pixels)
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(1, 3, 3), atol=1e-4, rtol=0)


def test_parts_that_do_not_fit_are_told() -> None:
    state = Script(1).state_dict()
    lacking = {name: tensor for name, tensor in state.items() if not name.startswith("downsize_u_stream.1")}
    with pytest.raises(TuiGenError, match=r"it lacks downsize_u_stream.1.conv"):
        read_pixelcnnpp(Checkpoint("t", lacking), ReadOptions())
    with pytest.raises(TuiGenError, match=r"whose use is not known: extra.weight"):
        read_pixelcnnpp(Checkpoint("t", {**state, "extra.weight": torch.ones(2)}), ReadOptions())
    assert read_pixelcnnpp(Checkpoint("t", nn.Conv2d(1, 2, 3).state_dict()), ReadOptions()) is None
