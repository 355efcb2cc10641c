"""What passes between the grader and a box: frames of JSON and tensors, and nothing that is ever unpickled.

A frame is its length (4 bytes, big-endian) and a safetensors file, whose metadata `message` holds JSON. Both sides
use this module, but only what the grader receives is hostile: sizes are checked before memory is taken, waiting ends
at a deadline however slowly bytes dribble in, and whatever is not exactly as described here is `Malformed`. After any
`WireError` the two sides are out of step: give the channel, and the box behind it, up.

`trial_to_wire` and `observation_to_wire` turn what `observe` takes and gives into such a message, and their
counterparts turn it back, exactly. What is no tensor, number, string or list of these travels as the name of its type
alone and arrives as a `Foreign`, which equals nothing.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import select
import struct
import time
from collections.abc import Iterator, Mapping
from typing import Any

import safetensors
import torch
from safetensors.torch import load, save
from torch import Tensor

from course_utils.boxed.fixtures import Fixture
from course_utils.boxed.observe import KEPT_OUTPUT, Failure, Observation, Trial, precision

LIMIT = 1_000_000  # bytes of a frame without its length
LEAVES = 200  # results, states and gradients of one observation
TENSORS = 256  # in one frame
DIMENSIONS = 8  # of one tensor
DEPTH = 24  # of nested JSON
NESTED = 8  # lists in one another among arguments and results; each takes two levels of JSON
ITEMS = 100_000  # values in one JSON text, counted at all depths
BITS = 4096  # of one whole number
TEXT = 10_000  # characters of a string among arguments or results; of a list, its entries
ROOM = LIMIT - 400_000  # bytes of the tensors of one observation: the rest is for its words

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
EVENTS = ("returned", "raised", "timed out", "not attempted")
LEAF_NAME = re.compile(r"[\w .,\[\]]{1,200}")
TYPE_NAME = re.compile(r"[\w .,()\[\]<>-]{1,100}")


class WireError(Exception):
    """The channel cannot be used any more."""


class Malformed(WireError):  # noqa: N818 - it says what the frame is
    """What arrived, or should be sent, is no frame of this protocol; the text says in which respect."""


class Closed(WireError):  # noqa: N818
    """The other side is gone."""


class Late(WireError):  # noqa: N818
    """The deadline passed before the frame was complete."""


class Foreign:
    """A result of a type that does not travel. Its class bears the type's name, so that messages show that."""

    type_name = ""

    def __repr__(self) -> str:
        return f"<{self.type_name}>"


def foreign(type_name: str, module: str = "") -> Foreign:
    """A `Foreign` of a type with this name; `module` is "numpy" for a type of numpy's."""
    return type(type_name, (Foreign,), {"__module__": module or __name__, "type_name": type_name})()


# -- frames ------------------------------------------------------------------------------------------------------


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
    unpack(data)  # so that both sides have one rule
    return data


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The message and the tensors of a frame. Raises Malformed for anything but what `pack` makes."""
    if len(data) > LIMIT:
        raise Malformed(f"a frame of {len(data)} bytes; at most {LIMIT} are allowed")
    header = _header(data)
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or set(metadata) != {"message"} or not isinstance(metadata["message"], str):
        raise Malformed("the frame has no message")
    message = _parse(metadata["message"])
    if len(header) > TENSORS:
        raise Malformed(f"{len(header)} tensors; at most {TENSORS} are allowed")
    expected = {name: _form(name, entry) for name, entry in header.items()}
    try:
        tensors = load(data)
    except (safetensors.SafetensorError, ValueError, RuntimeError, AssertionError, OverflowError) as error:
        raise Malformed(f"no safetensors: {str(error)[:200]}") from None
    if {name: (tensor.dtype, list(tensor.shape)) for name, tensor in tensors.items()} != expected:
        raise Malformed("the tensors are not what the header says")
    return message, {name: tensors[name] for name in expected}


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


def _form(name: str, entry: Any) -> tuple[torch.dtype, list[int]]:
    """The dtype and shape that a header announces, if they may be."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise Malformed(f"tensor {name[:40]!r} has a strange header")
    kind, shape = entry["dtype"], entry["shape"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise Malformed(f"tensor {name[:40]!r} has dtype {str(kind)[:40]!r}, which does not travel")
    if not isinstance(shape, list) or not _travels(shape):
        raise Malformed(f"tensor {name[:40]!r} has shape {str(shape)[:80]}")
    return DTYPES[kind], shape


def _travels(shape: list[int]) -> bool:
    """Whether a shape is one: few dimensions, none of them negative or huge, not even beside a zero."""
    whole = len(shape) <= DIMENSIONS and all(type(size) is int and 0 <= size <= LIMIT for size in shape)
    return whole and math.prod(size or 1 for size in shape) <= LIMIT


def _parse(text: str) -> dict[str, Any]:
    """JSON of bounded depth and size, without duplicate keys, NaN and half characters. Raises Malformed."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
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
    if isinstance(value, str) and value != _clean(value):
        raise Malformed("the JSON has half a character")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Malformed("the JSON has the same key twice")
    return made


def _no_number(name: str) -> Any:
    raise Malformed(f"the JSON has the number {name}")


def _clean(text: str) -> str:
    """The text without surrogates, which no file or page could be written with."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class Channel:
    """Frames over two file descriptors, such as pipes; each is read or written only here and becomes non-blocking.

    A deadline is a moment of `time.monotonic()`, in seconds; None waits for ever.
    """

    def __init__(self, reader: int, writer: int, limit: int = LIMIT) -> None:
        """Take over both descriptors; `limit` is the length, in bytes, of the longest frame either way."""
        self.reader, self.writer, self.limit = reader, writer, limit
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)

    def send(
        self, message: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None, deadline: float | None = None
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

    def receive(self, deadline: float | None = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
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

    def _read(self, count: int, deadline: float | None) -> bytes:
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


def _wait(descriptor: int, event: int, deadline: float | None) -> None:
    """Wait until a descriptor can be read or written, or is closed. Raises Late."""
    poll = select.poll()
    poll.register(descriptor, event)
    while True:
        left = None if deadline is None else (deadline - time.monotonic()) * 1000
        if left is not None and left <= 0:
            raise Late("the time for this frame is over")
        if poll.poll(left):
            return


# -- values ------------------------------------------------------------------------------------------------------


class _Luggage:
    """The tensors of a message under construction, and how much more it may hold."""

    def __init__(self, strict: bool) -> None:
        """`strict`: what does not travel is an error; else it is replaced by the name of its type."""
        self.strict, self.tensors, self.room, self.items = strict, {}, ROOM, ITEMS // 2

    def encode(self, value: Any) -> Any:
        """JSON for a value; its tensors are put aside. Raises Malformed if strict."""
        tensors, room = dict(self.tensors), self.room
        try:
            return self._encode(value, 1)
        except _Stays as stays:
            if self.strict:
                raise Malformed(f"a {stays} does not travel") from None
            self.tensors, self.room = tensors, room  # what was put aside of it travels no more than the rest
            return [
                "foreign",
                _fit_name(str(stays)),
                "numpy" if getattr(type(value), "__module__", "") == "numpy" else "",
            ]

    def _encode(self, value: Any, depth: int) -> Any:
        self.items -= 1
        if depth > NESTED or self.items < 0:
            raise _Stays("result of too many parts")
        if value is None or type(value) is bool:
            return value
        if type(value) is int and value.bit_length() <= BITS:
            return value if value.bit_length() < 64 else ["int", hex(value)]
        if isinstance(value, float):
            return ["float", float(value).hex()]
        if type(value) is str and len(value) <= TEXT:
            return _clean(value)
        if isinstance(value, (list, tuple)) and type(value) in (list, tuple) and len(value) <= TEXT:
            return [type(value).__name__, [self._encode(item, depth + 1) for item in value]]
        if type(value) is Tensor:
            return ["tensor", self._put(value)]
        if isinstance(value, Fixture) and self.strict:
            return ["fixture", self._fixture(value, depth)]
        raise _Stays(type(value).__name__)

    def _put(self, tensor: Tensor) -> str:
        if tensor.dtype not in DTYPES.values():
            raise _Stays(f"{str(tensor.dtype).removeprefix('torch.')} tensor")
        if tensor.is_nested:
            raise _Stays("nested tensor")
        if tensor.device.type != "cpu" or tensor.layout is not torch.strided:
            raise _Stays(f"tensor on {tensor.device}, {str(tensor.layout).removeprefix('torch.')}")
        size = tensor.numel() * tensor.element_size()
        if not _travels(list(tensor.shape)) or size > self.room or len(self.tensors) >= TENSORS:
            raise _Stays(f"tensor of shape {tuple(tensor.shape)}")
        self.room -= size
        name = str(len(self.tensors))
        self.tensors[name] = tensor
        return name

    def _fixture(self, fixture: Fixture, depth: int) -> dict[str, Any]:
        return {
            "kind": fixture.kind,
            "seed": fixture.seed,
            "options": self._encode(fixture.options, depth + 1),
            "of": fixture.of,
            "dtype": str(fixture.dtype).removeprefix("torch."),
            "device": fixture.device,
        }


class _Stays(Exception):  # noqa: N818
    """A value does not travel; the text names its type."""


def _decode(value: Any, tensors: dict[str, Tensor], trusted: bool) -> Any:
    """The value that `_Luggage.encode` was given; takes its tensors out of `tensors`. Raises Malformed.

    `trusted`: it comes from the grader, and may ask for a fixture to be built.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    kind, rest = (value[0], value[1:]) if isinstance(value, list) and value else (None, [])
    match kind, rest:
        case "float", [str(text)]:
            return _number(float.fromhex, text)
        case "int", [str(text)]:
            return _number(lambda digits: int(digits, 16), text)
        case "tensor", [str(name)] if name in tensors:
            return tensors.pop(name)
        case "list", [list(items)]:
            return [_decode(item, tensors, trusted) for item in items]
        case "tuple", [list(items)]:
            return tuple(_decode(item, tensors, trusted) for item in items)
        case "fixture", [dict(entry)] if trusted:
            return _fixture(entry)
        case "foreign", [str(name), ("" | "numpy") as module] if TYPE_NAME.fullmatch(name):
            return foreign(name, module)
    raise Malformed(f"no value: {str(value)[:80]}")


def _number(convert: Any, text: str) -> Any:
    if len(text) > BITS // 4 + 3:
        raise Malformed(f"a number of {len(text)} digits")
    try:
        return convert(text)
    except (ValueError, OverflowError):
        raise Malformed(f"no number: {text[:40]!r}") from None


def _fixture(entry: dict[str, Any]) -> Fixture:
    dtypes = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES.values()}
    dtype = dtypes.get(_text(entry, "dtype"))
    if dtype is None:
        raise Malformed(f"a fixture of dtype {entry['dtype']!r}")
    options = _decode(entry.get("options"), {}, trusted=False)
    names = {name: _text(entry, name) for name in ("kind", "of", "device")}
    return Fixture(names["kind"], _whole(entry, "seed"), options, names["of"], dtype, names["device"])


def _fit_name(name: str) -> str:
    """A type's name as `TYPE_NAME` wants it."""
    return re.sub(r"[^\w .,()\[\]<>-]", "_", name)[:100] or "nameless"


# -- trials and observations -------------------------------------------------------------------------------------


def trial_to_wire(trial: Trial) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A trial as message and tensors. Raises Malformed for an argument of a kind that does not travel."""
    luggage = _Luggage(strict=True)
    message = {
        "exercise": trial.exercise,
        "arguments": [[name, luggage.encode(value)] for name, value in trial.arguments.items()],
        "outputs": list(trial.outputs),
        "gradients": list(trial.gradients),
        "label": trial.label,
        "seed": trial.seed,
        "updates": list(trial.updates),
    }
    return message, luggage.tensors


def trial_from_wire(message: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Trial:
    """The trial that `trial_to_wire` was given. Raises Malformed."""
    left = dict(tensors)
    arguments = {name: _decode(value, left, trusted=True) for name, value in _pairs(message, "arguments")}
    if left:
        raise Malformed(f"{len(left)} tensors belong to no argument")
    return Trial(
        _text(message, "exercise"),
        arguments,
        _texts(message, "outputs"),
        _texts(message, "gradients"),
        _text(message, "label"),
        _whole(message, "seed"),
        _texts(message, "updates"),
    )


def observation_to_wire(observation: Observation) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """An observation as message and tensors that fit into a frame, whatever the candidate returned.

    A result too large to travel goes as the name of its type, which says how large; too many results end in one such.
    """
    luggage = _Luggage(strict=False)
    leaves = list({_fit_leaf(name): value for name, value in observation.outputs.items()}.items())
    outputs = [[name, luggage.encode(value)] for name, value in leaves[: LEAVES - 1]]
    if len(leaves) == LEAVES:
        outputs.append([leaves[-1][0], luggage.encode(leaves[-1][1])])
    elif len(leaves) > LEAVES:
        outputs.append(["more", ["foreign", f"list of {len(leaves) - LEAVES + 1} more results", ""]])
    failure, sent = observation.failure, {name for name, _ in outputs}
    shared = {_fit_leaf(name): of for name, of in observation.shared.items()}
    message = {
        "event": observation.event,
        "outputs": outputs,
        "structure": _clean(observation.structure[:TEXT]),
        "failure": _failure_to_wire(failure) if failure else None,
        "changed": list(observation.changed),
        "shared": [[name, of] for name, of in shared.items() if name in sent],
        "printed": _clean(observation.printed[:KEPT_OUTPUT]),
        "seconds": luggage.encode(float(observation.seconds)),
    }
    return message, luggage.tensors


def _failure_to_wire(failure: Failure) -> dict[str, Any]:
    return {
        "kind": _fit_name(failure.kind),
        "parents": [_fit_name(name) for name in failure.parents[:100]],
        "message": _clean(failure.message[:1000]),
        "line_number": failure.line_number,
        "line": _clean(failure.line[:1000]),
    }


def observation_from_wire(message: Mapping[str, Any], tensors: Mapping[str, Tensor], trial: Trial) -> Observation:
    """The observation of `trial` that a box sent, checked in every respect. Raises Malformed.

    What the grader knows itself is not believed: the dtype follows from the trial's own arguments.
    """
    left = dict(tensors)
    event = _text(message, "event", 20)
    if event not in EVENTS:
        raise Malformed(f"no event: {event!r}")
    outputs = {name: _decode(value, left, trusted=False) for name, value in _pairs(message, "outputs")}
    shared = {name: of for name, of in _pairs(message, "shared")}
    failure, changed = _failure_from_wire(message.get("failure")), _texts(message, "changed")
    seconds = _decode(message.get("seconds"), {}, trusted=False)
    if left or len(outputs) > LEAVES or not all(LEAF_NAME.fullmatch(name) for name in outputs):
        raise Malformed(f"{len(outputs)} results, or one with a strange name, or {len(left)} tensors of no result")
    if (event == "returned") != (failure is None) and event != "timed out":
        raise Malformed(f"{event!r} does not go with {'no ' if failure is None else 'an '}exception")
    if event != "returned" and (outputs or changed or shared):
        raise Malformed(f"{event!r} does not go with results")
    known = trial.arguments
    if len(set(changed)) != len(changed) or not all(name in known for name in changed):
        raise Malformed("what is said to be changed is no argument")
    if not all(name in outputs and isinstance(of, str) and of in known for name, of in shared.items()):
        raise Malformed("what is said to share memory is no result and argument")
    if not isinstance(seconds, float) or not 0 <= seconds < 1e6:
        raise Malformed(f"a call of {seconds} seconds")
    structure, printed = _text(message, "structure", TEXT), _text(message, "printed", KEPT_OUTPUT)
    dtype = precision(trial) if event == "returned" else torch.float64
    return Observation(event, outputs, structure, dtype, failure, changed, shared, printed, seconds)


def _failure_from_wire(entry: Any) -> Failure | None:
    if entry is None:
        return None
    if not isinstance(entry, dict):
        raise Malformed("the exception is no object")
    parents, number = _texts(entry, "parents"), entry.get("line_number")
    if len(parents) > 100 or not all(TYPE_NAME.fullmatch(name) for name in (_text(entry, "kind"), *parents)):
        raise Malformed("the exception has a strange type")
    if number is not None and not (type(number) is int and 0 <= number < 10**7):
        raise Malformed(f"no line number: {str(number)[:40]}")
    return Failure(_text(entry, "kind"), parents, _text(entry, "message", 1000), number, _text(entry, "line", 1000))


def _fit_leaf(name: str) -> str:
    """A result's name as `LEAF_NAME` wants it; names are long only where lists are nested deeply."""
    return re.sub(r"[^\w .,\[\]]", "_", name)[:200] or "_"


def _text(message: Mapping[str, Any], name: str, limit: int = 1000) -> str:
    value = message.get(name)
    if not isinstance(value, str) or len(value) > limit:
        raise Malformed(f"{name!r} is no text of at most {limit} characters: {str(value)[:40]!r}")
    return value


def _whole(message: Mapping[str, Any], name: str) -> int:
    value = message.get(name)
    if type(value) is not int:
        raise Malformed(f"{name!r} is no whole number: {str(value)[:40]!r}")
    return value


def _texts(message: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = message.get(name)
    if not isinstance(value, list) or not all(isinstance(item, str) and len(item) <= 1000 for item in value):
        raise Malformed(f"{name!r} is no list of texts: {str(value)[:40]!r}")
    return tuple(value)


def _pairs(message: Mapping[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    """The pairs of a field that stands for a dict in order: a list of [name, value]."""
    value, seen = message.get(name), set()
    if not isinstance(value, list):
        raise Malformed(f"{name!r} is no list: {str(value)[:40]!r}")
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str) or pair[0] in seen:
            raise Malformed(f"{name!r} has a strange entry: {str(pair)[:40]!r}")
        seen.add(pair[0])
        yield pair[0], pair[1]
