"""What passes between grader and box, for values and bytes that nobody thought of."""

import functools
import json
import math
import struct
import tracemalloc
from dataclasses import fields
from typing import Any

import pytest
import torch
from exactness import same
from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st

from course_utils.boxed import frames, wire
from course_utils.boxed.fixtures import Fixture
from course_utils.boxed.frames import Malformed
from course_utils.boxed.observe import Failure, Observation, Trial
from course_utils.boxed.wire import Foreign

# -- values ------------------------------------------------------------------------------------------------------

words = st.text(max_size=20)
any_text = st.text(st.characters(), max_size=20)  # half characters included
sizes = st.lists(st.integers(0, 4), max_size=4)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Any dtype that travels, any bits, any shape with few entries, contiguous in memory or not."""
    dtype, shape = draw(st.sampled_from(list(frames.DTYPES.values()))), draw(sizes)
    count = math.prod(shape)
    if dtype == torch.bool:
        tensor = torch.tensor(draw(st.lists(st.booleans(), min_size=count, max_size=count)), dtype=dtype)
    else:
        length = count * dtype.itemsize
        data = bytearray(draw(st.binary(min_size=length, max_size=length)))
        tensor = torch.frombuffer(data, dtype=dtype) if length else torch.empty(0, dtype=dtype)
    tensor = tensor.reshape(shape)
    match draw(st.sampled_from(["as it is", "turned", "every other", "expanded"])):
        case "turned" if tensor.dim() > 1:
            return tensor.transpose(0, -1)
        case "every other" if tensor.dim() > 0:
            return tensor[::2]
        case "expanded":
            return tensor.expand(2, *tensor.shape)
    return tensor


whole = st.integers(-(2**70), 2**70) | st.integers(-(2**4096) + 1, 2**4096 - 1)
numbers = st.floats(allow_nan=False) | st.just(math.nan)  # a number's NaN has no sign or payload in JSON
scalars = st.none() | st.booleans() | whole | numbers
leaves = scalars | words | tensors()


def nested(leaf: st.SearchStrategy[Any], levels: int) -> st.SearchStrategy[Any]:
    """Leaves in at most so many lists and tuples around one another."""
    if levels == 0:
        return leaf
    inner = st.lists(nested(leaf, levels - 1), max_size=3)
    return leaf | inner | inner.map(tuple)


values = nested(leaves, 3)
fixtures = st.builds(
    Fixture,
    words,
    st.integers(0, 2**63),
    st.lists(st.tuples(words, nested(scalars | words, 1)), max_size=2).map(tuple),
    words,
    st.sampled_from(list(frames.DTYPES.values())),
    words,
)
names = st.lists(words, max_size=3).map(tuple)
trials = st.builds(
    Trial, words, st.dictionaries(words, values | fixtures, max_size=4), names, names, words, st.integers(), names
)
ONE = Trial("toy", {"x": torch.ones(2, dtype=torch.float32)}, ("y",))
failures = st.builds(
    Failure, any_text, st.lists(any_text, max_size=3).map(tuple), any_text, st.none() | st.integers(0, 10**6), any_text
)


def travelled(trial: Trial) -> Trial:
    """The trial as it arrives in the box."""
    return wire.trial_from_wire(*frames.unpack(frames.pack(*wire.trial_to_wire(trial))))


def returned(observation: Observation, trial: Trial = ONE) -> Observation:
    """The observation as it arrives at the grader."""
    data = frames.pack(*wire.observation_to_wire(observation))
    return wire.observation_from_wire(*frames.unpack(data), trial)


@given(trials)
def test_every_trial_arrives_in_every_bit(trial: Trial) -> None:
    assert same(travelled(trial), trial)


@pytest.mark.parametrize("levels", [1, wire.NESTED - 1])
@given(leaf=leaves, turns=st.lists(st.booleans(), min_size=wire.NESTED, max_size=wire.NESTED))
@settings(max_examples=30)
def test_lists_and_tuples_arrive_as_deep_as_they_may_be(levels: int, leaf: Any, turns: list[bool]) -> None:
    for turn in turns[:levels]:
        leaf = [leaf] if turn else (leaf,)
    assert same(returned(Observation("returned", {"y": leaf}, dtype=torch.float32)).outputs["y"], leaf)


class Odd:
    """A type of the student's own."""


strange = (
    st.just(Odd())
    | st.sets(st.integers(), max_size=2)
    | st.binary(max_size=4)
    | st.complex_numbers()
    | st.integers(2**4096, 2**4097)
    | st.sampled_from([torch.empty(3, device="meta"), torch.zeros(2, dtype=torch.complex64)])
    | st.sampled_from(["x" * (wire.TEXT + 1), [0] * (wire.TEXT + 1), [[[[[[[[[]]]]]]]]]])
    | st.just(torch.zeros(frames.LIMIT // 4))
)
result_names = st.text("yh_[0]. ", min_size=1, max_size=8)


def whole_characters(value: Any) -> Any:
    """The value with a question mark for each half character."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(whole_characters, value))
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


@given(st.dictionaries(result_names, nested(leaves | any_text, 3), max_size=4), st.sampled_from(wire.PARTS))
def test_every_leaf_arrives_in_every_bit_but_for_half_characters(sent: dict[str, Any], part: str) -> None:
    record = returned(Observation("returned", **{part: sent}))
    arrived = getattr(record, part)
    assert list(arrived) == list(sent)
    assert len(record.outputs) + len(record.states) + len(record.gradients) == len(sent)
    assert all(same(arrived[name], whole_characters(value)) for name, value in sent.items())


@given(nested(strange, 1).filter(lambda value: value not in ([], ())), values)
@example([torch.zeros(1), Odd()], None)
def test_a_result_that_does_not_travel_arrives_as_a_name_and_takes_no_other_along(odd: Any, value: Any) -> None:
    arrived = returned(Observation("returned", {"odd": odd, "y": value})).outputs
    assert isinstance(arrived["odd"], Foreign) and same(arrived["y"], value)


@given(
    st.dictionaries(any_text, nested(leaves | any_text | strange, 1), max_size=4),
    any_text,
    any_text | st.just("x" * 10_000),
    st.floats(0, 1000),
)
def test_whatever_a_call_did_its_record_arrives(
    outputs: dict[str, Any], structure: str, printed: str, seconds: float
) -> None:
    shared = dict.fromkeys(list(outputs)[:1], "x")
    record = Observation(
        "returned", outputs, structure=structure, changed=("x",), shared=shared, printed=printed, seconds=seconds
    )
    arrived = returned(record)
    assert same(arrived.seconds, seconds) and arrived.changed == ("x",) and len(arrived.shared) == len(shared)
    assert arrived.structure == whole_characters(structure)
    assert whole_characters(printed).startswith(arrived.printed) and bool(arrived.printed) == bool(printed)


@given(failures, any_text)
def test_every_exception_arrives(failure: Failure, printed: str) -> None:
    arrived = returned(Observation("raised", failure=failure, printed=printed)).failure
    assert arrived is not None and arrived.line_number == failure.line_number
    assert len(arrived.parents) == len(failure.parents) and len(arrived.message) == len(failure.message)


# -- messages ----------------------------------------------------------------------------------------------------

json_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words
json_values = st.recursive(
    json_scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4), max_leaves=12
)
beyond_depth = functools.reduce(lambda inner, _: [inner], range(frames.DEPTH), 0)
beyond = st.just(math.nan) | st.just(2**5000) | st.just("\ud800") | st.just(beyond_depth) | st.just(b"")


@given(
    st.dictionaries(any_text, json_values | beyond, max_size=4),
    st.dictionaries(any_text | st.just("__metadata__"), tensors(), max_size=3),
)
@example({"": "\ud800"}, {})
@example({"": 2**5000}, {})
@example({"": beyond_depth}, {})
@example({}, {"__metadata__": torch.tensor(0.0)})
@example({}, {"": torch.tensor(0.0), "\ud800": torch.tensor(0.0)})
def test_what_can_be_packed_can_be_unpacked_and_is_the_same(message: dict[str, Any], carried: dict[str, Any]) -> None:
    try:
        data = frames.pack(message, carried)
    except Malformed:
        return
    unpacked, arrived = frames.unpack(data)
    assert same(unpacked, message) and same(sorted(arrived.items()), sorted(carried.items()))


# -- bytes -------------------------------------------------------------------------------------------------------


def answered(data: bytes) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
    """What `unpack` makes of the bytes, or None if they are malformed; it takes no more memory than it should."""
    tracemalloc.start()
    try:
        message, carried = frames.unpack(data)
    except Malformed:
        return None
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100 * len(data) + 100_000, "a header that announces much takes no memory for it"
    assert sum(tensor.nbytes for tensor in carried.values()) <= len(data)
    return message, carried


def framed(header: Any, data: bytes, length: int | None = None) -> bytes:
    """A frame with this header, whatever it is, that says how long it is or lies about it."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


large = st.integers(-1, 8) | st.sampled_from([10**6, 10**6 + 1, 2**31, 2**63, 2**64])
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*frames.DTYPES, "F8_E4M3", "C64", "", None]),
        "shape": st.lists(large, max_size=9) | json_values,
        "data_offsets": st.tuples(large, large).map(list) | json_values,
    }
)
headers = st.dictionaries(words, entries | json_values, max_size=3)
messages = st.fixed_dictionaries({"message": json_values.map(json.dumps) | json_values})


@given(st.binary(max_size=200))
def test_any_bytes_are_answered_or_malformed(data: bytes) -> None:
    assert answered(data) is None or data


@given(headers, messages, st.binary(max_size=64), st.none() | st.sampled_from([0, 1, 8, 2**32, 2**63, 2**64 - 1]))
def test_any_header_is_answered_or_malformed(header: Any, message: Any, data: bytes, length: int | None) -> None:
    event(str(answered(framed({"__metadata__": message} | header, data, length)) is not None))


@given(trials, st.data())
def test_a_frame_with_bytes_changed_cut_or_doubled_is_answered_or_malformed(trial: Trial, data: st.DataObject) -> None:
    frame = bytearray(frames.pack(*wire.trial_to_wire(trial)))
    for _ in range(data.draw(st.integers(1, 3))):
        at, end = sorted(data.draw(st.tuples(*[st.integers(0, len(frame) - 1)] * 2)))
        part = bytes(frame[at:end])
        frame[at:end] = data.draw(st.sampled_from([b"", part + part, bytes(len(part))]) | st.binary(max_size=8))
        assume(frame)
    received = answered(bytes(frame))
    event(f"unpacked: {received is not None}")
    if received:
        assert_answered_or_malformed(*received)


@given(st.data())
def test_a_message_with_one_part_replaced_is_an_observation_or_malformed(data: st.DataObject) -> None:
    outputs = {"y": [1, (0.5, 2**70)], "h": torch.ones(2), "odd": {1}}
    states = {"net.weight": torch.zeros(1), "net.training": True}
    failure = Failure("KeyError", ("KeyError", "object"), "'x'", 1, "x[0]")
    record = data.draw(
        st.sampled_from(
            [
                Observation(
                    "returned",
                    outputs,
                    states,
                    {"x": None},
                    "(…)",
                    changed=("x",),
                    shared={"h": "x"},
                    printed="…",
                    seconds=0.5,
                ),
                Observation("raised", failure=failure, seconds=0.5),
                Observation("timed out", seconds=3.0),
            ]
        )
    )
    message, carried = wire.observation_to_wire(record)
    message, place = json.loads(json.dumps(message)), None
    place = message
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not (isinstance(place[key], (dict, list)) and place[key] and data.draw(st.booleans())):
            break
        place = place[key]
    place[key] = data.draw(json_values | st.sampled_from([["float", "nan"], ["tensor", "0"], ["int", "-0x1"], "x"]))
    assert_answered_or_malformed(message, carried)


@given(
    st.dictionaries(st.sampled_from([field.name for field in fields(Observation)]) | words, json_values, max_size=8),
    st.dictionaries(words, tensors(), max_size=2),
)
def test_any_message_is_an_observation_and_a_trial_or_malformed(message: dict, carried: dict) -> None:
    assert_answered_or_malformed(message, carried)


def assert_answered_or_malformed(message: dict[str, Any], carried: dict[str, torch.Tensor]) -> None:
    for convert in (wire.trial_from_wire, lambda *both: wire.observation_from_wire(*both, ONE)):
        try:
            made = convert(message, carried)
        except Malformed:
            event("malformed")
        else:
            event(type(made).__name__)
