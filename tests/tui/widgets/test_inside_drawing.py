"""What goes on inside is drawn whatever the room, reads without colour, and its numbers are right."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tui_gen.runtime.inside_graph import Layer
from tui_gen.tui.widgets.inside_drawing import Line, cell_lines, level, state_lines
from tui_gen.tui.widgets.inside_window import Selection, Window

RNG = np.random.default_rng(0)
QUANTITIES = ("input_gate", "forget_gate", "output_gate", "candidate", "cell", "hidden")
LSTM = Layer("layer0", "LSTM", QUANTITIES)
GRU = Layer("layer0", "GRU", ("reset_gate", "update_gate", "candidate", "hidden"), resets_later=True)
RNN = Layer("layer0", "RNN", ("hidden",), activation="relu")


def lstm(tokens: int = 30, width: int = 12) -> Window:
    i, f, o = (RNG.random((tokens, width)).astype(np.float32) for _ in range(3))
    g = RNG.uniform(-1, 1, (tokens, width)).astype(np.float32)
    c = np.zeros((tokens, width), dtype=np.float32)
    for at in range(tokens):
        c[at] = f[at] * (c[at - 1] if at else 0) + i[at] * g[at]
    values = dict(zip((f"layer0.{name}" for name in QUANTITIES), (i, f, o, g, c, o * np.tanh(c)), strict=True))
    values |= {"state.h.0": values["layer0.hidden"], "state.c.0": c}
    return Window(values, list("abcdefghij" * 3)[:tokens], 20, (LSTM,), title="token 21")


def texts(lines: list[Line]) -> list[str]:
    return ["".join(piece.text for piece in line) for line in lines]


def test_a_value_has_its_place_on_a_scale_with_two_directions() -> None:
    values = (-2, -1, -0.4, -0.1, 0, 0.1, 0.4, 0.7, 1, 9)
    assert [level(value, 1.0) for value in values] == [-3, -3, -1, 0, 0, 0, 1, 2, 3, 3]
    assert level(5.0, 0.0) == 0


def test_each_layer_has_its_units_with_the_value_at_the_cursor() -> None:
    window = lstm()
    lines = texts(state_lines(window, 60, 16))
    assert lines[0] == "     abcdefghijabcdefghijabcdefghij"
    assert re.match(r" layer 1 [ch] · 12 units, those that move most first", lines[1])
    rows = [line for line in lines if re.match(r"[> ] *\d+ ", line)]
    for row in rows[:6]:
        unit, signs, value = row[1:].split()[0], row[5:35], float(row.split()[-1])
        name = "state.h.0" if lines.index(row) < len(lines) // 2 else "state.c.0"
        expected = window.values[name][20, int(unit)]
        assert value == pytest.approx(expected, abs=0.006)
        assert set(signs) <= set("≡=-·+*#")
    by_number = Window(window.values, window.labels, 20, selection=Selection(order="number", top=3))
    rows = [row for row in texts(state_lines(by_number, 60, 16)) if re.match(r"[> ] *\d+ ", row)]
    numbers = [int(row[1:].split()[0]) for row in rows]
    assert numbers[:3] == [3, 4, 5]
    assert [row[:5] for row in rows if row[0] == ">"] == [">  3 "]


def test_the_cursor_is_in_sight_in_a_long_text_and_the_window_moves_rarely() -> None:
    window = lstm(tokens=30)
    for cursor in (0, 10, 29):
        lines = state_lines(Window(window.values, window.labels, cursor), 27, 8)
        assert next(piece for piece in lines[0] if piece.strong).text == window.labels[cursor]
        assert all(len(text) <= 27 + 60 for text in texts(lines))
    starts = {texts(state_lines(Window(window.values, window.labels, cursor), 27, 8))[0] for cursor in range(15, 22)}
    assert len(starts) == 1


def test_while_a_run_goes_on_its_strips_stay_but_for_new_tokens() -> None:
    hidden = np.random.default_rng(0).normal(0, 0.5, (116, 40)).astype(np.float32)
    before, after = (
        texts(state_lines(Window({"state.h.0": hidden[:tokens]}, ["word"] * tokens, tokens - 1), 80, 30))
        for tokens in (100, 116)
    )
    assert all(new.startswith(old[:-7]) for old, new in zip(before[2:], after[2:], strict=True))


def test_a_few_zeros_change_no_ink_and_many_do() -> None:
    row = np.array([1.0, 0, 0, -1, *[0] * 20, 1], dtype=np.float32)
    window = Window({"state.h.0": row[:, None]}, ["word"] * len(row), len(row) - 1)
    strip = [(piece.text, piece.level) for piece in state_lines(window, 80, 3)[2][2:-1]]
    assert strip == [("#··", 1), ("≡", -1), ("·" * 20, 0), ("#", 1)]


def test_the_equations_of_a_cell_close_with_its_numbers() -> None:
    window = lstm()
    drawn = "\n".join(texts(cell_lines(window, 100, 40)))
    f, c0, i, g, c = map(float, re.search(r"f·c \+ i·g = (\S+)·(\S+) \+ (\S+)·(\S+) = (\S+)", drawn).groups())  # type: ignore[union-attr]
    assert f * c0 + i * g == pytest.approx(c, abs=0.02)
    assert c == pytest.approx(window.values["layer0.cell"][20, 0], abs=0.006)
    o, squashed, h = map(float, re.search(r"o·tanh\(c\) = (\S+)·(\S+) = (\S+)", drawn).groups())  # type: ignore[union-attr]
    assert o * squashed == pytest.approx(h, abs=0.02)
    assert "forget gate" in drawn
    assert "unit 0 of 12" in drawn


def test_a_low_panel_shows_the_cell_as_a_drawing_rather_than_the_table_and_both_say_what_changed() -> None:
    window = lstm()
    low = "\n".join(texts(cell_lines(window, 80, 14)))
    assert "c before" in low
    assert "mean of all" not in low
    gate = window.values["layer0.forget_gate"][:, 0]
    at = int(np.abs(np.diff(gate)).argmax()) + 1
    drawn = "\n".join(texts(cell_lines(Window(window.values, window.labels, at, (LSTM,)), 100, 40)))
    mark = "↑" if gate[at] > gate[at - 1] else "↓"
    assert f"f {gate[at]:.2f}{mark}" in drawn
    assert re.search(rf"forget gate +\+{gate[at]:.2f}{mark}", drawn)


def test_a_unit_of_c_that_counts_leaves_the_others_their_colours() -> None:
    cell = np.tile(np.array([[1.0, -1.0]], dtype=np.float32), (20, 20))
    cell[:, 0] = 40
    window = Window({"state.h.0": np.zeros_like(cell), "state.c.0": cell}, ["word"] * 20, 19)
    text = "\n".join(texts(state_lines(window, 90, 90)))
    assert "-1.0 to +40.0 · # +1" in text
    assert "≡" * 19 in text
    assert "beyond 0.9" in text.split("layer 1 c")[0]
    assert "beyond 0.9" not in text.split("layer 1 c")[1]


def test_a_gru_names_its_convention_and_a_plain_cell_its_activation() -> None:
    z, n = RNG.random((5, 3)).astype(np.float32), RNG.uniform(-1, 1, (5, 3)).astype(np.float32)
    h = np.zeros((5, 3), dtype=np.float32)
    for at in range(5):
        h[at] = (1 - z[at]) * n[at] + z[at] * (h[at - 1] if at else 0)
    values = {"layer0.reset_gate": z, "layer0.update_gate": z, "layer0.candidate": n, "layer0.hidden": h}
    gru = "\n".join(texts(cell_lines(Window(values, list("abcde"), 3, (GRU,), selection=Selection(unit=1)), 100, 40)))
    assert "GRU (r multiplies the product with h)" in gru
    one, new, keep, before, result = map(float, re.search(r"= ([\d.]+)·(\S+) \+ (\S+)·(\S+) = (\S+)", gru).groups())  # type: ignore[union-attr]
    assert one * new + keep * before == pytest.approx(result, abs=0.02)
    plain = "\n".join(texts(cell_lines(Window({"layer0.hidden": h}, list("abcde"), 0, (RNN,)), 100, 40)))
    assert "plain cell (relu)" in plain
    assert "x is the token; h goes to the prediction" in plain
    assert "h before +0.00" in plain


@pytest.mark.parametrize("width", [1, 5, 12, 13, 40, 300])
@pytest.mark.parametrize("height", [0, 1, 2, 3, 5, 24, 60])
def test_any_room_is_drawn(width: int, height: int) -> None:
    for draw in (state_lines, cell_lines):
        assert len(draw(lstm(), width, height)) <= max(height, 1)
    assert state_lines(Window({}, [], 0), width, height) == []
    assert cell_lines(Window({}, [], 0), width, height) == []


def test_layers_stand_in_their_order_also_where_their_widths_differ() -> None:
    values = {f"state.h.{layer}": np.zeros((3, 2 + layer), dtype=np.float32) for layer in range(12)}
    window = Window(values, "abc", 1)
    assert [(name, part.shape[1]) for name, part in window.states] == [(f"layer {n + 1} h", 2 + n) for n in range(12)]


def test_the_equations_of_a_cell_begin_with_what_surgery_has_left() -> None:
    window = lstm()
    operated = {name: part.copy() for name, part in window.values.items()}
    for part, value in (("state.h.0", 0.25), ("state.c.0", -0.75)):
        operated[part][19, 0] = value  # before the token at 20 is read
    text = "\n".join(texts(cell_lines(Window(operated, window.labels, 20, (LSTM,)), 90, 40)))
    assert "c before -0.75" in text
    assert "h before +0.25" in text
    usual = "\n".join(texts(cell_lines(window, 90, 40)))
    assert f"c before {window.values['layer0.cell'][19, 0]:+.2f}" in usual


@pytest.mark.parametrize(("width", "height"), [(40, 30), (40, 12)])
def test_where_a_cell_has_no_room_its_equations_and_numbers_stay(width: int, height: int) -> None:
    lines = texts(cell_lines(lstm(), width, height))
    assert lines[2].startswith("  c = f·c + i·g = ")
    assert "hidden" in lines[-1]
    assert not any("(×)" in line for line in lines)


def test_on_a_small_terminal_a_cell_stands_with_all_its_numbers() -> None:
    lines = texts(cell_lines(lstm(), 79, 18))
    assert sum("(×)" in line for line in lines) == 3
    window = lstm()
    window.values["state.c.0"][:] = window.values["layer0.cell"][:] = 123.4
    assert [line.find("(×)") for line in texts(cell_lines(window, 79, 18))] == [line.find("(×)") for line in lines]
    assert "hidden" in lines[-1]
