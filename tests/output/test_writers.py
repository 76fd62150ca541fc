"""How a run without a screen is written."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import toys
from tui_gen.errors import UsageError
from tui_gen.generation.generate import generate
from tui_gen.images.codec import ImageCodec
from tui_gen.images.encode import png
from tui_gen.library import LoadedModel, open_model
from tui_gen.output.writers import checked_format, writer_for
from tui_gen.sampling.params import SamplingParams
from tui_gen.sampling.step import Step


class Terminal(io.BytesIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def run(loaded_model: LoadedModel, *prompts: str, length: int = 24, temperature: float = 0) -> list[Step]:
    knobs = SamplingParams(temperature)
    return list(generate(loaded_model.model, loaded_model.codec.prompt(prompts), knobs, length=length, seed=0))


def written(loaded_model: LoadedModel, form: str | None, steps: list[Step], file: io.BytesIO | None = None) -> str:
    file = file or io.BytesIO()
    writer = writer_for(loaded_model, form, len(steps[0].tokens), file)
    writer.write(steps)
    writer.close()
    return file.getvalue().decode()


def test_text_appears_as_it_is_made(text: LoadedModel) -> None:
    file, steps = io.BytesIO(), run(text, "the")
    writer = writer_for(text, "text", 1, file)
    for count, shown in ((2, "the cat"), (3, "the cat sat")):
        writer.write(steps[:count] if count == 2 else steps[count - 1 : count])
        assert file.getvalue().decode() == shown


def test_several_texts_are_numbered_on_a_terminal_alone(text: LoadedModel) -> None:
    steps = run(text, "the", "the dog")
    first, second = f"the {toys.GREEDY_TEXT}", "the dog ran. the cat sat. the cat sat. the"
    shown = f"--- 1 of 2 ---\n{first}\n--- 2 of 2 ---\n{second}\n"
    assert written(text, None, steps, Terminal()) == shown
    assert written(text, None, steps) == f"{first}\n{second}\n"


def test_a_text_is_written_once_all_before_it_have_ended_and_an_object_once_its_own_has(text: LoadedModel) -> None:
    samples = 8
    steps = run(text, *["the"] * samples, temperature=2)
    ended = np.cumsum([step.live & (step.tokens == toys.END) for step in steps], axis=0).astype(bool)
    counts: dict[str, list[int]] = {"text": [], "samples": []}
    for form, lines in counts.items():
        file = io.BytesIO()
        writer = writer_for(text, form, samples, file)
        for step in steps:
            writer.write([step])
            lines.append(file.getvalue().count(b"\n"))
    assert counts["samples"] == ended.sum(axis=1).tolist()
    assert counts["text"] == np.logical_and.accumulate(ended, axis=1).sum(axis=1).tolist()
    assert counts["text"] != counts["samples"]


def test_a_text_of_several_lines_stands_apart_from_the_others(tmp_path: Path) -> None:
    letters = open_model(toys.character_folder(tmp_path / "letters", eos=None), provider="cpu")
    steps = run(letters, "a\nb", "abc", "bc\n", "b\na", length=0)
    assert written(letters, None, steps) == "a\nb\n\nabc\nbc\n\nb\na\n"


def test_only_a_terminal_is_shielded_from_control_characters(tmp_path: Path) -> None:
    facts = json.loads(toys.words())
    vocab = facts["model"]["vocab"]
    vocab["\x1b]0;evil\x07"] = vocab.pop("cat")
    evil = open_model(toys.text_folder(tmp_path / "evil", tokenizer=json.dumps(facts)), provider="cpu")
    steps = run(evil, "the", length=1)
    assert written(evil, None, steps) == "the \x1b]0;evil\x07\n"
    assert written(evil, None, steps, Terminal()) == "the \u241b]0;evil\u2407\n"


def test_json_lines_have_one_object_per_sampled_token_of_text(text: LoadedModel) -> None:
    lines = [json.loads(line) for line in written(text, "jsonl", run(text, "the cat", "dog")).splitlines()]
    assert all(list(line) == ["sample", "index", "id", "text", "logprob", "entropy", "ms"] for line in lines)
    first = [line for line in lines if line["sample"] == 0]
    second = [line for line in lines if line["sample"] == 1]
    assert [line["index"] for line in first] == list(range(len(first)))
    assert "".join(line["text"] for line in first[:3]) == " sat. the"
    assert [line["text"] for line in second[:2]] == [" ran", "."]
    assert (first[-1]["id"], first[-1]["text"]) == (toys.END, "")


def test_json_lines_tell_how_sure_the_model_itself_was(text: LoadedModel) -> None:
    steps = run(text, "the", length=1)
    line = json.loads(written(text, "jsonl", steps))
    assert line["logprob"] == pytest.approx(steps[1].logprob[0], abs=1e-6)
    assert line["entropy"] == pytest.approx(steps[1].entropy[0], abs=1e-6)
    assert line["ms"] > 0


def test_json_lines_of_pictures_have_rows_and_columns_in_place_of_text(image: LoadedModel) -> None:
    lines = [json.loads(line) for line in written(image, "jsonl", run(image, "bright", "")).splitlines()]
    assert all(list(line) == ["sample", "index", "id", "row", "col", "logprob", "entropy", "ms"] for line in lines)
    assert len(lines) == 2 * 24
    drawn = {(line["sample"], line["row"], line["col"]): line["id"] for line in lines}
    assert [drawn[0, 3, col] for col in range(6)] == [2] * 6
    assert [drawn[1, 2, col] for col in range(6)] == toys.STRIPES[2].tolist()


def test_json_lines_of_pictures_in_colour_say_which_channel_of_a_pixel_a_value_is(colour: LoadedModel) -> None:
    lines = [json.loads(line) for line in written(colour, "jsonl", run(colour, "", length=72)).splitlines()]
    assert list(lines[0]) == ["sample", "index", "id", "row", "col", "channel", "logprob", "entropy", "ms"]
    drawn = np.zeros((toys.HEIGHT, toys.WIDTH, 3), dtype=int)
    for line in lines:
        drawn[line["row"], line["col"], line["channel"]] = line["id"]
    np.testing.assert_array_equal(drawn, toys.FLAG)


def test_tokens_that_warm_a_model_up_are_not_written(warmed: LoadedModel, image: LoadedModel) -> None:
    for form in ("ascii", "jsonl"):
        shown = [written(model, form, run(model, "bright", "")) for model in (warmed, image)]
        assert [line.split(', "logprob"')[0] for line in shown[0].splitlines()] == [
            line.split(', "logprob"')[0] for line in shown[1].splitlines()
        ]


def test_a_picture_in_colour_is_written_as_far_as_its_pixels_are_whole(colour: LoadedModel) -> None:
    assert written(colour, "ascii", run(colour, "", length=72)) == ":+.:+.\n" * 2
    assert written(colour, "ascii", run(colour, "", length=5)) == ":·····\n······\n"
    blocks = written(colour, "blocks", run(colour, "", length=72))
    assert "\x1b[0;38;2;255;0;0;48;2;255;0;0m▀\x1b[0;38;2;0;255;0;48;2;0;255;0m▀" in blocks


def test_a_row_of_characters_is_written_as_soon_as_it_is_whole(image: LoadedModel) -> None:
    file, steps = io.BytesIO(), run(image, "bright")
    writer = writer_for(image, None, 1, file)
    rows = []
    for step in steps:
        writer.write([step])
        rows.append(file.getvalue().count(b"\n"))
    assert rows == [0] * 12 + [1] * 12 + [2]
    writer.close()
    assert file.getvalue() == b"@@@@@@\n@@@@@@\n"


def test_a_picture_of_odd_height_is_written_to_its_last_row(tmp_path: Path) -> None:
    odd = open_model(toys.image_folder(tmp_path / "odd", image={**toys.IMAGE, "height": 3}), provider="cpu")
    assert written(odd, "ascii", run(odd, "bright", length=18)) == "@@@@@@\n@@@@@@\n"


def test_a_run_that_was_cut_short_shows_what_was_drawn_and_nothing_where_nothing_was(image: LoadedModel) -> None:
    assert written(image, None, run(image, "bright", length=8)) == "@@@@@@\n······\n"
    assert written(image, None, run(image, *["bright"] * 12, length=0)) == ""


def test_pictures_stand_side_by_side_as_long_as_they_fit(image: LoadedModel) -> None:
    lines = written(image, "ascii", run(image, *["bright"] * 12)).splitlines()
    ten, two = "  ".join(["@" * 6] * 10), "  ".join(["@" * 6] * 2)
    assert lines == [ten, ten, "", two, two]


def test_blocks_have_colours_and_none_where_a_person_wants_none(
    image: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = run(image, "bright")
    assert "\x1b[0;38;2;255;255;255;48;2;255;255;255m▀▀▀▀▀▀\x1b[0m\n" in written(image, "blocks", steps)
    assert "\x1b[" in written(image, None, steps, Terminal())
    for variable, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            assert written(image, "blocks", steps) == "██████\n██████\n"
            assert written(image, None, steps, Terminal()) == "@@@@@@\n@@@@@@\n"


def test_a_png_is_the_pictures_side_by_side_enlarged_with_the_undrawn_transparent(image: LoadedModel) -> None:
    assert isinstance(image.codec, ImageCodec)
    picture = image.codec.picture(2)
    for step in run(image, "", "bright", length=8):
        picture.add(step)
    with Image.open(io.BytesIO(png(picture))) as opened:
        pixels = np.asarray(opened)
    scale = 512 // 6
    assert pixels.shape == (4 * scale, (6 + 1 + 6) * scale, 4)
    small = pixels[scale // 2 :: scale, scale // 2 :: scale]
    assert small[0, :3].tolist() == [[0, 0, 0, 255], [128, 128, 128, 255], [255, 255, 255, 255]]
    assert (small[:, 6, 3] == 0).all()
    assert (small[1, 7:9] == 255).all()
    assert (small[1, 9:, 3] == 0).all()


def test_a_png_in_colour_has_the_colours_and_leaves_out_what_is_not_whole(colour: LoadedModel) -> None:
    file = io.BytesIO()
    writer = writer_for(colour, "png", 1, file)
    writer.write(run(colour, "", length=8))
    writer.close()
    with Image.open(file) as opened:
        small = np.asarray(opened.resize((toys.WIDTH, toys.HEIGHT), Image.Resampling.NEAREST))
    assert small[0, :3].tolist() == [[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 0, 0]]
    assert (small[1:, :, 3] == 0).all()


def test_a_png_is_not_for_a_terminal(image: LoadedModel) -> None:
    with pytest.raises(UsageError, match="add -o FILE"):
        writer_for(image, "png", 1, Terminal())


def test_a_format_must_suit_the_model(text: LoadedModel, image: LoadedModel) -> None:
    for form in ("ascii", "blocks", "png"):
        with pytest.raises(UsageError, match=f"text writes text; --format {form} is for pictures"):
            checked_format(text, form)
    with pytest.raises(UsageError, match=r"no \.bmp is written; end the name in \.png or \.gif"):
        checked_format(image, None, "a.BMP")
    with pytest.raises(UsageError, match="image draws pictures; use --format ascii, blocks, png, gif, jsonl or "):
        checked_format(image, "text")
    for loaded_model in (text, image):
        checked_format(loaded_model, None)
        checked_format(loaded_model, "jsonl")
    assert checked_format(image, None, "boot.PNG") == "png"
    assert checked_format(image, "ascii", "boot.png") == "ascii"
    assert checked_format(text, None, "boot.txt") is None
    with pytest.raises(UsageError, match="writes text; --format gif is for pictures"):
        checked_format(text, None, "boot.gif")
