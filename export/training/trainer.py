"""The training loop: epochs that can be killed and resumed, and a log of how the network learns."""

from __future__ import annotations

import contextlib
import math
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tui_gen.errors import TuiGenError
from tui_gen.files import replace_file
from tui_gen.json_fields import JsonFields
from tui_gen.terminal_text import shows_colours
from tui_gen.training_log import TrainingLog, json_lines

from ..images.streaming import with_guidance
from ..live import as_if_nothing_were
from ..reader import Exportable
from ..samples import OpenStep, SampleRequest, draw_samples
from . import checkpoint
from .native import network_of
from .networks import TrainedNet, build_network
from .presets import Training
from .tasks import Batch, in_unit

WARM_UP_STEPS = 200
SAMPLE_SEEDS = (1, 2, 3, 4)
PART_SECONDS = 30.0
"""Of an epoch that goes on, after which its network is published as it is."""
_GROWTH = 2
"""How much later the next one follows: a network changes most in the beginning."""


@dataclass(frozen=True)
class Options:
    """What decides how the weights come out. A resumed run must be asked for with the same."""

    preset: str
    epochs: int
    batch_size: int
    learning_rate: float
    ema: float
    seed: int
    precision: str
    """fp32 or bf16."""
    data: str
    """SHA-256 of the training data."""
    stacks: int | None = None
    """Of a PixelCNN; None: as the preset has it."""


Publish = Callable[[Exportable, OpenStep, Mapping[str, Any]], None]


def _keep_to_oneself(*_: object) -> None:
    """Publishes nothing."""


class Trainer:
    """AdamW with warm-up and cosine decay, gradients clipped to norm 1, an exponential moving average of the weights.

    directory: where checkpoint and log are kept. publish: is called with the network of an epoch, its step function,
    and the epoch's entry in the log, all of which is saved then; and with those of a long epoch that goes on, of which
    the log alone has a line.
    """

    def __init__(
        self, options: Options, training: Training, directory: Path, device: str, publish: Publish = _keep_to_oneself
    ) -> None:
        if not len(training.task) or next(training.task.held_out_batches(), None) is None:
            raise TuiGenError(
                "the data does not fill one batch for training and one to hold out; add to it or lower --batch-size"
            )
        torch.manual_seed(options.seed)
        self.options, self.training, self.directory, self._publish = options, training, directory, publish
        self.device = torch.device(device)
        self.net: TrainedNet = build_network(training.network).to(self.device)
        if self.device.type == "cpu" and training.card.image:
            self.net = self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = AveragedModel(self.net, multi_avg_fn=self._blend)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=options.learning_rate)
        self.epoch, self.step, self.log = 0, 0, list[dict[str, Any]]()
        self.log_file = TrainingLog(directory)
        self.total_steps = options.epochs * len(training.task)

    def run(self) -> Iterator[dict[str, Any]]:
        """Trains the epochs that are left; yields each one's log entry after it is saved."""
        while self.epoch < self.options.epochs:
            start = time.monotonic()
            train_loss = self._train_epoch()
            self.epoch += 1
            exportable, step = self._open()
            held_out = {"validation_loss": round(self._held_out_loss(), 4)}
            self.log.append(self._entry(self.epoch, start, train_loss, step, held_out))
            self.save()
            self._publish(exportable, step, self.log[-1])
            yield self.log[-1]

    def _open(self) -> tuple[Exportable, OpenStep]:
        """The network as it is now."""
        exportable = exportable_of(self.training, self.average.module.state_dict())
        return exportable, OpenStep.of(exportable)

    def _entry(
        self, epoch: int, start: float, train_loss: float, step: OpenStep, more: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {
            "epoch": epoch,
            "step": self.step,
            "unit": self.training.task.unit,
            "train_loss": round(train_loss, 4),
            **more,
            "seconds": round(time.monotonic() - start, 1),
            **samples_of(self.training, step),
        }

    def _publish_part(self, start: float, train_loss: float, part: float) -> None:
        """The network in the middle of an epoch; the training goes on as if nothing were, a full disk included."""
        with as_if_nothing_were():
            exportable, step = self._open()
            entry = self._entry(self.epoch + 1, start, train_loss, step, {"part": round(part, 4)})
            with contextlib.suppress(OSError, TuiGenError):  # the end of the epoch tells of it
                self.log_file.add(entry)
            self._publish(exportable, step, entry)

    def save(self) -> None:
        """Checkpoint first, then the log, which is a copy of what the checkpoint holds.

        Raises TuiGenError where they cannot be written; what was saved before is as it was.
        """
        processor = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "the CPU"
        contents = {
            "options": vars(self.options),
            "network": checkpoint.describe_network(self.training.network),
            "card": replace(self.training.card, architecture=self.training.network.label).to_json(),
            "tokenizer": self.training.tokenizer.to_str(),
            "weights": self.average.module.state_dict(),
            "raw_weights": self.net.state_dict(),
            "averaged": int(self.average.n_averaged),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "log": self.log,
            "made_with": f"Python {platform.python_version()}, torch {torch.__version__}, on {processor}",
        }
        try:
            checkpoint.save(self.directory / "checkpoint.pt", contents)
            self._note_epoch()
        except OSError as fault:
            stands = "the checkpoint of the epoch before stands" if self.epoch > 1 else "there is no checkpoint yet"
            raise TuiGenError(
                f"{fault.filename} cannot be written: {fault.strerror}; {stands}; make room and run it again"
            ) from fault

    def resume(self) -> bool:
        """Takes up a run that was interrupted, if there is one. Raises TuiGenError if it had other options or data."""
        path = self.directory / "checkpoint.pt"
        if not path.exists():
            return False
        contents = checkpoint.load(path)
        for name, value in vars(self.options).items():
            if contents["options"].get(name) != value:
                before = contents["options"].get(name)
                difference = "on other data" if name == "data" else f"with {name} {before!r:.40}, not {value!r}"
                raise TuiGenError(f"{path} was trained {difference}; ask for the same, or use another -o for a new run")
        try:
            self._take_up(contents)
        except (
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            RuntimeError,
        ) as fault:  # of PyTorch
            raise TuiGenError(f"{path} is damaged: {' '.join(str(fault).split()):.200}; use another -o") from fault
        self._write_log()  # which a kill may have left in another epoch
        return True

    def _take_up(self, contents: Mapping[str, Any]) -> None:
        self.net.load_state_dict(contents["raw_weights"])
        self.average.module.load_state_dict(contents["weights"])
        self.average.n_averaged.fill_(contents["averaged"])
        self.optimizer.load_state_dict(contents["optimizer"])
        facts = JsonFields(dict(contents), "")
        self.epoch, self.step = facts.integer("epoch"), facts.integer("step")
        troubles = self._troubles()
        self.log = [entry | troubles.get(entry["epoch"], {}) for entry in contents["log"]]

    def _troubles(self) -> dict[int, dict[str, str]]:
        """Why epochs have no network, which the log says alone: it is known after the checkpoint is written."""
        with contextlib.suppress(TuiGenError):  # a log that somebody has damaged
            self.log_file.update(None)
        epochs = [epoch for epoch in self.log_file.learning.epochs if epoch.trouble and epoch.part == 1]
        return {epoch.number: {"trouble": epoch.trouble} for epoch in epochs}

    def _note_epoch(self) -> None:
        try:
            self.log_file.add(self.log[-1])
        except TuiGenError:  # somebody has damaged it
            self._write_log()

    def _write_log(self) -> None:
        replace_file(self.log_file.path, json_lines(self.log).encode())

    def _train_epoch(self) -> float:
        """One pass over the data; returns the mean loss in the task's unit. What it does depends on seed and epoch."""
        torch.manual_seed(self.options.seed * 1_000_003 + self.epoch)
        rng = np.random.default_rng([self.options.seed, self.epoch])
        total, count, unit, size = 0.0, 0, self.training.task.unit, len(self.training.task)
        start = time.monotonic()
        due = start + PART_SECONDS
        self.net.train()
        with _progress(f"epoch {self.epoch + 1}/{self.options.epochs}", size) as progress:
            for number, batch in enumerate(self.training.task.train_batches(rng), start=1):
                loss, tokens = self._update(batch)
                total, count = total + loss * tokens, count + tokens
                progress.update(progress.task_ids[0], advance=1, loss=f"loss {in_unit(total / count, unit):.3f}")
                if time.monotonic() >= due and number < size:
                    self._publish_part(start, in_unit(total / count, unit), number / size)
                    due = start + _GROWTH * (time.monotonic() - start)
        return in_unit(total / count, unit)

    def _update(self, batch: Batch) -> tuple[float, int]:
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate * self._schedule()
        loss, tokens = self._loss(self.net, batch)
        if not torch.isfinite(loss):
            rest = f"the checkpoint of epoch {self.epoch} stands" if self.epoch else "there is no checkpoint yet"
            raise TuiGenError(f"the loss is {loss.item()} at step {self.step}; {rest}")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.average.update_parameters(self.net)
        self.step += 1
        return loss.item(), tokens

    def _loss(self, net: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.options.precision == "bf16"):
            return self.training.task.loss(net, tuple(part.to(self.device) for part in batch))

    def _schedule(self) -> float:
        """Rises linearly over the first steps, then falls to zero as a cosine."""
        warm_up = min(1.0, (self.step + 1) / WARM_UP_STEPS)
        return warm_up * 0.5 * (1 + math.cos(math.pi * self.step / max(1, self.total_steps)))

    def _blend(self, average: Any, current: Any, _: Any) -> None:
        """Moves the average towards the weights, faster at first, so that it forgets where they started."""
        decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(average, current, 1 - decay)

    @torch.no_grad()
    def _held_out_loss(self) -> float:
        self.average.module.eval()
        losses = [self._loss(self.average.module, batch) for batch in self.training.task.held_out_batches()]
        mean = sum(loss.item() * n for loss, n in losses) / sum(n for _, n in losses)
        return in_unit(mean, self.training.task.unit)


def _progress(title: str, total: int) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(
        *columns,
        TextColumn("{task.fields[loss]}"),
        console=Console(stderr=True),
        transient=True,
        disable=not shows_colours(sys.stderr),  # it moves the cursor
    )
    progress.add_task(title, total=total, loss="")
    return progress


def exportable_of(training: Training, weights: Mapping[str, Tensor]) -> Exportable:
    """The network with these weights, a state dict, with the guidance of the model that is to be exported."""
    net = build_network(training.network)
    net.load_state_dict(weights)
    exportable = Exportable(network_of(net.eval()), training.card, training.tokenizer.to_str())
    return exportable if training.guidance is None else with_guidance(exportable, training.guidance)


def samples_of(training: Training, step: OpenStep) -> dict[str, Any]:
    """As of `draw_samples`, with the knobs, and the guidance if there is one, of the model that is to be exported."""
    card = step.card
    request = SampleRequest(card.prompt_example, SAMPLE_SEEDS, card.temperature, training.sample_length)
    settings = {} if training.guidance is None else {"guidance": training.guidance}
    return {**draw_samples(step, request), **settings}
