"""What stands in a pickle beside tensors becomes plain values, of whatever classes it was."""

from __future__ import annotations

import argparse
import collections
import functools
import pickle
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from export.checkpoints.load import load_values


class Chars(list[str]):
    """A list of a class of its own."""


class Letter(str):
    """A text of a class of its own."""


class Pair(NamedTuple):
    """A tuple of a class of its own."""

    first: int
    second: str


class Table(dict[str, int]):
    """A dict of a class of its own, with an attribute."""

    def __init__(self) -> None:
        super().__init__(a=0)
        self.size = 1


@pytest.mark.parametrize("protocol", range(6))
def test_objects_that_extend_plain_ones_keep_what_is_in_them(protocol: int, tmp_path: Path) -> None:
    objects = {"chars": Chars("ab"), "letter": Letter("x"), "pair": Pair(1, "y"), "table": Table()}
    data = pickle.dumps(objects, protocol=protocol).replace(b"test_values", b"gone_values")
    (tmp_path / "held.pkl").write_bytes(data)
    values = load_values(tmp_path / "held.pkl")
    assert (values["chars"], values["letter"], values["pair"]) == (["a", "b"], "x", (1, "y"))
    table = values["table"]
    assert {**table, **table.get("__items__", {})}["a"] == 0
    assert (table["size"], table["__class__"]) == (1, "tests.export.checkpoints.gone_values.Table")


def test_values_of_the_standard_library_and_of_numpy_are_plain(tmp_path: Path) -> None:
    values = {
        "args": argparse.Namespace(hidden=6),
        "queue": collections.deque([1, 2]),
        "counts": collections.Counter("aab"),
        "index": collections.defaultdict(int, a=1),
        "seen": {3},
        "words": np.array(["a", "bc"]),
        "objects": np.array(["a", None], dtype=object),
        "text": np.str_("xy"),
        "activation": torch.tanh,
        "half": functools.partial(torch.nn.functional.leaky_relu, negative_slope=0.2),
        "kind": torch.float16,
    }
    (tmp_path / "values.pkl").write_bytes(pickle.dumps(values))
    values = load_values(tmp_path / "values.pkl")
    assert values["args"] == {"__class__": "argparse.Namespace", "hidden": 6}
    assert (values["queue"], values["counts"], values["index"], values["seen"]) == (
        [1, 2],
        {"a": 2, "b": 1},
        {"a": 1},
        {"__class__": "builtins.set"},
    )
    assert (values["words"], values["objects"], values["text"]) == (["a", "bc"], ["a", None], "xy")
    assert values["activation"].endswith(".tanh")
    assert values["half"]["__class__"] == "functools.partial"
    assert values["kind"] == "torch.float16"


@pytest.mark.parametrize("protocol", range(6))
def test_a_vocabulary_of_plain_dicts(protocol: int, tmp_path: Path) -> None:
    meta = {"vocab_size": 2, "itos": {0: "a", 1: "b"}, "stoi": {"a": 0, "b": 1}}
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(meta, protocol=protocol))
    assert load_values(tmp_path / "meta.pkl") == meta
