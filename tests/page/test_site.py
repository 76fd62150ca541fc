"""The page that plays models: what is written, what its player makes in Node.js, and the page itself in Chromium."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.text.tokenizer_json import character_tokenizer_file, word_tokenizer_file
from tests.conftest import Run
from tests.support import toys
from tests.support.browser import Browser, served
from tui_gen import SamplingParams, generate, open_model
from tui_gen.images.codec import ImageCodec
from tui_gen.library import LoadedModel
from tui_gen.page.site import RUNTIME, page_model, runtime_files, write_site
from tui_gen.sampling.knobs import STARTING_SEED
from tui_gen.text.tokenizer import NOWHERE, PromptTokenizer

SHIPPED = Path(__file__).parents[2] / "models"
PACKAGE = Path(sys.prefix) / "node_modules" / "onnxruntime-web"
NODE = shutil.which("node")
TEXTS = (
    "",
    " Two  eggs,\n\nand\ta cup-full (of milk)! ",
    "ΟΔΟΣ\u0085İ\u2003x\n",
    "it's 3 1/2 $5—a^b `c`",
    " , red hat,,Elf\u3000woman ,",
)
BORDERS = {"type": "Split", "pattern": {"Regex": r"\b"}, "behavior": "Isolated", "invert": False}
"""Of words, which are others in JavaScript."""
A_TIE = 1e-4
"""How near a random number is to the border of two tokens, where other roundings of the logits decide."""


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files in the place of onnxruntime-web, for what does not run them."""
    folder = tmp_path_factory.mktemp("runtime")
    for name in RUNTIME:
        (folder / name).write_text(name, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with shipped models, and one whose maker wrote markup into its card."""
    if not (PACKAGE / "dist").is_dir():
        pytest.skip("needs onnxruntime-web: npm install --no-save --prefix .venv onnxruntime-web")
    folder = tmp_path_factory.mktemp("page")
    markup = "<img src=x onerror=document.title='obeyed'>"
    strange = toys.character_folder(folder / "strange", name=markup, description=markup, prompt_example="abc")
    models = [open_model(SHIPPED / name, provider="cpu") for name in MODELS] + [open_model(strange, provider="cpu")]
    write_site([page_model(model, model.name) for model in models], runtime_files(PACKAGE), folder / "site")
    return folder / "site"


MODELS = ("names", "shakespeare", "recipes", "digits", "fashion", "adventurers")


def test_a_site_has_the_page_the_unchanged_graphs_and_the_runtime(tui_gen: Run, tmp_path: Path, runtime: Path) -> None:
    site = tmp_path / "site"
    words = ("page", "text", "image", str(SHIPPED / "names"), "text", "-o", str(site), "--runtime", str(runtime))
    done = tui_gen(*words)
    assert done.returncode == 0, done.stderr
    assert b"http.server" in done.stderr
    assert not done.stdout
    assert {path.name for path in site.iterdir()} == {
        "index.html", "page.css", "page.js", "player.js", "models", "models.json", "runtime",
    }  # fmt: skip
    entries = json.loads((site / "models.json").read_text(encoding="utf-8"))
    assert [entry["folder"] for entry in entries] == ["text", "image", "names", "text-2"]
    graph = (SHIPPED / "names" / "model.onnx").read_bytes()
    assert (site / "models/names/model.onnx").read_bytes() == graph
    assert entries[2]["bytes"] == len(graph)
    assert b"exists already" in tui_gen(*words).stderr


def test_a_site_that_cannot_be_whole_is_not_begun(tui_gen: Run, tmp_path: Path, runtime: Path) -> None:
    site = tmp_path / "site"
    done = tui_gen("page", "text", "-o", str(site), "--runtime", str(tmp_path))
    assert done.returncode == 1
    assert b"npm install" in done.stderr
    words = json.loads(toys.words())
    for strange, changes in (
        ("a model BPE", {"model": {"type": "BPE", "vocab": words["model"]["vocab"], "merges": []}}),
        ("a normalizer NFC", {"normalizer": {"type": "NFC"}}),
        ("the expression", {"pre_tokenizer": words["pre_tokenizer"] | {"pretokenizers": [BORDERS]}}),
    ):
        folder = toys.text_folder(tmp_path / strange, tokenizer=json.dumps(words | changes))
        done = tui_gen("page", str(folder), "-o", str(site), "--runtime", str(runtime))
        assert f"has {strange}".encode() in done.stderr
    assert not site.exists()


def test_the_page_itself_names_no_other_host_and_reads_nothing_as_markup(tmp_path: Path, text: LoadedModel) -> None:
    write_site([page_model(text, "text")], {}, tmp_path / "site")
    page = {name: (tmp_path / "site" / name).read_text(encoding="utf-8") for name in ("index.html", "page.js")}
    assert "default-src 'none'" in page["index.html"]
    assert not re.search(r"innerHTML|insertAdjacent|outerHTML|document\.write|eval\(", page["page.js"])


def play(site: Path, **asked: Any) -> dict[str, Any]:
    """As play.mjs answers."""
    if not NODE:
        pytest.skip("needs Node.js")
    script = Path(__file__).with_name("play.mjs")
    done = subprocess.run([NODE, script, site], input=json.dumps(asked), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_same_seed_draws_in_a_page_what_it_draws_here(site: Path) -> None:
    asked = [
        ("names", "Ma", 2**70 + 3, 1.3, 5, 40),
        ("shakespeare", "ROMEO:\n", 3, 0.8, 0, 200),
        ("shakespeare", "A", 4, 0.0, 0, 40),
        ("recipes", "Apple pie (with 2 eggs), & zzyx cream!", 5, 0.7, 40, 200),
        ("recipes", "Recipe for  SOUP", 6, 1.2, 0, 100),
        ("digits", " 7 ", 7, 1.0, 0, 400),
        ("fashion", "Sneaker", 8, 0.9, 3, 400),
        ("adventurers", "Orc Man , axe,,", 9, 0.85, 0, 400),
    ]
    keys = ("model", "prompt", "seed", "temperature", "topK", "length")
    runs = [dict(zip(keys, run, strict=True)) | {"seed": str(run[2])} for run in asked]
    ties = 0
    for run, steps in zip(asked, play(site, runs=runs)["runs"], strict=True):
        ties += _ties(run, steps)
    assert ties <= 1


def _ties(run: tuple[Any, ...], page_steps: list[dict[str, Any]]) -> int:
    """1 if a page went another way than `generate`, at a random number that lies at a border; else 0."""
    model, prompt, seed, temperature, top_k, length = run
    loaded_model = open_model(SHIPPED / model, provider="cpu", threads=1)
    params, tokens = SamplingParams(temperature, top_k), loaded_model.codec.prompt([prompt])
    steps = list(generate(loaded_model.model, tokens, params, length=length, seed=seed))
    for step, page_step in zip(steps, page_steps[1:], strict=False):
        if step.tokens[0] != page_step["token"]:
            assert np.abs(step.probs[0].cumsum() - page_step["uniform"]).min() < A_TIE
            return 1
    assert len(steps) == len(page_steps) - 1
    return 0


def tokenizers() -> Iterator[str]:
    """Of the shipped models, and of words as the exporter finds them in checkpoints of others."""
    for model in MODELS:
        yield (SHIPPED / model / "tokenizer.json").read_text(encoding="utf-8")
    words = ["<unk>", "two", "eggs", ",", "and", "a", "cup-full", "(of", "milk)", "!", "3", "x", "it's", "milk"]
    for line_end in (None, "<eos>"):
        yield word_tokenizer_file([*words, "<eos>"], line_end=line_end).json
        yield word_tokenizer_file([*words, "\n", "<eos>"], line_end=line_end).json
    for letters in ("a\nbé -", "ABc d"):
        yield character_tokenizer_file([*letters, "<pad>", "[a-b]", "& c"]).json


def test_prompts_are_encoded_and_texts_decoded_as_here(tmp_path: Path, text: LoadedModel) -> None:
    write_site([page_model(text, "text")], {}, tmp_path / "site")
    texts = [{"tokenizer": tokenizer, "text": text} for tokenizer in tokenizers() for text in TEXTS]
    for asked, answer in zip(texts, play(tmp_path / "site", texts=texts)["texts"], strict=True):
        tokenizer = PromptTokenizer(asked["tokenizer"])
        ids = [None if token >= NOWHERE else token for token in tokenizer.ids(asked["text"])]
        assert answer["ids"] == ids, asked
        assert answer["text"] == tokenizer.decode([token for token in ids if token is not None]), asked


PLACE, TEXT = "document.querySelector('#place').textContent", "document.querySelector('#text').textContent"
HAS_ENDED = "document.querySelector('#one').disabled && document.querySelector('#output').ariaBusy == 'false'"


def is_shown(model: str) -> str:
    return f"document.title.startsWith({json.dumps(model)} + ',') && !document.querySelector('#begin').disabled"


def test_a_stranger_plays_in_a_browser(site: Path, browser: Browser) -> None:
    names = open_model(SHIPPED / "names", provider="cpu")
    prompt, params = names.codec.prompt(["ma"]), SamplingParams(names.card.temperature)
    steps = list(generate(names.model, prompt, params, length=300, seed=STARTING_SEED))
    tokens = [int(step.tokens[0]) for step in steps]
    with served(site) as address:
        browser.open(f"{address}/#names")
        browser.wait_for(f"{is_shown('names')} && {HAS_ENDED}")
        assert browser.run(TEXT) == names.codec.decode(tokens)

        browser.run("document.querySelector('#output').focus()")
        browser.press("Home")
        assert browser.run(PLACE).startswith("prompt token 1 was given")
        browser.press("ArrowRight")
        browser.press("ArrowRight")
        surprise, expected = -steps[2].logprob[0] / np.log(2), steps[2].entropy[0]
        assert browser.run(PLACE).startswith("token 1 was drawn by the random number")
        assert browser.run(PLACE).endswith(f"surprise {surprise:.1f} bits, {expected:.1f} expected")
        likeliest = names.codec.token_text(int(steps[2].likeliest(1)[0]))
        row = "document.querySelector('#candidates .candidate')"
        assert browser.run(f"{row}.querySelector('.label').textContent") == likeliest
        own = f"{steps[2].probs[0].max():.1%}".replace("%", " %")
        numbers = f"Array.from({row}.querySelectorAll('.number'), (number) => number.textContent)"
        assert browser.run(numbers)[0] == own
        browser.run(
            "(() => { const knob = document.querySelector('#temperature');"
            " knob.value = 2; knob.dispatchEvent(new Event('input')); })()"
        )
        assert browser.run(numbers)[0] != own

        browser.press("ArrowRight")
        number = browser.run(PLACE)
        browser.press("ArrowLeft")
        browser.run("document.querySelector('#candidates .candidate:not([aria-current=true])').click()")
        browser.wait_for(HAS_ENDED)
        assert browser.run(TEXT).startswith("ma")
        browser.press("Home")
        for _ in range(3):
            browser.press("ArrowRight")
        assert browser.run(PLACE).partition(";")[0] == number.partition(";")[0]

        browser.run("document.querySelector('#prompt').value = 'é'; document.querySelector('#prompt').focus()")
        browser.press("Enter")
        assert "names does not know “é”" in browser.run("document.querySelector('#message').textContent")
        assert {address} == {"/".join(asked.split("/")[:3]) for asked in browser.addresses if asked[:4] == "http"}


def test_a_picture_is_drawn_in_a_browser_pixel_for_pixel_as_here(site: Path, browser: Browser) -> None:
    digits = open_model(SHIPPED / "digits", provider="cpu")
    assert isinstance(digits.codec, ImageCodec)
    params, prompt = SamplingParams(digits.card.temperature), digits.codec.prompt([digits.card.prompt_example])
    steps = list(generate(digits.model, prompt, params, length=784, seed=STARTING_SEED))
    greys = [digits.codec.token_colour(int(step.tokens[0]), 0) for step in steps[prompt.shape[1] - 1 :]]
    with served(site) as address:
        browser.open(f"{address}/#digits")
        browser.wait_for(f"{is_shown('digits')} && {HAS_ENDED}")
        pixels = browser.run(
            "Array.from(document.querySelector('#canvas').getContext('2d').getImageData(0, 0, 28, 28).data)"
        )
        assert [tuple(pixels[at : at + 3]) for at in range(0, len(pixels), 4)] == greys
        browser.run("document.querySelector('#output').focus()")
        browser.press("ArrowUp")
        assert browser.run(PLACE).startswith("pixel 756 was drawn")


def test_markup_in_a_card_of_somebody_else_is_text(site: Path, browser: Browser) -> None:
    entries = json.loads((site / "models.json").read_text(encoding="utf-8"))
    with served(site) as address:
        browser.open(f"{address}/#{entries[-1]['folder']}")
        browser.wait_for(is_shown(entries[-1]["name"]))
        assert browser.run("document.querySelector('#about').textContent") == entries[-1]["name"]
        assert browser.run("document.querySelectorAll('img').length") == 0
