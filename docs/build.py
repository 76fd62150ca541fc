"""Builds the pages to read: `python docs/build.py`, into build/site.

They are those of this folder and four beside README. Where one says `<!-- NAME -->`, the program speaks of itself, in
place of what stands there for those who read the source: its keys, the help of every command, the configuration, the
models that ship. A link that leads nowhere fails the build.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from tui_gen.card import ModelCard
from tui_gen.cli.config import default_text
from tui_gen.cli.main import COMMANDS, EXPORTER_COMMANDS, main
from tui_gen.library import open_model, read_card
from tui_gen.page.site import page_model, runtime_files, write_site
from tui_gen.tui.bindings import KEYS, markdown_table

ROOT = Path(__file__).parents[1]
BESIDE_README = ("BENCHMARKS.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
PLAYER = '<iframe src="play/index.html" title="Token by token" style="width: 100%; height: 90rem; border: 0"></iframe>'
COLUMNS = "84"
"""Of the help of a command."""
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def models() -> str:
    """A table of the cards."""
    cards = sorted((read_card(path) for path in (ROOT / "models").iterdir()), key=lambda card: (card.kind, card.name))
    head = "| model | network | held-out figure | trained on |\n|---|---|---|---|\n"
    return head + "".join(map(_model, reversed(cards)))


def _model(card: ModelCard) -> str:
    return f"| `{card.name}` | {card.architecture} | {card.quality or 'not measured'} | {card.data} |\n"


def commands() -> str:
    """What each says of itself, the screen first."""
    names = ["", *COMMANDS, *EXPORTER_COMMANDS]
    return "\n".join(f"## {f'tui-gen {name}'.strip()}\n\n```text\n{_help(name)}```\n" for name in names)


def _help(name: str) -> str:
    os.environ["COLUMNS"] = COLUMNS
    with redirect_stdout(io.StringIO()) as text:
        main([*name.split(), "--help"])
    return text.getvalue()


def configuration() -> str:
    """The file that a person begins with."""
    return f"```toml\n{default_text(KEYS)}```\n"


PARTS: dict[str, Callable[[], str]] = {
    "keys": markdown_table,
    "commands": commands,
    "configuration": configuration,
    "models": models,
}


def write_pages(folder: Path, parts: dict[str, Callable[[], str]]) -> None:
    """All pages and their pictures, as the site has them. parts: what is put into them, by name."""
    shutil.copytree(ROOT / "docs", folder, ignore=shutil.ignore_patterns("*.py", "*.toml", "__pycache__"))
    for name in BESIDE_README:
        shutil.copy(ROOT / name, folder)
    for path in folder.rglob("*.md"):
        text = _with_links_of_site(path.read_text(encoding="utf-8"))
        text = re.sub(r"^<!-- (\w+) -->\n(.+\n)*", lambda match: _part(match, parts), text, flags=re.MULTILINE)
        path.write_text(text, encoding="utf-8")


def _part(match: re.Match[str], parts: dict[str, Callable[[], str]]) -> str:
    return parts[match[1]]() if match[1] in parts else match[0]


def _with_links_of_site(text: str) -> str:
    """There the pages beside README lie with those of docs."""
    text = re.sub(rf"\]\(\.\./((?:\.\./)*(?:{'|'.join(BESIDE_README)}))", r"](\1", text)
    return text.replace("](docs/", "](")


def faults(folder: Path, nav: Any) -> Iterator[str]:
    """What zensical lets pass: pages outside of the navigation, entries without page, links to missing files."""
    pages = {path.relative_to(folder).as_posix() for path in folder.rglob("*.md")}
    yield from (f"{page}: stands in the navigation alone, or not in it" for page in sorted(pages ^ {*_entries(nav)}))
    for page in sorted(pages):
        text = _CODE.sub("", (folder / page).read_text(encoding="utf-8"))
        for target in re.findall(r"\]\((?!\w+:|#)([^)#]+)", text):
            if not (folder / page).parent.joinpath(target).exists():
                yield f"{page}: there is no {target}"


def _entries(nav: Any) -> Iterable[str]:
    """The pages of a navigation, or of a part of it."""
    if isinstance(nav, str):
        return [nav]
    return [page for part in (nav.values() if isinstance(nav, dict) else nav) for page in _entries(part)]


def build(folder: Path, runtime: Path | None) -> None:
    """Writes the folders pages and site. Raises SystemExit for a link that leads nowhere.

    runtime: the npm package onnxruntime-web, unpacked; without it, the first page shows a picture and plays nothing.
    """
    for name in ("pages", "site"):
        shutil.rmtree(folder / name, ignore_errors=True)
    write_pages(folder / "pages", PARTS | ({"player": lambda: f"{PLAYER}\n"} if runtime else {}))
    config = Path(shutil.copy(ROOT / "docs/zensical.toml", folder))
    lines = [*faults(folder / "pages", tomllib.loads(config.read_text(encoding="utf-8"))["project"]["nav"])]
    zensical = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "-f", str(config)]
    if lines or subprocess.run(zensical, check=False).returncode:
        raise SystemExit("\n".join([*lines, "the pages are not built"]))
    if runtime:
        adventurers = open_model(ROOT / "models/adventurers", provider="cpu")
        write_site([page_model(adventurers, "adventurers")], runtime_files(runtime), folder / "site/play")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Builds the pages to read.")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "build", help="gets the folders pages and site")
    parser.add_argument("--runtime", type=Path, help="the npm package onnxruntime-web, unpacked: a page plays with it")
    args = parser.parse_args()
    build(args.output, args.runtime)
