"""The trainer's checkpoints and networks as the exporter sees those of any other script."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError, errors_of
from tui_gen.files import digest
from tui_gen.library import read_card
from tui_gen.text.encoder_process import foreign_tokenizer

from ..build_tokenizer import phrase_tokenizer
from ..checkpoints.checkpoint import Checkpoint
from ..image_network import ImageNetwork
from ..images.streaming import StreamingNetwork
from ..reader import Diagnosis, Exportable, Network, Reading
from ..text.layers import Kind, Linear, RecurrentLayer
from ..text.step import TextNetwork
from .checkpoint import (
    DESCRIPTION,
    TOKENIZER,
    facts_beside,
    folder_of,
    load_network,
    read_network,
    weights_file,
)
from .networks import NetworkConfig, PictureNet, RecurrentConfig, RecurrentNet, TrainedNet
from .presets import PRESETS

_OWN = "the trainer's own network"
_KINDS: dict[str, Kind] = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}


def read_trained(checkpoint: Checkpoint, path: Path) -> Reading | None:
    """The reading of a checkpoint of the trainer, or of the weights that it left in a model folder; None for any other.

    path: of its file.
    """
    facts = facts_beside(path, checkpoint.facts)
    if facts is None:
        return None
    card, options = _own_card(path, facts), facts["options"]

    def build() -> Exportable:
        net = load_network(facts["network"], checkpoint.tensors)
        origin = {"trained_with": _command(options), "data_sha256": options["data"]}
        export = {**card.export, **origin, "made_with": facts.get("made_with", "")}
        card_of_run, log = replace(card, export=export), tuple(facts["log"])
        if not checkpoint.facts.keys() >= DESCRIPTION:  # the weights of a model folder
            card_of_run = _with_measurements(card_of_run, folder_of(path) / "config.json")
        tokenizer = _own_tokenizer(facts, card)
        if facts.get("vocabulary", "") not in ("", _vocabulary(tokenizer)):
            beside = folder_of(path) / TOKENIZER
            raise TuiGenError(f"{beside} has other tokens than the weights beside it were trained on; put its own back")
        return Exportable(network_of(net), card_of_run, tokenizer, log=log, against=_OWN)

    sizes = tuple((key, str(value)) for key, value in facts["network"].items() if key != "family")
    epochs = f"{len(facts['log'])} of {options['epochs']} epochs"
    summary = f"{card.architecture}, trained by export.train as {options['preset']} for {epochs}"
    return Reading(Diagnosis(summary, sizes), build)


def _own_card(path: Path, facts: Mapping[str, Any]) -> ModelCard:
    """The card of a checkpoint. Raises TuiGenError for one that is not of its network."""
    try:
        card = ModelCard.from_json(facts["card"])
        config = read_network(facts["network"])
    except TuiGenError as fault:
        raise TuiGenError(f"{path}: {fault}") from fault
    if not _is_of(card, config):
        raise TuiGenError(f"{path}: its card is of another network: sizes or tokens differ")
    return card


def _is_of(card: ModelCard, config: NetworkConfig) -> bool:
    """Whether a card says what a network of these sizes reads and predicts."""
    if isinstance(config, RecurrentConfig):
        return card.image is None and card.vocab_size == config.vocab_size
    if card.image is None:
        return False
    same = (*card.image.shape, card.image.levels) == (config.height, config.width, config.levels)
    conditions = tuple(range(config.start + 1, config.vocab_size))
    return same and card.image.conditions == conditions and card.bos == config.start


def _with_measurements(card: ModelCard, config: Path) -> ModelCard:
    """With what was measured of the model that these are the weights of, and the hash of its graph.

    config: config.json of the model; it may be missing, or that of a network that was trained otherwise.
    """
    if not config.is_file():
        return card
    beside = read_card(config.parent)
    origin = {key: beside.export[key] for key in ("trained_with", "data_sha256") if key in beside.export}
    if not origin.items() <= card.export.items():
        return card
    return replace(
        card, quality=beside.quality, measured=beside.measured, replaces=beside.replaces, sha256=beside.sha256
    )


def _own_tokenizer(facts: Mapping[str, Any], card: ModelCard) -> str:
    """The network's own, without the phrases for guidance that one in a model folder has, too."""
    text: str = facts["tokenizer"]
    conditions = card.image.conditions if card.image else ()
    vocab = _tokens(text) if conditions else {}
    if len(vocab) <= len(conditions):
        return text
    phrases = sorted((phrase for phrase, token in vocab.items() if token in conditions), key=vocab.__getitem__)
    return phrase_tokenizer(phrases, first_id=conditions[0]).to_str()


def _vocabulary(tokenizer: str) -> str:
    """The hash of the tokens and their ids."""
    return digest(json.dumps(sorted(_tokens(tokenizer).items(), key=lambda pair: pair[1])).encode())


def _tokens(tokenizer: str) -> dict[str, int]:
    """Every token and its id. Raises TuiGenError for a text that is no tokenizer.json."""
    with errors_of("its tokenizer"):
        return foreign_tokenizer(tokenizer).vocabulary


def kept_weights(checkpoint: Checkpoint, path: Path, guidance: float | None) -> bytes:
    """What `weights.safetensors` is to hold of a checkpoint, so that the model can be made again of it.

    guidance: with which it is made. Raises TuiGenError for a checkpoint that is not the trainer's.
    """
    facts = facts_beside(path, checkpoint.facts)
    if facts is None:
        raise TuiGenError(f"--keep-weights is for checkpoints of the trainer, and {path} is none; keep the file itself")
    card = _own_card(path, facts)
    if guidance is not None:
        card = replace(card, export={**card.export, "guidance": guidance})
    vocabulary = _vocabulary(_own_tokenizer(facts, card))
    return weights_file({**facts, "card": card.to_json(), "vocabulary": vocabulary}, checkpoint.tensors)


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
