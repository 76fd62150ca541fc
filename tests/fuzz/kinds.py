"""The kinds of input: for each, what prepares its corpus in a folder and returns what tries an input."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import random
import shutil
import struct
import tomllib
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import toys
from tests.support.damage import damaged, with_damaged_parts
from tests.support.hub import REPO, Hub, files_of, serving
from tests.support.journals import JournaledTree
from tui_gen.errors import TuiGenError
from tui_gen.library import open_model, read_card
from tui_gen.sampling.params import SamplingParams
from tui_gen.sessions.file import read_session, session_text
from tui_gen.terminal_text import scrub, scrub_line

from .commands import commands
from .graphs import graphs
from .injections import injections
from .monkey import monkey
from .mutations import changed, toml
from .pickles import bomb, random_pickle
from .texts import any_text, prompts, tokenizers

Attempt = Callable[[random.Random], object]
"""Makes an input of random numbers and reads it; TuiGenError is the only error that it may raise."""


def trained(folder: Path) -> Attempt:
    """Checkpoints of the trainer, whose fields are of other types, and the weights that a model folder keeps."""
    import torch

    from export.read import read
    from export.reader import ReadOptions
    from export.training import checkpoint
    from tests.support.export_training import trainer, training

    contents = list[dict[str, Any]]()
    for preset in ("names", "adventurers"):
        list(trainer(training(preset, folder), folder / f"run-{preset}", epochs=1).run())
        contents.append(checkpoint.load(folder / f"run-{preset}" / "checkpoint.pt"))
    path = folder / "mutant.pt"

    def attempt(rng: random.Random) -> object:
        whole = rng.choice(contents)
        facts = changed({key: whole[key] for key in checkpoint.DESCRIPTION}, rng)
        if not isinstance(facts, dict):
            facts = {"log": facts}
        if rng.random() < 0.3 and isinstance(facts.get("card"), str):
            facts["card"] = json.dumps(changed(json.loads(whole["card"]), rng))
        torch.save({**whole, **{key: facts.get(key) for key in checkpoint.DESCRIPTION}}, path)
        return read(path, ReadOptions())[1].build().network.step_graph()

    return attempt


def kept(folder: Path) -> Attempt:
    """Model folders that keep their weights, of which a model is made again: header, log, card, tokenizer changed."""
    from export.__main__ import main
    from tests.support.export_training import trainer, training

    models = list[Path]()
    for preset in ("names", "adventurers"):
        list(trainer(training(preset, folder), folder / f"run-{preset}", epochs=1).run())
        models.append(folder / preset / "model")
        models[-1].parent.rename(folder / f"data-{preset}")
        run(main, str(folder / f"run-{preset}" / "checkpoint.pt"), "-o", str(models[-1]), "--keep-weights")
    originals = [{path.name: path.read_bytes() for path in model.iterdir()} for model in models]

    def attempt(rng: random.Random) -> object:
        at = rng.randrange(len(models))
        for name, content in originals[at].items():
            (models[at] / name).write_bytes(content)
        name = rng.choice([name for name in originals[at] if name not in ("model.onnx", "README.md")])
        (models[at] / name).write_bytes(_changed_file(name, originals[at][name], rng))
        target = models[at] if rng.random() < 0.5 else folder / "made"
        return run(main, str(models[at] / "weights.safetensors"), "-o", str(target))

    return attempt


def evaluated(folder: Path) -> Attempt:
    """Models of the trainer whose card and log are changed before their figure is noted."""
    from export.__main__ import main
    from export.folder import update_card
    from tests.support.export_training import trainer, training

    list(trainer(training("names", folder), folder / "run", epochs=1).run())
    model = folder / "model"
    run(main, str(folder / "run" / "checkpoint.pt"), "-o", str(model))
    card = json.loads((model / "config.json").read_text(encoding="utf-8"))
    card["measured"] = {"figures": {"a": "1"}, "samples": [{"temperature": 1.0, "text": "ma"}]}
    originals = {"config.json": json.dumps(card).encode(), "training.jsonl": (model / "training.jsonl").read_bytes()}

    def attempt(rng: random.Random) -> object:
        for name, content in originals.items():
            (model / name).write_bytes(content)
        name = rng.choice(list(originals))
        (model / name).write_bytes(_changed_file(name, originals[name], rng))
        return update_card(model, read_card(model))

    return attempt


def _changed_file(name: str, content: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.2:
        return damaged(content, rng)
    if name.endswith(".safetensors"):
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        facts = header["__metadata__"]
        key = rng.choice(list(facts))
        facts[key] = json.dumps(changed(json.loads(facts[key]), rng)) if facts[key][:1] == "{" else "{}"
        header = json.dumps(header if rng.random() < 0.7 else changed(header, rng)).encode()
        return len(header).to_bytes(8, "little") + header + content[8 + size :]
    lines = content.splitlines() if name.endswith(".jsonl") else [content]
    return b"\n".join(json.dumps(changed(json.loads(line), rng)).encode() for line in lines)


def resumed(folder: Path) -> Attempt:
    """Checkpoints that a training is to go on from, with anything in them changed."""
    import torch

    from export.training import checkpoint
    from tests.support.export_training import trainer, training

    setup = training("names", folder)
    next(trainer(setup, folder / "run", epochs=2).run())
    path = folder / "run" / "checkpoint.pt"
    whole = checkpoint.load(path)

    def attempt(rng: random.Random) -> object:
        torch.save(changed(whole, rng), path)
        return trainer(setup, folder / "run", epochs=2).resume()

    return attempt


def networks(folder: Path) -> Attempt:
    """Networks of others, of whose tensors some are lost, cut, turned, flattened or of another type."""
    import torch

    from tests.support.strange_networks import NETWORKS, read_with_any_answer, strange

    states = [make().state_dict() for make in NETWORKS.values()]
    path = folder / "strange.pt"

    def attempt(rng: random.Random) -> object:
        torch.save(strange(rng.choice(states), rng), path)
        return read_with_any_answer(path).build().network

    return attempt


SETTINGS: dict[str, Any] = {
    "hyper_parameters": {
        "rnn_type": "LSTM",
        "nhid": 6,
        "nlayers": 2,
        "emsize": 4,
        "ntoken": 9,
        "dropout": 0.2,
        "tie_weights": False,
        "bidirectional": False,
        "bias": True,
        "batch_first": True,
        "norm_epsilon": 1e-5,
        "activation": "tanh",
        "image_size": [4, 16],
        "levels": 2,
        "in_channels": 1,
        "num_classes": 10,
        "mask_type": "A",
        "kernel_size": 3,
    },
    "vocab": list("abcdefghi"),
    "char2idx": {letter: at for at, letter in enumerate("abcdefghi")},
    "idx2char": dict(enumerate("abcdefghi")),
    "config": '{"model": {"hidden_size": 6, "eps": 1e-6}, "tokenizer": {"bos": "a", "eos": "i"}}',
    "tokenizer": toys.characters(),
    "epoch": 3,
    "losses": [[1.5, 2.5], [1.25, 2.0]],
}
"""What scripts write beside their weights."""


def settings(folder: Path) -> Attempt:
    """Networks of others with strange settings and vocabularies beside their weights."""
    import torch

    from tests.support.strange_networks import NETWORKS, read_with_any_answer

    states = [make().state_dict() for make in NETWORKS.values()]
    path = folder / "settings.pt"

    def attempt(rng: random.Random) -> object:
        facts = changed(SETTINGS, rng)
        torch.save({"state_dict": rng.choice(states), **(facts if isinstance(facts, dict) else {"args": facts})}, path)
        return read_with_any_answer(path).build().network

    return attempt


def files(folder: Path) -> Attempt:
    """Checkpoint files of every format with damaged bytes."""
    import safetensors.torch
    import torch

    from export.read import read
    from export.reader import ReadOptions
    from tests.support.strange_networks import NETWORKS

    state = NETWORKS["lstm"]().state_dict()
    torch.save({"state_dict": state, "vocab": list("abcdefghi")}, folder / "zip.pt")
    torch.save(state, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(NETWORKS["sequential"](), folder / "module.pt")
    torch.jit.save(torch.jit.script(torch.nn.Conv2d(1, 2, 3)), folder / "script.pt")
    safetensors.torch.save_file(state, folder / "file.safetensors", {"vocab": "abcdefghi"})
    (folder / "plain.pkl").write_bytes(pickle.dumps({"a.weight": [[1.0] * 9] * 4, "vocab": list("abc")}))
    originals = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}

    def attempt(rng: random.Random) -> object:
        name = rng.choice(list(originals))
        content, path = originals[name], folder / f"mutant{Path(name).suffix}"
        inner = content.startswith(b"PK") and rng.random() < 0.7
        path.write_bytes(with_damaged_parts(content, rng, ".pkl") if inner else damaged(content, rng))
        return read(path, ReadOptions())

    return attempt


def pickles(folder: Path) -> Attempt:
    """Pickles of random opcodes that call, import, nest, refer to and copy whatever they name."""
    from export.checkpoints.load import load_checkpoint

    path = folder / "random.pkl"

    def attempt(rng: random.Random) -> object:
        path.write_bytes(random_pickle(rng))
        return load_checkpoint(path)

    return attempt


def bombs(folder: Path) -> Attempt:
    """Small files that unpack to pickles without end."""
    from export.__main__ import main

    path = folder / "bomb.pt"

    def attempt(rng: random.Random) -> object:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr("archive/data.pkl", bomb(rng))
        return run(main, "inspect", str(path))

    return attempt


def run(main: Callable[[list[str]], int], *words: str) -> None:
    """A command; raises what it tells of: TuiGenError, or RuntimeError for what nobody foresaw."""
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        status = main([*words])
    lines = told.getvalue().splitlines()
    if "nobody foresaw" in told.getvalue() or status not in (0, 1) or (status and not lines):
        raise RuntimeError(f"status {status}: {told.getvalue()}")
    if status:
        raise TuiGenError(lines[-1])


def sessions(folder: Path) -> Attempt:
    """Session files whose lines are changed by structure, or damaged."""
    model = open_model(toys.endless_text_folder(folder / "endless"), provider="cpu")
    tree = JournaledTree(model, folder / "journals")
    first = tree.go(tree.start("the", samples=2), 30)
    tree.go(tree.leave(first, 20, None), 10)
    lines = tree.saved(folder / "saved.jsonl").read_bytes().splitlines()
    path = folder / "mutant.jsonl"

    def attempt(rng: random.Random) -> object:
        content = b"\n".join(lines) + b"\n"
        if rng.random() < 0.3:
            content = damaged(content, rng)
        else:
            at = rng.randrange(len(lines))
            line = json.dumps(changed(json.loads(lines[at]), rng)).encode()
            content = b"\n".join([*lines[:at], line, *lines[at + 1 :]])
        path.write_bytes(content)
        return session_text(read_session(path))

    return attempt


def hubs(folder: Path) -> Attempt:
    """A hub that says other things of a model than are true, or sends other files."""
    from huggingface_hub import constants

    from tui_gen import hub

    served = Hub(REPO, {"main": files_of(toys.text_folder(folder / "text"))})
    constants.HF_HUB_CACHE = str(folder / "hub")
    os.environ |= {"HF_HOME": str(folder), "HF_HUB_CACHE": constants.HF_HUB_CACHE}

    def attempt(rng: random.Random) -> object:
        shutil.rmtree(constants.HF_HUB_CACHE, ignore_errors=True)
        files = served.revisions["main"]
        name = rng.choice(list(files))
        served.sent = {name: damaged(files[name], rng)} if rng.random() < 0.3 else {}
        served.change = None if served.sent else lambda facts: changed(facts, rng)
        with serving(served):
            os.environ["HF_ENDPOINT"] = served.address
            return files_of(hub.fetch(f"hf:{REPO}", tell=list[str]().append).folder)

    return attempt


def cards(folder: Path) -> Attempt:
    """Model folders whose config.json is changed by structure, or damaged."""
    makers = (toys.text_folder, toys.image_folder, toys.colour_folder)
    models = [make(folder / str(number)) for number, make in enumerate(makers)]
    texts = [(path / "config.json").read_text(encoding="utf-8") for path in models]
    for path in models:
        open_model(path, provider="cpu")  # which is tried in a process of its own, once

    def attempt(rng: random.Random) -> object:
        at = rng.randrange(len(models))
        content = json.dumps(changed(json.loads(texts[at]), rng)).encode()
        (models[at] / "config.json").write_bytes(damaged(content, rng) if rng.random() < 0.2 else content)
        return read_card(models[at]).to_json(), open_model(models[at], provider="cpu")

    return attempt


def logs(folder: Path) -> Attempt:
    """Runs and models whose training.jsonl is changed by structure, or damaged; `learned` tells of them."""
    from tests.support.command_line import run_main
    from tui_gen.training_log import read_learning

    picture, text = toys.image_folder(folder / "run" / "model"), toys.text_folder(folder / "text")
    toys.learned(folder / "run", *[toys.STRIPES.tolist()] * 3, seeds=[1], temperature=0.8, guidance=2)
    toys.learned(text, "the cat", "the dog ran")
    contents = {path: (path / "training.jsonl").read_bytes() for path in (picture.parent, text)}

    def attempt(rng: random.Random) -> object:
        path = rng.choice(list(contents))
        lines = contents[path].splitlines()
        at = rng.randrange(len(lines))
        lines[at] = json.dumps(changed(json.loads(lines[at]), rng)).encode()
        content = b"\n".join(lines) + b"\n"
        (path / "training.jsonl").write_bytes(damaged(content, rng) if rng.random() < 0.2 else content)
        end = run_main("learned", str(path), *rng.choice(((), ("--json",), ("--format", "ascii"), ("--epoch", "1"))))
        told = end.stderr.decode()
        if "nobody foresaw" in told or scrub(told) != told or scrub(end.stdout.decode()) != end.stdout.decode():
            raise RuntimeError(f"{told} {end.stdout!r:.300}")
        return read_learning(path, read_card(picture if path == picture.parent else text))

    return attempt


def pictures(folder: Path) -> Attempt:
    """Picture files of every format that Pillow writes, damaged, and PNG files of strange chunks."""
    from PIL import Image

    from tui_gen.images.read import read_levels

    models = [read_card(make(folder / name)).image for name, make in _PICTURE_MODELS.items()]
    specs = [image for image in models if image]
    picture = Image.radial_gradient("L").resize((40, 30))
    for ending in ("png", "jpg", "gif", "webp", "bmp", "tif", "tga", "ico", "ppm", "pcx", "sgi", "jp2", "dds", "icns"):
        with contextlib.suppress(KeyError, OSError, ValueError):  # what this Pillow does not write
            picture.convert("RGB" if ending != "gif" else "P").save(folder / f"picture.{ending}")
    for mode in ("1", "LA", "I;16", "F", "CMYK", "RGBA"):
        picture.convert(mode).save(folder / f"{mode.replace(';', '')}.tiff")
    originals = [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]
    path = folder / "mutant"

    def attempt(rng: random.Random) -> object:
        content = strange_png(rng) if rng.random() < 0.3 else damaged(rng.choice(originals), rng)
        path.write_bytes(content)
        return read_levels(path, rng.choice(specs))

    return attempt


_PICTURE_MODELS = {"grey": toys.image_folder, "colour": toys.colour_folder}


def strange_png(rng: random.Random) -> bytes:
    """Of chunks in any order, of sizes that their pixels do not have, which may inflate without end."""
    sizes = (0, 1, 2, 7, 1000, 7000, 2**16, 2**31 - 1, 2**32 - 1)
    width, height = rng.choice(sizes), rng.choice(sizes)
    depth, colours = rng.choice((1, 2, 4, 8, 16, 3)), rng.choice((0, 2, 3, 4, 6, 7))
    pixels = zlib.compress(rng.choice((b"\0", b"\1\2\3")) * rng.choice((1, 1000, 10**6)), rng.choice((1, 9)))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, rng.randrange(3)))]
    for _ in range(rng.randrange(5)):
        name = rng.choice((b"PLTE", b"tRNS", b"gAMA", b"iCCP", b"zTXt", b"iTXt", b"eXIf", b"acTL", b"fcTL", b"fdAT"))
        content = rng.choice((b"", rng.randbytes(12), b"a\0\0" + zlib.compress(bytes(10**6)), b"Exif\0\0II*\0"))
        chunks.insert(rng.randrange(len(chunks) + 1), (name, content))
    chunks += [(b"IDAT", pixels)] * rng.choice((0, 1, 2)) + [(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


def jobs(folder: Path) -> Attempt:
    """Files of prompts and manifests that are changed by structure, or damaged."""
    from tui_gen.bulk.folder import MANIFEST, Results, read_manifest
    from tui_gen.bulk.job import Drawing, Request, cut
    from tui_gen.scoring.given import GivenReader

    models = [open_model(make(folder / make.__name__)) for make in (toys.text_folder, toys.image_folder)]
    line = {"prompt": "the", "n": 3, "length": 5, "temperature": 1.5, "top_k": 2, "top_p": 0.9, "min_p": 0.1}
    facts = {"format": 1, "model": {"name": "text"}, "job": {"seed": 3}, "form": "jsonl", "rows": 9, "part_rows": 4}
    prompts, out = folder / "prompts.jsonl", folder / "out"
    out.mkdir()

    def attempt(rng: random.Random) -> object:
        if rng.random() < 0.4:
            content = json.dumps(changed(facts, rng)).encode()
            (out / MANIFEST).write_bytes(damaged(content, rng) if rng.random() < 0.2 else content)
            return Results(out, facts, read_manifest(out)).there()
        lines = [json.dumps(changed(line, rng)), any_text(rng)[:99], json.dumps(line)]
        content = "\n".join(lines).encode("utf-8", "replace")
        prompts.write_bytes(damaged(content, rng) if rng.random() < 0.2 else content)
        job = Drawing(Request("", SamplingParams()), prompts)
        return sum(
            part.rows for _, part in zip(range(99), cut(job.content(GivenReader(rng.choice(models))), 4), strict=False)
        )

    return attempt


def tours(folder: Path) -> Attempt:
    """Tours that are changed by structure, or damaged."""
    from tui_gen.tui.tour import SHIPPED, read_tour

    content, path = SHIPPED.read_bytes(), folder / "tour.toml"

    def attempt(rng: random.Random) -> object:
        path.write_bytes(_changed_toml(content, rng))
        tour = read_tour(path)
        return [stop.words() for stop in tour.stops], list(tour.faults())

    return attempt


def configurations(folder: Path) -> Attempt:
    """Configurations that are changed by structure, or damaged; the screen's keys and themes follow them."""
    from tui_gen.config import VARIABLE, read_config
    from tui_gen.tui.bindings import KEYS
    from tui_gen.tui.keymap import Keymap
    from tui_gen.tui.themes import Themes

    path = folder / "config.toml"
    os.environ[VARIABLE] = str(path)
    own = {"primary": "#ffb454", "dark": True, "variables": {"input-selection-background": "#ffb454 35%"}}
    facts: dict[str, Any] = {"theme": "mine", "model": "names", "temperature": 1.0, "top_k": 3, "pace": "unlimited"}
    facts |= {"samples": 2, "threads": 1, "keys": {key.id: key.key for key in KEYS[:9] if key.id}}
    content = toml({**facts, "themes": {"mine": own}}).encode()

    def attempt(rng: random.Random) -> object:
        path.write_bytes(_changed_toml(content, rng))
        config = read_config()
        themes, keymap = Themes(config.values.get("theme", ""), config.themes), Keymap(config.keys)
        for fault in (*config.faults, *themes.faults, *keymap.faults):
            if scrub_line(fault) != fault:
                raise RuntimeError(f"raw: {fault!r}")
        if config.faults:
            raise TuiGenError(config.faults[0])
        return keymap

    return attempt


def _changed_toml(content: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return damaged(content, rng)
    facts = changed(tomllib.loads(content.decode()), rng)
    return toml(facts if isinstance(facts, dict) else {"stops": facts}).encode("utf-8", "replace")


_KINDS = (
    *(trained, kept, evaluated, resumed, networks, settings, files, pickles, bombs),
    *(
        graphs,
        cards,
        tokenizers,
        prompts,
        pictures,
        sessions,
        hubs,
        logs,
        jobs,
        tours,
        configurations,
        commands,
        injections,
        monkey,
    ),
)
KINDS: dict[str, Callable[[Path], Attempt]] = {each.__name__: each for each in _KINDS}
