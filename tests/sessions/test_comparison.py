"""Models side by side in one session: what stands beside a branch, how that is written, read and made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import toys
from tests.support.journals import grow
from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch
from tui_gen.library import LoadedModel, open_model
from tui_gen.sampling.params import FREE, SamplingParams
from tui_gen.sessions import journal
from tui_gen.sessions.file import model_folders, read_session, session_text
from tui_gen.sessions.replay import Replay, grow_along, replay
from tui_gen.sessions.session import Session
from tui_gen.sessions.workspace import Workspace

KNOBS = SamplingParams(1.2)
Lines = list[Any]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return open_model(toys.running_text_folder(tmp_path_factory.mktemp("models") / "running"), provider="cpu")


@pytest.fixture
def first(endless: LoadedModel, tmp_path: Path) -> Workspace:
    return Workspace(endless, folder=tmp_path / "journals")


@pytest.fixture
def saved(first: Workspace, running: LoadedModel, text: LoadedModel, tmp_path: Path) -> Path:
    """A session in which branch 2 stands beside those of two other models; branch 1 stands alone."""
    run(first)
    branch = run(first)
    for model in (running, text):
        go(*first.compare(branch, model))
    first.show(branch)
    first.journal.save(tmp_path / "saved.jsonl")
    return tmp_path / "saved.jsonl"


def run(workspace: Workspace, prompt: str = "the", *, samples: int = 2, length: int = 40) -> Branch:
    return go(workspace, workspace.start(prompt, samples=samples, params=KNOBS, seed=3, length=length))


def go(workspace: Workspace, branch: Branch) -> Branch:
    grow(branch, limit=workspace.limit(branch))
    workspace.note_growth(branch, resting=True)
    return branch


def test_another_model_plays_the_same_prompt_with_the_same_random_numbers(
    first: Workspace, running: LoadedModel, endless: LoadedModel
) -> None:
    branch = run(first)
    companion, other = first.compare(branch, running)
    assert (other.name, other.start.text, other.start.seed, other.samples) == ("1", "the", 3, 2)
    assert len(go(companion, other)) == len(branch)  # as long
    alone = run(Workspace(running, folder=first.journal.path and first.journal.path.parent))
    assert other.tokens.tolist() == alone.tokens.tolist()
    assert first.columns(branch) == [(first, branch), (companion, other)]
    comparison = first.comparison(branch)
    assert comparison
    assert comparison is first.comparison(branch)
    comparison.update()
    [_, divergence] = comparison.divergences
    assert divergence is not None
    assert divergence.total(0) > 0


def test_a_branch_stands_alone_again_and_what_was_made_beside_it_comes_back(
    first: Workspace, running: LoadedModel
) -> None:
    branch = run(first)
    _, other = first.compare(branch, running)
    first.separate(branch)
    assert first.comparison(branch) is None
    assert first.columns(branch) == [(first, branch)]
    assert first.journal.session.compared(first.journal.session.records[1]) == [first.journal.session.records[1]]
    assert first.compare(branch, running)[1] is other


def test_what_happens_to_a_branch_happens_to_those_beside_it(first: Workspace, running: LoadedModel) -> None:
    run(first)
    branch = run(first)
    companion, other = first.compare(branch, running)
    first.rename("2", "cats")
    assert other.name == "cats"
    first.delete("cats")
    assert len(companion.tree) == 0
    assert [record.deleted for record in first.journal.session.records.values()] == [False, True, True]
    assert json.loads(session_text(first.journal.session).splitlines()[0])["format"] == 1


def test_what_cannot_stand_beside_a_branch_is_refused_and_nothing_is_noted(
    first: Workspace, running: LoadedModel, image: LoadedModel, text: LoadedModel, letters: LoadedModel
) -> None:
    branch = run(first)
    left = first.resample(branch, 9, KNOBS)
    before = session_text(first.journal.session)
    for against, model, fault in (
        (branch, first.loaded_model, "endless is this model itself; choose another one"),
        (branch, image, "endless writes text and image draws pictures; models of one kind can be compared"),
        (branch, letters, "letters has never seen 't'"),
        (left, running, "it left another branch; compare the one that it comes from"),
    ):
        with pytest.raises(TuiGenError, match=fault):
            first.compare(against, model)
    assert session_text(first.journal.session) == before
    first.compare(branch, running)
    first.compare(branch, text)
    with pytest.raises(TuiGenError, match="running stands beside it already"):
        first.compare(branch, running)
    with pytest.raises(TuiGenError, match="at most 3 models are compared at once, not 4"):
        first.compare(branch, letters)


@pytest.fixture(scope="module")
def letters(toy_models: Path) -> LoadedModel:
    return open_model(toy_models / "letters", provider="cpu")


def test_a_picture_that_one_model_completes_is_completed_by_the_other(image: LoadedModel, tmp_path: Path) -> None:
    flipped = toys.image_folder(tmp_path / "flipped", graph=toys.image_graph(toys.STRIPES[::-1]))
    workspace = Workspace(image, folder=tmp_path / "journals")
    levels = np.full((toys.HEIGHT, toys.WIDTH), FREE)
    levels[1] = 1
    branch = go(workspace, workspace.complete("bright", levels, samples=2, params=KNOBS, seed=1))
    companion, other = workspace.compare(branch, open_model(flipped, provider="cpu"))
    drawn = go(companion, other).tokens[companion.head(other) :].reshape(toys.HEIGHT, toys.WIDTH, 2)
    assert (drawn[1] == 1).all()
    assert (drawn[2] != 1).any()
    palette = {**toys.IMAGE, "palette": [[0, 0, 0], [0, 0, 255], [255, 255, 255]]}
    blue = open_model(toys.image_folder(tmp_path / "blue", image=palette), provider="cpu")
    with pytest.raises(TuiGenError, match="blue has other levels, so it cannot complete a picture of image"):
        workspace.compare(branch, blue)


def test_one_model_is_written_as_older_versions_read_it_and_several_in_format_2(saved: Path) -> None:
    header, *events = map(json.loads, saved.read_text().splitlines())
    assert header["format"] == 2
    assert [(model["name"], model["kind"]) for model in header["models"]] == [
        ("endless", "text"),
        ("running", "text"),
        ("text", "text"),
    ]
    begun = [event for event in events if event["event"] == "begun"]
    assert [(event["name"], event.get("model", 0)) for event in begun] == [("1", 0), ("2", 0), ("2", 1), ("2", 2)]
    assert events[-2:] == [{"event": "compared", "branches": [2, 3, 4]}, {"event": "shown", "branch": 2}]


def test_a_session_of_several_models_is_read_and_made_again(
    saved: Path, endless: LoadedModel, running: LoadedModel, text: LoadedModel, first: Workspace
) -> None:
    session = read_session(saved)
    assert session_text(session) == saved.read_text()
    assert session.chosen().number == 2
    assert session.chosen("2").model == 0
    made = replay(session, endless, {1: running, 2: text})
    assert made.exact
    workspace = Workspace.of_replay(endless, made)
    branch = workspace.tree["2"]
    columns = workspace.columns(branch)
    assert [column.loaded_model for column, _ in columns] == [endless, running, text]
    for (_, made_again), (_, before) in zip(columns, first.columns(first.tree["2"]), strict=True):
        assert made_again.tokens.tolist() == before.tokens.tolist()
    assert len(workspace.columns(workspace.tree["1"])) == 1
    assert session_text(workspace.journal.session) == saved.read_text()


def test_the_journal_becomes_a_file_of_format_2_with_the_second_model(
    first: Workspace, running: LoadedModel, endless: LoadedModel, text: LoadedModel
) -> None:
    branch = run(first)
    path = first.journal.path
    assert path
    assert json.loads(path.read_text().splitlines()[0])["format"] == 1
    go(*first.compare(branch, running))
    go(first, first.resample(branch, 9, SamplingParams(0.5)))
    session = read_session(path)
    assert [model.name for model in session.models] == ["endless", "running"]
    assert replay(session, endless, {1: running}).exact
    go(*first.compare(branch, text))
    assert replay(read_session(path), endless, {1: running, 2: text}).exact
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_disk_that_fails_then_leaves_the_journal_as_it_was(
    first: Workspace, running: LoadedModel, endless: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    branch = run(first)
    monkeypatch.setattr(journal.Path, "replace", fail)
    go(*first.compare(branch, running))
    assert first.journal.fault.endswith("No space left on device")
    assert first.journal.path
    assert replay(read_session(first.journal.path), endless).exact
    assert len(list(first.journal.path.parent.iterdir())) == 1


def test_what_another_model_made_otherwise_is_said_with_its_name(
    saved: Path, endless: LoadedModel, running: LoadedModel, text: LoadedModel
) -> None:
    made = replay(read_session(saved), endless, {1: endless, 2: text})
    assert not made.exact
    assert str(made.differences[0]).startswith("branch 2 of running differs from somewhere between token ")
    with pytest.raises(TuiGenError, match=r"made with the model 'text' \(sha256 .*\) too, which is not open"):
        Replay(read_session(saved), endless, {1: running})


def test_a_branch_is_made_beside_another_with_the_knobs_turned_where_they_were_there(
    first: Workspace, running: LoadedModel
) -> None:
    branch = first.start("the", samples=1, params=KNOBS, seed=3, length=60)
    grow(grow(branch, 21), 30, SamplingParams(0.1))
    _, other = first.compare(branch, running)
    for _ in grow_along(other, branch):
        pass
    assert len(other) == len(branch)
    assert other.turns == branch.turns


@pytest.fixture
def read(saved: Path) -> Callable[[Lines], Session]:
    """Reads lines from a file."""

    def read(lines: Lines) -> Session:
        saved.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return read_session(saved)

    return read


HEADER, FIRST, OTHER, COMPARED = 0, 1, 5, -2


@pytest.mark.parametrize(
    ("line", "change", "fault"),
    [
        (HEADER, {"format": 1}, "line 1: 'model' is missing"),
        (HEADER, {"models": None}, "line 1: 'models' must be 1 to 1000 objects"),
        (HEADER, {"models": [5]}, "line 1: 'models' must be 1 to 1000 objects"),
        (HEADER, {"models": [{}] * 1001}, "line 1: 'models' must be 1 to 1000 objects"),
        (HEADER, {"models": [{"name": "a", "kind": "sound"}]}, "line 1: 'models.kind' must be text or image"),
        (HEADER, {"models": [{"name": "a", "kind": "text"}]}, "line 1: 'models.sha256' is missing"),
        (OTHER, {"model": 3}, "line 6: 'model' names a model that is unknown: 3"),
        (OTHER, {"model": -1}, "line 6: 'model' must be a whole number of at least 0, not -1"),
        (OTHER, {"model": 10**60}, "line 6: 'model' must be a whole number"),
        (OTHER, {"model": True}, "line 6: 'model' must be a whole number"),
        (OTHER, {"model": 0}, "line 6: 'name' is that of another branch: '2'"),
        (OTHER, {"parent": 1, "at": 3}, "line 6: 'parent' names a branch of another model: 1"),
        (COMPARED, {"branches": []}, "'branches' must be the numbers of 1 to 3 branches, not"),
        (COMPARED, {"branches": [2, 3, 4, 1]}, "'branches' must be the numbers of 1 to 3 branches, not"),
        (COMPARED, {"branches": [2, True]}, "'branches' must be the numbers of 1 to 3 branches, not"),
        (COMPARED, {"branches": [2, [3]]}, "'branches' must be the numbers of 1 to 3 branches, not"),
        (COMPARED, {"branches": [2, 10**2000]}, "'branches' names a branch that is unknown: 1000"),
        (COMPARED, {"branches": [2, 2]}, "'branches' must be one of the first model and then each of another one"),
        (COMPARED, {"branches": [3, 2]}, "'branches' must be one of the first model and then each of another one"),
    ],
)
def test_a_damaged_comparison_is_named_with_what_is_wrong(
    line: int, change: dict[str, Any], fault: str, saved: Path, read: Callable[[Lines], Session]
) -> None:
    lines = [json.loads(each) for each in saved.read_text().splitlines()]
    lines[line] |= change
    with pytest.raises(TuiGenError, match=fault) as caught:
        read(lines)
    assert len(str(caught.value)) < 400


def test_branches_of_other_sizes_or_kinds_are_not_compared(saved: Path, read: Callable[[Lines], Session]) -> None:
    lines = [json.loads(each) for each in saved.read_text().splitlines()]
    lines[HEADER]["models"][1]["kind"] = "image"
    with pytest.raises(TuiGenError, match="'branches' must have as many samples, and all be text or all pictures"):
        read(lines)


def test_all_models_of_a_session_are_found(
    saved: Path, toy_models: Path, running: LoadedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TUI_GEN_MODELS", str(toy_models))
    session = read_session(saved)
    with pytest.raises(
        TuiGenError, match=r"the model 'running' \(sha256 .*\) is not installed; --model takes its fold"
    ):
        model_folders(session, [], anyway=False)
    folders, _, replaced = model_folders(session, [str(running.path)], anyway=False)
    assert (folders, replaced) == ({0: toy_models / "endless", 1: running.path, 2: toy_models / "text"}, [])
    other = toys.text_folder(tmp_path / "other" / "running", graph=toys.text_graph(growth=1.0))
    with pytest.raises(
        TuiGenError, match=r"made with the model 'running' .* has another model.onnx .*--anyway plays it"
    ):
        model_folders(session, [str(other)], anyway=False)
    folders, _, replaced = model_folders(session, [str(other), str(running.path)], anyway=True)
    assert (folders[0], folders[1], [model.name for model in replaced]) == (other, running.path, ["endless"])
    with pytest.raises(TuiGenError, match="the session has 3 models, and --model names more"):
        model_folders(session, ["text"] * 4, anyway=True)


def test_a_deleted_comparison_needs_no_other_model(saved: Path, endless: LoadedModel) -> None:
    lines = saved.read_text() + "".join(f'{{"event": "deleted", "branch": {number}}}\n' for number in (3, 4))
    saved.write_text(lines)
    session = read_session(saved)
    assert session.needed_models() == [0]
    assert session.compared(session.records[2]) == [session.records[2]]
    assert replay(session, endless).exact
