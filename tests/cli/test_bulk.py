"""`tui-gen bulk` as a person uses it, on this machine and on Ray."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import numpy as np
import pandas
import pytest
from PIL import Image
from pyarrow import parquet

from tests.conftest import Run
from tui_gen.bulk import engines
from tui_gen.bulk.compute import Computer, Setup, digests
from tui_gen.bulk.folder import MANIFEST
from tui_gen.bulk.job import Part, Request
from tui_gen.library import network_files
from tui_gen.sampling.params import SamplingParams

SHIPPED = Path(__file__).parents[2] / "models"
Program = Callable[..., dict[str, Any]]


def read(folder: Path) -> list[dict[str, Any]]:
    """The rows of a folder, in their order."""
    parts = sorted(folder.glob("part-*"))
    if parts[0].suffix == ".parquet":
        return [row for part in parts for row in parquet.read_table(part).to_pylist()]
    return [json.loads(line) for part in parts for line in part.read_text("utf-8").splitlines()]


@pytest.fixture(scope="session")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of prompts of several lengths and knobs."""
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    lines = [
        "the",
        '{"prompt": "the cat", "n": 9, "temperature": 2}',
        "",
        '{"n": 2, "top_k": 1, "length": 3}',
        "the dog",
    ]
    path.write_text("\n".join(lines))
    return path


def test_rows_are_the_same_however_they_are_cut_and_those_that_generate_makes(
    tui_gen: Run, tmp_path: Path, prompts: Path
) -> None:
    job = ("bulk", "text", "--prompts", str(prompts), "--seed", "3", "-l", "8", "-t", "1.5", "-n", "5")
    one = tui_gen(*job, "-o", str(tmp_path / "one"), "--workers", "1")
    assert (one.returncode, one.stdout) == (0, b"")
    assert b"21 of 21 rows" in one.stderr
    tui_gen(*job, "-o", str(tmp_path / "two"), "--workers", "2", "--part", "4", "--batch", "3", "--format", "jsonl")
    rows = read(tmp_path / "one")
    assert rows == read(tmp_path / "two")
    assert [row["sample"] for row in rows] == list(range(21))
    command = ("generate", "text", "the cat", "-n", "9", "-t", "2", "-l", "8", "--seed", "3", "--first", "5")
    drawn = [json.loads(line) for line in tui_gen(*command, "--format", "samples").stdout.splitlines()]
    assert rows[5:14] == sorted(drawn, key=lambda row: row["sample"])
    assert [row["tokens"] <= 3 for row in rows[14:16]] == [True, True]


def test_the_same_command_goes_on_where_it_was_with_the_seed_that_it_had(tui_gen: Run, tmp_path: Path) -> None:
    job = ("bulk", "text", "the", "-n", "20", "--part", "6", "-o", str(tmp_path / "out"))
    tui_gen(*job)
    rows, parts = read(tmp_path / "out"), sorted((tmp_path / "out").glob("part-*"))
    assert len(parts) == 4
    kept = [part.stat().st_mtime_ns for part in parts[:2]]
    for part in parts[2:]:
        part.unlink()
    done = tui_gen(*job)
    assert b"has 12 of 20 rows; it goes on from there" in done.stderr
    assert read(tmp_path / "out") == rows
    assert [part.stat().st_mtime_ns for part in parts[:2]] == kept


@pytest.mark.usefixtures("_interruptible")
@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_a_killed_process_costs_its_part_and_an_interrupted_run_keeps_its_parts(
    program: Program, tmp_path: Path
) -> None:
    job = ("bulk", "endless", "the", "-l", "400", "--part", "4", "--seed", "1", "--workers", "2")
    subprocess.run(**program(*job, "-n", "64", "-o", str(tmp_path / "few")), check=True, capture_output=True)
    without_end = program(*job, "-n", "1_000_000", "-o", str(tmp_path / "many"))
    for count in (5, 9):
        with subprocess.Popen(**without_end, stderr=subprocess.PIPE) as process:
            wait_for_parts(process, tmp_path / "many", count - 3)
            os.kill(workers_of(process.pid)[0], signal.SIGKILL)
            wait_for_parts(process, tmp_path / "many", count)
            process.send_signal(signal.SIGINT)
            _, complaints = process.communicate()
        assert process.returncode == 130
        assert b"the same command again goes on from there" in complaints
    rows = {row["sample"]: row for row in read(tmp_path / "many")}
    both = [row for row in read(tmp_path / "few") if row["sample"] in rows]
    assert len(both) >= 20
    assert both == [rows[row["sample"]] for row in both]


@pytest.fixture(name="_interruptible")
def interruptible() -> Iterator[None]:
    """A child would inherit that SIGINT is ignored, as where a shell has started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def workers_of(pid: int) -> list[int]:
    """The processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def wait_for_parts(process: subprocess.Popen[bytes], folder: Path, count: int) -> None:
    """Until there are so many."""
    while len(list(folder.glob("part-*.parquet"))) < count:
        assert process.poll() is None
        time.sleep(0.01)


def test_a_part_that_every_process_dies_of_is_told(
    tui_gen: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_CODE", "import os; os._exit(7)")
    done = tui_gen("bulk", "text", "-n", "20", "--workers", "1", "--part", "8", "-o", str(tmp_path / "out"))
    assert done.returncode == 1
    assert b"3 processes died of rows 0 to 7 (exit status 7)" in done.stderr
    assert b"0 of" not in done.stderr


def test_rows_that_are_there_are_computed_again_and_compared(tui_gen: Run, tmp_path: Path) -> None:
    job = ("bulk", "image", "-n", "20", "--seed", "1", "-o", str(tmp_path / "out"), "--part", "8", "--format", "jsonl")
    tui_gen(*job)
    done = tui_gen(*job, "--check", "20")
    assert (done.returncode, b"20 rows computed again in batches of 7: 0 differ, 0 in" in done.stderr) == (0, True)
    part = tmp_path / "out" / "part-000001.jsonl"
    part.write_text(part.read_text().replace('"logprob": -', '"logprob": -1', 1))
    done = tui_gen(*job, "--check", "20")
    assert (done.returncode, b"1 differ, 0 in their tokens" in done.stderr) == (1, True)
    part.write_bytes(part.read_bytes()[:-9])
    assert b"part-000001.jsonl is damaged; delete it" in tui_gen(*job, "--check", "20").stderr
    part.write_bytes((tmp_path / "out" / "part-000000.jsonl").read_bytes())
    assert b"part-000001.jsonl is damaged; delete it" in tui_gen(*job, "--check", "20").stderr
    part.write_bytes(b"")
    assert b"out has 12 of 20 rows" in tui_gen(*job).stderr
    assert b"out has all of 20 rows" in tui_gen(*job).stderr
    elsewhere = tui_gen(*job[:-6], "-o", str(tmp_path / "uot"), "--check", "20")
    assert (elsewhere.returncode, b"uot has no rows to check" in elsewhere.stderr) == (2, True)


def test_another_job_is_not_mixed_into_a_folder(tui_gen: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    tui_gen("bulk", "text", "the", "-n", "4", "-o", str(out))
    done = tui_gen("bulk", "text", "the", "-n", "4", "-t", "0.3", "-o", str(out))
    assert done.returncode == 2
    assert b"holds rows of another job, with temperature" in done.stderr
    done = tui_gen("bulk", "letters", "-n", "4", "-o", str(out))
    assert b"holds rows of another job, with name" in done.stderr
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    done = tui_gen("bulk", "text", "-o", str(tmp_path / "mine"))
    assert b"has other files in it" in done.stderr
    text = (out / MANIFEST).read_text()
    (out / MANIFEST).write_text(text.replace('"top_k": 0', '"top_q": null, "top_k": 0'))
    done = tui_gen("bulk", "text", "the", "-n", "4", "-o", str(out))
    assert b"holds rows of another job, with top_q None and not None" in done.stderr
    (out / MANIFEST).write_text("{}")
    assert b"is not of a job of this version" in tui_gen("bulk", "text", "-o", str(out)).stderr
    (out / MANIFEST).write_text(text[:99])
    assert f"{out / MANIFEST} is not JSON".encode() in tui_gen("bulk", "text", "-o", str(out)).stderr


def test_a_job_knows_its_files_by_what_they_hold(tui_gen: Run, tmp_path: Path) -> None:
    prompts, other = tmp_path / "prompts.txt", tmp_path / "other.txt"
    prompts.write_bytes(b"\xef\xbb\xbfthe cat\r\nzebra\n")
    job = ("bulk", "text", "--seed", "1", "-n", "2", "-o", str(tmp_path / "drawn"), "--prompts")
    done = tui_gen(*job, str(prompts))
    assert b"text does not know 1 word (zebra) and reads them as unknown" in done.stderr
    assert [row["prompt"] for row in read(tmp_path / "drawn")] == ["the cat", "the cat", "zebra", "zebra"]
    facts = json.loads((tmp_path / "drawn" / MANIFEST).read_text())["job"]
    assert facts["sha256"] == hashlib.sha256(prompts.read_bytes()).hexdigest()
    prompts.rename(other)
    assert b"has all of 4 rows" in tui_gen(*job, str(other)).stderr
    other.write_text("the dog")
    assert b"of another job, with other prompts or texts; choose" in tui_gen(*job, str(other)).stderr
    scored = ("bulk", "text", "-o", str(tmp_path / "scored"), "--score")
    tui_gen(*scored, str(other))
    assert "seed" not in json.loads((tmp_path / "scored" / MANIFEST).read_text())["job"]
    other.rename(prompts)
    assert b"with other prompts or texts" in tui_gen(*scored, str(prompts)).stderr  # the rows have the name


@pytest.mark.parametrize(("line", "fault"), [
    ("{", "line 2: "),
    ('{"promt": "the"}', "line 2: 'promt' means nothing; did you mean prompt?"),
    ('{"n": 0}', "line 2: 'n' must be"),
    ('{"temperature": 11}', "line 2: temperature must be from 0 to 10"),
    ('{"prompt": "nobody"}', "line 2: image cannot draw 'nobody'"),
])  # fmt: skip
def test_a_line_that_cannot_be_drawn_is_told_before_anything_is(
    line: str, fault: str, tui_gen: Run, tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text(f"bright\n{line}\n")
    done = tui_gen("bulk", "image", "--prompts", str(tmp_path / "prompts.txt"), "-o", str(tmp_path / "out"))
    assert done.returncode == 1
    assert fault in done.stderr.decode()
    assert not (tmp_path / "out").exists()


def test_a_text_that_cannot_be_scored_is_told_before_any_is(tui_gen: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ab\nab\na7\n")
    job = ("bulk", "letters", "--score", str(tmp_path / "a.txt"), "-o", str(tmp_path / "out"))
    for options in ((), ("--lines",)):
        done = tui_gen(*job, "--part", "1", *options)
        assert "has never seen '7' (line 3, character 2 of" in done.stderr.decode()
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("words", "fault"), [
    (("--address", "1.2.3.4:5"), "add --engine ray"),
    (("the", "--prompts", "x"), "leave out PROMPT"),
    (("--lines",), "--lines is of --score"),
    (("--score", "x", "-n", "3"), "leave out -n"),
    (("--score", "x", "-t", "0.5"), "leave out -n, --seed, -l and the knobs"),
])  # fmt: skip
def test_options_that_do_not_go_together(words: tuple[str, ...], fault: str, tui_gen: Run, tmp_path: Path) -> None:
    done = tui_gen("bulk", "text", *words, "-o", str(tmp_path / "out"))
    assert (done.returncode, fault in done.stderr.decode()) == (2, True)


@pytest.mark.parametrize("model", ["image", "colour"])
def test_pictures_are_levels_and_png_and_open_in_other_programs(model: str, tui_gen: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    tui_gen("bulk", model, "-n", "5", "--seed", "2", "-o", str(out))
    drawn = tui_gen("generate", model, "-n", "5", "--seed", "2", "--format", "samples").stdout.splitlines()
    rows = read(out)
    pngs = [row.pop("png") for row in rows]
    assert rows == [json.loads(line) for line in drawn]
    size = Image.open(io.BytesIO(pngs[0])).size
    assert size == np.array(rows[0]["pixels"]).shape[1::-1]
    assert len(pandas.read_parquet(out)) == 5
    assert duckdb.sql(f"select sum(tokens) from '{out}/*.parquet'").fetchall() == [
        (sum(row["tokens"] for row in rows),)
    ]


def test_lines_and_files_have_the_scores_that_score_gives(tui_gen: Run, tmp_path: Path) -> None:
    text = tmp_path / "lines.txt"
    text.write_text("the cat sat\nthe dog\n\nthe cat saw the dog\n")
    for options in (("--lines",), ()):
        out = tmp_path / f"out{len(options)}"
        done = tui_gen("bulk", "text", "--score", str(text), str(text), *options, "--part", "3", "-o", str(out))
        assert done.returncode == 0, done.stderr
        scored = tui_gen("score", "text", str(text), str(text), *options, "--format", "jsonl").stdout.splitlines()
        assert read(out) == [json.loads(line) for line in scored[:-1]]


def test_a_folder_is_scored_by_the_names_in_it(tui_gen: Run, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    (texts / "inner").mkdir(parents=True)
    for name in ("b.txt", "a.txt", ".hidden"):
        (texts / name).write_text("the cat sat")
    tui_gen("bulk", "text", "--score", str(texts), "-o", str(tmp_path / "out"))
    assert [row["file"] for row in read(tmp_path / "out")] == [str(texts / "a.txt"), str(texts / "b.txt")]


def test_a_small_job_has_parts_for_all_processes_and_a_large_one_whole_batches(tui_gen: Run, tmp_path: Path) -> None:
    for rows, parts in ((300, 30), (8000, 50)):
        out = tmp_path / str(rows)
        tui_gen("bulk", "text", "-n", str(rows), "-l", "1", "--batch", "10", "-o", str(out), "--workers", "1")
        assert len(list(out.glob("part-*"))) == parts


def test_where_the_model_is_not_seen_its_files_come_from_the_object_store(
    toy_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda files: files))
    model = toy_models / "text"
    setup = Setup(model, digests(model), seed=3, batch=4, form="jsonl", key="text")
    part = Part(0, 0, (Request("the", SamplingParams(), 5, 6),))
    files = {path.name: path.read_bytes() for path in network_files(model)}
    actor = engines._Actor(replace(setup, model=tmp_path / "elsewhere"), [files])
    [content] = actor({"part": [pickle.dumps(part)]})["content"]
    actor._copy.close()
    assert content == Computer(setup).compute(part)


@pytest.mark.parametrize("page", ["bulk.md", "howto/bulk.md"])
def test_the_program_of_a_page_opens_what_was_drawn(page: str, tui_gen: Run, tmp_path: Path) -> None:
    tui_gen("bulk", str(SHIPPED / "names"), "-n", "500", "--seed", "3", "-o", str(tmp_path / "drawn"))
    text = (Path(__file__).parents[2] / "docs" / page).read_text("utf-8")
    [code] = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=True)
    assert re.search(rb"^500\b", done.stdout, re.MULTILINE)


def test_ray_draws_the_same_rows_and_what_does_not_fit_is_told_at_once(program: Program, tmp_path: Path) -> None:
    job = ("bulk", "text", "the", "-n", "300", "--seed", "4", "--part", "50", "--batch", "16")
    subprocess.run(**program(*job, "-o", str(tmp_path / "here")), check=True, capture_output=True)
    ray = program(*job, "-o", str(tmp_path / "ray"), "--engine", "ray")
    done = subprocess.run(**ray, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "ray") == read(tmp_path / "here")
    words = ("-o", str(tmp_path / "none"), "--engine", "ray", "--address", "127.0.0.1:9")
    done = subprocess.run(**program(*job, *words), capture_output=True, check=False)
    assert done.returncode == 1
    assert b"there is no Ray cluster at 127.0.0.1:9" in done.stderr


STARTING = """
import os, signal
from tui_gen.bulk import engines

try:
    with engines._undisturbed():
        os.kill(os.getpid(), signal.SIGINT)
        os.write(2, b"dropped")
        print("started")
except KeyboardInterrupt:
    print("interrupted")
print("(raylet) node died. " + "state " * 99 + "\\nits log", file=engines.RayMessages())
"""


@pytest.mark.usefixtures("_interruptible")
def test_ctrl_c_waits_until_ray_has_started_and_what_it_prints_is_dropped_or_cut() -> None:
    done = subprocess.run([sys.executable, "-c", STARTING], capture_output=True, check=True)
    assert done.stdout.split() == [b"started", b"interrupted"]
    [line] = done.stderr.splitlines()
    assert line.startswith(b"tui-gen: (raylet) node died. state")
    assert len(line) < 220


CLUSTER = """
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
other = cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
input()
cluster.remove_node(other, allow_graceful=False)
input()
cluster.shutdown()
"""
"""Two machines, as far as Ray knows, of which the second goes down at the first line, and the first at the next."""


@pytest.mark.whole
@pytest.mark.parametrize("mode", ["disabled", "token"])
def test_a_machine_of_a_cluster_goes_down_and_every_row_is_there(mode: str, program: Program, tmp_path: Path) -> None:
    ray = {"RAY_AUTH_MODE": mode, "RAY_AUTH_TOKEN": "of a test"}
    job = ("bulk", "endless", "the", "-n", "2000", "-l", "400", "--seed", "4", "--part", "20")
    subprocess.run(**program(*job, "-o", str(tmp_path / "here")), check=True, capture_output=True)
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", CLUSTER], env={**os.environ, **ray}, **pipes) as cluster:
        assert cluster.stdin
        assert cluster.stdout
        address = cluster.stdout.readline().strip()
        words = program(*job, "-o", str(tmp_path / "there"), "--engine", "ray", "--address", address, **ray)
        with subprocess.Popen(**words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            wait_for_parts(process, tmp_path / "there", 10)
            cluster.stdin.write("\n")
            cluster.stdin.flush()
            shown, complaints = process.communicate()
        cluster.communicate("\n")
    assert (process.returncode, shown) == (0, b""), complaints
    assert b"\x1b" not in complaints
    assert read(tmp_path / "there") == read(tmp_path / "here")
