"""Sessions and models of a released version are read, and make the same tokens again.

Safe on any processor: the sessions' models are tables of multiples of 1/8, whose logits no rounding can change, and
those of trained networks differ by some 1e-6. Probabilities may differ in the last bits, but no random number in these
files comes closer than 0.00005 to the border between two tokens, and where top-k chooses, no two tokens are equally
likely.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tui_gen.cli.main import main
from tui_gen.sessions.file import read_session, session_text

RELEASED = Path(__file__).parents[1] / "fixtures"
FILES = sorted((RELEASED / "sessions").rglob("*.jsonl"))
OUTPUTS = [(file, output) for file in FILES for output in sorted(file.parent.iterdir()) if output.suffix != ".jsonl"]
EXPORTED = ("names", "recipes", "shakespeare", "adventurers", "fashion", "fashion-book")
GENERATED = {
    "cats": ("the cat", "-l", "40"),
    "stripes": ("bright", "-t", "5", "--format", "ascii"),
    "names": ("ma", "-l", "40"),
    "recipes": ("roasted rice", "-l", "40"),
    "shakespeare": ("ROMEO:", "-l", "40"),
    "adventurers": ("orc, bow", "--format", "ascii"),
    "fashion": ("ankle boot", "--format", "ascii"),
    "fashion-book": ("", "--format", "ascii"),
}


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models that the sessions name are installed."""
    monkeypatch.setenv("TUI_GEN_MODELS", str(RELEASED / "models"))


def _of(path: Path) -> str:
    return "/".join(path.relative_to(RELEASED / "sessions").parts)


def _pixels(path: Path) -> list[list[int]]:
    with Image.open(path) as image:
        pixels: list[list[int]] = np.asarray(image).tolist()
        return pixels


@pytest.mark.parametrize(("session", "reference"), OUTPUTS, ids=[f"{_of(a)}: {b.name}" for a, b in OUTPUTS])
def test_a_session_is_replayed_exactly_and_prints_the_same(
    session: Path, reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / reference.name
    words = ["--branch", reference.stem.removeprefix("branch-")] if reference.stem != "shown" else []
    if session.parent.name == "pictures":
        words += ["--format", "png" if reference.suffix == ".png" else "ascii"]
    assert main(["replay", str(session), *words, "--provider", "cpu", "-o", str(output)]) == 0
    report = capsys.readouterr().err
    assert report.startswith("tui-gen: exact · ")
    assert ("the last line of the file is cut off" in report) == (session.parent.name == "killed")
    if reference.suffix == ".png":  # files may be compressed in other ways
        assert _pixels(output) == _pixels(reference)
    else:
        assert output.read_bytes() == reference.read_bytes()


@pytest.mark.parametrize("name", ["text", "sweeps", "pictures"])
def test_a_session_is_written_as_it_was(name: str) -> None:
    folder = RELEASED / "sessions" / name
    reference = (folder / "session.jsonl").read_text(encoding="ascii").splitlines()
    for file in ("session.jsonl", "journal.jsonl"):
        session = read_session(folder / file)
        assert session.version == "0.1.0"
        assert session_text(session).splitlines()[1:] == reference[1:]


@pytest.mark.parametrize("name", GENERATED)
def test_a_model_folder_opens_and_generates_the_same(name: str, tmp_path: Path) -> None:
    folder = RELEASED / "checkpoints" / name / "exported" if name in EXPORTED else RELEASED / "models" / name
    words = (*GENERATED[name], "-n", "2", "--seed", "3", "--provider", "cpu", "-o", str(tmp_path / "output"))
    assert main(["generate", str(folder), *words]) == 0
    assert (tmp_path / "output").read_bytes() == (RELEASED / "generated" / f"{name}.txt").read_bytes()
