"""`tui-gen doctor`: what a report of a fault should say of installation, terminal and machine, and what is wrong there.

It may be published as it is: it names neither the person nor the machine, and of models only those with a fault.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import platform
import re
import select
import sys
from collections.abc import Iterable
from importlib import import_module, metadata
from pathlib import Path

from tui_gen import __version__
from tui_gen.errors import TuiGenError
from tui_gen.launcher import has_terminal
from tui_gen.terminal_text import allows_escapes, brief, show, show_text

if sys.platform != "win32":
    import termios
    import tty

Facts = dict[str, str]
"""By name."""
_PACKAGES = (
    *("onnxruntime", "onnxruntime-gpu", "numpy", "tokenizers", "textual", "rich", "pillow", "platformdirs"),
    *("onnx", "torch"),
)
"""Their versions are asked of the installer; those that are missing are left out."""
_PARTS = {
    "numpy": "numpy",
    "onnxruntime": "tui_gen.runtime.session",
    "tokenizers": "tokenizers",
    "textual": "tui_gen.tui.app",
    "pillow": "PIL.Image",
}
"""What nothing goes without, and a module that imports it."""
_VARIABLES = ("TERM", "COLORTERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "NO_COLOR", "TEXTUAL_DRIVER")
_BETWEEN = {"TMUX": "tmux", "STY": "screen", "SSH_CONNECTION": "ssh", "WT_SESSION": "Windows Terminal"}
"""Variables that tell what stands between the program and the person, which their values do not say."""
_QUESTIONS = b"\x1b[>q\x1b[?u\x1b[c"
"""The terminal's name (XTVERSION), its keyboard protocol (kitty's), and one that all of them answer (DA1)."""
_NAME, _KEYBOARD = re.compile(rb"\x1bP>\|([^\x1b]*)"), re.compile(rb"\x1b\[\?\d+u")
_LAST = re.compile(rb"\x1b\[\?[\d;]*c")
_SECONDS, _MOST_BYTES = 0.5, 2000
"""In which a terminal answers, and of its answers."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describes the command's options."""
    parser.description = (
        "Says what is installed, on what terminal and device it runs, where its files are, and what is wrong."
    )
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def run(args: argparse.Namespace) -> int:
    """Prints the report; returns the exit status: 1 if something is wrong."""
    faults = list(_installation_faults())
    models, model_faults = _models()
    sections = {
        "versions": _versions(),
        "terminal": _terminal(),
        "device": _device(),
        "paths": _paths(),
        "models": models,
    }
    report = {title: {name: _publishable(fact) for name, fact in facts.items()} for title, facts in sections.items()}
    faults += [*([] if faults else _configuration_faults()), *model_faults]
    faults = [_publishable(fault) for fault in faults]
    if args.json:
        show_text(json.dumps({**report, "faults": faults}, indent=2))
        return 1 if faults else 0
    for title, facts in report.items():
        show(title, *(f"  {name:20} {fact}" for name, fact in facts.items()))
    show("faults", *(f"  {fault}" for fault in faults or ["none"]))
    return 1 if faults else 0


def _versions() -> Facts:
    installed = {package: version for package in _PACKAGES if (version := _version(package))}
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return {"tui-gen": __version__, "python": platform.python_version(), "system": system, **installed}


def _version(package: str) -> str:
    """Empty where it is not installed. Does not import it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _installation_faults() -> Iterable[str]:
    """Of what is installed and cannot be imported, as where a library of the system is missing."""
    from tui_gen.runtime.cuda import both_runtimes

    if fault := both_runtimes():
        yield fault
    for part, module in _PARTS.items():
        try:
            import_module(module)
        except (ImportError, OSError, TuiGenError) as fault:
            yield (
                str(fault)
                if isinstance(fault, TuiGenError)
                else f"{part} cannot be imported ({fault}); install tui-gen anew"
            )
            return  # what comes after may need it


def _terminal() -> Facts:
    """What its variables say of it, and what it answers itself."""
    facts = {name: value for name in _VARIABLES if (value := os.environ.get(name))}
    facts["terminal on"] = ", ".join(filter(_is_terminal, ("stdin", "stdout"))) or "no stream"
    facts["through"] = ", ".join(what for name, what in _BETWEEN.items() if os.environ.get(name)) or "nothing known"
    facts["encoding"] = sys.stdout.encoding
    if _is_terminal("stdin"):
        size, answers = os.get_terminal_size(sys.stdin.fileno()), _answers(sys.stdin.fileno())
        facts["size"] = f"{size.columns}x{size.lines}"
        name = _NAME.search(answers)
        facts["calls itself"] = name[1].decode("utf-8", "replace") if name else "does not say"
        facts["keyboard protocol"] = "yes" if _KEYBOARD.search(answers) else "no"
    return facts


def _is_terminal(stream: str) -> bool:
    """stream: its name; it may be closed."""
    return bool((file := getattr(sys, stream)) and file.isatty())


def _answers(terminal: int) -> bytes:
    """What a terminal answers to the questions, in time; empty where none may be asked. terminal: its number."""
    if sys.platform == "win32" or not allows_escapes() or not has_terminal():
        return b""
    answers, before = b"", termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        os.write(terminal, _QUESTIONS)
        while len(answers) < _MOST_BYTES and not _LAST.search(answers):
            if not select.select([terminal], [], [], _SECONDS)[0]:
                break
            answers += os.read(terminal, _MOST_BYTES)
    except OSError:  # it can be read alone, or is gone
        return b""
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
    return answers


def _device() -> Facts:
    """What there is to compute with, and what is taken."""
    from tui_gen.runtime.cuda import NO_DRIVER, driver

    state = driver()
    gpus = f"{', '.join(state.devices) or 'none'}; CUDA {state.cuda[0]}.{state.cuda[1]}" if state else NO_DRIVER
    try:
        from tui_gen.bench.machine import processor
        from tui_gen.runtime.placement import cores
        from tui_gen.runtime.session import providers

        trouble = _cuda_trouble()
    except (ImportError, TuiGenError):  # which is among the faults
        return {"GPU": gpus, "runs on": "nothing"}
    return {
        "processor": f"{processor()}, {cores()} cores",
        "GPU": gpus,
        "runtime built for": ", ".join(providers()),
        "runs on": f"CPU ({trouble})" if trouble else "CPU or GPU 0, whichever is faster",
    }


def _cuda_trouble() -> str:
    """Why the first GPU cannot be used; empty where a shipped model can be opened on it."""
    from tui_gen.files import read_bytes
    from tui_gen.library import graph_file, shipped_folder
    from tui_gen.runtime.session import cuda_trouble, open_cuda

    if trouble := cuda_trouble(0):
        return trouble
    try:
        graphs = [graph_file(folder) for folder in shipped_folder().iterdir() if folder.is_dir()]
        open_cuda(read_bytes(min(graphs, key=os.path.getsize)), 0)
    except TuiGenError as fault:
        return str(fault)
    return ""


def _paths() -> Facts:
    from tui_gen.cli.play import log_file
    from tui_gen.config import config_path
    from tui_gen.files import cache_folder, state_folder
    from tui_gen.library import search_path

    return {
        "program": sys.prefix,
        "configuration": str(config_path()),
        "models": ", ".join(map(str, search_path())),
        "state": str(state_folder()),
        "cache": str(cache_folder()),
        "log": str(log_file()),
    }


def _configuration_faults() -> list[str]:
    """Needs the screen, which knows its keys and themes."""
    from tui_gen.cli.config import faults_of
    from tui_gen.config import config_path, read_config

    return [f"{config_path()}: {fault}" for fault in faults_of(read_config())]


def _models() -> tuple[Facts, list[str]]:
    """How many there are, and what is wrong with some."""
    from tui_gen.library import find_models, shipped_folder

    entries = find_models()
    shipped = [entry for entry in entries if entry.path.parent == shipped_folder()]
    counts = {"shipped": str(len(shipped)), "others": str(len(entries) - len(shipped))}
    return counts, [entry.fault for entry in entries if entry.fault]


def _publishable(text: str) -> str:
    """With ~ in place of the home folder, and signs in place of the names of person and machine in paths; cut."""
    home = Path(os.path.expanduser("~"))  # which is ~ itself for somebody whom nobody knows
    for folder in {str(home), str(home.resolve())} - {home.anchor}:
        text = re.sub(rf"(?<![\w./\\-]){re.escape(folder)}(?![\w.-])", "~", text)
    for name, sign in {home.name: "USER", _user(): "USER", platform.node(): "HOST"}.items():
        text = re.sub(rf"(?<=[/\\]){re.escape(name)}(?![\w.-])", sign, text) if name else text
    return brief(text)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # nobody has this number
        return ""
