"""The trainer's networks as step functions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from export.checkpoints.checkpoint import Checkpoint
from export.image_network import ImageNetwork
from export.images.streaming import StreamingNetwork
from export.reader import Diagnosis, Exportable, Network, Reading
from export.text.layers import Kind, Linear, RecurrentLayer
from export.text.step import TextNetwork
from export.training import checkpoint
from export.training.networks import (
    BookPixelCNN,
    PixelCNN,
    RecurrentNet,
    TrainedNet,
    TwoStackPixelCNN,
)
from export.training.presets import PRESETS
from tui_gen.card import ModelCard

_KINDS: dict[str, Kind] = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}


def network_of(net: TrainedNet) -> Network:
    """A trained network as the exporter sees any network, with its weights as they are now."""
    return text_network(net) if isinstance(net, RecurrentNet) else StreamingNetwork(image_network(net))


def completed(card: ModelCard, network: Network) -> ModelCard:
    """A card with what a player must know of the network's step function."""
    return network.completed(card) if isinstance(network, StreamingNetwork) else card


def read_trained(path: Path, found: Checkpoint) -> Reading | None:
    """The reading of a checkpoint of the trainer; None for any other. path: the file that `found` was loaded from."""
    if not found.facts.keys() >= checkpoint.KEYS - {"weights", "raw_weights"}:
        return None
    contents = checkpoint.load(path)
    card = ModelCard.from_json(contents["card"])

    def build() -> Exportable:
        net = checkpoint.trained_network(contents)
        options = contents["options"]
        facts = {"trained_with": _command(options), "data_sha256": options["data"]}
        trained = replace(card, export={**facts, "made_with": contents.get("made_with", "")})
        return Exportable(network_of(net), trained, contents["tokenizer"], log=tuple(contents["log"]))

    sizes = tuple((key, str(value)) for key, value in contents["network"].items() if key != "family")
    epochs = f"{len(contents['log'])} of {contents['options']['epochs']} epochs"
    summary = f"{card.architecture}, trained by export.train as {contents['options']['preset']} for {epochs}"
    return Reading(Diagnosis(summary, sizes), build)


def _command(options: dict[str, Any]) -> str:
    """The command that trains these weights again."""
    preset = PRESETS.get(options["preset"])
    data = preset.data.partition(":")[0] if preset else "DATA"
    settings = " ".join(
        f"--{key.replace('_', '-')} {options[key]}"
        for key in ("epochs", "batch_size", "learning_rate", "seed", "precision", "stacks")
        if options.get(key) is not None
    )
    return f"python -m export.train {options['preset']} --data {data} -o runs/{options['preset']} {settings}"


def image_network(net: PixelCNN | TwoStackPixelCNN | BookPixelCNN) -> ImageNetwork:
    """A trained network with what it takes to play it. Its conditions are phrases that add up."""
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
