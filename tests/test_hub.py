"""Models of the hub: what is fetched, from whom, and what of it is never opened."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support import toys
from tests.support.hub import REPO, Hub, commit_of, files_of
from tests.support.journals import JournaledTree
from tui_gen import hub
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.library import cached_models, locate, open_model
from tui_gen.sessions.file import model_folders, read_session

ADDRESS = f"hf:{REPO}"


def refusal(address: str) -> str:
    with pytest.raises(TuiGenError) as caught:
        hub.fetch(address, tell=[].append)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_files_of_the_format_are_fetched_once_and_the_commit_is_noted(served: Hub, tmp_path: Path) -> None:
    files, lines = served.revisions["main"], list[str]()
    snapshot = hub.fetch(ADDRESS, tell=lines.append)
    assert lines[0].startswith("downloading ")
    assert files_of(snapshot.folder) == {name: files[name] for name in hub.FILES if name in files}
    assert not {path for *_, path in served.requests if path.endswith((".bin", "notes/config.json"))}
    assert snapshot.address == f"{ADDRESS}@{commit_of(files)}"

    served.requests.clear()
    loaded_model = open_model(ADDRESS, provider="cpu")
    assert loaded_model.card.architecture == "newer"
    assert loaded_model.address == snapshot.address
    assert loaded_model.folder == snapshot.folder
    assert open_model(snapshot.address, provider="cpu").folder == snapshot.folder
    assert served.requests == []


def test_a_revision_is_another_model_beside_it(served: Hub) -> None:
    assert open_model(f"{ADDRESS}@v1", provider="cpu").card.architecture == "older"
    assert open_model(ADDRESS, provider="cpu").card.architecture == "newer"
    assert open_model(f"{ADDRESS}@v1", provider="cpu").card.architecture == "older"


def test_the_cache_is_looked_through_for_models_that_are_whole(served: Hub, tmp_path: Path) -> None:
    assert cached_models() == []
    snapshot = hub.fetch(ADDRESS, tell=[].append)
    for user, wrong in (("cut", "model.onnx"), ("other", "config.json"), ("strange", "../../x"), ("unknown", "")):
        folder = tmp_path / "hub" / f"models--{user}--cats"
        shutil.copytree(snapshot.folder, folder / "snapshots" / snapshot.folder.name)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(wrong if user in ("strange", "unknown") else snapshot.folder.name)
        if user == "cut":
            (folder / "snapshots" / snapshot.folder.name / wrong).unlink()
        if user == "other":
            (folder / "snapshots" / snapshot.folder.name / wrong).write_text('{"model_type": "bert"}')
    (tmp_path / "hub" / "models--").mkdir()
    (tmp_path / "hub" / "datasets--someone--cats").symlink_to(tmp_path / "hub" / "models--someone--cats")
    [entry] = cached_models()
    assert (entry.name, entry.path, entry.card and entry.card.architecture) == (ADDRESS, Path(ADDRESS), "newer")


def test_nothing_is_fetched_without_the_prefix_or_where_it_is_forbidden(
    served: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TuiGenError, match="there is no model 'someone/cats'"):
        locate(REPO)
    monkeypatch.chdir(tmp_path)
    toys.text_folder(tmp_path / ADDRESS, architecture="mine")
    assert open_model(f"./{ADDRESS}", provider="cpu").card.architecture == "mine"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in refusal(ADDRESS)
    assert served.requests == []


def test_a_token_goes_to_the_hub_alone(served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.fetch(ADDRESS, tell=[].append)
    assert {host for host, *_ in served.requests} == {"127.0.0.1", "localhost"}
    assert set(served.tokens) == {("127.0.0.1", "Bearer hf_secret")}


def test_a_connection_that_breaks_is_taken_up_again(served: Hub) -> None:
    served.cut = {"model.onnx": 100}
    folder = hub.fetch(ADDRESS, tell=[].append).folder
    assert (folder / "model.onnx").read_bytes() == served.revisions["main"]["model.onnx"]


@pytest.mark.parametrize("name", ["model.onnx", "config.json"])
def test_a_file_with_another_hash_is_refused_and_does_not_stay(name: str, served: Hub) -> None:
    content = served.revisions["main"][name]
    served.sent = {name: content[:-1] + b"!"}
    assert f"{name} came damaged" in refusal(ADDRESS)
    assert hub.cached(ADDRESS) is None
    served.sent = {}
    assert (hub.fetch(ADDRESS, tell=[].append).folder / name).read_bytes() == content


def test_what_is_too_large_is_told_by_what_fetches_it_all_the_same(served: Hub) -> None:
    served.stated = {"model.onnx": 10**9}
    line = refusal(ADDRESS)
    assert "it has 953 MB, more than the 400 that are downloaded unasked" in line
    assert f"hf download {REPO} --revision {commit_of(served.revisions['main'])}" in line
    assert "--trust opens it" in line
    assert not [path for _, _, path in served.requests if "/resolve/" in path]


@pytest.mark.parametrize(
    ("address", "status", "says"),
    [
        ("hf:someone/dogs", None, "the hub has no such model"),
        (f"{ADDRESS}@v9", None, "it has no revision v9"),
        (ADDRESS, (403, "GatedRepo"), "its owner asks for consent"),
        (ADDRESS, (500, ""), "answers: "),
    ],
)
def test_what_the_hub_refuses_is_told_in_a_line(
    address: str, status: tuple[int, str] | None, says: str, served: Hub
) -> None:
    served.refusal = status
    line = refusal(address)
    assert line.startswith(f"{address} is not downloaded: ")
    assert says in line


@pytest.mark.parametrize("size", [2.0, -1, "9", None])
def test_a_size_that_is_none_is_no_reason_to_fetch(size: Any, served: Hub) -> None:
    served.stated = {"model.onnx": size}
    assert "the hub does not say" in refusal(ADDRESS)
    assert not [path for _, _, path in served.requests if "/resolve/" in path]


def test_what_is_no_model_folder_is_not_fetched(served: Hub) -> None:
    del served.revisions["main"]["model.onnx"]
    assert "it is no model folder of tui-gen, for it has no model.onnx" in refusal(ADDRESS)
    assert len(served.requests) == 1


def test_a_hub_that_cannot_be_reached_is_told(served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "try again when http://127.0.0.1:9 can be reached" in refusal(ADDRESS)


@pytest.mark.parametrize("address", ["hf:", "hf:cats", "hf:a/b/c", "hf:../b", "hf:a/..", "hf:a/b@../../c", "hf:a/b@"])
def test_an_address_that_names_no_model_is_wrong_usage(address: str, served: Hub) -> None:
    with pytest.raises(UsageError, match="names no model of the hub"):
        locate(address)
    assert served.requests == []


def test_a_download_that_nobody_waits_for_ends(served: Hub) -> None:
    served.held = threading.Event()
    stopped = threading.Event()

    def tell(line: str) -> None:
        if " of " in line:
            stopped.set()

    with pytest.raises(TuiGenError, match="was ended"):
        hub.fetch(ADDRESS, tell=tell, is_stopped=stopped.is_set)
    assert hub.cached(ADDRESS) is None


def test_a_strangers_graph_is_tried_like_any_other(served: Hub) -> None:
    served.revisions["main"]["model.onnx"] = b"no graph"
    with pytest.raises(TuiGenError, match=r"model\.onnx"):
        open_model(ADDRESS, provider="cpu")


def test_a_session_is_of_a_commit_and_fetches_it_for_nobody_but_who_names_it(served: Hub, tmp_path: Path) -> None:
    loaded_model = open_model(ADDRESS, provider="cpu")
    notes = JournaledTree(loaded_model, tmp_path / "notes")
    notes.go(notes.start("the"), 3)
    session = read_session(notes.saved(tmp_path / "session.jsonl"))
    assert session.models[0].name == loaded_model.address
    assert model_folders(session, [], anyway=False)[0] == {0: Path(loaded_model.address)}

    shutil.rmtree(tmp_path / "hub")
    served.requests.clear()
    with pytest.raises(TuiGenError, match=f"--model {loaded_model.address} downloads it"):
        model_folders(session, [], anyway=False)
    assert served.requests == []
    with pytest.raises(TuiGenError, match=r"has another model\.onnx"):
        model_folders(session, [f"{ADDRESS}@v1"], anyway=False)
    assert model_folders(session, [ADDRESS], anyway=False)[0] == {0: Path(ADDRESS)}
