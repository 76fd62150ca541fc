"""Two thousand damaged checkpoints give a checkpoint or one clean line, in bounded memory."""

from __future__ import annotations

import io
import pickle
import random
import resource
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn

from export.checkpoints.load import load_checkpoint
from tui_gen.errors import TuiGenError

COUNT = 2000
MEMORY = 6 * 2**30
ROOT = Path(__file__).parents[3]


def _originals() -> list[bytes]:
    """Small files of every form."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(5, 3), nn.LSTM(3, 2), nn.Linear(2, 5))
    contents = {"state_dict": net.state_dict(), "vocab": {"a": 0, "b": 1}, "args": ("x", 1.5, None, True)}
    files = []
    for value in (contents, net, [net, nn.CrossEntropyLoss()]):
        for new in (True, False):
            stream = io.BytesIO()
            torch.save(value, stream, _use_new_zipfile_serialization=new)
            files.append(stream.getvalue())
    files.append(safetensors.torch.save(dict(net.state_dict())))
    arrays = {"weight": np.ones((2, 3)), "bias": torch.ones(2), "words": np.array(["a", "b"]), "seen": {1, 2}}
    files.extend(pickle.dumps(arrays, protocol) for protocol in (0, 2, 5))
    return files


def _mutants(count: int) -> Iterator[bytes]:
    rng, originals = random.Random(0), _originals()
    for index in range(count):
        data = originals[index % len(originals)]
        inside = data[:2] == b"PK" and rng.random() < 0.7
        yield _with_pickle(data, rng) if inside else _damaged(data, rng)


def _damaged(data: bytes, rng: random.Random) -> bytes:
    mutant = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at, length = rng.randrange(len(mutant)), rng.randint(1, 12)
        kind = rng.random()
        if kind < 0.35:
            mutant[at] = rng.randrange(256)
        elif kind < 0.5:
            mutant[at] ^= 1 << rng.randrange(8)
        elif kind < 0.65:
            mutant[at : at + length] = rng.randbytes(length)
        elif kind < 0.75:
            del mutant[at : at + length]
        elif kind < 0.85:
            source = rng.randrange(len(mutant))
            mutant[at:at] = mutant[source : source + length]
        elif kind < 0.93:
            mutant[at : at + 4] = b"\xff\xff\xff\x7f"
        else:
            del mutant[at:]
        if not mutant:
            return b"\0"
    return bytes(mutant)


def _with_pickle(data: bytes, rng: random.Random) -> bytes:
    """The zip file made anew around a damaged pickle, so that the damage is not caught by its checksum."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, _damaged(content, rng) if name.endswith("data.pkl") else content)
    return out.getvalue()


def fuzz(folder: Path) -> None:
    """Reads all mutants; anything but a checkpoint or a clean line ends it with a traceback."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    path, clean, refusals = folder / "mutant.pt", 0, 0
    for mutant in _mutants(COUNT):
        path.write_bytes(mutant)
        try:
            load_checkpoint(path)
            clean += 1
        except TuiGenError as fault:
            refusals += "\n" not in str(fault)
    print(clean, refusals)


def test_two_thousand_damaged_files_are_told_cleanly(tmp_path: Path) -> None:
    module = "tests.export.checkpoints.test_fuzz"
    code = f"from pathlib import Path; from {module} import fuzz; fuzz(Path({str(tmp_path)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    clean, refusals = map(int, done.stdout.split())
    assert clean + refusals == COUNT
    assert min(clean, refusals) > COUNT / 20, "the damage should be neither always nor never fatal"
