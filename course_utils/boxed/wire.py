"""What a trial and an observation are in a frame's message (`frames`), and back again, exactly.

Only what the grader receives is hostile: whatever is not exactly as described here is `Malformed`. What is no tensor,
number, string or list of these travels as the name of its type alone and arrives as a `Foreign`, which equals nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from course_utils.boxed.fixtures import Fixture
from course_utils.boxed.frames import BITS, DTYPES, ITEMS, LIMIT, TENSORS, Malformed, is_shape, without_surrogates
from course_utils.boxed.observe import KEPT_OUTPUT, Failure, Observation, Trial, precision

LEAVES = 200  # results, states and gradients of one observation
NESTED = 8  # lists in one another among arguments and results; each takes two levels of JSON
TEXT = 10_000  # characters of a string among arguments or results; of a list, its entries
ROOM = LIMIT - 400_000  # bytes of the tensors of one observation: the rest is for its words

PARTS = ("outputs", "states", "gradients")  # of an observation: its dicts of leaves
EVENTS = ("returned", "raised", "timed out", "not attempted")
LEAF_NAME = re.compile(r"[\w .,\[\]]{1,200}")
TYPE_NAME = re.compile(r"[\w .,()\[\]<>-]{1,100}")


class Foreign:
    """A result of a type that does not travel. Its class bears the type's name, so that messages show that."""

    type_name = ""

    def __repr__(self) -> str:
        return f"<{self.type_name}>"


def foreign(type_name: str, module: str = "") -> Foreign:
    """A `Foreign` of a type with this name; `module` is "numpy" for a type of numpy's."""
    return type(type_name, (Foreign,), {"__module__": module or __name__, "type_name": type_name})()


# -- values ------------------------------------------------------------------------------------------------------


class _Encoder:
    """The tensors of a message under construction, and how much more it may hold."""

    def __init__(self, strict: bool) -> None:
        """`strict`: what does not travel is an error; else it is replaced by the name of its type."""
        self.strict, self.tensors, self.room, self.items = strict, {}, ROOM, ITEMS // 2

    def encode(self, value: Any) -> Any:
        """JSON for a value; its tensors are put aside. Raises Malformed if strict."""
        tensors, room = dict(self.tensors), self.room
        try:
            return self._encode(value, 1)
        except _NotSent as reason:
            if self.strict:
                raise Malformed(f"a {reason} does not travel") from None
            self.tensors, self.room = tensors, room  # what was put aside of it travels no more than the rest
            return [
                "foreign",
                _type_name(str(reason)),
                "numpy" if getattr(type(value), "__module__", "") == "numpy" else "",
            ]

    def _encode(self, value: Any, depth: int) -> Any:
        self.items -= 1
        if depth > NESTED or self.items < 0:
            raise _NotSent("result of too many parts")
        if value is None or type(value) is bool:
            return value
        if type(value) is int and value.bit_length() <= BITS:
            return value if value.bit_length() < 64 else ["int", hex(value)]
        if isinstance(value, float):
            return ["float", float(value).hex()]
        if type(value) is str and len(value) <= TEXT:
            return without_surrogates(value)
        if isinstance(value, (list, tuple)) and type(value) in (list, tuple) and len(value) <= TEXT:
            return [type(value).__name__, [self._encode(item, depth + 1) for item in value]]
        if type(value) is Tensor:
            return ["tensor", self._put(value)]
        if isinstance(value, Fixture) and self.strict:
            return ["fixture", self._fixture(value, depth)]
        raise _NotSent(type(value).__name__)

    def _put(self, tensor: Tensor) -> str:
        if tensor.dtype not in DTYPES.values():
            raise _NotSent(f"{str(tensor.dtype).removeprefix('torch.')} tensor")
        if tensor.is_nested:
            raise _NotSent("nested tensor")
        if tensor.device.type != "cpu" or tensor.layout is not torch.strided:
            raise _NotSent(f"tensor on {tensor.device}, {str(tensor.layout).removeprefix('torch.')}")
        size = tensor.numel() * tensor.element_size()
        if not is_shape(list(tensor.shape)) or size > self.room or len(self.tensors) >= TENSORS:
            raise _NotSent(f"tensor of shape {tuple(tensor.shape)}")
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


class _NotSent(Exception):  # noqa: N818
    """A value does not travel; the text names its type."""


def _decode(value: Any, tensors: dict[str, Tensor], trusted: bool) -> Any:
    """The value that `_Encoder.encode` was given; takes its tensors out of `tensors`. Raises Malformed.

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
    return Fixture(names["kind"], _int(entry, "seed"), options, names["of"], dtype, names["device"])


def _type_name(name: str) -> str:
    """A type's name as `TYPE_NAME` wants it."""
    return re.sub(r"[^\w .,()\[\]<>-]", "_", name)[:100] or "nameless"


# -- trials and observations -------------------------------------------------------------------------------------


def trial_to_wire(trial: Trial) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A trial as message and tensors. Raises Malformed for an argument of a kind that does not travel."""
    encoder = _Encoder(strict=True)
    message = {
        "exercise": trial.exercise,
        "arguments": [[name, encoder.encode(value)] for name, value in trial.arguments.items()],
        "outputs": list(trial.outputs),
        "gradients": list(trial.gradients),
        "label": trial.label,
        "seed": trial.seed,
        "updates": list(trial.updates),
    }
    return message, encoder.tensors


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
        _int(message, "seed"),
        _texts(message, "updates"),
    )


def observation_to_wire(observation: Observation) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """An observation as message and tensors that fit into a frame, whatever the candidate returned.

    A result too large to travel goes as the name of its type, which says how large; too many results end in one such.
    """
    encoder = _Encoder(strict=False)
    leaves = _leaves(observation)
    count = LEAVES if len(leaves) == LEAVES else LEAVES - 1
    parts: dict[str, list[Any]] = {part: [] for part in PARTS}
    for part, name, value in leaves[:count]:
        parts[part].append([name, encoder.encode(value)])
    if len(leaves) > LEAVES:
        parts["outputs"].append(["more", ["foreign", f"list of {len(leaves) - count} more results", ""]])
    failure, sent = observation.failure, {name for name, _ in parts["outputs"]}
    shared = {_leaf_name(name): of for name, of in observation.shared.items()}
    message = {
        "event": observation.event,
        **parts,
        "structure": without_surrogates(observation.structure[:TEXT]),
        "failure": _failure_to_wire(failure) if failure else None,
        "changed": list(observation.changed),
        "shared": [[name, of] for name, of in shared.items() if name in sent],
        "printed": without_surrogates(observation.printed[:KEPT_OUTPUT]),
        "seconds": encoder.encode(float(observation.seconds)),
    }
    return message, encoder.tensors


def _leaves(observation: Observation) -> list[tuple[str, str, Any]]:
    """The leaves that an observation has, each with its part and its name as it travels, which is there once."""
    named = ((part, {_leaf_name(name): value for name, value in getattr(observation, part).items()}) for part in PARTS)
    return [(part, name, value) for part, leaves in named for name, value in leaves.items()]


def _failure_to_wire(failure: Failure) -> dict[str, Any]:
    return {
        "kind": _type_name(failure.kind),
        "parents": [_type_name(name) for name in failure.parents[:100]],
        "message": without_surrogates(failure.message[:1000]),
        "line_number": failure.line_number,
        "line": without_surrogates(failure.line[:1000]),
    }


def observation_from_wire(message: Mapping[str, Any], tensors: Mapping[str, Tensor], trial: Trial) -> Observation:
    """The observation of `trial` that a box sent, checked in every respect. Raises Malformed.

    What the grader knows itself is not believed: the dtype follows from the trial's own arguments.
    """
    left = dict(tensors)
    event = _text(message, "event", 20)
    if event not in EVENTS:
        raise Malformed(f"no event: {event!r}")
    outputs, states, gradients = (
        {name: _decode(value, left, trusted=False) for name, value in _pairs(message, part)} for part in PARTS
    )
    names = [*outputs, *states, *gradients]
    shared = {name: of for name, of in _pairs(message, "shared")}
    failure, changed = _failure_from_wire(message.get("failure")), _texts(message, "changed")
    seconds = _decode(message.get("seconds"), {}, trusted=False)
    if left or len(names) > LEAVES or not all(map(LEAF_NAME.fullmatch, names)):
        raise Malformed(f"{len(names)} results, or one with a strange name, or {len(left)} tensors of no result")
    if (event == "returned") != (failure is None) and event != "timed out":
        raise Malformed(f"{event!r} does not go with {'no ' if failure is None else 'an '}exception")
    if event != "returned" and (names or changed or shared):
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
    return Observation(event, outputs, states, gradients, structure, dtype, failure, changed, shared, printed, seconds)


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


def _leaf_name(name: str) -> str:
    """A result's name as `LEAF_NAME` wants it; names are long only where lists are nested deeply."""
    return re.sub(r"[^\w .,\[\]]", "_", name)[:200] or "_"


def _text(message: Mapping[str, Any], name: str, limit: int = 1000) -> str:
    value = message.get(name)
    if not isinstance(value, str) or len(value) > limit:
        raise Malformed(f"{name!r} is no text of at most {limit} characters: {str(value)[:40]!r}")
    return value


def _int(message: Mapping[str, Any], name: str) -> int:
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
