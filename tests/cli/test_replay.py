"""`tui-gen replay` writes what was on the screen, says whether it is exact, and asks for the right model."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run
from tests.support import toys
from tests.support.journals import JournaledTree, grow
from tui_gen.images.codec import ImageCodec
from tui_gen.images.completion import completion_prompt, erased, parse_part
from tui_gen.library import LoadedModel, open_model
from tui_gen.runtime.model import Model
from tui_gen.sampling.params import SamplingParams
from tui_gen.sampling.sweep import Sweep
from tui_gen.sessions.workspace import Workspace


@pytest.fixture
def session(endless: LoadedModel, tmp_path: Path) -> Path:
    """A saved session: 1, a plain run of two samples; dogs, that left it and was shown last."""
    workspace = JournaledTree(endless, tmp_path / "journals")
    first = workspace.go(workspace.start("the", samples=2), 1 + 40)
    dogs = workspace.go(workspace.leave(first, 20, np.array([[toys.DOG]] * 2)), 20, SamplingParams(0.5))
    workspace.rename(dogs, "dogs")
    return workspace.saved(tmp_path / "kept.jsonl")


def told(stderr: bytes) -> str:
    [line] = stderr.decode().splitlines()
    return line


@pytest.mark.parametrize("form", ["text", "jsonl"])
def test_a_plain_run_is_written_as_generate_writes_it(session: Path, tui_gen: Run, form: str) -> None:
    done = tui_gen("replay", str(session), "--branch", "1", "--format", form)
    expected = tui_gen(
        "generate", "endless", "the", "-n", "2", "-l", "40", "-t", "1.2", "--seed", "5", "--format", form
    )
    timed = re.compile(rb'"ms": [\d.]+')
    assert timed.sub(b"", done.stdout) == timed.sub(b"", expected.stdout)
    assert done.stdout
    assert done.returncode == 0
    assert re.fullmatch(r"tui-gen: exact · endless · CPU.* · 2 branches", told(done.stderr))


def test_what_happens_to_the_device_is_told_once_by_generate_too(
    session: Path, tui_gen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in (("generate", "endless", "the", "-l", "9"), ("replay", str(session))):
        warnings = [["the GPU failed; the CPU goes on with the run"]]
        monkeypatch.setattr(Model, "take_warnings", lambda _, once=warnings: once.pop() if once else [])
        first, report = tui_gen(*command).stderr.decode().splitlines()
        assert first == "tui-gen: the GPU failed; the CPU goes on with the run"
        assert "endless · CPU" in report


def test_a_completed_picture_is_written_as_generate_writes_it_with_what_was_given(
    colour: LoadedModel, tui_gen: Run, tmp_path: Path
) -> None:
    assert isinstance(colour.codec, ImageCodec)
    given = tmp_path / "given.png"
    tui_gen("generate", "colour", "-t", "0", "--format", "png", "-o", str(given))
    levels = erased(toys.FLAG, parse_part("rect:1,1,4,2", colour.codec.image))
    workspace = JournaledTree(colour, tmp_path / "journals")
    prompt = completion_prompt(colour.codec, "", levels, 2)
    workspace.go(workspace.start("", prompt=prompt, params=SamplingParams(4.0)), prompt.shape[1] - 1)
    for form in ("ascii", "gif"):
        done = tui_gen("replay", str(workspace.file), "--format", form)
        words = ("-t", "4", "-n", "2", "--seed", "5", "--image", str(given), "--erase", "rect:1,1,4,2")
        assert done.stdout == tui_gen("generate", "colour", *words, "--format", form).stdout != b""


def test_a_sweep_is_written_with_its_headings(endless: LoadedModel, tui_gen: Run, tmp_path: Path) -> None:
    workspace = JournaledTree(endless, tmp_path / "journals")
    params, sweep = SamplingParams(), Sweep("temperature", (0.2, 1.0, 2.0))
    workspace.go(workspace.start("the", samples=3, params=params, sweep=sweep), 1 + 30, params)
    done = tui_gen("replay", str(workspace.file))
    expected = tui_gen("generate", "endless", "the", "--sweep", "temperature=0.2,1,2", "-l", "30", "--seed", "5")
    assert done.stdout == expected.stdout
    assert b"--- temperature 0.20 ---" in done.stdout


def test_the_branch_that_was_shown_last_is_written_with_what_it_shares(session: Path, tui_gen: Run) -> None:
    shown, first = tui_gen("replay", str(session)).stdout, tui_gen("replay", str(session), "--branch", "1").stdout
    texts = [text.decode().splitlines()[1].split() for text in (shown, first)]
    assert texts[0][:10] == texts[1][:10]
    assert texts[0] != texts[1]
    assert "dog" in texts[0]
    lines = tui_gen("replay", str(session), "--format", "jsonl").stdout.splitlines()
    facts = [json.loads(line) for line in lines]
    assert [fact["index"] for fact in facts if fact["sample"] == 0] == list(range(len(facts) // 2))


def test_the_same_model_is_found_under_another_name(session: Path, tui_gen: Run, tmp_path: Path) -> None:
    toys.endless_text_folder(tmp_path / "models" / "renamed")
    toys.text_folder(tmp_path / "models" / "endless")
    done = tui_gen("replay", str(session), TUI_GEN_MODELS=str(tmp_path / "models"))
    assert done.returncode == 0
    assert "exact · renamed" in told(done.stderr)


def test_a_missing_model_is_named_with_the_way_out(session: Path, tui_gen: Run, tmp_path: Path) -> None:
    done = tui_gen("replay", str(session), TUI_GEN_MODELS=str(tmp_path))
    assert done.returncode == 1
    fault = told(done.stderr)
    assert re.search(r"the model 'endless' \(sha256 [0-9a-f]{12}\) is not installed; --model takes its folder", fault)
    assert "installed: grimm, names, recipes" in fault
    folder = toys.endless_text_folder(tmp_path / "elsewhere" / "mine")
    assert tui_gen("replay", str(session), "--model", str(folder), TUI_GEN_MODELS=str(tmp_path)).returncode == 0


def test_another_model_is_refused_and_taken_only_if_asked_for_and_then_said(session: Path, tui_gen: Run) -> None:
    refused = tui_gen("replay", str(session), "--model", "text")
    assert (refused.returncode, refused.stdout) == (1, b"")
    fault = told(refused.stderr)
    assert "the session was made with the model 'endless' (sha256" in fault
    assert "--anyway plays it with this one" in fault
    done = tui_gen("replay", str(session), "--model", "text", "--anyway", "--branch", "1")
    assert done.returncode == 0
    assert done.stdout
    assert told(done.stderr).startswith("tui-gen: not exact: another model than endless, branch 1 differs from")


@pytest.fixture
def compared(endless: LoadedModel, tmp_path: Path) -> Path:
    """A saved session: branch 1, and what a model that is not installed made beside it."""
    folder = toys.running_text_folder(tmp_path / "running")
    workspace = Workspace(endless, folder=tmp_path / "journals")
    branch = workspace.start("the", samples=2, params=SamplingParams(1.2), seed=5, length=20)
    for each, other in (workspace.columns(branch)[0], workspace.compare(branch, open_model(folder, provider="cpu"))):
        grow(other, limit=each.limit(other))
    workspace.journal.save(tmp_path / "compared.jsonl")
    return tmp_path / "compared.jsonl"


@pytest.mark.parametrize("form", ["text", "jsonl"])
def test_a_comparison_is_written_as_generate_writes_it(compared: Path, tui_gen: Run, form: str) -> None:
    running = str(compared.parent / "running")
    done = tui_gen("replay", str(compared), "--model", running, "--format", form)
    words = ("the", "-n", "2", "-l", "20", "-t", "1.2", "--seed", "5", "--format", form)
    expected = tui_gen("generate", "endless", *words, "--with", running)
    measured = re.compile(rb'"(ms|entropy|logprob)": -?[\d.]+')  # a second reading rounds otherwise
    assert measured.sub(b"", done.stdout) == measured.sub(b"", expected.stdout) != b""
    assert done.returncode == 0
    divergence, report = done.stderr.decode().splitlines()
    assert divergence == expected.stderr.decode().splitlines()[-1]
    assert re.fullmatch(r"tui-gen: exact · endless, running · CPU.* · 1 branch", report)


def test_the_model_that_is_missing_is_named_and_another_one_in_its_place_is_not_exact(
    compared: Path, tui_gen: Run
) -> None:
    assert "the model 'running' (sha256 " in told(tui_gen("replay", str(compared)).stderr)
    done = tui_gen("replay", str(compared), "--model", "text", "--model", "endless", "--anyway")
    assert b"tui-gen: not exact: another model than running, branch 1 of running differs from somewhere" in done.stderr


def test_what_is_not_exact_is_status_1(session: Path, tui_gen: Run) -> None:
    session.write_text(re.sub(r'"seed": 5', '"seed": 6', session.read_text()))
    done = tui_gen("replay", str(session))
    assert done.returncode == 1
    assert done.stdout
    assert (
        "not exact: branch 1 differs from somewhere between token 1 and token 40 on, and so does 1 other branch"
        in told(done.stderr)
    )


@pytest.mark.parametrize(
    ("words", "status", "fault"),
    [
        (["--branch", "cats"], 1, "the session has no branch 'cats'; it has: 1, dogs"),
        (["--format", "png"], 2, "endless writes text; --format png is for pictures"),
        (["--screen"], 2, "the screen needs a terminal on stdin and stdout"),
        (["--screen", "-o", "x"], 2, "--screen shows the session; leave out --format, -0 and -o"),
        (["--model", "nothing"], 1, "there is no model 'nothing'"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    session: Path, tui_gen: Run, words: list[str], status: int, fault: str
) -> None:
    done = tui_gen("replay", str(session), *words)
    assert (done.returncode, done.stdout) == (status, b"")
    assert fault in told(done.stderr)
