"""Pickles made of random opcodes: some are read, most are damaged, and all name what must never be run."""

from __future__ import annotations

import random
import struct

_GLOBALS = (
    *(b"os\nsystem", b"posix\nsystem", b"builtins\neval", b"builtins\ngetattr", b"subprocess\nPopen", b"os\nfork"),
    *(
        b"collections\nOrderedDict",
        b"collections\ndefaultdict",
        b"builtins\nset",
        b"builtins\nlist",
        b"builtins\ntuple",
    ),
    *(b"torch._utils\n_rebuild_tensor_v2", b"torch._utils\n_rebuild_parameter", b"torch\nFloatStorage"),
    *(b"torch.storage\n_load_from_bytes", b"torch._tensor\n_rebuild_from_type_v2", b"torch\nSize", b"torch\ndevice"),
    *(b"numpy\ndtype", b"numpy.core.multiarray\n_reconstruct", b"numpy.core.multiarray\nscalar", b"numpy\nndarray"),
    *(b"_codecs\nencode", b"functools\npartial", b"operator\ngetitem", b"typing\nOptional", b"copyreg\n_reconstructor"),
    *(b"pathlib\nPosixPath", b"datetime\ndatetime", b"builtins\nbytearray", b"builtins\ncomplex", b"mine\nNet"),
)
_TEXTS = (
    "",
    "touch executed",
    "weight",
    "lstm.weight_ih_l0",
    "storage",
    "0",
    "cpu",
    "f4",
    "O8",
    "<",
    "__class__",
    "\x1b[2J",
)
_PLAIN = b"(()]}NN0012.tuse.abRo\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94"
"""Opcodes without arguments, the frequent ones more than once."""


def random_pickle(rng: random.Random) -> bytes:
    """Of up to some hundred opcodes."""
    parts = [b"\x80", bytes([rng.choice((2, 2, 3, 4, 5))])]
    parts += [_opcode(rng) for _ in range(rng.choice((5, 20, 60, 300)))]
    return b"".join(parts) + b"."


def bomb(rng: random.Random) -> bytes:
    """A few opcodes again and again, up to 60 million of them: mostly values, which an unpickler goes on to build."""
    if rng.random() < 0.8:
        around, fragment = _growing(rng)
        return b"\x80\x04" + around + fragment * (rng.choice((10_000, 1_000_000, 20_000_000)) // len(fragment)) + b"."
    parts = [b"\x80\x04", *(_opcode(rng) for _ in range(rng.randrange(4)))]
    for _ in range(rng.randint(1, 3)):
        fragment = b"".join(_opcode(rng) for _ in range(rng.randint(1, 6)))
        parts.append(fragment * (rng.choice((10_000, 1_000_000, 20_000_000)) // len(fragment)))
    return b"".join(parts) + b"."


def _growing(rng: random.Random) -> tuple[bytes, bytes]:
    """What stands first, and what is repeated: values on a stack or in one collection, or one ever deeper value."""
    value = _value(rng, 3)
    return rng.choice(
        (
            (b"", value),
            (b"(", value),
            (b"", value + b"0"),
            (b"", value + b"\x94"),
            (b"]", value + b"a"),
            (b"](", value + b"2"),
            (b"]", b"(" + value * rng.randint(1, 1000) + b"e"),
            (b"}", value + value + b"s"),
            (b"}", b"(" + _value(rng, 1) * 2 * rng.randint(1, 1000) + b"u"),
            (b"\x8f", b"(" + value + b"\x90"),
            (value, b"2\x86"),
            (value, rng.choice((b"\x85", b"(", b"]", b"(](e"))),
            (b"ccollections\nOrderedDict\nq\0", b"h\0)R"),
            (b"ccollections\nOrderedDict\n)R", value + value + b"s"),
        )
    )


def _value(rng: random.Random, depth: int) -> bytes:
    """Opcodes that leave one more value on the stack."""
    leaves = (b"N", b")", b"]", b"}", b"K\1", b"J" + rng.randbytes(4), b"G" + rng.randbytes(8), _text(rng))
    if not depth or rng.random() < 0.4:
        return rng.choice(leaves)
    items = [_value(rng, depth - 1) for _ in range(rng.randint(1, 3))]
    mark = b"(" + b"".join(items)
    return rng.choice((items[0] + b"\x85", mark + b"t", mark + b"l", b"(" + 2 * items[0] + b"d", b"]" + mark + b"e"))


def _opcode(rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.4:
        return bytes([rng.choice(_PLAIN)]).replace(b".", b"e")
    if kind < 0.5:
        return b"c" + rng.choice(_GLOBALS) + b"\n"
    if kind < 0.58:
        return (
            b"c"
            + rng.choice(_GLOBALS)
            + b"\n"
            + _text(rng) * rng.randint(0, 4)
            + rng.choice((b")R", b"\x85R", b"\x86R", b"tR"))
        )
    if kind < 0.7:
        return _text(rng)
    if kind < 0.8:
        return rng.choice((b"q", b"h")) + bytes([rng.randrange(12)])
    if kind < 0.9:
        return b"J" + struct.pack("<i", rng.choice((0, 1, -1, 3, 2**31 - 1, -(2**31), rng.randrange(100))))
    return rng.choice(
        (
            b"I01\n",
            b"I" + b"9" * rng.choice((1, 30, 5000)) + b"\n",
            b"F1e999\n",
            b"G" + rng.randbytes(8),
            b"\x8a" + bytes([rng.randrange(20)]) + rng.randbytes(20),
            b"r" + rng.randbytes(4),
            b"\x8b\xff\xff\xff\x7f",
            b"\x95" + rng.randbytes(8),
            b"\x82\x01",
            b"Qx",
            b"\x96" + struct.pack("<Q", rng.choice((0, 4, 2**40))) + b"abcd",
            b"i" + rng.choice(_GLOBALS) + b"\n",
        )
    )


def _text(rng: random.Random) -> bytes:
    content = rng.choice(_TEXTS).encode()
    return b"X" + struct.pack("<I", len(content)) + content
