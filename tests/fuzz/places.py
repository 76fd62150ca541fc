"""Where a text of somebody else can stand: how it comes there, and the command that then shows it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import toys
from tests.support.checkpoints import write_lstm, write_pixelcnn
from tests.support.journals import JournaledTree
from tui_gen.cli.main import main
from tui_gen.library import open_model

_LONGEST_FILE_NAME = 200


@dataclass(frozen=True)
class Place:
    """Where a text can stand."""

    run: Callable[[str], int]
    """Writes the text there and runs a command, in a folder and a process of its own; returns the exit status."""
    steps: tuple[tuple[str, str], ...] = ()
    """What is waited for on the screen, a pattern, and the keys that are then pressed."""
    is_result: bool = False
    """Whether the text is what the command is asked for: it may have lines, and any length."""
    needs_training: bool = False
    """Whether it begins with a run of our trainer."""


def _filled(value: Any, text: str, mark: str = "@") -> Any:
    """A value in which a text stands wherever the mark did, in keys too."""
    if isinstance(value, dict):
        return {_filled(key, text, mark): _filled(entry, text, mark) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_filled(entry, text, mark) for entry in value)
    return value.replace(mark, text) if isinstance(value, str) else value


def _call(words: str, text: str) -> int:
    """A command; a word in which the mark stands has the text."""
    return main(_filled(words.split(), text.replace("\0", "")))


def _utf8(text: str) -> str:
    """For what holds no other bytes."""
    return text.encode("utf-8", "replace").decode()


def _name(text: str) -> str:
    """Of a file."""
    return text.replace("/", "-").replace("\0", "-")[:_LONGEST_FILE_NAME]


def _said(words: str) -> Callable[[str], int]:
    """In the words of a command."""

    def run(text: str) -> int:
        toys.text_folder(Path("models/model"))
        toys.character_folder(Path("models/letters"))
        return _call(words, text)

    return run


def _carded(words: str, make: Callable[..., Path] = toys.text_folder, **card: Any) -> Callable[[str], int]:
    """In a model's card."""

    def run(text: str) -> int:
        make(Path("models/model"), **_filled(card, text))
        return _call(words, text)

    return run


def _token(words: str) -> Callable[[str], int]:
    """In place of a word that a model knows."""

    def run(text: str) -> int:
        tokenizer = toys.words().replace('"cat"', json.dumps(text))
        toys.text_folder(Path("models/model"), tokenizer=tokenizer)
        Path("file.txt").write_text(f"the {text} ran.", encoding="utf-8", errors="surrogateescape")
        return _call(words, text)

    return run


def _phrase(words: str) -> Callable[[str], int]:
    """In place of what a picture is asked for."""

    def run(text: str) -> int:
        tokenizer = toys.phrases().replace('"bright"', json.dumps(text))
        toys.image_folder(Path("models/model"), tokenizer=tokenizer)
        return _call(words, text)

    return run


def _graph(words: str, old: str, new: str) -> Callable[[str], int]:
    """In the name of a value of a graph."""

    def run(text: str) -> int:
        toys.text_folder(
            Path("models/model"), graph=toys.renamed(toys.text_graph(), old, new.replace("@", _utf8(text)))
        )
        return _call(words, text)

    return run


def _logged(words: str, **facts: Any) -> Callable[[str], int]:
    """In the log of a training, whose run and model it is."""

    def run(text: str) -> int:
        entry = {"epoch": 1, "unit": "nats", "train_loss": 1.5, "validation_loss": 1.25, "prompt": "the"}
        entry |= {"samples": ["the dog ran."], "seeds": [1], "temperature": 1.0, **facts}
        for folder in (toys.text_folder(Path("run/model")), toys.text_folder(Path("models/model")), Path("run")):
            (folder / "training.jsonl").write_text(json.dumps(_filled(entry, text)) + "\n", encoding="utf-8")
        return _call(words, text)

    return run


def _session(words: str, mark: str) -> Callable[[str], int]:
    """In the place of a mark in a session."""

    def run(text: str) -> int:
        tree = JournaledTree(open_model(toys.text_folder(Path("models/MODEL")), provider="cpu"), Path("journals"))
        tree.rename(tree.go(tree.start("the"), 5), "BRANCH")
        lines = tree.saved(Path("saved.jsonl")).read_text(encoding="utf-8").splitlines()
        changed = "\n".join(json.dumps(_filled(json.loads(line), text, mark)) for line in lines)
        Path("saved.jsonl").write_text(changed + "\n", encoding="utf-8")
        if mark == "MODEL":
            shutil.rmtree("models/MODEL")
        return _call(words, text)

    return run


def _toml(value: str) -> str:
    return '"' + "".join(f"\\U{ord(character):08x}" for character in value) + '"'


_STOP = {"title": "one", "model": "model", "prompt": "the", "text": "a text", "try": "a try"}


def _toured(words: str, **facts: str) -> Callable[[str], int]:
    """In a tour."""

    def run(text: str) -> int:
        toys.text_folder(Path("models/model"))
        lines = (f"{key} = {_toml(_filled(value, text))}" for key, value in {**_STOP, **facts}.items() if key != "head")
        head = f"title = {_toml(_filled(facts.get('head', 'a tour'), text))}"
        Path("tour.toml").write_text("\n".join([head, "[[stops]]", *lines]), encoding="utf-8")
        return _call(words, text)

    return run


def _configured(words: str, line: str) -> Callable[[str], int]:
    """In the configuration."""

    def run(text: str) -> int:
        toys.text_folder(Path("models/model"))
        Path("config.toml").write_text(line.replace("@", _toml(text)), encoding="utf-8")
        os.environ["TUI_GEN_CONFIG"] = "config.toml"
        return _call(words, text)

    return run


def _named(words: str, make: Callable[[Path], object]) -> Callable[[str], int]:
    """In the name of a file or a folder, as globbing finds it."""

    def run(text: str) -> int:
        Path("models").mkdir()
        make(Path(_name(text)))
        return _call(words, os.listdir()[0] if len(os.listdir()) == 1 else _name(text))

    return run


def _broken(path: Path) -> None:
    path.write_bytes(b"PK\3\4broken")


def _picture(path: Path) -> None:
    from PIL import Image

    Image.new("L", (6, 4)).save(path, "png")


_LETTERS = [*"abcde"]
_TRAINED = Path("../trained")
"""The folder of a run of our trainer, from that of a case."""


def _checkpoint(words: str, *, file: str = "net.pt", key: str = "", **facts: Any) -> Callable[[str], int]:
    """In a checkpoint of a script: beside the weights, or in the name of one."""

    def run(text: str) -> int:
        import torch

        state = torch.load(write_lstm(Path("plain.pt")), weights_only=True)["model"]
        state |= {key.replace("@", text): torch.ones(3)} if key else {}
        contents = {"state_dict": state, "itos": dict(enumerate(_LETTERS)), **_filled(facts, text)}
        torch.save(contents, file, _use_new_zipfile_serialization=not file.endswith(".pth"))
        return _call(words, text)

    return run


def _pickled(words: str, *, begin: bytes, end: bytes) -> Callable[[str], int]:
    """In a pickle, between some of its bytes."""

    def run(text: str) -> int:
        encoded = text.replace("\n", " ").encode("utf-8", "surrogateescape")
        Path("net.pkl").write_bytes(
            begin + (len(encoded).to_bytes(4, "little") if begin[-1:] == b"X" else b"") + encoded + end
        )
        return _call(words, text)

    return run


def _safetensors(words: str) -> Callable[[str], int]:
    """In what a safetensors file says of itself, and in the names of its tensors."""

    def run(text: str) -> int:
        import safetensors.torch
        import torch

        state = torch.load(write_lstm(Path("plain.pt")), weights_only=True)["model"]
        text = _utf8(text)
        state |= {f"other.{text[:1000]}": torch.ones(3)}
        safetensors.torch.save_file(state, "net.safetensors", {"vocab": text, text: "value", "format": text})
        return _call(words, text)

    return run


def _shards(text: str) -> int:
    """In an index of files that a network is spread over."""
    Path("net").mkdir()
    index = {"metadata": {text: text}, "weight_map": {f"{text}.weight": f"{_name(text)}.safetensors"}}
    Path("net/model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return _call("export inspect net", text)


def train(_: str) -> int:
    """A run of our trainer, beside the folders of cases."""
    from tests.support.export_training import write_data

    return main(f"train names --data {write_data('names', Path())} -o run --epochs 1".split())


def _of_trainer(words: str, **facts: Any) -> Callable[[str], int]:
    """In a checkpoint of our own trainer, of which a model is made and evaluated, and a training resumed."""

    def run(text: str) -> int:
        import torch

        from export.training import checkpoint

        whole = checkpoint.load(_TRAINED / "run" / "checkpoint.pt")
        for key, value in _filled(facts, text).items():
            inner = json.loads(whole[key]) if isinstance(whole[key], str) else whole[key]
            whole[key] = [*inner, value] if isinstance(inner, list) else {**inner, **value}
            whole[key] = json.dumps(whole[key]) if key == "card" else whole[key]
        Path("run").mkdir()
        torch.save(whole, "run/checkpoint.pt")
        return _call(words.replace("DATA", str(_TRAINED / "names")), text)

    return run


def _evaluated(text: str) -> int:
    shutil.copytree(_TRAINED / "run" / "model", "models/model")
    card = json.loads(Path("models/model/config.json").read_text(encoding="utf-8"))
    Path("models/model/config.json").write_text(json.dumps({**card, "name": text, "architecture": text}))
    return _call(f"evaluate models/model --data {_TRAINED / 'names'}", text)


def _published(text: str, *, run: str = "run", key: str = "layer", token: str = "e", lightning: bool = False) -> int:
    """In the names of a network, its vocabulary and the folder of its run."""
    import torch

    from tui_gen import publish

    net = torch.nn.ModuleDict({"emb": torch.nn.Embedding(5, 4), "lstm": torch.nn.LSTM(4, 8, batch_first=True)})
    net[key.replace("@", text.replace(".", ""))] = torch.nn.Linear(8, 5)
    net.__class__ = type(_utf8(text).replace("\0", ""), (torch.nn.ModuleDict,), {})
    folder = Path(run.replace("@", _name(text)))
    if "@" in run:
        folder.write_text("a file in its place")
    vocabulary = ["\n", "a", "b", "c", token.replace("@", text)]
    if lightning:
        sys.modules["pytorch_lightning"] = type(sys)("pytorch_lightning")
        sys.modules["pytorch_lightning"].Callback = object  # type: ignore[attr-defined]
        from tui_gen.lightning import Publish

        trainer = type("Trainer", (), {"is_global_zero": True, "callback_metrics": {text: 1.0}, "current_epoch": 0})
        Publish(folder, train_loss=text, vocabulary=vocabulary, prompt=text).on_train_epoch_end(trainer, net)
        return 0
    publication = publish(
        net, folder, vocabulary=vocabulary, prompt=text if "@" in token else "", unit=text, train_loss=1.0
    )
    from tui_gen.terminal_text import brief, show

    show(brief(publication.trouble or f"published {text}"))
    return 0


_LEAVE = "\x11"
_TEXTS = ("name", "architecture", "description", "data", "credit", "licence", "prompt_example", "prompt_prefix")
_READY = r"─ (next )?(token|pixel)|another model"
_SHOWN = "harm|another model|at most|configuration:|─ token 12"
"""The text of a place begins like this; one that is too long may be refused."""
_SCREEN = ((_SHOWN, _LEAVE),)
_RUNS = ((_READY, "\r"), (_SHOWN, _LEAVE))
PLACES: dict[str, Place] = {
    "models: architecture": Place(_carded("models", architecture="@")),
    "models: folder": Place(_named("models", lambda path: toys.text_folder(Path("models") / path))),
    **{f"inspect: {key}": Place(_carded("inspect model", **{key: "@"})) for key in _TEXTS},
    "inspect: quality": Place(_carded("inspect model", quality={"value": 1.5, "unit": "@", "split": "@"})),
    "inspect: figures": Place(_carded("inspect model", measured={"figures": {"@": "@"}, "samples": [{"text": "@"}]})),
    "inspect: export": Place(_carded("inspect model", export={"@": {"@": "@"}, "versions": "@"})),
    "inspect: kind": Place(_carded("inspect model", kind="@")),
    "inspect: layers": Place(
        _carded("inspect model", toys.image_folder, image={**toys.IMAGE, "layers": [{"name": "@", "mask": "@"}]})
    ),
    "inspect: phrases": Place(_phrase("inspect model")),
    "inspect: state": Place(_graph("inspect model", "state.count", "state.@")),
    "inspect: output": Place(_graph("inspect model", "logits", "@")),
    "inspect: path": Place(_said("inspect @")),
    "generate: token": Place(_token("generate model the -t 0 -l 2"), is_result=True),
    "generate: token as JSON": Place(_token("generate model the -t 0 -l 2 --format jsonl")),
    "generate: unknown word": Place(_said("generate model @")),
    "generate: name": Place(_carded("generate model the -l 1", name="@")),
    "generate: model": Place(_said("generate @ the")),
    "generate: option": Place(_said("generate model --@")),
    "generate: number": Place(_said("generate model -t @")),
    "generate: format": Place(_said("generate model --format @")),
    "generate: sweep": Place(_said("generate model --sweep @=1,2")),
    "generate: output": Place(_said("generate model the -o missing/@")),
    "generate: picture": Place(_named("generate digits --image @", _broken)),
    "generate: phrases": Place(_phrase("generate model nothing --format ascii")),
    "generate: phrase": Place(_carded("generate model @ --format ascii", toys.image_folder)),
    "score: token": Place(_token("score model file.txt"), is_result=True),
    "score: file": Place(_named("score names @", _broken)),
    "look: file": Place(_named("look digits @ --influence 1", _broken)),
    "look: missing": Place(_said("look model @ --influence 1")),
    "replay: branch": Place(_session("replay saved.jsonl --branch x", "BRANCH")),
    "replay: model": Place(_session("replay saved.jsonl", "MODEL")),
    "replay: text": Place(_session("replay saved.jsonl --format samples", "the"), is_result=True),
    "replay: event": Place(_session("replay saved.jsonl", "begun")),
    "replay: file": Place(_named("replay @", _broken)),
    "learned: unit": Place(_logged("learned model", unit="@")),
    "learned: prompt": Place(_logged("learned model", prompt="@")),
    "learned: sample": Place(_logged("learned model --epoch 1", samples=["@"]), is_result=True),
    "watch: unit": Place(_logged("watch run --plain --epochs 1", unit="@"), (("must have", "\x03"),)),
    "watch: file": Place(_named("watch @", _broken)),
    "tour: title": Place(_toured("tour tour.toml --plain", head="@")),
    "tour: text": Place(_toured("tour tour.toml --plain", title="@", text="@")),
    "tour: action": Place(_toured("tour tour.toml --check", **{"try": "{@}"})),
    "tour: model": Place(_toured("tour tour.toml --check", model="@")),
    "tour: key": Place(_toured("tour tour.toml --check", title="@", seed="@")),
    "doctor: setting": Place(_configured("doctor", "@ = 1")),
    "doctor: kind": Place(_carded("doctor", kind="@")),
    "config: setting": Place(_configured("config", "@ = 1")),
    "config: value": Place(_configured("config", "theme = @")),
    "config: keys": Place(_configured("config", "[keys]\n@ = @")),
    "config: themes": Place(_configured("config", "[themes.@]\nprimary = @")),
    "adherence: model": Place(_said("adherence model --data x --@")),
    "adherence: data": Place(_phrase("adherence model --data @")),
    "evaluate: name": Place(_evaluated, needs_training=True),
    "evaluate: data": Place(_said("evaluate models/model --data x --preset @")),
    "train: data": Place(_said("train names --data @ -o run")),
    "train: preset": Place(_said("train @ --data x -o run")),
    "train: options": Place(
        _of_trainer("train names --data DATA -o run --epochs 1", options={"preset": "@", "precision": "@", "@": 1}),
        needs_training=True,
    ),
    "train: log": Place(
        _of_trainer("train names --data DATA -o run --epochs 1", log={"epoch": "@", "unit": "@"}), needs_training=True
    ),
    "export: name": Place(_named("export inspect @", _broken)),
    "export: weight": Place(_checkpoint("export inspect net.pt", key="@.weight")),
    "export: legacy weight": Place(_checkpoint("export inspect net.pth", file="net.pth", key="layer.@")),
    "export: token": Place(_checkpoint("export inspect net.pt", itos=dict(enumerate(["@", *"bcde"])))),
    "export: settings": Place(
        _checkpoint("export inspect net.pt", hyper_parameters={"rnn_type": "@", "activation": "@", "bos": "@"})
    ),
    "export: options": Place(_checkpoint("export inspect net.pt --assume @=@")),
    "export: size": Place(_checkpoint("export inspect net.pt --size @")),
    "export: output": Place(_checkpoint("export net.pt -o @")),
    "export: JSON": Place(
        _checkpoint("export inspect net.pt --json", itos=dict(enumerate(["@", *"bcde"]))), is_result=True
    ),
    "export: class": Place(_pickled("export inspect net.pkl", begin=b"\x80\2}cmodule\n", end=b"\n)RK\1s.")),
    "export: key": Place(_pickled("export inspect net.pkl", begin=b"\x80\2}X", end=b"K\1s.")),
    "export: safetensors": Place(_safetensors("export inspect net.safetensors")),
    "export: shards": Place(_shards),
    "export: vocabulary": Place(_checkpoint("export inspect net.pt --vocab @")),
    "export: our card": Place(
        _of_trainer("export run/checkpoint.pt -o made", card={"name": "@", "architecture": "@", "description": "@"}),
        needs_training=True,
    ),
    "export: our network": Place(
        _of_trainer("export run/checkpoint.pt -o made", network={"cell": "@", "@": 1}), needs_training=True
    ),
    "export: our options": Place(
        _of_trainer("export inspect run/checkpoint.pt", options={"preset": "@"}), needs_training=True
    ),
    "publish: vocabulary": Place(lambda text: _published(text, token="@")),
    "publish: layer": Place(lambda text: _published(text, key="@")),
    "publish: run": Place(lambda text: _published(text, run="@")),
    "Lightning": Place(lambda text: _published(text, lightning=True, token="@", run="@")),
    "screen: name": Place(_carded("model", name="@"), _SCREEN),
    "screen: description": Place(_carded("model", description="@"), _SCREEN),
    "screen: architecture": Place(_carded("model", architecture="@"), _SCREEN),
    "screen: example": Place(_carded("model", prompt_example="@"), _SCREEN),
    "screen: models": Place(
        _named("names", lambda path: toys.text_folder(Path("models") / path)),
        ((_READY, "\x1bOR"), ("choose", _LEAVE)),
    ),
    "screen: token": Place(_token("model --prompt the -t 0"), _RUNS),
    "screen: phrase": Place(_phrase("model"), _SCREEN),
    "screen: branch": Place(
        _session("replay saved.jsonl --screen", "BRANCH"), (("─ token", "\x1bOS"), ("switch", _LEAVE))
    ),
    "screen: log": Place(_logged("model", prompt="@", unit="@"), (("· CPU", "\x1b[20~"), ("harm|▌", _LEAVE))),
    "screen: sample": Place(_logged("model", samples=["@"]), (("· CPU", "\x1b[20~"), ("harm|▌", _LEAVE))),
    "screen: tour": Place(_toured("tour tour.toml", title="@", text="@"), (("1 of 1", _LEAVE),)),
    "screen: watch": Place(_logged("watch run", unit="@", prompt="@", samples=["@"]), _SCREEN),
    "screen: configuration": Place(_configured("model", "theme = @\n[keys]\n@ = @"), _SCREEN),
    "screen: file": Place(
        _named("@", lambda path: write_pixelcnn(Path("net")).rename(path)), (("whether its script", _LEAVE),)
    ),
}
