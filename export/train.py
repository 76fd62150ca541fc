"""Trains a network by name: `python -m export.train NAME --data FILE -o DIR`. Run it again to resume.

DIR gets `checkpoint.pt` and `training.jsonl`, one line per epoch: losses, and a sample drawn with the same seed and
prompt every time. The samples come from the exported step function, through the loop that the player uses.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from export import checkpoint
from export.presets import PRESETS, Training, sample_prompt
from export.steps import Network, step_graph
from export.tasks import Batch
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.generate import generate
from tui_gen.model import Model
from tui_gen.sampling import SamplingParams

SAMPLE_SEED = 1
WARM_UP_STEPS = 200


@dataclass(frozen=True)
class Options:
    """What decides how the weights come out. A resumed run must be asked for with the same."""

    preset: str
    epochs: int
    batch_size: int
    learning_rate: float
    ema: float
    seed: int


class Trainer:
    """AdamW with warm-up and cosine decay, gradients clipped to norm 1, an exponential moving average of the weights.

    directory: where checkpoint and log are kept. mixed: run the products in bfloat16.
    """

    def __init__(self, options: Options, training: Training, directory: Path, device: str, mixed: bool) -> None:
        if not len(training.task) or next(training.task.held_out_batches(), None) is None:
            raise TuiGenError(
                "the data does not fill one batch for training and one to hold out; add to it or lower --batch-size"
            )
        torch.manual_seed(options.seed)
        self.options, self.training, self.directory = options, training, directory
        self.device, self.mixed = torch.device(device), mixed
        self.net: Network = checkpoint.build_network(checkpoint.describe_network(training.network)).to(self.device)
        if self.device.type == "cpu" and training.card.image:
            self.net = self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = AveragedModel(self.net, multi_avg_fn=self._blend)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=options.learning_rate)
        self.epoch, self.step, self.log = 0, 0, list[dict[str, Any]]()
        self.total_steps = options.epochs * len(training.task)

    def run(self) -> Iterator[dict[str, Any]]:
        """Trains the epochs that are left; yields each one's log entry after it is saved."""
        while self.epoch < self.options.epochs:
            began = time.monotonic()
            train_loss = self._train_epoch()
            self.epoch += 1
            self.log.append(
                {
                    "epoch": self.epoch,
                    "step": self.step,
                    "unit": self.training.task.unit,
                    "train_loss": round(train_loss, 4),
                    "validation_loss": round(self._held_out_loss(), 4),
                    "seconds": round(time.monotonic() - began, 1),
                    **self._sample(),
                }
            )
            self.save()
            yield self.log[-1]

    def save(self) -> None:
        """Checkpoint first, then the log, which is a copy of what the checkpoint holds."""
        contents = {
            "options": vars(self.options),
            "network": checkpoint.describe_network(self.training.network),
            "card": replace(self.training.card, architecture=self.training.network.label).to_json(),
            "tokenizer": self.training.tokenizer.to_str() if self.training.tokenizer else "",
            "weights": self.average.module.state_dict(),
            "raw_weights": self.net.state_dict(),
            "averaged": int(self.average.n_averaged),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "log": self.log,
        }
        checkpoint.save(self.directory / "checkpoint.pt", contents)
        partial = self.directory / "training.jsonl.partial"
        partial.write_text("".join(json.dumps(entry) + "\n" for entry in self.log), encoding="utf-8")
        os.replace(partial, self.directory / "training.jsonl")

    def resume(self) -> bool:
        """Takes up a run that was interrupted, if there is one. Raises TuiGenError if it had other options or data."""
        path = self.directory / "checkpoint.pt"
        if not path.exists():
            return False
        contents = checkpoint.load(path)
        for name, value in vars(self.options).items():
            if contents["options"].get(name) != value:
                before = contents["options"].get(name)
                raise TuiGenError(f"{path} was trained with {name} {before}, not {value}; use another -o for a new run")
        if contents["network"] != checkpoint.describe_network(self.training.network) or not self._reads_as(contents):
            raise TuiGenError(f"{path} was trained on data of another vocabulary or size; use another -o for a new run")
        self.net.load_state_dict(contents["raw_weights"])
        self.average.module.load_state_dict(contents["weights"])
        self.average.n_averaged.fill_(contents["averaged"])
        self.optimizer.load_state_dict(contents["optimizer"])
        self.epoch, self.step, self.log = contents["epoch"], contents["step"], contents["log"]
        return True

    def _reads_as(self, contents: dict[str, Any]) -> bool:
        """Whether a checkpoint's token ids mean what they mean here."""
        now = self.training.tokenizer
        before = Tokenizer.from_str(contents["tokenizer"]) if contents["tokenizer"] else None
        return (before and before.get_vocab()) == (now and now.get_vocab())

    def _train_epoch(self) -> float:
        """One pass over the data; returns the mean loss in the task's unit. What it does depends on seed and epoch."""
        torch.manual_seed(self.options.seed * 1_000_003 + self.epoch)
        rng = np.random.default_rng([self.options.seed, self.epoch])
        total = count = 0.0
        self.net.train()
        with _progress(f"epoch {self.epoch + 1}/{self.options.epochs}", len(self.training.task)) as progress:
            for batch in self.training.task.train_batches(rng):
                loss, tokens = self._update(batch)
                total, count = total + loss * tokens, count + tokens
                progress.update(progress.task_ids[0], advance=1, loss=self._in_unit(total / count))
        return self._in_unit(total / count)

    def _update(self, batch: Batch) -> tuple[float, int]:
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate * self._schedule()
        loss, tokens = self._loss(self.net, batch)
        if not torch.isfinite(loss):
            raise TuiGenError(
                f"the loss is {loss.item()} at step {self.step}; the checkpoint of epoch {self.epoch} stands"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.average.update_parameters(self.net)
        self.step += 1
        return loss.item(), tokens

    def _loss(self, net: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.mixed):
            return self.training.task.loss(net, tuple(part.to(self.device) for part in batch))

    def _schedule(self) -> float:
        """Rises linearly over the first steps, then falls to zero as a cosine."""
        warm_up = min(1.0, (self.step + 1) / WARM_UP_STEPS)
        return warm_up * 0.5 * (1 + math.cos(math.pi * self.step / max(1, self.total_steps)))

    def _blend(self, average: Any, current: Any, updates: Any) -> None:
        """Moves the average towards the weights, faster at first, so that it forgets where they started."""
        decay = min(self.options.ema, (1 + float(updates)) / (10 + float(updates)))
        torch._foreach_lerp_(average, current, 1 - decay)

    @torch.no_grad()
    def _held_out_loss(self) -> float:
        self.average.module.eval()
        scored = [self._loss(self.average.module, batch) for batch in self.training.task.held_out_batches()]
        return self._in_unit(sum(loss.item() * n for loss, n in scored) / sum(n for _, n in scored))

    def _in_unit(self, nats: float) -> float:
        return nats / math.log(2) if self.training.task.unit.startswith("bits") else nats

    def _sample(self) -> dict[str, Any]:
        """A sample with the same seed and prompt every time: text, or a picture's levels row by row."""
        card = self.training.card
        net = checkpoint.build_network(checkpoint.describe_network(self.training.network))
        net.load_state_dict(self.average.module.state_dict())
        model = Model(step_graph(net.eval()).SerializeToString(), card, provider="cpu")
        prompt = sample_prompt(self.training)
        length = card.image.height * card.image.width if card.image else self.training.sample_length
        knobs = SamplingParams(temperature=card.temperature)
        steps = generate(model, prompt, knobs, length=length, seed=SAMPLE_SEED)
        tokens = [int(step.tokens[0]) for step in steps if not step.given[0]]
        return {"prompt": card.prompt_example, "sample": self._shown(card, prompt[0, 1:].tolist(), tokens)}

    def _shown(self, card: ModelCard, given: list[int], tokens: list[int]) -> str | list[list[int]]:
        if card.image:
            width = card.image.width
            return [tokens[at : at + width] for at in range(0, len(tokens), width)]
        assert self.training.tokenizer
        kept = [token for token in given + tokens if token != card.eos]
        return str(self.training.tokenizer.decode(kept))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = _parser()
    args = parser.parse_args(arguments)
    preset = PRESETS[args.name]
    options = Options(
        preset=args.name,
        epochs=args.epochs or preset.epochs,
        batch_size=args.batch_size or preset.batch_size,
        learning_rate=args.learning_rate or preset.learning_rate,
        ema=preset.ema,
        seed=args.seed,
    )
    device = args.device if args.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    mixed = args.precision == "bf16" or (args.precision == "auto" and _fast_bfloat16(device))
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        training = preset.prepare(args.data, options.batch_size)
        trainer = Trainer(options, training, args.output, device, mixed)
        _report_start(trainer, resumed=trainer.resume())
        for entry in trainer.run():
            print(_summary(entry), flush=True)
    except (TuiGenError, OSError) as fault:
        print(f"export.train: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on from the last whole epoch", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m export.train", description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=sorted(PRESETS))
    needed = "; ".join(f"{name}: {preset.data}" for name, preset in PRESETS.items())
    parser.add_argument("--data", type=Path, required=True, help=needed)
    parser.add_argument("-o", "--output", type=Path, required=True, help="directory for checkpoint and log")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="auto: bf16 where the processor is made for it",
    )
    return parser


def _fast_bfloat16(device: str) -> bool:
    return torch.cuda.is_bf16_supported() if device == "cuda" else bool(torch.cpu._is_amx_tile_supported())


def _progress(title: str, total: int) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(
        *columns,
        TextColumn("loss {task.fields[loss]:.3f}"),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    progress.add_task(title, total=total, loss=float("nan"))
    return progress


def _report_start(trainer: Trainer, *, resumed: bool) -> None:
    parameters = sum(parameter.numel() for parameter in trainer.net.parameters())
    how = f"resumed after epoch {trainer.epoch}" if resumed else "new run"
    precision = "bfloat16" if trainer.mixed else "float32"
    label = trainer.training.network.label
    print(
        f"{trainer.options.preset}: {label}, {parameters:,} parameters, {trainer.device}, {precision}, {how}",
        flush=True,
    )


def _summary(entry: dict[str, Any]) -> str:
    losses = f"train {entry['train_loss']:.4f}, held out {entry['validation_loss']:.4f} {entry['unit']}"
    sample = f"\n  {entry['sample']!r:.400}" if isinstance(entry["sample"], str) else ""
    return f"epoch {entry['epoch']}: {losses}, {entry['seconds']:.0f} s{sample}"


if __name__ == "__main__":
    raise SystemExit(main())
