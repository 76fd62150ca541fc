"""The trainer's recurrent networks as chains of parts."""

from __future__ import annotations

from export.recurrent import RecurrentNet
from export.text.maps import Linear
from export.text.network import TextNetwork
from export.text.recurrence import Kind, Recurrence

_KINDS: dict[str, Kind] = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}


def text_network(net: RecurrentNet) -> TextNetwork:
    """A network that shares the weights of `net`, and changes with them."""
    weights = {name: parameter.detach() for name, parameter in net.named_parameters()}

    def layer(index: int) -> Recurrence:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weight_ih, weight_hh, bias_ih, bias_hh = (weights[f"rnn.{name}_l{index}"] for name in names)
        return Recurrence(f"rnn.{index}", _KINDS[net.config.cell], weight_ih, weight_hh, bias_ih, bias_hh)

    output = Linear("output", weights["output.weight"], weights["output.bias"])
    return TextNetwork(weights["embedding.weight"], (*map(layer, range(net.config.layers)), output))
