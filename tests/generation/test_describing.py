"""How a branch began is said in a few words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.generation.test_tree import grown
from tests.support import toys
from tui_gen.generation.branch import BranchStart
from tui_gen.generation.describe import describe, place
from tui_gen.generation.tree import Tree
from tui_gen.images.codec import ImageCodec
from tui_gen.images.completion import completion_prompt
from tui_gen.library import LoadedModel, open_model
from tui_gen.sampling.params import FREE, SamplingParams
from tui_gen.sampling.sweep import Sweep

PLAIN = SamplingParams(1.2)


def test_a_branch_says_how_it_began(endless: LoadedModel) -> None:
    codec, tree = endless.codec, Tree(endless.model)
    first = grown(tree.begin(BranchStart(codec.prompt(["the"]), 7, PLAIN, text=" the\n")))
    again = tree.begin(first.changed(9))
    words = tree.begin(first.changed(9, np.array([[toys.DOG, toys.RAN]])))
    unprompted = tree.begin(BranchStart(codec.prompt([""]), 3, PLAIN))
    turned = tree.begin(first.changed(30, params=replace(PLAIN, temperature=0.5, top_k=3)))
    sweep = tree.begin(BranchStart(codec.prompt(["", ""]), 7, PLAIN, sweep=Sweep("top_p", (0.5, 0.9))))
    assert describe(sweep, codec) == "sweep top-p"
    assert describe(first, codec) == "seed 7: the"
    assert describe(again, codec, first) == "anew at token 9"
    assert describe(words, codec, first) == "token 9: dog ran"
    assert describe(unprompted, codec) == "seed 3"
    assert describe(turned, codec, first) == "temperature 0.50, top-k 3 at token 30"
    assert describe(turned, codec) == "anew at token 30"


def test_white_space_that_was_chosen_is_seen(toy_models: Path) -> None:
    letters = open_model(toy_models / "letters", provider="cpu", threads=1)
    tree = Tree(letters.model)
    first = grown(tree.begin(BranchStart(letters.codec.prompt(["ab"]), 1, PLAIN)))
    space = tree.begin(first.changed(2, np.array([[toys.CHARACTERS.index(" ")]])))
    assert describe(space, letters.codec, first) == "token 2: ␣"


@pytest.mark.parametrize("model", ["image", "colour", "warmed"])
def test_branches_of_pictures_count_pixels_from_the_first_one(model: str, toy_models: Path) -> None:
    loaded_model = open_model(toy_models / model, provider="cpu", threads=1)
    codec = loaded_model.codec
    assert isinstance(codec, ImageCodec)
    tree = Tree(loaded_model.model)
    start = codec.prompt([codec.phrases[0] if codec.phrases else ""])
    first = tree.begin(BranchStart(start, 1, PLAIN))
    assert describe(first, codec) == "seed 1"
    grown(first)
    at = start.shape[1] + 5
    unit = "value" if model == "colour" else "pixel"
    assert describe(tree.begin(first.changed(at, np.array([[2]]))), codec, first) == f"{unit} 5: 2"
    assert describe(tree.begin(first.changed(at, seed=8)), codec, first) == f"seed 8 at {unit} 5"
    assert place(first, start.shape[1] - 1, codec) == f"token {start.shape[1] - 1}"


def test_what_completes_a_picture_says_so_and_its_own_branches_say_what_they_are(image: LoadedModel) -> None:
    codec = image.codec
    assert isinstance(codec, ImageCodec)
    levels = np.zeros((toys.HEIGHT, toys.WIDTH), dtype=np.int64)
    levels[1:3] = FREE
    tree = Tree(image.model)
    first = grown(tree.begin(BranchStart(codec.prompt(["bright"]), 1, PLAIN, text="bright")))
    whole = BranchStart(completion_prompt(codec, "bright", levels, 1), 1, PLAIN, text="bright")
    completion = grown(tree.begin(whole))
    below = tree.begin(replace(whole, parent=first.name, at=2))
    child = tree.begin(completion.changed(10, seed=5))
    assert describe(completion, codec) == "completion: bright"
    assert describe(below, codec, first) == "completion: bright"
    assert describe(child, codec, completion) == "seed 5 at pixel 8"
