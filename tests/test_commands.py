"""Every command of README and of the pages is run, in a folder with stand-ins for a person's files, or said why not."""

from __future__ import annotations

import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.support.command_line import run_main
from tests.support.export_training import write_data
from tests.support.hub import REPO, Hub
from tests.support.journals import JournaledTree
from tests.support.runs import published
from tests.support.single_stack_networks import GenerativePixelCNN
from tui_gen.bench.screen import AVAILABLE, Terminal
from tui_gen.cli.main import COMMANDS, EXPORTER_COMMANDS
from tui_gen.library import open_model
from tui_gen.page.site import RUNTIME

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "BENCHMARKS.md", "docs/**/*.md")
LEFT_OUT = {
    r"(uvx|uv|pipx|pip|npm|python3 -m venv) .*": "installs from the network; .ci/wheel installs and plays the wheel",
    r"\.ci/run|\.venv/bin/pytest.*": "runs the tests",
    r"hf .*": "signs in at the hub and writes to it",
    r"ray .*|.* --address .*": "needs a cluster; tests/cli/test_bulk.py draws with Ray on this machine",
    r"python3 -m http\.server .*": "has no end; tests/page serves what it would",
    r"(ssh .* )?tui-gen serve.*|textual serve .*": "has no end; tests/tui/test_browser.py starts both servers",
    r"tui-gen bench": "takes minutes; tests/bench measures less",
    r"tui-gen (export runs/adventurers/|adherence ).*": "after hours of training; tests/export/evaluation has less",
}
"""Commands that no test of this module runs, and why."""
SHORTER = {
    r"1_000_000": "1_000",
    r"^(tui-gen train .*)$": r"\1 --epochs 1",
    r"^(tui-gen page .*)$": r"\1 --runtime runtime",
    r"^(tui-gen watch .*--plain.*)$": r"\1 --epochs 1",
    r"^\.venv/bin/": "",
    r"hf:user/[\w-]+": f"hf:{REPO}",
    r"@v2": "@v1",
}
"""What is run in place of what stands there, so that it takes no minutes and finds its files."""
NAMES = "|".join([*COMMANDS, *EXPORTER_COMMANDS])
IS_SCREEN = re.compile(
    rf"tui-gen(?! (?:{NAMES})(?: |$))|tui-gen (?:tour|watch)\b(?!.* --(?:plain|check))|.* --screen\b"
)
IS_SHELL = re.compile(r"^(?!tui-gen\b)|[|<>&;]")


def commands(page: str) -> list[str]:
    """The lines of a page's blocks, without what is said of them, those that are carried on in one."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).splitlines()
    return [command for line in lines if (command := re.sub(r"(^|\s+)# .*", "", line).strip())]


PATHS = sorted(path.relative_to(ROOT).as_posix() for pattern in PAGES for path in ROOT.glob(pattern))


NETWORK = """
import torch
from torch import nn

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.lstm, self.out = nn.Embedding(5, 4), nn.LSTM(4, 8, batch_first=True), nn.Linear(8, 5)

    def forward(self, tokens):
        return self.out(self.lstm(self.emb(tokens))[0])

def build():
    return Network()
"""
"""The network of checkpoint.pt, as its maker has it."""


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a person may have: texts, pictures, checkpoints, runs, a session."""
    here = tmp_path_factory.mktemp("person")
    torch.save(GenerativePixelCNN().state_dict(), here / "pixelcnn.pt")
    (here / "mynet.py").write_text(NETWORK, encoding="utf-8")
    (here / "input.txt").write_text("a cab\n" * 50, encoding="utf-8")
    _write_network(here, "a cab\n" * 50)
    write_data("names", here).rename(here / "names.txt")
    for name in ("scene.txt", "held-out.txt", "file.txt"):
        (here / name).write_text("the cat sat.", encoding="utf-8")
    (here / "my-recipe.txt").write_text("chop the onion, and fry it in butter.", encoding="utf-8")
    Image.fromarray(np.full((40, 40), 90, np.uint8)).save(here / "shoe.png")
    (here / "runtime").mkdir()
    for name in RUNTIME:
        (here / "runtime" / name).write_text(name, encoding="utf-8")
    for epoch in (1, 2):
        published(here / "runs/mine", epoch)
    train = ("train", "names", "--data", str(here / "names.txt"), "-o", str(here / "runs/names"), "--epochs", "1")
    assert run_main(*train).returncode == 0
    tree = JournaledTree(open_model("names"), here)
    tree.go(tree.start("ma"), 5)
    tree.saved(here / "session.jsonl")
    return here


def _write_network(here: Path, text: str) -> None:
    """The checkpoint of NETWORK after it has read a text; its vocabulary; what it was given, and what it gave."""
    names: dict[str, Any] = {}
    exec(NETWORK, names)
    network, itos = names["build"](), dict(enumerate(sorted(set(text))))
    tokens = torch.tensor([[*itos.values()].index(character) for character in text])[None]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(tokens[:, :-1])[0], tokens[0, 1:]).backward()
        optimizer.step()
    torch.save({"model": network.state_dict(), "itos": itos}, here / "checkpoint.pt")
    (here / "meta.pkl").write_bytes(pickle.dumps({"itos": itos}))
    np.savez(here / "answers.npz", inputs=tokens.numpy(), logits=network(tokens).detach().numpy())


@pytest.mark.skipif(not AVAILABLE, reason="needs a POSIX shell and terminal")
@pytest.mark.parametrize("page", [page for page in PATHS if commands(page)])
def test_the_commands_of_a_page_run(
    page: str, person: Path, served: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, program = shutil.copytree(person, tmp_path / "here"), tmp_path / "bin" / "tui-gen"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m tui_gen \"$@\"\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.chdir(here)
    for command in commands(page):
        if not any(re.fullmatch(pattern, command) for pattern in LEFT_OUT):
            run(command)


def run(command: str) -> None:
    """Runs it as a person would: in a shell, on the screen, or, which is fastest, here. Fails if it fails."""
    for pattern, other in SHORTER.items():
        command = re.sub(pattern, other, command)
    words = shlex.split(command)
    if IS_SHELL.search(command):
        subprocess.run(["bash", "-e", "-o", "pipefail", "-c", command], check=True, capture_output=True)
    elif IS_SCREEN.match(command):
        with Terminal(words, size=(120, 30)) as screen:
            screen.until(b"quit")
            screen.type("\x11")
            assert screen.wait() == 0, (command, screen.output[-2000:])
    else:
        done = run_main(*words[1:])
        assert done.returncode == 0, (command, done.stderr)


def test_what_is_left_out_or_shortened_stands_on_a_page() -> None:
    every = [command for page in PATHS for command in commands(page)]
    assert [one for one in LEFT_OUT if not any(re.fullmatch(one, command) for command in every)] == []
    assert [one for one in SHORTER if not any(re.search(one, command) for command in every)] == []
