"""What differs between two texts is marked, token by token."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.generation.test_tree import grown
from tests.support import toys
from tui_gen.generation.branch import BranchStart
from tui_gen.generation.describe import marked
from tui_gen.generation.tree import Tree, differences
from tui_gen.library import LoadedModel, open_model
from tui_gen.sampling.params import SamplingParams
from tui_gen.text.codec import TextCodec

PLAIN = SamplingParams(1.2)


def test_marks_cover_the_words_of_the_tokens_that_differ_and_nothing_else(endless: LoadedModel) -> None:
    codec = endless.codec
    assert isinstance(codec, TextCodec)
    tree = Tree(endless.model)
    one = grown(tree.begin(BranchStart(codec.prompt([""]), 7, PLAIN)))
    other = grown(tree.begin(one.changed(20, np.array([[toys.UNKNOWN]]))))
    differ = differences(one, other)
    for branch in (one, other):
        found = marked(branch, codec, differ)
        assert len(found.marks) == len(found.text)
        assert found.text == codec.decode(branch.tokens[1:, 0].tolist())
        said = "".join(character for character, mark in zip(found.text, found.marks, strict=True) if mark)
        words = [codec.token_text(int(t)) for t, d in zip(branch.tokens[:, 0], differ, strict=False) if d]
        assert said == "".join(words)


def test_line_ends_and_spaces_that_differ_are_seen(tmp_path: Path) -> None:
    letters = open_model(toys.character_folder(tmp_path / "letters", eos=None), provider="cpu", threads=1)
    codec = letters.codec
    assert isinstance(codec, TextCodec)
    tree, (newline, space, letter) = Tree(letters.model), (toys.CHARACTERS.index(c) for c in "\n a")
    start = codec.prompt(["abc"])
    prompts = [np.concatenate([start, [[token, letter]]], axis=1) for token in (newline, space)]
    branches = [grown(tree.begin(BranchStart(prompt, 1, PLAIN))) for prompt in prompts]
    found = [marked(branch, codec, np.arange(200) == 4) for branch in branches]
    assert found[0].text.startswith("abc↵\na")
    assert found[0].marks[:5].tolist() == [False, False, False, True, False]
    assert found[1].marks[:5].tolist() == [False, False, False, True, False]
