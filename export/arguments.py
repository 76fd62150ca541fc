"""The exporter's command line: what a person can ask for, and tell it because the file does not."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

from tui_gen.card import MAX_NAME
from tui_gen.cli.options import Parser, add_verbose
from tui_gen.errors import TuiGenError

from .reader import MAX_PIXELS, ReadOptions
from .text.vocabulary import ADJUSTMENTS, RULES

TIME_LIMIT = 1800
"""Seconds that the conversion of an owner's own module may take."""
READING_LIMIT = 8
"""Seconds of computing that a file may take until it is known what it is, and one more for each `BYTES_A_SECOND`."""
BYTES_A_SECOND = 2**24


def parse(words: list[str], *, prog: str = "python -m export") -> argparse.Namespace:
    """`inspect FILE ...` or `FILE -o DIR ...`; exits with status 2 and a line for wrong usage.

    prog: what the help calls the program.
    """
    inspect = words[:1] == ["inspect"]
    parser = Parser(prog=f"{prog} inspect" if inspect else prog, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_verbose(parser)
    if inspect:
        parser.description = "Says what a checkpoint is, without converting it."
    else:
        does = "Turns a trained checkpoint into a model folder"
        parser.description = f"{does}: `{prog} FILE -o DIR`, or says what it is: `inspect FILE`."
        parser.epilog = f"`{prog} inspect FILE` says what a checkpoint is without converting it.\n\n" + _rules()
    parser.set_defaults(
        inspect=inspect,
        output=None,
        name=None,
        dtype="fp32",
        force=False,
        guidance=None,
        reference=None,
        keep_weights=False,
    )
    parser.add_argument("checkpoint", type=Path, nargs="?", help="a file, index or folder of any training script")
    if not inspect:
        _add_output(parser)
    _add_text(parser)
    _add_images(parser)
    _add_original(parser, inspect=inspect)
    parser.add_argument(
        "--assume", action="append", default=[], metavar="KEY=VALUE", help="answers what inspect says is assumed"
    )
    parser.add_argument(
        "--json", action="store_true", help="what it is, for programs: a JSON object in a line; all else goes to stderr"
    )
    args = parser.parse_args(_joined(words[1:] if inspect else words))
    if args.checkpoint is None and args.factory is None:
        parser.error("name a checkpoint file, or a --factory that builds the network")
    return args


def _joined(words: list[str]) -> list[str]:
    """`--scaling -1..1` as one word: argparse takes what begins with a minus for another option."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] == "--scaling" and not word.startswith("--"):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="the model folder to write, in place of a model there"
    )
    parser.add_argument("--name", type=_name, help="the model's name; default: the folder's")
    parser.add_argument(
        "--dtype", choices=("fp32", "fp16", "int8"), default="fp32", help="how weights are stored; default: %(default)s"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="write it even if a smaller --dtype changes what it says, or the corpus speaks against it",
    )
    parser.add_argument(
        "--keep-weights",
        action="store_true",
        help="of the trainer's checkpoints: weights.safetensors in the folder too, of which it can be made again",
    )
    parser.add_argument(
        "--guidance",
        type=_scale,
        metavar="SCALE",
        help="for the trainer's picture networks with prompts: classifier-free guidance, where a prompt names no other "
        "scale; 1 is as it learned, 1 to 2 is usual; a step takes twice the time",
    )


def _add_text(parser: argparse.ArgumentParser) -> None:
    text = parser.add_argument_group("text models, where the file lacks the vocabulary")
    text.add_argument(
        "--vocab",
        metavar="FILE",
        help="one token a line, perhaps with ids or counts beside it, a JSON list or dict, tokenizer.json, a pickled "
        "dict such as meta.pkl; or by name: "
        "printable, ascii, letters, lowercase, bytes",
    )
    text.add_argument("--corpus", type=Path, nargs="+", default=[], metavar="FILE", help="the text it was trained on")
    text.add_argument("--vocab-rule", choices=sorted(RULES), metavar="RULE", help="how the vocabulary was made of it")


def _add_images(parser: argparse.ArgumentParser) -> None:
    images = parser.add_argument_group("image models, where the file lacks it")
    images.add_argument("--size", type=_size, metavar="HxW", help="height and width of the images, such as 28x28")
    images.add_argument("--levels", type=_levels, metavar="N", help="values that a pixel, or a channel of it, can have")
    images.add_argument(
        "--scaling",
        metavar="HOW",
        help="how levels became the network's input: level/levels, level/(levels-1), /255, -1..1, raw, one-hot",
    )


def _add_original(parser: argparse.ArgumentParser, *, inspect: bool) -> None:
    original = parser.add_argument_group("the original network, to build it or to prove against")
    original.add_argument(
        "--factory",
        metavar="MODULE:FUNCTION",
        help="your own function that returns the network: all is then done in a child process, which runs your code",
    )
    original.add_argument(
        "--time-limit",
        type=_seconds,
        metavar="SECONDS",
        help=f"for that process, {TIME_LIMIT} unless told; without one, for finding out what a file is: "
        f"{READING_LIMIT}, and more for a large one",
    )
    if not inspect:
        original.add_argument(
            "--reference",
            type=Path,
            metavar="FILE.npz",
            help="arrays that the network was given (inputs, and labels if it takes any) and that it gave (logits)",
        )


def _seconds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10**6:
        raise argparse.ArgumentTypeError(f"must be a whole number of seconds, not {text!r}")
    return int(text)


def _name(text: str) -> str:
    if not 0 < len(text) <= MAX_NAME:
        raise argparse.ArgumentTypeError(f"must have 1 to {MAX_NAME} characters, not {len(text)}")
    return text


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,4})[xX×](\d{1,4})", text)
    if not match or "0" in match.groups():
        raise argparse.ArgumentTypeError(f"must be height x width, such as 28x28, not {text!r}")
    height, width = int(match[1]), int(match[2])
    if height * width > MAX_PIXELS:
        raise argparse.ArgumentTypeError(f"must be at most {MAX_PIXELS:,} pixels, such as 256x256, not {text}")
    return height, width


def _scale(text: str) -> float:
    from .images.streaming import GREATEST_SCALE

    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not 0 <= scale <= GREATEST_SCALE:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to {GREATEST_SCALE:g}, not {text!r}")
    return round(scale, 2)


def _levels(text: str) -> int:
    if not text.isdecimal() or not 2 <= int(text) <= 2**16:
        raise argparse.ArgumentTypeError(f"must be a whole number from 2 to {2**16}, not {text!r}")
    return int(text)


def read_options(args: argparse.Namespace) -> ReadOptions:
    """What a reader is told. Raises TuiGenError for an --assume that is not KEY=VALUE, or that contradicts another."""
    pairs = [pair.partition("=") for pair in args.assume]
    answers = dict[str, str]()
    for key, sign, value in pairs:
        if not (key and sign and value):
            raise TuiGenError(f"--assume takes KEY=VALUE, not {key + sign + value!r}")
        if answers.setdefault(key, value) != value:
            raise TuiGenError(f"--assume {key}={answers[key]} and --assume {key}={value} contradict; leave one out")
    if args.vocab and args.vocab_rule:
        raise TuiGenError("--vocab and --vocab-rule both say what the tokens are; leave one out")
    return ReadOptions(
        vocab=args.vocab,
        corpus=tuple(args.corpus),
        vocab_rule=args.vocab_rule,
        size=args.size,
        levels=args.levels,
        scaling=args.scaling,
        assume=answers,
    )


def _rules() -> str:
    width = max(map(len, RULES), default=0)
    lines = [f"  {name.ljust(width)}  {rule.summary}" for name, rule in sorted(RULES.items())]
    return "\n".join(["rules for --vocab-rule:", *lines, f"  {ADJUSTMENTS}"])
