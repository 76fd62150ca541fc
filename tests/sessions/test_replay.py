"""A session is made again as it was: branches, turned knobs, chosen tokens, completed pictures and sweeps.

So are those of a released version, whose models open and generate the same. That is safe on any processor: the models
of its sessions are tables of multiples of 1/8, whose logits no rounding can change, and those of trained networks
differ by some 1e-6. Probabilities may differ in the last bits, but no random number in these files comes closer than
0.00005 to the border between two tokens, and where top-k chooses, no two tokens are equally likely.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support import toys
from tests.support.journals import WARM, JournaledTree
from tui_gen.cli.main import main
from tui_gen.errors import TuiGenError
from tui_gen.files import digest
from tui_gen.generation.branch import Branch
from tui_gen.generation.tree import Tree
from tui_gen.library import LoadedModel, open_model, read_card, shipped_folder
from tui_gen.runtime.onnx_graph import with_metadata
from tui_gen.sampling.params import FREE, SamplingParams
from tui_gen.sampling.sweep import Sweep
from tui_gen.sessions.file import read_session, session_text
from tui_gen.sessions.replay import Replay, replay, retold

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


@pytest.fixture
def workspace(endless: LoadedModel, tmp_path: Path) -> JournaledTree:
    """Branches: 1 with turned knobs, dogs that left it, 3 that left dogs, 4 from a prompt of its own."""
    workspace = JournaledTree(endless, tmp_path / "journals")
    first = workspace.go(workspace.start("the", samples=2), 30)
    for temperature in (0.4, 2.0):
        workspace.go(first, 50, SamplingParams(temperature, top_k=5))
    second = workspace.leave(first, 40, np.array([[toys.DOG, FREE], [FREE, toys.SAT]]), params=SamplingParams(0.9))
    workspace.rename(workspace.go(second, 60), "dogs")
    workspace.go(workspace.leave(second, 70, seed=8), 30, SamplingParams(1.5, min_p=0.1))
    workspace.go(workspace.start("a dog", seed=2**62), 300)
    workspace.journal.note_shown(second)
    return workspace


def assert_same(one: Branch, other: Branch) -> None:
    assert one.name == other.name
    assert one.tokens.tolist() == other.tokens.tolist()
    assert one.given.tolist() == other.given.tolist()
    assert one.live.tolist() == other.live.tolist()
    assert one.turns == other.turns
    assert (one.start.parent, one.start.at, one.start.seed) == (other.start.parent, other.start.at, other.start.seed)
    assert (one.start.text, one.start.params) == (other.start.text, other.start.params)
    assert one.start.prompt.tolist() == other.start.prompt.tolist()


def assert_same_trees(one: Tree, other: Tree) -> None:
    for left, right in zip(one.rows(), other.rows(), strict=True):
        assert_same(left.branch, right.branch)
        assert left.depth == right.depth


def replayed(workspace: JournaledTree, path: Path) -> Replay:
    return replay(read_session(path), workspace.loaded_model)


def test_branches_come_out_as_they_were_with_their_names_and_turned_knobs(
    workspace: JournaledTree, tmp_path: Path
) -> None:
    for path in (workspace.file, workspace.saved(tmp_path / "kept.jsonl")):
        made = replayed(workspace, path)
        assert made.exact
        assert_same_trees(workspace.tree, made.tree)
        assert made.session.chosen().name == "dogs"


def test_a_replayed_branch_goes_on_as_the_first_one_does(workspace: JournaledTree) -> None:
    made = replayed(workspace, workspace.file)
    ahead = workspace.go(made.tree["dogs"], 40, WARM)
    assert ahead.tokens.tolist() == workspace.go(workspace.tree["dogs"], 40, WARM).tokens.tolist()


@pytest.mark.parametrize("model", ["recipes", "fashion"])
def test_shipped_models_are_exact(model: str, tmp_path: Path) -> None:
    loaded_model = open_model(shipped_folder() / model, provider="cpu", threads=1)
    workspace = JournaledTree(loaded_model, tmp_path)
    first = workspace.go(workspace.start(loaded_model.card.prompt_example, samples=2), 100)
    workspace.go(workspace.go(first, 33, SamplingParams(0.7)), 60, SamplingParams(1.1, 40, 0.9))
    chosen = first.tokens[80:81].T.astype(np.int64)[::-1]
    second = workspace.go(workspace.leave(first, 80, chosen), 120)
    workspace.go(workspace.leave(second, 130, seed=99), 90)
    made = replayed(workspace, workspace.file)
    assert made.exact
    assert_same_trees(workspace.tree, made.tree)


def test_a_completed_picture_is_completed_again(image: LoadedModel, tmp_path: Path) -> None:
    workspace = JournaledTree(image, tmp_path)
    levels = np.where(np.arange(24) % 3 > 0, FREE, toys.STRIPES.ravel())
    prefix = image.codec.prompt(["bright"] * 3)
    prompt = np.concatenate([prefix, np.tile(levels, (3, 1))], axis=1)
    first = workspace.go(workspace.start("bright", prompt=prompt, params=SamplingParams(3.0)), 25)
    workspace.go(workspace.leave(first, 10, np.array([[1]] * 3)), 16)
    made = replayed(workspace, workspace.file)
    assert made.exact
    assert_same_trees(workspace.tree, made.tree)


def test_a_sweep_is_a_sweep_again_and_its_other_knobs_may_be_turned(endless: LoadedModel, tmp_path: Path) -> None:
    workspace = JournaledTree(endless, tmp_path)
    params, sweep = SamplingParams(top_p=0.9), Sweep("temperature", (0.2, 1.0, 3.0))
    first = workspace.go(workspace.start("the", samples=3, params=params, sweep=sweep), 40, params)
    workspace.go(first, 40, SamplingParams(1.5, top_k=3))
    workspace.go(workspace.go(first, 40, SamplingParams(0.9)), 40, params)
    made = replayed(workspace, workspace.file)
    assert made.exact
    assert_same_trees(workspace.tree, made.tree)


def test_what_left_a_deleted_branch_is_made_again_without_it(workspace: JournaledTree, tmp_path: Path) -> None:
    workspace.delete(workspace.tree["dogs"])
    workspace.rename(workspace.tree["4"], "dogs")
    workspace.delete(workspace.tree["1"])
    for path in (workspace.file, workspace.saved(tmp_path / "kept.jsonl")):
        made = replayed(workspace, path)
        assert made.exact
        assert [row.branch.name for row in made.tree.rows()] == ["3", "dogs"]
        assert made.tree["3"].tokens.tolist() == workspace.tree["3"].tokens.tolist()


def test_a_session_that_was_made_again_is_kept_on(workspace: JournaledTree, tmp_path: Path) -> None:
    workspace.delete(workspace.tree["dogs"])
    made = replayed(workspace, workspace.file)
    later = JournaledTree(workspace.loaded_model, tmp_path / "later")
    later.tree = made.tree
    later.journal.take_over(made.session, made.branches)
    later.go(made.tree["3"], 30, SamplingParams(0.5))
    later.go(later.leave(made.tree["3"], 90), 10)
    again = replayed(later, later.file)
    assert again.exact
    assert_same_trees(later.tree, again.tree)


def test_progress_is_known_while_it_runs_and_nothing_is_made_ahead(workspace: JournaledTree) -> None:
    made = Replay(read_session(workspace.file), workspace.loaded_model)
    steps = made.run()
    assert (made.done, made.total) == (0, sum(len(row.branch) for row in workspace.tree.rows()) - 1 - 40 - 70 - 1)
    for _ in range(10):
        next(steps)
    assert (made.done, len(made.tree)) == (10, 1)
    for _ in steps:
        pass
    assert made.done == made.total


def test_what_is_not_exact_is_said_with_its_place(workspace: JournaledTree, tmp_path: Path) -> None:
    table = toys.BIGRAMS.copy()
    table[toys.SAT, toys.DOT] -= 1
    other = open_model(toys.endless_text_folder(tmp_path / "other", graph=toys.text_graph(table, growth=-1.0)))
    made = replay(read_session(workspace.file), other)
    assert not made.exact
    assert len(made.tree) == 4
    difference = made.differences[0]
    assert difference.branch == "1"
    first = np.flatnonzero((made.tree["1"].tokens != workspace.tree["1"].tokens).any(axis=1))[0]
    assert difference.first <= first <= difference.last
    assert str(difference).startswith("branch 1 differs from somewhere between token 1 and token ")


def test_a_model_that_ends_before_a_branch_began_leaves_that_branch_out(
    workspace: JournaledTree, tmp_path: Path
) -> None:
    short = open_model(toys.text_folder(tmp_path / "short"))
    made = replay(read_session(workspace.file), short)
    assert not made.exact
    assert "dogs" not in made.tree
    assert "branch dogs differs from token 39 on" in map(str, made.differences)


def test_a_session_of_another_sort_of_model_is_refused(workspace: JournaledTree, image: LoadedModel) -> None:
    with pytest.raises(TuiGenError, match="with a model that makes text, and image makes pictures"):
        replay(read_session(workspace.file), image)


def test_tokens_that_the_model_does_not_have_never_reach_it(endless: LoadedModel, tmp_path: Path) -> None:
    workspace = JournaledTree(endless, tmp_path)
    workspace.start(prompt=np.array([[toys.END, 4711]]))
    with pytest.raises(TuiGenError, match="branch '1' has token 4711, which endless does not have"):
        replayed(workspace, workspace.file)


def test_pictures_that_do_not_begin_at_the_same_place_are_refused(image: LoadedModel, tmp_path: Path) -> None:
    workspace = JournaledTree(image, tmp_path)
    workspace.start(prompt=np.array([[toys.START, 1], [toys.START, toys.BRIGHT]]))
    with pytest.raises(TuiGenError, match="the samples of branch '1' do not begin their pictures at the same place"):
        replayed(workspace, workspace.file)


def test_the_steps_of_a_branch_are_told_once_more_with_those_of_its_parent(workspace: JournaledTree) -> None:
    branch = workspace.tree["3"]
    steps = list(retold(branch))
    assert [step.index for step in steps] == list(range(1, len(branch)))
    assert [step.tokens.tolist() for step in steps] == branch.tokens[1:].tolist()
    assert [step.given.tolist() for step in steps] == branch.given[1:].tolist()
    seen = branch.look(75)
    np.testing.assert_allclose(steps[74].probs, seen.probs, atol=1e-5)
    assert steps[74].params == seen.params


@pytest.fixture
def released_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models that the sessions name are installed."""
    monkeypatch.setenv("TUI_GEN_MODELS", str(RELEASED / "models"))


def _of(path: Path) -> str:
    return "/".join(path.relative_to(RELEASED / "sessions").parts)


def _texts(path: Path) -> list[str]:
    """Of a file that ends them with NUL, or of one in which they stand under headings."""
    content = path.read_text(encoding="utf-8")
    texts = content.split("\0")[:-1] if "\0" in content else re.split(r"^--- .+ ---\n", content, flags=re.MULTILINE)
    return [text.removesuffix("\n") for text in texts if text]


def _pixels(path: Path) -> list[list[int]]:
    with Image.open(path) as image:
        pixels: list[list[int]] = np.asarray(image).tolist()
        return pixels


@pytest.mark.usefixtures("released_models")
@pytest.mark.parametrize(("session", "reference"), OUTPUTS, ids=[f"{_of(a)}: {b.name}" for a, b in OUTPUTS])
def test_a_session_of_a_released_version_is_replayed_exactly_and_prints_the_same(
    session: Path, reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / reference.name
    words = ["--branch", reference.stem.removeprefix("branch-")] if reference.stem != "shown" else []
    if session.parent.name == "pictures":
        words += ["--format", "png" if reference.suffix == ".png" else "ascii"]
    else:
        words += ["-0"]
    assert main(["replay", str(session), *words, "--provider", "cpu", "-o", str(output)]) == 0
    report = capsys.readouterr().err
    assert report.startswith("tui-gen: exact · ")
    assert ("the last line of the file is cut off" in report) == (session.parent.name == "killed")
    if reference.suffix == ".png":  # files may be compressed in other ways
        assert _pixels(output) == _pixels(reference)
    else:
        assert _texts(output) == _texts(reference)


def later_cats(folder: Path, graph: bytes, *, replaces: bool = True) -> Path:
    """The released model of cats in a newer file."""
    shutil.copytree(RELEASED / "models" / "cats", folder)
    card = read_card(folder)
    (folder / "model.onnx").write_bytes(graph)
    card = replace(card, sha256=digest(graph), replaces=(card.sha256,) if replaces else ())
    (folder / "config.json").write_text(card.to_json(), encoding="utf-8")
    return folder


def replay_with(models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit status of the replay of a released session with other models, and what it says."""
    monkeypatch.setenv("TUI_GEN_MODELS", str(models))
    status = main(["replay", str(RELEASED / "sessions" / "text" / "session.jsonl"), "--provider", "cpu"])
    return status, capsys.readouterr().err


def test_a_released_session_is_replayed_on_a_later_file_of_the_same_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = (RELEASED / "models" / "cats" / "model.onnx").read_bytes()
    later_cats(tmp_path / "same" / "kittens", with_metadata(graph, {"name": "cats"}))
    status, report = replay_with(tmp_path / "same", monkeypatch, capsys)
    assert status == 0
    assert report.startswith("tui-gen: exact · made with an earlier file of cats · cats · CPU")


def test_where_a_later_file_parts_from_the_earlier_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = toys.BIGRAMS.copy()
    table[toys.SAT, toys.DOT] -= 1
    later_cats(tmp_path / "cats", toys.text_graph(table, growth=-1.0))
    status, report = replay_with(tmp_path, monkeypatch, capsys)
    assert status == 1
    assert re.match(r"tui-gen: not exact: branch .+ differs from .* made with an earlier file of cats", report)


def warm_stripes(folder: Path, tokens: int, **card: Any) -> Path:
    """Stripes by a network that reads so many tokens before the first pixel."""
    image = {**toys.IMAGE, "warm_up": [toys.WARM_UP] * tokens}
    return toys.image_folder(folder, graph=toys.image_graph(ahead=tokens), image=image, **card)


@pytest.mark.parametrize(("tokens", "later"), [(2, 5), (5, 2), (2, 2)])
def test_a_session_of_pictures_is_replayed_on_a_file_that_warms_up_longer_or_shorter(
    tokens: int, later: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = open_model(warm_stripes(tmp_path / "before", tokens), provider="cpu")
    tree, hot = JournaledTree(before, tmp_path / "journals"), SamplingParams(5.0)
    head = before.codec.prompt(["bright"]).shape[1]
    first = tree.go(tree.start("bright", samples=2, params=hot), head + 9, hot)
    tree.go(first, 15, SamplingParams(2.5))
    second = tree.go(tree.leave(first, head + 5, np.array([[1, FREE], [FREE, 0]])), 12)
    tree.go(tree.leave(second, head + 9, seed=8), 9, hot)
    session = tree.saved(tmp_path / "session.jsonl")
    graph = (tmp_path / "before" / "model.onnx").read_bytes()
    warm_stripes(tmp_path / "models" / "later", later, replaces=[digest(graph)], description="later")
    monkeypatch.setenv("TUI_GEN_MODELS", str(tmp_path / "models"))
    assert main(["replay", str(session), "--provider", "cpu", "--format", "ascii"]) == 0
    report = capsys.readouterr()
    assert report.err.startswith("tui-gen: exact · ")
    again = open_model(tmp_path / "models" / "later", provider="cpu")
    made = Replay(read_session(session), again)
    for _ in made.run():
        pass
    assert made.exact
    shift = later - tokens
    for number, branch in enumerate((first, second)):
        other = list(made.branches.values())[number]
        assert len(other) == len(branch) + shift
        assert np.array_equal(other.tokens[head + shift :], branch.tokens[head:])
        assert [at - shift for at, _ in other.turns[1:]] == [at for at, _ in branch.turns[1:]]


def test_a_file_that_does_not_say_what_it_replaces_is_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    later_cats(tmp_path / "cats", toys.text_graph(growth=-1.0), replaces=False)
    status, report = replay_with(tmp_path, monkeypatch, capsys)
    assert status == 1
    assert "has another model.onnx" in report


@pytest.mark.parametrize("name", ["text", "sweeps", "pictures"])
def test_a_session_of_a_released_version_is_written_as_it_was(name: str) -> None:
    folder = RELEASED / "sessions" / name
    reference = (folder / "session.jsonl").read_text(encoding="ascii").splitlines()
    for file in ("session.jsonl", "journal.jsonl"):
        session = read_session(folder / file)
        assert session.version == "0.1.0"
        assert session_text(session).splitlines()[1:] == reference[1:]


@pytest.mark.parametrize("name", GENERATED)
def test_a_model_folder_of_a_released_version_opens_and_generates_the_same(name: str, tmp_path: Path) -> None:
    folder = RELEASED / "checkpoints" / name / "exported" if name in EXPORTED else RELEASED / "models" / name
    words = (*GENERATED[name], "-n", "2", "--seed", "3", "--provider", "cpu", "-o", str(tmp_path / "output"))
    assert main(["generate", str(folder), *words, *([] if "--format" in words else ["-0"])]) == 0
    assert _texts(tmp_path / "output") == _texts(RELEASED / "generated" / f"{name}.txt")
