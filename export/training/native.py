"""The trainer's checkpoints and networks as the exporter sees those of any other script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tui_gen.card import ModelCard

from ..checkpoints.checkpoint import Checkpoint
from ..image_network import ImageNetwork
from ..images.streaming import StreamingNetwork
from ..reader import Diagnosis, Exportable, Network, Reading
from ..text.layers import Kind, Linear, RecurrentLayer
from ..text.step import TextNetwork
from .checkpoint import DESCRIPTION, load_network
from .networks import PictureNet, RecurrentNet, TrainedNet
from .presets import PRESETS

_OWN = "the trainer's own network"
_KINDS: dict[str, Kind] = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}


def read_trained(checkpoint: Checkpoint) -> Reading | None:
    """The reading of a checkpoint of the trainer; None for any other."""
    facts = checkpoint.facts
    if not facts.keys() >= DESCRIPTION:
        return None
    card, options = ModelCard.from_json(facts["card"]), facts["options"]

    def build() -> Exportable:
        net = load_network(facts["network"], checkpoint.tensors)
        origin = {"trained_with": _command(options), "data_sha256": options["data"]}
        export = {**origin, "made_with": facts.get("made_with", "")}
        card_of_run, log = replace(card, export=export), tuple(facts["log"])
        return Exportable(network_of(net), card_of_run, facts["tokenizer"], log=log, against=_OWN)

    sizes = tuple((key, str(value)) for key, value in facts["network"].items() if key != "family")
    epochs = f"{len(facts['log'])} of {options['epochs']} epochs"
    summary = f"{card.architecture}, trained by export.train as {options['preset']} for {epochs}"
    return Reading(Diagnosis(summary, sizes), build)


def _command(options: Mapping[str, Any]) -> str:
    """The command that trains these weights again."""
    preset = PRESETS.get(options["preset"])
    data = preset.data.partition(":")[0] if preset else "DATA"
    settings = " ".join(
        f"--{key.replace('_', '-')} {options[key]}"
        for key in ("epochs", "batch_size", "learning_rate", "seed", "precision", "stacks")
        if options.get(key) is not None
    )
    return f"python -m export.train {options['preset']} --data {data} -o runs/{options['preset']} {settings}"


def network_of(net: TrainedNet) -> Network:
    """A network of the trainer as the exporter sees any network, with its weights as they are now."""
    return text_network(net) if isinstance(net, RecurrentNet) else StreamingNetwork(image_network(net))


def image_network(net: PictureNet) -> ImageNetwork:
    """A network with what it takes to play it. Its conditions are phrases that add up."""
    config = net.config
    return ImageNetwork(
        module=net,
        encoding=net.encoding[None],
        height=config.height,
        width=config.width,
        levels=config.levels,
        condition="multi_hot",
        conditions=config.conditions,
        label=config.label,
    )


def text_network(net: RecurrentNet) -> TextNetwork:
    """A network that shares the weights of `net`, and changes with them."""
    weights = {name: parameter.detach() for name, parameter in net.named_parameters()}

    def layer(index: int) -> RecurrentLayer:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weight_ih, weight_hh, bias_ih, bias_hh = (weights[f"rnn.{name}_l{index}"] for name in names)
        return RecurrentLayer(f"rnn.{index}", _KINDS[net.config.cell], weight_ih, weight_hh, bias_ih, bias_hh)

    output = Linear("output", weights["output.weight"], weights["output.bias"])
    return TextNetwork(weights["embedding.weight"], (*map(layer, range(net.config.layers)), output))


def complete_card(card: ModelCard, network: Network) -> ModelCard:
    """A card with what a player must know of the network's step function."""
    return network.completed(card) if isinstance(network, StreamingNetwork) else card
