"""A run that is looked at again and again: which networks are there, and how they do on a file of one's own."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tui_gen.card import ModelCard
from tui_gen.checkpoint import Answers, is_checkpoint, open_checkpoint
from tui_gen.errors import TuiGenError
from tui_gen.files import HALF, digest, read_bytes
from tui_gen.json_fields import parse_json
from tui_gen.library import Entry, LoadedModel, epoch_name, graph_file, read_card, read_tokenizer
from tui_gen.scoring.score import score_file
from tui_gen.training_log import Epoch, Learning, TrainingLog, shown_loss
from tui_gen.training_run import EPOCHS, LOG, MODEL, epoch_folder, epoch_of

FileTimes = tuple[tuple[int, int], ...]
"""Of each file of a model, when it was last changed, in nanoseconds, and its bytes."""
_PARTS = ("config.json", "model.onnx", "tokenizer.json", LOG)


@dataclass(frozen=True)
class Network:
    """A whole network of a run."""

    path: Path
    """By which it is opened, now and after later ones have come."""
    card: ModelCard
    epoch: int | None
    digest: str
    """Of graph and tokenizer."""

    @property
    def name(self) -> str:
        """Such as `mine · epoch 3`."""
        return self.card.name if self.epoch is None else epoch_name(self.card, self.epoch)

    @property
    def key(self) -> int | str:
        """By which its score is known."""
        return self.name if self.epoch is None else self.epoch

    @property
    def entry(self) -> Entry:
        """For lists of models."""
        return Entry(self.name, self.path, self.card)

    def is_of(self, loaded_model: LoadedModel) -> bool:
        """Whether this is the network that was opened; a training that begins anew gives its folder to another one."""
        return loaded_model.path == self.path and loaded_model.card.sha256 == self.card.sha256


@dataclass(frozen=True)
class RunState:
    """What a look at a run has come upon. Parts that have not changed since the look before are the same objects."""

    is_there: bool = False
    """Whether there is anything of a run."""
    learning: Learning = field(default_factory=Learning)
    networks: tuple[Network, ...] = ()
    """The newest first, then earlier ones that are kept, the latest first."""
    fault: str = ""
    """Why the log cannot be read."""

    @property
    def newest(self) -> Network | None:
        """The newest network."""
        return self.networks[0] if self.networks else None

    @property
    def last(self) -> Epoch | None:
        """The last epoch that was noted."""
        return self.learning.epochs[-1] if self.learning.epochs else None


class RunWatch:
    """Looks at a run, by the times and the sizes of its files, and reads what has changed.

    What is half-written, or missing for a moment, is passed over until it is whole: a graph that is not the one of its
    card, a tokenizer that is no JSON. Times are compared with each other alone, so clocks may differ. Of a folder that
    has nothing but checkpoints, each is converted as it comes.
    """

    def __init__(self, run: Path, answers: Answers = ()) -> None:
        """answers: what checkpoints do not say."""
        self.run, self.log, self.state = run, TrainingLog(run), RunState()
        self._read = dict[Path, tuple[FileTimes, Network | None]]()
        self._answers, self._converted = answers, dict[Path, tuple[FileTimes, Network | None, str]]()
        """Of checkpoints, by their files, the times of these, and what became of them."""

    def look(self) -> RunState:
        """The run as it is now. Reads few bytes where nothing has changed."""
        networks = self._networks()
        learning, fault = self.log.learning, ""
        try:
            if self.log.update(networks[0].card if networks else None):
                learning = self.log.learning
        except TuiGenError as error:
            fault = str(error)
        if not networks and not learning.epochs and not fault:
            networks, fault = self._checkpoints()
        self.state = RunState(bool(networks or learning.epochs), learning, networks, fault)
        return self.state

    def _networks(self) -> tuple[Network, ...]:
        """The newest is that of the folder for it; after a training that began anew, a later epoch may be kept."""
        try:
            kept = sorted((int(name) for name in os.listdir(self.run / EPOCHS) if name.isdecimal()), reverse=True)
        except OSError:
            kept = []
        folders = [self.run / MODEL, *(epoch_folder(self.run, epoch) for epoch in kept)]
        networks = dict[Path, Network]()
        for folder in folders:
            if network := self._network(folder):
                networks.setdefault(network.path, network)
        newest, later = self.state.newest, max(kept, default=0)
        if newest and (newest.epoch or 0) >= later and self._is_half_written(self.run / MODEL):
            networks = {newest.path: newest, **networks}  # else the one before would come back meanwhile
        self._read = {folder: self._read[folder] for folder in folders}
        return tuple(networks.values())

    def _checkpoints(self) -> tuple[tuple[Network, ...], str]:
        """The networks of checkpoints, those written last first, and why the last of others is none; converts one that
        is new, or that has been written anew.
        """
        try:
            paths = [path for path in self.run.iterdir() if path.is_file() and is_checkpoint(path)]
        except OSError:
            paths = []
        times = {path: file_times(path.parent, (path.name,)) for path in paths}
        paths.sort(key=times.__getitem__, reverse=True)
        due = (path for path in paths if path not in self._converted or self._converted[path][0] != times[path])
        if path := next(due, None):
            self._converted[path] = times[path], *self._convert(path)
        known = [self._converted[path] for path in paths if path in self._converted]
        faults = (fault for _, _, fault in known if fault)
        return tuple(network for _, network, _ in known if network), next(faults, "")

    def _convert(self, path: Path) -> tuple[Network | None, str]:
        """A file that is still being written is none yet, and other times tell when it is."""
        try:
            folder = open_checkpoint(path, self._answers).folder
            card = read_card(folder)
            return Network(path, card, None, digest(f"{card.sha256}{read_tokenizer(folder)}".encode("utf-8", HALF))), ""
        except TuiGenError as fault:
            return None, str(fault)

    def _network(self, folder: Path) -> Network | None:
        times = file_times(folder, _PARTS)
        if folder not in self._read or self._read[folder][0] != times:
            self._read[folder] = times, self._read_network(folder)
        return self._read[folder][1]

    def _is_half_written(self, folder: Path) -> bool:
        times, network = self._read[folder]
        return network is None and any(size >= 0 for _, size in times)

    def _read_network(self, folder: Path) -> Network | None:
        """None for one that is not whole."""
        try:
            card, graph = read_card(folder), read_bytes(graph_file(folder))
            tokenizer = read_tokenizer(folder)
            parse_json(tokenizer or "{}")
        except (TuiGenError, OSError):
            return None
        sha256, epoch = digest(graph), epoch_of(folder)
        needs_tokenizer = not card.image or card.image.conditions
        if (card.sha256 and card.sha256 != sha256) or (needs_tokenizer and not tokenizer):
            return None
        path = folder if epoch is None else epoch_folder(self.run, epoch)
        return Network(path, card, epoch, digest(f"{sha256}{tokenizer}".encode("utf-8", HALF)))


def file_times(folder: Path, names: tuple[str, ...]) -> FileTimes:
    """Of the files of a folder that are there."""
    times = list[tuple[int, int]]()
    for name in names:
        try:
            facts = os.stat(folder / name)
        except OSError:
            times.append((0, -1))
        else:
            times.append((facts.st_mtime_ns, facts.st_size))
    return tuple(times)


class Scores:
    """How networks of a run do on a file: bits per character of a text, or per pixel of a picture, by epoch."""

    def __init__(self, file: Path) -> None:
        self.file, self.bits, self.unit = file, dict[int | str, float](), ""
        self._scored = set[str]()
        """Networks, by their digests."""

    def due(self, networks: Sequence[Network]) -> Network | None:
        """One that was not scored yet, the newest first."""
        return next((each for each in networks if each.digest not in self._scored), None)

    def add(self, network: Network, loaded_model: LoadedModel) -> None:
        """Scores a network. Raises TuiGenError, once for each, where the file is nothing that it can read."""
        self._scored.add(network.digest)
        self.bits[network.key] = math.nan
        totals = score_file(loaded_model, self.file)
        self.bits[network.key], self.unit = totals.bits_per_unit, f"bits per {totals.unit}"

    def line(self, key: int | str) -> str:
        """Such as `held-out.txt 1.876 bits per character`; empty where it is not known."""
        bits = self.bits.get(key, math.nan)
        return "" if math.isnan(bits) else f"{self.file.name} {shown_loss(bits)} {self.unit}"


@dataclass(frozen=True)
class Training:
    """What a screen, or a stream of lines, follows."""

    watch: RunWatch
    scores: Scores | None = None


def epoch_line(epoch: Epoch, unit: str, scores: Scores | None = None) -> str:
    """Such as `epoch 7: training 1.302, held out 1.234 nats`; without what is not known; what went wrong last."""
    named = zip(("training", "held out"), epoch.losses, strict=True)
    losses = ", ".join(f"{name} {shown_loss(loss)}" for name, loss in named if not math.isnan(loss))
    facts = [f"{losses} {unit}".rstrip() if losses else "", scores.line(epoch.number) if scores else ""]
    line = ": ".join(filter(None, (epoch.title, ", ".join(filter(None, facts)))))
    return "; ".join(filter(None, (line, epoch.trouble)))
