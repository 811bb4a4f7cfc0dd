"""How much a protobuf would become in memory, counted on its bytes before any library unpacks it.

Two bytes of file can become a hundred in memory: an empty node, an empty attribute. So a file within the
limit of size may want gigabytes. Here every field is counted once, without making anything of it, and
counting ends at the limit.
"""

from __future__ import annotations

from typing import Any

__all__ = ["HostileBytesError", "count_fields"]

MAX_FIELDS = 500_000
"""Of all messages together, each number that is not packed included; a network of 20,000 nodes has fewer."""
MAX_PACKED_BYTES = 8 << 20
"""Of one packed list of integers, a byte of which becomes eight."""
MAX_DEPTH = 32
_MESSAGE = 11  # protobuf's TYPE_MESSAGE
_NOT_PACKED_INTEGERS = frozenset({1, 2, 9, 11, 12})  # TYPE_DOUBLE, _FLOAT, _STRING, _MESSAGE, _BYTES


class HostileBytesError(ValueError):
    """It would be too much, or is no protobuf."""


def count_fields(data: bytes, descriptor: Any) -> int:
    """Return the number of fields in a serialised message and in all messages within.

    Args:
        data: The message.
        descriptor: Protobuf's description of its type.

    Raises:
        HostileBytesError: They are more than `MAX_FIELDS`, nested deeper than `MAX_DEPTH`, or cut off.
    """
    kinds: dict[Any, dict[int, Any]] = {}
    total = 0
    # (where it ends, its type), innermost last: fields lie in a message as its bytes lie in the file.
    open_messages = [(len(data), descriptor)]
    at = 0
    while open_messages:
        end, kind = open_messages[-1]
        if at >= end:
            open_messages.pop()
            continue
        fields = kinds.setdefault(kind, {f.number: f for f in kind.fields})
        tag, at = _varint(data, at)
        field, wire = fields.get(tag >> 3), tag & 7
        total += 1
        if total > MAX_FIELDS:
            raise HostileBytesError(f"it has more than {MAX_FIELDS} parts")
        if wire == 2:
            length, at = _varint(data, at)
            if field is not None and field.type == _MESSAGE and at + length <= end:
                open_messages.append((at + length, field.message_type))
                if len(open_messages) > MAX_DEPTH:
                    raise HostileBytesError(f"it is nested more than {MAX_DEPTH} deep")
                continue
            packed = field is not None and field.type not in _NOT_PACKED_INTEGERS
            if field is not None and packed and length > MAX_PACKED_BYTES:
                raise HostileBytesError(f"'{field.name}' has {length} bytes of integers")
            at += length
        elif wire == 0:
            _, at = _varint(data, at)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise HostileBytesError("this is not an ONNX file")
        if at > end:
            raise HostileBytesError("this is not an ONNX file: it is cut off")
    return total


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at `at` and where the next begins."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise HostileBytesError("this is not an ONNX file: it is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
