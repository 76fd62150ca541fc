"""What is done to a state is written to a session, read with care, and done again when it is replayed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Run
from tests.support import toys
from tests.support.journals import grow
from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch
from tui_gen.generation.describe import describe
from tui_gen.generation.surgery import Forget, Hold, Intervention, Take
from tui_gen.library import LoadedModel, open_model, shipped_folder
from tui_gen.sampling.params import SamplingParams
from tui_gen.sessions.command import command_for
from tui_gen.sessions.file import read_session, session_text
from tui_gen.sessions.records import intervention_from_json, intervention_to_json
from tui_gen.sessions.replay import Replay, replay, retold
from tui_gen.sessions.workspace import Workspace

Lines = list[Any]
RUN = """
import sys
from pathlib import Path
from tests.support.journals import grow
from tui_gen.generation.surgery import Forget, Hold, Take
from tui_gen.library import open_model
from tui_gen.sampling.params import SamplingParams
from tui_gen.sessions.workspace import Workspace
workspace = Workspace(open_model(Path(sys.argv[1]), provider="cpu", threads=1), folder=Path(sys.argv[2]))
first = grow(workspace.start("apple pie", samples=2, params=SamplingParams(0.8), seed=5, length=400), 50)
branch = workspace.operate(first, 20, Take(first, 9), Hold("c", 0, 7, 1.5))
while True:
    grow(branch, 5)
    workspace.note_growth(branch, resting=True)
    print(len(branch), flush=True)
"""


@pytest.fixture(scope="module")
def recipes() -> LoadedModel:
    """An LSTM."""
    return open_model(shipped_folder() / "recipes-lstm", provider="cpu", threads=1)


@pytest.fixture
def workspace(recipes: LoadedModel, tmp_path: Path) -> Workspace:
    """Branches of two samples: 1; forgetful, that left it; 3, which takes a state of 1 and holds a unit; 4 that left 3,
    and 5 with another prompt, which takes a state of 4.
    """
    workspace = Workspace(recipes, folder=tmp_path / "journals")

    def go(branch: Branch, count: int = 40) -> Branch:
        grow(branch, count)
        workspace.note_growth(branch, resting=True)
        return branch

    params = SamplingParams(0.8)
    first = go(workspace.start("apple pie", samples=2, params=params, seed=5, length=400), 60)
    workspace.rename(go(workspace.operate(first, 20, Forget("c", 0))).name, "forgetful")
    third = go(workspace.operate(first, 25, Take(first, 8), Hold("h", 0, 7, 0.1 + 0.2)))
    fourth = go(workspace.resample(third, 40, SamplingParams(1.2), seed=9))
    fifth = go(workspace.start("chocolate cake", samples=2, params=params, seed=6, length=400))
    workspace.show(go(workspace.operate(fifth, 12, Take(fourth, len(fourth)))))
    return workspace


def lines_of(workspace: Workspace, path: Path) -> Lines:
    workspace.journal.save(path)
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_same(one: Branch, other: Branch) -> None:
    assert one.name == other.name
    assert one.tokens.tolist() == other.tokens.tolist()
    assert [each.position for each in one.operations] == [each.position for each in other.operations]
    for position in range(0, len(one), 7):
        pair = (branch.point(position).state.arrays() for branch in (one, other))
        live = one.runs_at(position)
        for left, right in zip(*pair, strict=True):
            np.testing.assert_allclose(left[live], right[live], atol=1e-5)


def assert_made_again(workspace: Workspace, made: Replay) -> None:
    assert made.exact
    for left, right in zip(workspace.tree.rows(), made.tree.rows(), strict=True):
        assert_same(left.branch, right.branch)
        codec = workspace.loaded_model.codec
        assert describe(left.branch, codec) == describe(right.branch, codec)


def test_branches_come_out_as_they_were_from_the_journal_and_from_what_is_saved(
    workspace: Workspace, tmp_path: Path
) -> None:
    workspace.journal.save(tmp_path / "saved.jsonl")
    assert workspace.journal.path
    for path in (workspace.journal.path, tmp_path / "saved.jsonl"):
        made = replay(read_session(path), workspace.loaded_model)
        assert_made_again(workspace, made)
        again = Workspace.of_replay(workspace.loaded_model, made)
        assert session_text(again.journal.session) == session_text(read_session(path))
    for branch in (workspace.tree["3"], made.tree["3"]):
        grow(branch, 30)
    assert_same(workspace.tree["3"], made.tree["3"])


def test_what_leaves_a_branch_and_what_takes_its_state_outlives_it(workspace: Workspace, tmp_path: Path) -> None:
    for name in ("3", "4", "1"):
        workspace.delete(name)
    text = describe(workspace.tree["6"], workspace.loaded_model.codec)
    assert text == "take the state that a deleted branch has at token 76 at token 8"
    workspace.journal.save(tmp_path / "saved.jsonl")
    assert workspace.journal.path
    for path in (workspace.journal.path, tmp_path / "saved.jsonl"):
        session = read_session(path)
        assert len(session.needed()) == 6
        assert_made_again(workspace, replay(session, workspace.loaded_model))
    workspace.delete("6")
    assert len(workspace.journal.session.needed()) == 3


def test_what_is_read_again_says_what_was_drawn_from(workspace: Workspace) -> None:
    branch = workspace.tree["3"]
    steps = list(retold(branch))
    for position in (10, 25, 26, 27, 60):
        seen, live = branch.look(position), branch.live[position]
        np.testing.assert_allclose(steps[position - 1].probs[live], seen.probs[live], atol=1e-4)


def test_lines_say_what_is_done_and_older_versions_are_kept_away(workspace: Workspace, tmp_path: Path) -> None:
    header, *lines = lines_of(workspace, tmp_path / "saved.jsonl")
    assert (header["format"], len(header["models"])) == (3, 1)
    begun = [line.get("interventions") for line in lines if line["event"] == "begun"]
    assert begun == [
        None,
        [{"sort": "forget", "part": "c", "layer": 0}],
        [
            {"sort": "take", "donor": 1, "position": 8},
            {"sort": "hold", "part": "h", "layer": 0, "unit": 7, "value": 0.1 + 0.2},
        ],
        None,
        None,
        [{"sort": "take", "donor": 4, "position": len(workspace.tree["4"])}],
    ]
    assert workspace.journal.path
    journal = workspace.journal.path.read_text().splitlines()
    assert json.loads(journal[0]) == header
    for name in ("6", "forgetful", "3", "4"):
        workspace.delete(name)
    header, *lines = lines_of(workspace, tmp_path / "plain.jsonl")
    assert header["format"] == 1
    assert not any("interventions" in line for line in lines)


def test_a_journal_of_several_models_tells_of_both(
    workspace: Workspace, endless: LoadedModel, text: LoadedModel, tmp_path: Path
) -> None:
    own = Workspace(endless, folder=tmp_path / "others")
    first = grow(own.start("the", samples=1, params=SamplingParams(1.2), seed=5, length=40), 30)
    gone = own.operate(first, 9, Forget("count"))
    own.delete(gone.name)
    own.compare(first, text)
    assert own.journal.path
    assert json.loads(own.journal.path.read_text().splitlines()[0])["format"] == 2
    grow(own.operate(first, 9, Forget("count")), 20)
    own.close()
    made = replay(read_session(own.journal.path), endless, {1: text})
    assert made.exact
    assert json.loads(own.journal.path.read_text().splitlines()[0])["format"] == 3


@pytest.fixture
def lines(workspace: Workspace, tmp_path: Path) -> Lines:
    """The lines of its file; those with interventions are the begun ones of branches 2, 3 and 6."""
    return lines_of(workspace, tmp_path / "lines.jsonl")


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Lines], Any]:
    def read(lines: Lines) -> Any:
        path = tmp_path / "changed.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return read_session(path)

    return read


def begun(lines: Lines, number: int) -> dict[str, Any]:
    return next(line for line in lines if (line.get("event"), line.get("branch")) == ("begun", number))


HOLD = {"sort": "hold", "part": "h", "layer": 0, "unit": 7, "value": 0.5}
TAKE = {"sort": "take", "donor": 1, "position": 3}


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (3, "'interventions' must be a list, not 3"),
        ([3], "'interventions' cannot be used: an intervention must be an object, not 3"),
        ([{}], "'interventions' cannot be used: 'sort' is missing"),
        ([{"sort": "kill"}], "'sort' must be one of forget, hold, take, not 'kill'"),
        ([{"sort": ["take"]}], "'sort' must be text"),
        ([{"sort": "forget", "layer": -1}], "'layer' must be a whole number of at least 0, not -1"),
        ([{"sort": "forget", "layer": True}], "'layer' must be a whole number of at least 0, not True"),
        ([{"sort": "forget", "layer": 2**31}], "'layer' must be a whole number of at least 0"),
        ([{"sort": "forget", "part": 5}], "'part' must be text, not 5"),
        ([{"sort": "forget", "part": "h" * 201}], "'part' must have at most 200 characters"),
        ([{**HOLD, "layer": None}], "'layer' is missing"),
        ([{**HOLD, "unit": 1.5}], "'unit' must be a whole number"),
        ([{**HOLD, "unit": None}], "'unit' is missing"),
        ([{**HOLD, "value": None}], "'value' must be a finite number, not None"),
        ([{**HOLD, "value": True}], "'value' must be a finite number, not True"),
        ([{**HOLD, "value": float("nan")}], "'value' must be a finite number, not nan"),
        ([{**HOLD, "value": 10**400}], "'value' must be a finite number, not 1000"),
        ([{**HOLD, "value": "0.5"}], "'value' must be a finite number, not '0.5'"),
        ([{**TAKE, "donor": 3}], "takes a state that '1' cannot have, of branch 3 at position 3"),
        ([{**TAKE, "donor": 99}], "takes a state that '1' cannot have, of branch 99 at position 3"),
        ([{**TAKE, "donor": None}], "'donor' is missing"),
        ([{**TAKE, "donor": "1"}], "'donor' must be a whole number"),
        ([{**TAKE, "position": -1}], "'position' must be a whole number of at least 0"),
        ([{**TAKE, "position": 10**6}], "takes a state that '1' cannot have, of branch 1 at position 1000000"),
        ([HOLD] * 65, "'interventions' must be at most 64, not 65"),
    ],
)
def test_what_cannot_be_done_is_told_with_its_line(
    values: Any, fault: str, lines: Lines, read: Callable[[Lines], Any]
) -> None:
    begun(lines, 3)["interventions"] = values
    with pytest.raises(TuiGenError) as caught:
        read(lines)
    number = lines.index(begun(lines, 3)) + 1
    assert f"line {number}: 'interventions'" in str(caught.value)
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_a_branch_that_left_another_one_may_have_them(lines: Lines, read: Callable[[Lines], Any]) -> None:
    begun(lines, 1)["interventions"] = [HOLD]
    with pytest.raises(TuiGenError, match="line 2: 'interventions' must be left out of a branch that left no other"):
        read(lines)
    begun(lines, 1)["interventions"] = []
    read(lines)


def test_a_donor_has_as_many_samples_and_the_same_model(lines: Lines, read: Callable[[Lines], Any]) -> None:
    single = {**begun(lines, 1), "branch": 90, "name": "single", "samples": 1}
    begun(lines, 3)["interventions"] = [{"sort": "take", "donor": 90, "position": 1}]
    with pytest.raises(TuiGenError, match="takes a state that '1' cannot have, of branch 90 at position 1"):
        read([*lines[:2], single, *lines[2:]])
    other = {**single, "samples": 2, "model": 1}
    about = {**lines[0], "models": lines[0]["models"] * 2}
    with pytest.raises(TuiGenError, match="takes a state that '1' cannot have, of branch 90 at position 1"):
        read([about, lines[1], other, *lines[2:]])
    read([*lines[:2], {**single, "samples": 2}, *lines[2:]])


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({**HOLD, "layer": 1}, "h has layer 1 alone, not layer 2"),
        ({**HOLD, "unit": 128}, "h of layer 1 has units 0 to 127, not 128"),
        ({**HOLD, "part": "\x1b[2J"}, "a unit of h or c can be held, not of"),
        ({**HOLD, "value": 1e300}, "a unit cannot be held at 1e\\+300"),
        ({"sort": "forget", "part": "count"}, "the state has no part 'count' that can be changed, but h, c"),
    ],
)
def test_what_this_model_does_not_have_is_refused_before_anything_is_made(
    value: Any, fault: str, lines: Lines, read: Callable[[Lines], Any], recipes: LoadedModel
) -> None:
    begun(lines, 3)["interventions"] = [value]
    with pytest.raises(TuiGenError, match=f"branch '3' cannot be made with recipes-lstm: {fault}"):
        Replay(read(lines), recipes)


def test_random_damage_is_told_or_harmless(
    lines: Lines, read: Callable[[Lines], Any], recipes: LoadedModel, tmp_path: Path
) -> None:
    rng, faults = np.random.default_rng(0), list[str]()
    number, path = lines.index(begun(lines, 3)), tmp_path / "damaged.jsonl"
    rows = [json.dumps(line) for line in lines]
    first, end = rows[number].index("interventions"), rows[number].index("samples")
    for at in rng.integers(first, end, 300).tolist():
        piece = str(rng.choice([*'{}[],:"0-9e.x', "null", "1e999", "NaN"]))
        damage = rows[number][:at] + piece + rows[number][at + 1 :]
        path.write_text("\n".join([*rows[:number], damage, *rows[number + 1 :]]) + "\n")
        try:
            Replay(read_session(path), recipes)
        except TuiGenError as fault:
            faults.append(str(fault))
    assert len(faults) > 100
    assert not any("\n" in fault for fault in faults)


@pytest.mark.parametrize(
    "intervention",
    [Forget(), Forget("h"), Forget("c", 3), Hold("h", 1, 2, -1e-30), Hold("c", 0, 0, 1 / 3), Take(7, 31)],
)
def test_an_intervention_comes_back_exactly(intervention: Intervention) -> None:
    assert intervention_from_json(json.loads(json.dumps(intervention_to_json(intervention)))) == intervention


def test_a_branch_whose_donor_ends_before_on_another_model_is_left_out(endless: LoadedModel, tmp_path: Path) -> None:
    shapes = {"h": (1, 3)}
    facts = {"graph": toys.layered_graph(**shapes), "eos": None}
    model = open_model(toys.text_folder(tmp_path / "layered", **facts), provider="cpu")
    own = Workspace(model, folder=tmp_path / "journals")
    first = grow(own.start("the", samples=1, params=SamplingParams(0.0), seed=5, length=400), 90)
    own.operate(first, 3, Take(first, 80))
    ending = open_model(
        toys.text_folder(tmp_path / "ending", graph=toys.layered_graph(**shapes), eos=toys.CAT), provider="cpu"
    )
    made = replay(read_session(own.journal.path or tmp_path), ending)
    assert not made.exact
    assert list(map(str, made.differences))[1] == "branch 2 differs from token 3 on"


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_killed_program_leaves_what_was_done(recipes: LoadedModel, tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN, str(recipes.path), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        for _ in range(10):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    [path] = tmp_path.iterdir()
    made = replay(read_session(path), recipes)
    assert made.exact
    assert len(made.tree["2"]) >= 21 + 9 * 5
    assert (made.tree["2"].look(40).state.arrays()[1][:, 0, 7] == 1.5).all()


def test_a_replay_writes_the_branch_again_and_lists_what_was_done(
    workspace: Workspace, tui_gen: Run, tmp_path: Path
) -> None:
    workspace.journal.save(tmp_path / "saved.jsonl")
    done = tui_gen("replay", str(tmp_path / "saved.jsonl"), "--branch", "4", "-0")
    assert done.returncode == 0, done.stderr
    *surgery, report = done.stderr.decode().splitlines()
    assert surgery == [
        "tui-gen: branch 4: take the state that branch 1 has at token 4 at token 21",
        "tui-gen: branch 4: hold unit 7 of h of layer 1 at 0.3 from token 21",
    ]
    assert report.startswith("tui-gen: exact · recipes-lstm · CPU")
    codec, branch = workspace.loaded_model.codec, workspace.tree["4"]
    texts = [codec.reader().read_all(branch.tokens[1:, at][branch.live[1:, at]].tolist()) for at in range(2)]  # type: ignore[union-attr]
    assert done.stdout.decode().split("\0")[:2] == texts
    rows = tui_gen("replay", str(tmp_path / "saved.jsonl"), "--branch", "4", "--format", "jsonl").stdout.splitlines()
    facts = [json.loads(row) for row in rows]
    position = facts[60]["index"] + branch.head
    np.testing.assert_allclose(facts[60]["logprob"], branch.look(position).logprob[facts[60]["sample"]], atol=1e-3)


def test_no_single_command_makes_it_and_that_is_said(workspace: Workspace) -> None:
    for name, reason in (
        ("forgetful", "its state was changed: forget c of layer 1 at token 16"),
        ("4", "its state was changed: take the state that branch 1 has at token 4 at token 21, hold unit 7 of h of"),
    ):
        answer = command_for("recipes-lstm", workspace.loaded_model, workspace.tree[name])
        assert answer.command is None
        assert answer.reason.startswith(reason)


def test_a_workspace_refuses_what_cannot_follow(
    workspace: Workspace, recipes: LoadedModel, image: LoadedModel, tmp_path: Path
) -> None:
    first = workspace.tree["1"]
    stranger = Workspace(recipes, folder=tmp_path / "other")
    donor = grow(stranger.start("apple pie", samples=2, params=SamplingParams(), seed=5, length=9), 9)
    with pytest.raises(TuiGenError, match="branch 1 is not among those of recipes-lstm"):
        workspace.operate(first, 9, Take(donor, 3))
    with pytest.raises(TuiGenError, match="there is no token at position 1000"):
        workspace.operate(first, 1000, Forget())
    with pytest.raises(TuiGenError, match="h has layer 1 alone, not layer 5"):
        workspace.operate(first, 9, Forget("h", 4))
    count = len(workspace.tree)
    own = Workspace(image, folder=tmp_path / "pictures")
    picture = grow(own.start("bright", samples=1, params=SamplingParams(3.0), seed=5, length=None), limit=26)
    with pytest.raises(TuiGenError, match="nothing is drawn after this pixel"):
        own.operate(picture, len(picture) - 1, Forget("condition"))
    assert own.operate(picture, 9, Forget("condition")).start.at == 10
    assert len(workspace.tree) == count


def test_a_branch_that_was_operated_on_is_not_compared_with_other_models(
    workspace: Workspace, text: LoadedModel
) -> None:
    first = workspace.tree["1"]
    other = workspace.operate(first, 0, Hold("h", 0, 1, 1))
    workspace.delete("1")
    with pytest.raises(TuiGenError, match="it left another branch"):
        workspace.compare(other, text)


def test_seed_and_knobs_are_those_of_the_branch_where_it_leaves(workspace: Workspace) -> None:
    branch = workspace.tree["4"]
    grow(branch, 10, SamplingParams(0.3))
    other = workspace.operate(branch, len(branch) - 3, Forget())
    assert other.start.seed == branch.start.seed == 9
    assert other.start.params == SamplingParams(0.3)
    assert workspace.limit(other) == workspace.limit(branch)
