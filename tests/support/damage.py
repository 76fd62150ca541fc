"""Files with damage, as copying, cutting off and bad memory make it."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

from tui_gen.errors import TuiGenError


def damaged(data: bytes, rng: random.Random, *, most: int = 4) -> bytes:
    """The content with one byte or run of bytes changed, lost, doubled or cut off, or a few of them; never empty."""
    mutant = bytearray(data)
    for _ in range(rng.randint(1, most)):
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


def with_damaged_parts(data: bytes, rng: random.Random, *suffixes: str) -> bytes:
    """A zip file made anew around damaged parts, so that no checksum catches it. suffixes: of the parts' names."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, damaged(content, rng) if name.endswith(suffixes) else content)
    return out.getvalue()


def count_refusals(path: Path, mutants: list[bytes], read: Callable[[], object]) -> int:
    """How many mutants in the file's place end in an error, which must be one line; any other error is raised."""
    refusals = list[str]()
    for mutant in mutants:
        path.write_bytes(mutant)
        try:
            read()
        except TuiGenError as fault:
            refusals.append(str(fault))
    assert not any("\n" in refusal for refusal in refusals)
    return len(refusals)
