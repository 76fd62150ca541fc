"""Protobuf messages as bytes: the little of its wire format that reading and writing parts of an ONNX file takes.

A message is a row of fields; each has a number and is a whole number, or bytes: a text, or a message again.
https://protobuf.dev/programming-guides/encoding/ describes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Field = tuple[int, "int | bytes | memoryview"]
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


def fields(message: bytes | memoryview) -> Iterator[Field]:
    """The fields of a message, in their order; fixed-width numbers as bytes. Raises ValueError for what is none."""
    view, at = memoryview(message), 0
    while at < len(view):
        key, at = _read_varint(view, at)
        if key & 7 == _VARINT:
            value, at = _read_varint(view, at)
            yield key >> 3, value
            continue
        width, at = _width(key & 7, view, at)
        if at + width > len(view):
            raise ValueError("a message is cut off")
        yield key >> 3, view[at : at + width]
        at += width


def packed(row: bytes | memoryview) -> list[int]:
    """A row of whole numbers that stand in one field."""
    view, at, numbers = memoryview(row), 0, list[int]()
    while at < len(view):
        number, at = _read_varint(view, at)
        numbers.append(number)
    return numbers


def joined(parts: Iterable[Field]) -> bytes:
    """A message of these fields; their fixed-width numbers are not supported."""
    return b"".join(number_field(key, part) if isinstance(part, int) else field(key, part) for key, part in parts)


def field(number: int, content: bytes | memoryview) -> bytes:
    """A field of bytes, a text or a message."""
    return b"".join((varint(number << 3 | _BYTES), varint(len(content)), content))


def number_field(number: int, value: int) -> bytes:
    """A field of a whole number."""
    return varint(number << 3) + varint(value)


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def _width(kind: int, view: memoryview, at: int) -> tuple[int, int]:
    if kind == _BYTES:
        return _read_varint(view, at)
    if kind not in (_EIGHT, _FOUR):
        raise ValueError(f"a field is of kind {kind}, which there is not")
    return 8 if kind == _EIGHT else 4, at


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(view) and shift < 64:
        byte = view[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at
    raise ValueError("a number is cut off")
