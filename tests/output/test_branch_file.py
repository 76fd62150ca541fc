"""What is taken away of a branch: files and what is copied."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from tests.support import toys
from tests.support.journals import JournaledTree, grow
from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch
from tui_gen.generation.generate import generate
from tui_gen.images.codec import ImageCodec
from tui_gen.images.read import read_levels
from tui_gen.library import LoadedModel, open_model
from tui_gen.output.branch_file import clipboard_text, forms_of, picture_of, text_of, write_output
from tui_gen.output.writers import writer_for
from tui_gen.sampling.params import FREE, SamplingParams
from tui_gen.sessions.file import read_session
from tui_gen.sessions.workspace import Workspace
from tui_gen.terminal_text import listed

GREEDY = SamplingParams(0)


def grown(workspace: Workspace, branch: Branch, count: int | None = None) -> Branch:
    """The branch after so many tokens more, or at its end."""
    return grow(branch, count, limit=workspace.limit(branch))


def run(loaded_model: LoadedModel, prompt: str = "", *, samples: int = 1, count: int | None = None) -> Branch:
    workspace = Workspace(loaded_model)
    branch = workspace.start(prompt, samples=samples, params=SamplingParams(0.9), seed=5, length=30)
    return grown(workspace, branch, count)


def printed(loaded_model: LoadedModel, form: str, branch: Branch) -> str:
    """What `tui-gen generate` prints of the same run."""
    file, start = io.BytesIO(), branch.start
    writer = writer_for(loaded_model, form, branch.samples, file)
    length = loaded_model.codec.length(30)
    writer.write(list(generate(loaded_model.model, start.prompt, start.params, length=length, seed=start.seed)))
    writer.close()
    return file.getvalue().decode()


def test_a_text_is_written_as_generate_prints_it_and_never_in_the_place_of_another(
    text: LoadedModel, tmp_path: Path
) -> None:
    branch, path = run(text, "the", samples=3), tmp_path / "a.txt"
    write_output(path, text, branch)
    assert path.read_text("utf-8") == printed(text, "text", branch)
    with pytest.raises(TuiGenError, match=r"a\.txt exists already"):
        write_output(path, text, run(text, "the"))
    assert path.read_text("utf-8") == printed(text, "text", branch)


def test_a_text_that_ends_with_a_newline_gets_no_second_one(tmp_path: Path) -> None:
    letters = open_model(toys.character_folder(tmp_path / "letters", eos=None), provider="cpu")
    branch = run(letters, "ab\n", count=3)
    write_output(tmp_path / "a.txt", letters, branch)
    assert (tmp_path / "a.txt").read_text("utf-8") == "ab\n"


def test_a_sweep_is_written_under_its_values(text: LoadedModel, tmp_path: Path) -> None:
    workspace = Workspace(text)
    branch = grown(workspace, workspace.sweep("the", "temperature", params=SamplingParams(0.8), seed=1, length=5))
    write_output(tmp_path / "a.txt", text, branch)
    headings = [line for line in (tmp_path / "a.txt").read_text("utf-8").splitlines() if line.startswith("---")]
    assert headings == [f"--- temperature {value:.2f} ---" for value in (0.2, 0.5, 0.8, 1.1, 1.4)]


def test_a_picture_is_written_in_ascii_as_generate_prints_it(image: LoadedModel, tmp_path: Path) -> None:
    branch = run(image, samples=3)
    write_output(tmp_path / "a.TXT", image, branch)
    assert (tmp_path / "a.TXT").read_text("utf-8") == printed(image, "ascii", branch)


def test_a_png_has_the_pixels_that_were_drawn(image: LoadedModel, tmp_path: Path) -> None:
    branch = run(image, count=15)
    write_output(tmp_path / "a.png", image, branch)
    levels = np.full(24, FREE)
    levels[:15] = branch.tokens[1:, 0]
    np.testing.assert_array_equal(read_levels(tmp_path / "a.png", spec(image).image), levels.reshape(4, 6))


def test_a_gif_of_a_completion_begins_with_what_was_given(image: LoadedModel, tmp_path: Path) -> None:
    levels = toys.STRIPES.copy()
    levels[1:3] = FREE
    workspace = Workspace(image)
    branch = grown(workspace, workspace.complete("", levels, samples=1, params=GREEDY, seed=0), 8)
    write_output(tmp_path / "a.gif", image, branch)
    with Image.open(tmp_path / "a.gif") as opened:
        frames = [np.asarray(frame.convert("L"))[::85, ::85] for frame in ImageSequence.Iterator(opened)]
    np.testing.assert_array_equal(frames[0][[0, 3]], toys.STRIPE_GREYS[[0, 3]])
    assert len(frames) == 3, "the start, and two pixels that were free"
    np.testing.assert_array_equal(frames[-1][1, :2], toys.STRIPE_GREYS[1, :2])


def test_a_branch_appears_from_its_first_pixel_on_also_what_a_person_chose(image: LoadedModel) -> None:
    workspace = Workspace(image)
    parent = grown(workspace, workspace.start("", samples=1, params=GREEDY, seed=0, length=None))
    child = workspace.replace_tokens(parent, workspace.head(parent) + 2, 0, [0], GREEDY)
    child = grown(workspace, child)
    picture = picture_of(child, spec(image))
    assert not picture.given.any()
    assert picture.drawn == 24
    assert picture.rgb[0, 0, 2, 0] == 0


def test_what_a_branch_of_a_completion_was_given_stays_given(image: LoadedModel) -> None:
    levels = toys.STRIPES.copy()
    levels[1:3] = FREE
    workspace = Workspace(image)
    parent = grown(workspace, workspace.complete("", levels, samples=2, params=GREEDY, seed=0))
    child = workspace.replace_tokens(parent, workspace.head(parent) + 8, 1, [0], GREEDY)
    np.testing.assert_array_equal(picture_of(child, spec(image)).given, levels != FREE)


def test_pictures_in_colour_are_completed_by_whole_pixels(colour: LoadedModel) -> None:
    levels = toys.FLAG.copy()
    levels[2] = FREE
    workspace = Workspace(colour)
    branch = grown(workspace, workspace.complete("", levels, samples=1, params=GREEDY, seed=0), 40)
    picture = picture_of(branch, spec(colour))
    np.testing.assert_array_equal(picture.given, (levels != FREE).all(axis=2))
    assert (picture.rgb[0, 2, 2:] == -1).all()
    assert (picture.rgb[0, 3] >= 0).all()


def test_what_is_copied_is_said_and_harmless(text: LoadedModel, tmp_path: Path) -> None:
    branch = run(text, "the", samples=2)
    copied, what = clipboard_text(branch, text, 1)
    assert copied == text_of(branch, text, 1)
    assert what == f"{len(copied)} characters of text"
    vocab = toys.words().replace('"cat"', '"c\\u001bt"')
    evil = open_model(toys.text_folder(tmp_path / "evil", tokenizer=vocab), provider="cpu")
    workspace = Workspace(evil)
    greedy = grown(workspace, workspace.start("the", samples=1, params=GREEDY, seed=0, length=1))
    assert "\x1b" in text_of(greedy, evil, 0)
    assert clipboard_text(greedy, evil, 0) == ("the c\u241bt", "7 characters of text")


def test_a_picture_is_copied_as_ascii_one_sample_at_a_time(image: LoadedModel) -> None:
    branch = run(image, samples=3)
    copied, what = clipboard_text(branch, image, 2)
    assert (copied.count("\n"), what) == (2, "2 lines of ASCII")
    alone = picture_of(branch, spec(image)).rgb[2]
    assert len(copied.splitlines()[0]) <= alone.shape[1]


def test_a_session_is_written_by_what_keeps_it(text: LoadedModel, tmp_path: Path) -> None:
    tree = JournaledTree(text, tmp_path / "journals")
    branch = tree.go(tree.start("the"), 5)
    write_output(tmp_path / "a.jsonl", text, branch, tree.journal.save)
    assert read_session(tmp_path / "a.jsonl").chosen().positions == len(branch)
    with pytest.raises(TuiGenError, match="exists"):
        write_output(tmp_path / "a.jsonl", text, branch, tree.journal.save)


@pytest.mark.parametrize("name", ["a.png", "a", "a.jsonl", ".txt"])
def test_an_ending_that_does_not_suit_is_refused(text: LoadedModel, tmp_path: Path, name: str) -> None:
    with pytest.raises(TuiGenError, match=r"must end in \.txt; "):
        write_output(tmp_path / name, text, run(text, "the"))
    assert not list(tmp_path.iterdir())


def test_forms_are_listed_for_people(text: LoadedModel, image: LoadedModel) -> None:
    assert listed(list(forms_of(text))) == ".txt or .jsonl"
    assert listed(list(forms_of(image))) == ".png, .gif, .txt or .jsonl"


def spec(loaded_model: LoadedModel) -> ImageCodec:
    assert isinstance(loaded_model.codec, ImageCodec)
    return loaded_model.codec
