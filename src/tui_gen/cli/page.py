"""`tui-gen page`: a static page that plays models in a browser."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from tui_gen.cli import options
from tui_gen.terminal_text import say

_RUNTIME = "node_modules/onnxruntime-web"


def configure(parser: argparse.ArgumentParser) -> None:
    """Describes the command's options."""
    parser.description = (
        "Writes a page that plays models in a browser: no server computes, nothing comes from another host, and the "
        "same seed makes what it makes here. It runs on onnxruntime-web, whose files are copied beside it; "
        "npm install --no-save onnxruntime-web brings them."
    )
    parser.add_argument("models", metavar="MODEL", nargs="+", help=f"{options.MODEL}; the first one is shown first")
    parser.add_argument("-o", "--output", metavar="FOLDER", required=True, help="where it goes; it must not exist")
    parser.add_argument(
        "--runtime",
        metavar="FOLDER",
        default=_RUNTIME,
        help="the npm package onnxruntime-web, unpacked; default: %(default)s",
    )
    options.add_trust(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the page; returns the exit status."""
    from tui_gen.library import distinct_names, open_model
    from tui_gen.page.site import page_model, runtime_files, write_site

    runtime = runtime_files(Path(args.runtime))  # what is missing is told before models are opened
    loaded_models = [open_model(model, provider="cpu", threads=1, trust=args.trust) for model in args.models]
    models = [page_model(*pair) for pair in zip(loaded_models, distinct_names(loaded_models), strict=True)]
    write_site(models, runtime, Path(args.output))
    say(f"{args.output}: to look at it, python3 -m http.server -d {shlex.quote(args.output)} 8000")
    return 0
