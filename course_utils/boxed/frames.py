"""Frames over a pipe between the grader and a box: JSON and tensors, and nothing that is ever unpickled.

A frame is its length (4 bytes, big-endian) and a safetensors file, whose metadata `message` holds JSON. Both sides
use this module, but only what the grader receives is hostile: sizes are checked before memory is taken, waiting ends
at a deadline however slowly bytes dribble in, and whatever is not exactly as described here is `Malformed`. After any
`WireError` the two sides are out of step: give the channel, and the box behind it, up. `wire` says what messages mean.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any

import safetensors
import torch
from safetensors.torch import load, save
from torch import Tensor

LIMIT = 1_000_000  # bytes of a frame without its length
TENSORS = 256  # in one frame
DIMENSIONS = 8  # of one tensor
DEPTH = 24  # of nested JSON
ITEMS = 100_000  # values in one JSON text, counted at all depths
BITS = 4096  # of one whole number
Deadline = float | Callable[[], float] | None

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class WireError(Exception):
    """The channel cannot be used any more."""


class Malformed(WireError):  # noqa: N818 - it says what the frame is
    """What arrived, or should be sent, is no frame of this protocol; the text says in which respect."""


class Closed(WireError):  # noqa: N818
    """The other side is gone."""


class Late(WireError):  # noqa: N818
    """The deadline passed before the frame was complete."""


def pack(message: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> bytes:
    """The bytes of a frame, without its length. `message` must be JSON without NaN and infinities.

    Raises Malformed for what `unpack` would refuse.
    """
    try:
        text = json.dumps(dict(message), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Malformed(f"the message is not JSON: {error}") from None
    whole = {name: tensor.detach().contiguous().clone() for name, tensor in (tensors or {}).items()}
    for name, tensor in whole.items():
        if tensor.dtype not in DTYPES.values():
            raise Malformed(f"tensor {name!r} has dtype {tensor.dtype}, which does not travel")
    try:
        data = save(whole, {"message": text})
    except UnicodeEncodeError:
        raise Malformed("the name of a tensor has half a character") from None
    _announcement(data)  # so that both sides have one rule
    return data


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The message and the tensors of a frame. Raises Malformed for anything but what `pack` makes."""
    message, expected = _announcement(data)
    try:
        tensors = load(data)
    except (safetensors.SafetensorError, ValueError, RuntimeError, AssertionError, OverflowError) as error:
        raise Malformed(f"no safetensors: {str(error)[:200]}") from None
    if {name: (tensor.dtype, list(tensor.shape)) for name, tensor in tensors.items()} != expected:
        raise Malformed("the tensors are not what the header says")
    return message, {name: tensors[name] for name in expected}


def _announcement(data: bytes) -> tuple[dict[str, Any], dict[str, tuple[torch.dtype, list[int]]]]:
    """The message of a frame, and dtype and shape of each tensor that its header announces. Raises Malformed."""
    if len(data) > LIMIT:
        raise Malformed(f"a frame of {len(data)} bytes; at most {LIMIT} are allowed")
    header = _header(data)
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or set(metadata) != {"message"} or not isinstance(metadata["message"], str):
        raise Malformed("the frame has no message")
    message = _parse(metadata["message"])
    if len(header) > TENSORS:
        raise Malformed(f"{len(header)} tensors; at most {TENSORS} are allowed")
    return message, {name: _announced(name, entry) for name, entry in header.items()}


def _header(data: bytes) -> dict[str, Any]:
    if len(data) < 8:
        raise Malformed(f"a frame of {len(data)} bytes is no safetensors file")
    size = int.from_bytes(data[:8], "little")
    if size > len(data) - 8:
        raise Malformed(f"a header of {size} bytes in a frame of {len(data)}")
    try:
        return _parse(data[8 : 8 + size].decode())
    except UnicodeDecodeError:
        raise Malformed("the header is not UTF-8") from None


def _announced(name: str, entry: Any) -> tuple[torch.dtype, list[int]]:
    """The dtype and shape that a header announces, if they may be."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise Malformed(f"tensor {name[:40]!r} has a strange header")
    kind, shape = entry["dtype"], entry["shape"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise Malformed(f"tensor {name[:40]!r} has dtype {str(kind)[:40]!r}, which does not travel")
    if not isinstance(shape, list) or not is_shape(shape):
        raise Malformed(f"tensor {name[:40]!r} has shape {str(shape)[:80]}")
    return DTYPES[kind], shape


def is_shape(shape: list[int]) -> bool:
    """Whether a shape is one: few dimensions, none of them negative or huge, not even beside a zero."""
    whole = len(shape) <= DIMENSIONS and all(type(size) is int and 0 <= size <= LIMIT for size in shape)
    return whole and math.prod(size or 1 for size in shape) <= LIMIT


def _parse(text: str) -> dict[str, Any]:
    """JSON of bounded depth and size, without duplicate keys, NaN and half characters. Raises Malformed."""
    try:
        value = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_not_finite)
    except RecursionError:
        raise Malformed("the JSON is nested too deeply") from None
    except ValueError as error:
        raise Malformed(f"no JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise Malformed(f"the JSON is a {type(value).__name__}, not an object")
    pending, items = [(value, 1)], 0
    while pending:
        part, depth = pending.pop()
        items += 1
        if depth > DEPTH or items > ITEMS:
            raise Malformed(f"the JSON is nested more than {DEPTH} deep, or has more than {ITEMS} values")
        if isinstance(part, (dict, list)):
            inner = [*part, *part.values()] if isinstance(part, dict) else part
            pending += [(each, depth + 1) for each in inner]
        else:
            _check_scalar(part)
    return value


def _check_scalar(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise Malformed(f"the JSON has the number {value}")
    if isinstance(value, int) and value.bit_length() > BITS:
        raise Malformed(f"a whole number of {value.bit_length()} bits; at most {BITS} are allowed")
    if isinstance(value, str) and not value.isascii() and value != without_surrogates(value):
        raise Malformed("the JSON has half a character")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Malformed("the JSON has the same key twice")
    return made


def _not_finite(name: str) -> Any:
    raise Malformed(f"the JSON has the number {name}")


def without_surrogates(text: str) -> str:
    """The text without surrogates, which no file or page could be written with."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class Channel:
    """Frames over two file descriptors, such as pipes; each is read or written only here and becomes non-blocking.

    A deadline is a moment of `time.monotonic()`, in seconds, or a function that tells how many seconds are left; None
    waits for ever.
    """

    def __init__(self, reader: int, writer: int, limit: int = LIMIT) -> None:
        """Take over both descriptors; `limit` is the length, in bytes, of the longest frame either way."""
        self.reader, self.writer, self.limit = reader, writer, limit
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)

    def send(
        self, message: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None, deadline: Deadline = None
    ) -> None:
        """Write one frame. Raises Malformed (nothing was written), Closed, or Late when the other side does not read."""
        data = pack(message, tensors)
        if len(data) > self.limit:
            raise Malformed(f"a frame of {len(data)} bytes; at most {self.limit} are allowed")
        left = memoryview(struct.pack(">I", len(data)) + data)
        while left:
            _wait(self.writer, select.POLLOUT, deadline)
            try:
                left = left[os.write(self.writer, left) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise Closed(f"the other side does not read any more ({error.strerror})") from None

    def receive(self, deadline: Deadline = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Read one frame: its message and its tensors. Raises Malformed, Closed or Late."""
        (length,) = struct.unpack(">I", self._read(4, deadline))
        if length > self.limit:
            raise Malformed(f"a frame of {length} bytes is announced; at most {self.limit} are allowed")
        return unpack(self._read(length, deadline))

    def close(self) -> None:
        """Close both descriptors."""
        for descriptor in {self.reader, self.writer}:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _read(self, count: int, deadline: Deadline) -> bytes:
        data = bytearray()
        while len(data) < count:
            _wait(self.reader, select.POLLIN, deadline)
            try:
                part = os.read(self.reader, min(count - len(data), 65536))
            except BlockingIOError:
                continue
            except OSError as error:
                raise Closed(f"the other side cannot be read ({error.strerror})") from None
            if not part:
                raise Closed("the other side is gone" + (f", {len(data)} bytes into a frame" if data else ""))
            data += part
        return bytes(data)


def _wait(descriptor: int, event: int, deadline: Deadline) -> None:
    """Wait until a descriptor can be read or written, or is closed. Raises Late."""
    poll = select.poll()
    poll.register(descriptor, event)
    while True:
        left = deadline() if callable(deadline) else deadline and deadline - time.monotonic()
        if left is not None and left <= 0:
            raise Late("the time for this frame is over")
        if poll.poll(left and 1000 * left):
            return
