"""Command lines: words lost, added and exchanged in good ones, for every command of the program and the exporter."""

from __future__ import annotations

import os
import random
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tests.support import toys
from tests.support.command_line import run_main
from tests.support.journals import JournaledTree
from tui_gen.errors import TuiGenError
from tui_gen.library import open_model
from tui_gen.terminal_text import scrub
from tui_gen.tui.tour import SHIPPED

from .texts import any_text

_LINES = (
    *("text --prompt the -t 1", "--version", "generate --help", "models", "models --json", "config", "config --init"),
    *("doctor", "doctor --json"),
    *("generate text the -t 0 --seed 1", "generate letters abc --sweep temperature=0.5,1", "generate text - -n 2"),
    *("generate text the --with endless --format jsonl", "generate text the -o made.txt", "generate text the -n 3 -0"),
    *("generate image bright --format ascii", "generate image --image picture.png --erase rows:1-2 --format blocks"),
    *("generate colour --format png -o made.png", "generate image -n 2 --format samples", "generate image -o made.gif"),
    *(
        "score text file.txt --prompt the",
        "score text file.txt file.txt --lines",
        "score image picture.png",
        "score text file.txt --with letters --format json",
    ),
    *(
        "look text file.txt --influence 3",
        "look image picture.png --influence 1,2 -o made.npz",
        "look text -o made.npz",
    ),
    *("look colour picture.png --influence 0,1,2", "look image picture.png --influence 7 --prompt bright"),
    *("replay saved.jsonl --branch a", "replay saved.jsonl --model text --anyway", "replay text"),
    *("inspect text", "inspect image --audit", "inspect network.pt", "inspect picture.png"),
    *("learned image --epoch 1", "learned text image --json", "learned image --format blocks"),
    *("tour tour.toml --check", "tour --plain", "tour picture.png --check", "bench nothing --json"),
    *("export network.pt -o made --name x", "export inspect network.pt", "export network.pt -o made --size 4x4"),
    *("export inspect picture.png --assume a=b", "export file.txt -o made --vocab file.txt --dtype fp16"),
    *(
        "bulk text the -n 3 -o parts --format jsonl",
        "bulk text --score file.txt --lines -o parts",
        "bulk image -o parts",
    ),
    *("train names -o run --epochs 1", "evaluate text", "adherence image"),
)
"""Some words of each are lost, added or exchanged."""
_LAST = {
    "generate": ("-l", "3"),
    "bench": ("nothing",),
    "bulk": ("--prompts", "missing"),
    "train": ("--data", "missing"),
    "evaluate": ("--data", "missing"),
    "adherence": ("--data", "missing"),
}
"""What a command ends with, so that none takes long."""
_WORDS = (
    *(
        "-v",
        "-t",
        "-l",
        "-n",
        "-o",
        "-0",
        "-h",
        "--",
        "-",
        "---",
        "--top-k",
        "--top-p",
        "--min-p",
        "--seed",
        "--format",
    ),
    *(
        "--provider",
        "--device",
        "--threads",
        "--trust",
        "--json",
        "--audit",
        "--prompt",
        "--image",
        "--erase",
        "--with",
    ),
    *("--sweep", "--influence", "--epoch", "--branch", "--model", "--anyway", "--check", "--plain", "--init"),
    *("--assume", "--name", "--dtype", "--keep-weights", "--guidance", "--vocab", "--corpus", "--size", "--levels"),
    *(
        "--scaling",
        "--epochs",
        "--batch-size",
        "--stacks",
        "--preset",
        "--no-such-option",
        "--top_k",
        "--temperature=2",
    ),
    *("text", "letters", "image", "colour", "names", "missing", "file.txt", "picture.png", "saved.jsonl", "network.pt"),
    *("tour.toml", ".", "", "/dev/null", "text/model.onnx", "text/config.json", "folder", "made.xyz", "made"),
    *("0", "1", "-1", "2", "0.5", "nan", "inf", "1e999", "9" * 40, "9" * 5000, "١", "0x10", "1_0", "true", "None"),
    *("cpu", "cuda", "auto", "jsonl", "samples", "blocks", "ascii", "png", "temperature=0,1", "top-k=", "rows:0-1"),
    *("rect:0,0,1,1", "pixel:9,9", "3,3", "1,2,1", "-1,0", "the cat", "bright, deep dark", "a=b", "=", "=="),
    *("\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\u202eback", "a\nb", "\udcff", "x" * 30_000, "%s", "{0}", "[b]"),
)
_DRAWS = {"png", "gif", "blocks"}
"""Formats that are no plain text."""
_COLOUR = re.compile(r"\x1b\[0(;[34]8;2(;\d+){3})*m")
"""As the program writes them: those of a stranger are of other kinds."""


def commands(folder: Path) -> Callable[[random.Random], object]:
    """Ends with 0, 1 or 2, tells of a failure in a line, and writes nothing that a terminal would obey."""
    _fill(folder)
    os.chdir(folder)

    def attempt(rng: random.Random) -> object:
        words = changed_words(rng.choice(_LINES).split(), rng)
        stdin = any_text(rng)[:5000].encode("utf-8", "surrogatepass")
        end = run_main(*words, stdin=stdin, terminal=rng.random() < 0.3, TUI_GEN_MODELS=str(folder), TERM="xterm")
        told = end.stderr.decode()
        if trouble := _trouble(end.returncode, end.stdout, told, words):
            raise RuntimeError(f"{trouble}: {[word[:60] for word in words]}: {told[-300:]}")
        for path in folder.glob("made*"):
            path.unlink() if path.is_file() else None
        if end.returncode:
            raise TuiGenError(told)
        return end

    return attempt


def _fill(folder: Path) -> None:
    """With what the words name; a home of its own is for the configuration."""
    import torch

    os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(dir=folder)
    makers = {"text": toys.text_folder, "letters": toys.character_folder, "image": toys.image_folder}
    for name, make in {**makers, "colour": toys.colour_folder, "endless": toys.endless_text_folder}.items():
        make(folder / name)
    toys.learned(folder / "image", *[toys.STRIPES.tolist()] * 3)
    (folder / "file.txt").write_text("the cat sat. the dog ran.", encoding="utf-8")
    (folder / "folder").mkdir()
    Image.new("L", (6, 4), 128).save(folder / "picture.png")
    torch.save(torch.nn.Linear(2, 3).state_dict(), folder / "network.pt")
    tree = JournaledTree(open_model(folder / "endless", provider="cpu"), folder / "journals")
    tree.go(tree.start("the", samples=2), 30)
    tree.saved(folder / "saved.jsonl")
    (folder / "tour.toml").write_bytes(SHIPPED.read_bytes())


def changed_words(words: list[str], rng: random.Random) -> list[str]:
    """With up to four of them lost, added or exchanged; what a command ends with stays."""
    command, words = words[0], list(words)
    for _ in range(rng.randint(0, 4)):
        at, kind = rng.randrange(len(words) + 1), rng.random()
        other = _as_typed(any_text(rng)[:2000]) if rng.random() < 0.1 else rng.choice(_WORDS)
        words[at : at + (kind < 0.6)] = [] if kind < 0.15 else [other]
    return [*words, *_LAST.get(words[0] if words else command, ())]


def _as_typed(text: str) -> str:
    """As the system hands it over."""
    return os.fsdecode(text.replace("\0", "").encode("utf-8", "surrogatepass"))


def _trouble(status: int, written: bytes, told: str, words: list[str]) -> str:
    """What is wrong with how a command ended; empty if nothing is."""
    if status not in (0, 1, 2):
        return f"status {status}"
    if status and not told.strip():
        return "nothing was said"
    if "nobody foresaw" in told or ("Traceback" in told and not {"-v", "--verbose"} & {*words}):
        return "nobody foresaw"
    if scrub(told) != told:
        return "raw on stderr"
    if not _DRAWS & {*words} and not any(word.startswith("made") for word in words):
        text = _COLOUR.sub("", written.decode("utf-8", "surrogateescape"))
        text = text.replace("\0", "") if {"-0", "--null"} & {*words} else text
        if scrub(text) != text:
            return f"raw on stdout {text[:200]!r}"
    return ""
