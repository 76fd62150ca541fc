"""The command that is shown for a branch prints what the branch shows when it runs, or it is said why there is none."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run
from tests.support import toys
from tests.support.journals import JournaledTree
from tui_gen.generation.branch import Branch
from tui_gen.library import LoadedModel, open_model
from tui_gen.sampling.params import FREE, SamplingParams
from tui_gen.sampling.sweep import Sweep
from tui_gen.sessions.command import NamedBranch, command_for
from tui_gen.text.codec import TextCodec


@pytest.fixture
def printed(tui_gen: Run) -> Callable[..., bytes]:
    """Runs a command line, with some words more; returns what it printed."""

    def run(line: str | None, *more: str) -> bytes:
        program, *words = shlex.split(line or "")
        assert program == "tui-gen"
        done = tui_gen(*words, *more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def texts(loaded_model: LoadedModel, branch: Branch) -> list[str]:
    """What each sample shows."""
    assert isinstance(loaded_model.codec, TextCodec)
    rows = zip(branch.tokens[1:].T.tolist(), branch.live[1:].T, strict=True)
    readers = [(loaded_model.codec.reader(), np.array(row)[live].tolist()) for row, live in rows]
    return ["".join(map(reader.read, row)) for reader, row in readers]


@pytest.mark.parametrize(
    ("prompt", "knobs", "command"),
    [
        ("the", SamplingParams(0.0), "tui-gen generate text the -t 0 -l 6 --seed 7"),
        ("", SamplingParams(1.25, 5), "tui-gen generate text -t 1.25 --top-k 5 -l 6 --seed 7"),
        ("the dog's", SamplingParams(0.1 + 0.2, 0, 1 / 3, 1e-5), None),
        ("-the -n 3", SamplingParams(1.1), None),
        ("-- the", SamplingParams(1.1), None),
        ("$HOME `id` \"x\" 'y' * \\ !!", SamplingParams(1.1), None),
    ],
)
def test_it_prints_the_same_text(
    prompt: str,
    knobs: SamplingParams,
    command: str | None,
    text: LoadedModel,
    printed: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    workspace = JournaledTree(text, tmp_path)
    branch = workspace.go(workspace.start(prompt, seed=7, params=knobs), text.codec.prompt([prompt]).shape[1] + 5)
    line = command_for("text", text, branch).command
    assert line == (command or line)
    assert printed(line).decode() == texts(text, branch)[0] + "\n"


def test_several_samples_are_the_same_too(endless: LoadedModel, printed: Callable[..., bytes], tmp_path: Path) -> None:
    workspace = JournaledTree(endless, tmp_path)
    branch = workspace.go(workspace.start("the", samples=3, params=SamplingParams(2.0)), 60)
    line = command_for("endless", endless, branch).command
    assert line == "tui-gen generate endless the -t 2 -n 3 -l 59 --seed 5"
    one, two, three = texts(endless, branch)
    shown = f"--- 1 of 3 ---\n{one}\n--- 2 of 3 ---\n{two}\n--- 3 of 3 ---\n{three}\n"
    assert printed(line).decode() == shown


def test_a_sweep_is_the_same_sweep(endless: LoadedModel, printed: Callable[..., bytes], tmp_path: Path) -> None:
    workspace = JournaledTree(endless, tmp_path)
    for sweep, words in (
        (Sweep("top_k", (1, 3, 0)), "-t 1.5 --top-p 0.9 --sweep top-k=1,3,0"),
        (Sweep("temperature", (0.3, 1 / 3)), "--top-p 0.9 --sweep temperature=0.3,0.3333333333333333"),
    ):
        params = SamplingParams(1.5, top_p=0.9)
        branch = workspace.go(workspace.start("the", samples=len(sweep), params=params, sweep=sweep), 60, params)
        line = command_for("endless", endless, branch).command
        assert line == f"tui-gen generate endless the {words} -l 59 --seed 5"
        lines = printed(line).decode().splitlines()
        assert lines[1::2] == texts(endless, branch)


def test_a_picture_is_drawn_as_far_as_it_was(image: LoadedModel, printed: Callable[..., bytes], tmp_path: Path) -> None:
    workspace = JournaledTree(image, tmp_path)
    prompt = image.codec.prompt(["bright"]).shape[1]
    branch = workspace.go(workspace.start("bright", params=SamplingParams(3.0)), prompt - 1 + 20)
    line = command_for("image", image, branch).command
    assert line == "tui-gen generate image bright -t 3 -l 20 --seed 5"
    lines = printed(line, "--format", "jsonl").splitlines()
    assert [json.loads(line)["id"] for line in lines] == branch.tokens[prompt:, 0].tolist()


def test_a_folder_with_spaces_is_quoted(endless: LoadedModel, tmp_path: Path, printed: Callable[..., bytes]) -> None:
    folder = toys.endless_text_folder(tmp_path / "my model")
    workspace = JournaledTree(endless, tmp_path / "journals")
    branch = workspace.go(workspace.start("the"), 20)
    line = command_for(str(folder), endless, branch).command
    assert printed(line).decode() == texts(endless, branch)[0] + "\n"


def test_one_command_makes_a_comparison_again(
    endless: LoadedModel, text: LoadedModel, printed: Callable[..., bytes], tmp_path: Path
) -> None:
    folder = toys.running_text_folder(tmp_path / "running")
    models = {"endless": endless, "text": text, str(folder): open_model(folder, provider="cpu")}
    workspaces = [JournaledTree(model, tmp_path / "journals") for model in models.values()]
    branches = [each.go(each.start("the", params=SamplingParams(1.5)), 60) for each in workspaces]
    beside = list(map(NamedBranch, models, models.values(), branches))[1:]
    line = command_for("endless", endless, branches[0], beside=beside).command
    assert line == f"tui-gen generate endless the --with text --with {folder} -t 1.5 -l 59 --seed 5"
    shown = [texts(model, branch)[0] for model, branch in zip(models.values(), branches, strict=True)]
    names = ("endless", "text", "running")
    parts = (f"--- {name} ---\n{one}\n" for name, one in zip(names, shown, strict=True))
    assert printed(line).decode() == "".join(parts)
    shorter = workspaces[0].go(workspaces[0].start("the", params=SamplingParams(1.5)), 30)
    colder = workspaces[0].go(workspaces[0].start("the", params=SamplingParams(0.5)), 60, SamplingParams(0.5))
    for branch, reason in (
        (shorter, "the models were stopped at other places"),
        (colder, "the models ran with other knobs"),
    ):
        answer = command_for("endless", endless, branch, beside=beside)
        assert (answer.command, answer.reason) == (None, reason)


def test_what_no_single_run_makes_has_no_command_but_a_reason(
    endless: LoadedModel, image: LoadedModel, tmp_path: Path
) -> None:
    workspace, drawing = JournaledTree(endless, tmp_path / "a"), JournaledTree(image, tmp_path / "b")
    plain = workspace.go(workspace.start("the"), 30)
    left = workspace.go(workspace.leave(plain, 10, seed=9), 30)
    turned = workspace.go(workspace.go(workspace.start("the"), 10), 10, SamplingParams(0.3))
    prompt = np.concatenate([image.codec.prompt([""]), np.full((1, 24), FREE)], axis=1)
    prompt[0, -1] = 1
    completed = drawing.go(drawing.start("", prompt=prompt), 24)
    begun = workspace.go(workspace.start("the cat sat"), 1)
    untypable = "its prompt cannot be typed on a command line"
    for loaded_model, branch, reason in (
        (endless, left, "it left another branch"),
        (endless, turned, "knobs were turned while it ran"),
        (image, completed, "its prompt is more than text, such as a picture to complete"),
        (endless, begun, "it was stopped within its prompt"),
        (endless, workspace.go(workspace.start("-"), 9), untypable),
        (endless, workspace.go(workspace.start("--"), 9), untypable),
        (endless, workspace.go(workspace.start("the\ncat"), 9), untypable),
    ):
        shown = command_for("model", loaded_model, branch)
        assert (shown.command, shown.reason) == (None, reason)


def test_a_branch_whose_parent_is_gone_has_no_command(endless: LoadedModel, tmp_path: Path) -> None:
    workspace = JournaledTree(endless, tmp_path)
    plain = workspace.go(workspace.start("the"), 30)
    left = workspace.go(workspace.leave(plain, 10, seed=9), 30)
    workspace.delete(plain)
    assert command_for("endless", endless, left).command is None
