"""Session files and their values: what is written can be read, and what is damaged is told in one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import toys
from tests.support.journals import WARM, JournaledTree
from tui_gen.errors import TuiGenError
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import FREE, SamplingParams
from tui_gen.sampling.sweep import Sweep
from tui_gen.sessions import file
from tui_gen.sessions.file import read_session, session_text
from tui_gen.sessions.records import params_from_json, params_to_json, rows_from_json, rows_to_json
from tui_gen.sessions.session import Session

Lines = list[Any]


@pytest.fixture
def workspace(endless: LoadedModel, tmp_path: Path) -> JournaledTree:
    """Branch 1, and 2 that left it, of two samples each."""
    workspace = JournaledTree(endless, tmp_path / "journals")
    first = workspace.go(workspace.start("the", samples=2), 30)
    workspace.go(first, 10, SamplingParams(0.5))
    workspace.go(workspace.leave(first, 20, np.array([[toys.DOG], [FREE]])), 10)
    return workspace


@pytest.fixture
def lines(workspace: JournaledTree, tmp_path: Path) -> Lines:
    """The lines of its file: header, begun 1, made, begun 2, made, shown."""
    return [json.loads(line) for line in workspace.saved(tmp_path / "saved.jsonl").read_text().splitlines()]


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Lines], Session]:
    """Reads lines from a file."""

    def read(lines: Lines) -> Session:
        path = tmp_path / "changed.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return read_session(path)

    return read


def test_what_is_saved_is_read_as_it_was(
    workspace: JournaledTree, lines: Lines, read: Callable[[Lines], Session]
) -> None:
    session = read(lines)
    assert session_text(session) == session_text(workspace.journal.session)
    assert [line.get("event") for line in lines] == [None, "begun", "made", "made", "begun", "made", "shown"]
    first, second = session.records.values()
    assert (first.name, first.text, first.seed, first.params, first.positions) == ("1", "the", 5, WARM, 41)
    assert first.turns == [(1, WARM), (31, SamplingParams(0.5))]
    assert (second.parent, second.at, second.turns) == (1, 20, [])
    assert second.override is not None
    assert second.override.tolist() == [[toys.DOG], [FREE]]
    assert session.chosen() is second
    assert not session.cut


def test_anything_that_happened_in_between_is_left_out_of_what_is_saved(
    workspace: JournaledTree, tmp_path: Path
) -> None:
    before = session_text(workspace.journal.session)
    gone = workspace.go(workspace.leave(workspace.tree["1"], 5), 20)
    workspace.rename(gone, "mistake")
    workspace.delete(gone)
    workspace.rename(workspace.tree["2"], "x")
    workspace.rename(workspace.tree["x"], "2")
    workspace.journal.note_shown(workspace.tree["2"])
    assert workspace.saved(tmp_path / "saved.jsonl").read_text() == before


@pytest.mark.parametrize("end", [1, 10, 200])
def test_a_cut_off_last_line_is_left_out_and_the_session_says_so(lines: Lines, tmp_path: Path, end: int) -> None:
    path = tmp_path / "cut.jsonl"
    whole = "".join(json.dumps(line) + "\n" for line in lines[:-3])
    path.write_text(whole + json.dumps(lines[-3])[:end])
    session = read_session(path)
    assert session.cut
    assert [record.name for record in session.living()] == ["1"]


def test_a_last_line_that_only_lacks_its_newline_is_whole(lines: Lines, tmp_path: Path) -> None:
    path = tmp_path / "edited.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    session = read_session(path)
    assert (len(session.records), session.cut) == (2, False)


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"{}\n", b"[]\n", b'{"session": 3}\n', b"[" * 10**5, b"the cat\n"])
def test_anything_else_is_not_a_session(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(TuiGenError, match="other is not a session of tui-gen"):
        read_session(path)


def test_a_file_that_is_missing_empty_or_huge_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    with pytest.raises(TuiGenError, match="file cannot be read: No such file"):
        read_session(path)
    path.write_bytes(b"")
    with pytest.raises(TuiGenError, match="file is empty"):
        read_session(path)
    monkeypatch.setattr(file, "MAX_FILE_BYTES", 2**20)
    path.write_bytes(b" " * (2**20 + 1))
    with pytest.raises(TuiGenError, match="file is larger than 1 MiB, too large for what it is"):
        read_session(path)


HEADER, FIRST, MADE, SECOND, SHOWN = 0, 1, 2, 4, 6


@pytest.mark.parametrize(
    ("line", "change", "fault"),
    [
        (HEADER, {"format": 4}, "line 1: format 4 is newer than this tui-gen, which reads 3"),
        (HEADER, {"kind": "sound"}, "line 1: 'kind' must be text or image, not 'sound'"),
        (HEADER, {"sha256": "x"}, "line 1: 'sha256' must be 64 hexadecimal digits"),
        (HEADER, {"model": None}, "line 1: 'model' is missing"),
        (
            FIRST,
            {"event": "burst"},
            "line 2: 'event' must be one of begun, made, renamed, deleted, shown, compared, not 'burst'",
        ),
        (FIRST, {"branch": "one"}, "line 2: 'branch' must be a whole number, not 'one'"),
        (FIRST, {"samples": 0}, "line 2: 'samples' must be a whole number of at least 1"),
        (FIRST, {"samples": 5000}, "line 2: 'samples' must be at most 4096, not 5000"),
        (FIRST, {"name": " "}, "line 2: 'name' must be a text of 1 to 200 characters"),
        (FIRST, {"name": "x" * 201}, "line 2: 'name' must be a text of 1 to 200 characters"),
        (FIRST, {"prompt": []}, "line 2: 'prompt' must be a list of 1 or 2 rows"),
        (FIRST, {"prompt": [[]]}, "line 2: 'prompt' must have a token at its first position"),
        (FIRST, {"prompt": [[-1, 2]]}, "line 2: 'prompt' must have a token at its first position"),
        (FIRST, {"prompt": [[1, 2], [1]]}, "line 2: 'prompt' must be rows of one length"),
        (FIRST, {"prompt": [[1, [2, 10**12]]]}, "line 2: 'prompt' has more tokens than a session can hold"),
        (FIRST, {"prompt": [[1, [2, -3]]]}, r"line 2: 'prompt' must hold token ids and \[token id, count\]"),
        (FIRST, {"prompt": [[1.5]]}, "line 2: 'prompt' must hold token ids"),
        (FIRST, {"prompt": [[True]]}, "line 2: 'prompt' must hold token ids"),
        (FIRST, {"prompt": [[-2]]}, "line 2: 'prompt' must hold token ids"),
        (FIRST, {"seed": -1}, "line 2: 'seed' must be a whole number of at least 0, not -1"),
        (FIRST, {"params": {"sort": "tuned"}}, "line 2: 'params' cannot be used: 'sort' must be one of knobs, sweep"),
        (
            FIRST,
            {"params": {"sort": "knobs"}},
            "line 2: 'params' cannot be used: 'temperature' must be a finite number",
        ),
        (MADE, {"branch": 9}, "line 3: 'branch' names a branch that is unknown: 9"),
        (MADE, {"positions": 0}, "line 3: 'positions' must be at least 1, not 0"),
        (MADE, {"positions": 2**30}, "line 3: 'positions' makes the session larger than"),
        (MADE, {"sha256": "AB"}, "line 3: 'sha256' must be 64 hexadecimal digits"),
        (MADE, {"turns": [5]}, "line 3: 'turns' must be pairs of a position and knobs, not 5"),
        (MADE, {"turns": [[99, params_to_json(WARM)]]}, "line 3: 'turns' must be in order, at positions from 1 to 30"),
        (MADE, {"turns": [[3, params_to_json(WARM)]] * 2}, "line 3: 'turns' must be in order"),
        (
            MADE,
            {"turns": [[3, {**params_to_json(WARM), "top_k": 0.5}]]},
            "line 3: 'turns' cannot be used: 'top_k' must",
        ),
        (SECOND, {"branch": 1}, "line 5: 'branch' must be a new one"),
        (SECOND, {"name": "1"}, "line 5: 'name' is that of another branch: '1'"),
        (SECOND, {"parent": 7}, "line 5: 'parent' names a branch that is unknown: 7"),
        (SECOND, {"samples": 3}, "line 5: 'samples' must be 2, not 3"),
        (SECOND, {"at": 42}, "line 5: 'at' must be a token of branch '1' or the next, not 42"),
        (SECOND, {"override": [[1], [2], [3]]}, "line 5: 'override' must be a list of 1 or 2 rows"),
        (SHOWN, {"branch": 3}, "line 7: 'branch' names a branch that is unknown: 3"),
    ],
)
def test_a_damaged_line_is_named_with_what_is_wrong(
    line: int, change: dict[str, Any], fault: str, lines: Lines, read: Callable[[Lines], Session]
) -> None:
    lines[line] |= change
    with pytest.raises(TuiGenError, match=fault) as caught:
        read(lines)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"temperature": 1e400}, "'temperature' must be a finite number"),
        ({"temperature": 10**400}, "'temperature' must be a finite number"),
        ({"temperature": 11}, "temperature must be from 0 to 10"),
        ({"sort": "sweep", "knob": "temperature", "values": [1, True]}, "'values' must be a finite number, not True"),
        ({"sort": "sweep", "knob": "seed", "values": [1, 2]}, "a sweep needs values of"),
        ({"sort": "sweep", "knob": "temperature", "values": [1, 2, 3]}, "must have 2 values, one per sample, not 3"),
    ],
)
def test_knobs_that_cannot_be_are_refused(
    values: dict[str, Any], fault: str, lines: Lines, read: Callable[[Lines], Session]
) -> None:
    lines[FIRST]["params"] |= values
    with pytest.raises(TuiGenError, match=fault):
        read(lines)


@pytest.mark.parametrize("damage", ["{", "3", "\x00\x00", '{"event": "begun", "branch": 1', "[" * 10**5])
def test_a_line_in_the_middle_that_is_no_object_is_damaged(damage: str, lines: Lines, tmp_path: Path) -> None:
    path = tmp_path / "damaged.jsonl"
    written = [json.dumps(line) for line in lines]
    path.write_text("\n".join([*written[:3], damage, *written[3:]]) + "\n")
    with pytest.raises(TuiGenError, match="line 4: damaged, it is no"):
        read_session(path)


def test_many_small_lies_add_up(lines: Lines, read: Callable[[Lines], Session]) -> None:
    copies = [{**lines[FIRST], "branch": n, "name": f"{n}", "prompt": [[1, [-1, 2**23]]]} for n in (5, 6)]
    with pytest.raises(TuiGenError, match="line 3: 'prompt' has more tokens than a session can hold"):
        read([*lines[:1], *copies])


def test_what_a_terminal_would_obey_is_made_visible(lines: Lines, read: Callable[[Lines], Session]) -> None:
    lines[FIRST]["name"] = "\x1b]0;owned\x07\u202e "
    with pytest.raises(TuiGenError) as caught:
        read(lines)
    assert not {"\x1b", "\x07", "\u202e"} & set(str(caught.value))


def test_a_branch_is_found_by_its_name(lines: Lines, read: Callable[[Lines], Session]) -> None:
    session = read(lines)
    assert session.chosen("1").number == 1
    with pytest.raises(TuiGenError, match="the session has no branch '3'; it has: 1, 2"):
        session.chosen("3")
    with pytest.raises(TuiGenError, match="the session has no branches"):
        read(lines[:1]).chosen()


@pytest.mark.parametrize(
    ("params", "sweep"),
    [
        (SamplingParams(0.1 + 0.2, 40, 0.95, 0.05), None),
        (SamplingParams(1), None),
        (SamplingParams(0.7), Sweep("top_k", (1, 5, 0))),
        (SamplingParams(top_p=0.9), Sweep("temperature", (0.1, 1 / 3, 2.0))),
    ],
)
def test_knobs_of_any_sort_come_back_exactly(params: SamplingParams, sweep: Sweep | None) -> None:
    text = json.dumps(params_to_json(params, sweep))
    assert params_from_json(json.loads(text)) == (params, sweep)


@pytest.mark.parametrize(
    ("tokens", "rows"),
    [
        ([[1, 2, 2, 5]], [[1, 2, 2, 5]]),
        ([[7, FREE, FREE, FREE, 3]] * 4, [[7, [FREE, 3], 3]]),
        ([[1, 1, 1, 1], [1, 2, 3, 4]], [[[1, 4]], [1, 2, 3, 4]]),
        ([[], []], [[]]),
    ],
)
def test_rows_of_tokens_are_short_where_they_can_be(tokens: list[list[int]], rows: Any) -> None:
    array = np.array(tokens, dtype=np.int64)
    assert rows_to_json(array) == rows
    back = rows_from_json(rows, len(tokens), room=100)
    assert (back.dtype, back.shape, back.tolist()) == (array.dtype, array.shape, tokens)
