"""Trains a network by name, from its data to a checkpoint. Run again, it resumes.

DIR is a run: it gets `checkpoint.pt`, and as `tui_gen.publish` writes them `training.jsonl`, `model/` and `epochs/`.
A line per epoch has the losses, and four samples drawn with the same seeds and prompt every time. They come from the
exported step function, through the loop that the player uses.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_gen.cli.main import exit_status
from tui_gen.cli.options import Parser, add_verbose
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.terminal_text import say, show

from ..files import fingerprint
from .presets import PRESETS, Training

if TYPE_CHECKING:  # the help would wait for PyTorch
    from .trainer import Publish, Trainer

    Publisher = Callable[[Path], Publish]


def main(arguments: Sequence[str] | None, *, prog: str, publisher: Publisher) -> int:
    """The command line; returns the exit status.

    prog: what the help calls the program. publisher: of the folder of a run, what publishes the networks there.
    """
    args = _parser(prog).parse_args(arguments)
    return exit_status(lambda: _run(args, publisher), args, prog=prog)


def _run(args: argparse.Namespace, publisher: Publisher) -> int:
    import torch

    if args.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("PyTorch finds no CUDA device; leave --device out to train on the CPU")
    device = args.device if args.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    try:
        _train(args, device, publisher)
    except torch.OutOfMemoryError as fault:
        cure = "ask for smaller ones with --batch-size"
        raise TuiGenError(f"the GPU has too little memory for such batches; {cure}") from fault
    except RuntimeError as fault:
        if "primitive descriptor" not in str(fault):  # how PyTorch says that the processor cannot compute it
            raise
        raise TuiGenError("this processor cannot train this network in bf16; use --precision fp32") from fault
    except KeyboardInterrupt:
        say("stopped; run the same command again to go on from the last whole epoch")
        raise
    return 0


def _train(args: argparse.Namespace, device: str, publisher: Publisher) -> None:
    from .networks import RecurrentConfig
    from .trainer import Options, Trainer

    preset = PRESETS[args.name]
    batch_size = args.batch_size or preset.batch_size
    args.output.mkdir(parents=True, exist_ok=True)
    publish = publisher(args.output)
    training = _with_stacks(preset.prepare(args.data, batch_size), args.stacks)
    options = Options(
        preset=args.name,
        epochs=args.epochs or preset.epochs,
        batch_size=batch_size,
        learning_rate=args.learning_rate or preset.learning_rate,
        ema=preset.ema,
        seed=args.seed,
        precision=_precision(args.precision, device, recurrent=isinstance(training.network, RecurrentConfig)),
        data=fingerprint(args.data),
        stacks=args.stacks,
    )
    trainer = Trainer(options, training, args.output, device, publish)
    _report_start(trainer, resumed=trainer.resume())
    for entry in trainer.run():
        show(*_summary(entry))


def _precision(asked: str, device: str, *, recurrent: bool) -> str:
    """What to train in. Raises TuiGenError for what would be something else than its name says."""
    half_on_gpu = recurrent and device == "cuda"
    if asked == "bf16" and half_on_gpu:
        raise TuiGenError("on a GPU, PyTorch runs recurrent layers in fp16 where it is asked for bf16; leave it out")
    if asked != "auto":
        return asked
    return "bf16" if _fast_bfloat16(device) and not half_on_gpu else "fp32"


def _parser(prog: str) -> argparse.ArgumentParser:
    usage = f"`{prog} NAME --data FILE -o DIR`"
    parser = Parser(prog=prog, description=f"Trains a network by name: {usage}. Run it again to resume.")
    add_verbose(parser)
    parser.add_argument("name", choices=sorted(PRESETS))
    needed = "; ".join(f"{name}: {preset.data}" for name, preset in PRESETS.items())
    parser.add_argument("--data", type=Path, required=True, help=needed)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the run: checkpoint, log, networks")
    parser.add_argument("--epochs", type=_positive)
    parser.add_argument("--batch-size", type=_positive)
    parser.add_argument("--learning-rate", type=_rate)
    parser.add_argument("--seed", type=_seed, default=0)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="auto: bf16 where the processor is made for it",
    )
    parser.add_argument(
        "--stacks", type=int, choices=(1, 2), help="of a PixelCNN: 2 is the gated network without a blind spot"
    )
    return parser


def _with_stacks(training: Training, stacks: int | None) -> Training:
    if stacks is None:
        return training
    from .networks import PixelCNNConfig

    if not isinstance(training.network, PixelCNNConfig):
        raise TuiGenError("--stacks is for gated networks that draw pictures")
    return replace(training, network=replace(training.network, stacks=stacks))


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, not {text!r}")
    return int(text)


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate < 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and below 1, not {text}")
    return rate


def _fast_bfloat16(device: str) -> bool:
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_amx_tile_supported())


def _report_start(trainer: Trainer, *, resumed: bool) -> None:
    parameters = sum(parameter.numel() for parameter in trainer.net.parameters())
    how = f"resumed after epoch {trainer.epoch}" if resumed else "new run"
    precision = trainer.options.precision
    label = trainer.training.network.label
    show(f"{trainer.options.preset}: {label}, {parameters:,} parameters, {trainer.device}, {precision}, {how}")


def _summary(entry: dict[str, Any]) -> list[str]:
    losses = f"train {entry['train_loss']:.4f}, held out {entry['validation_loss']:.4f} {entry['unit']}"
    first = entry["samples"][0]
    sample = [f"  {first!r:.400}"] if isinstance(first, str) else []
    return [f"epoch {entry['epoch']}: {losses}, {entry['seconds']:.0f} s", *sample]
