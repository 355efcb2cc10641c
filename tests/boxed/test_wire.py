"""What passes between grader and box: exact for what is honest, refused for what is not."""

import json
import math
import os
import pickle
import random
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from exactness import same
from torch import Tensor

from course_utils.boxed import wire
from course_utils.boxed.fixtures import Fixture
from course_utils.boxed.observe import Failure, Observation, Trial, observe
from course_utils.boxed.wire import Channel, Closed, Foreign, Late, Malformed
from course_utils.exercises.catalogue import definition, names
from course_utils.exercises.judge import judge

SEED = 20_000_000_000_000_007  # as long as the grader's


def travelled(trial: Trial) -> Trial:
    """The trial as it arrives in the box."""
    return wire.trial_from_wire(*wire.unpack(wire.pack(*wire.trial_to_wire(trial))))


def returned(observation: Observation, trial: Trial) -> Observation:
    """The observation as it arrives at the grader."""
    data = wire.pack(*wire.observation_to_wire(observation))
    return wire.observation_from_wire(*wire.unpack(data), trial)


def result(value: Any) -> Any:
    """What a result becomes on its way to the grader."""
    return returned(Observation("returned", {"y": value}, "…", torch.float32), ONE).outputs["y"]


ONE = Trial("toy", {"x": torch.ones(2, dtype=torch.float32)}, ("y",))

# -- honest messages arrive as they were sent ---------------------------------------------------------------------


@pytest.mark.parametrize("name", names())
def test_every_trial_and_what_the_reference_does_travel_exactly(name: str):
    exercise = definition(name)
    for trial in exercise.trials(SEED):
        assert same(travelled(trial), trial)
        record = observe(exercise.reference, travelled(trial))
        assert same(returned(record, trial), record)


@pytest.mark.parametrize("name", [*names("02"), *names("05")])
def test_the_verdict_from_afar_is_the_one_of_here(name: str):
    """On the reference and every named mistake, in lessons with plain functions, chance, and generators.

    `test_definitions.py` holds that these are the verdicts of here.
    """
    exercise = definition(name)
    asked = exercise.trials(SEED)
    expected = {("right", None): exercise.reference}
    expected |= {("diagnosed", mistake.key): mistake.function for mistake in exercise.mistakes.values()}
    for verdict, candidate in expected.items():
        here = [observe(candidate, trial) for trial in asked]
        there = [returned(o, t) for o, t in zip(here, asked, strict=True)]
        assert all(map(same, here, there))
        outcome = judge(name, asked, there)
        assert (outcome.status, outcome.mistake) == verdict


HONEST = [
    None,
    True,
    -3,
    2**63,
    -(2**4095),
    0.1,
    -0.0,
    5e-324,
    math.inf,
    -math.inf,
    math.nan,
    "",
    "naïve 😀 \x00 \x1b[31m",
    [],
    (),
    [1, "two", (3, [4])],
    torch.tensor(1.5),
    torch.zeros(0),
    torch.zeros(0, 3, 1000),
    torch.tensor([math.nan, math.inf, -math.inf, -0.0]),
    torch.arange(6.0).reshape(2, 3).t(),
    torch.arange(6.0)[::2],
    torch.ones(1).expand(4, 5),
    torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    torch.tensor([1.5, -2.0], dtype=torch.float16),
    torch.tensor([2**62, -1]),
    torch.tensor([True, False]),
    torch.ones(3, dtype=torch.uint8),
    torch.ones(2, requires_grad=True).detach(),
]


@pytest.mark.parametrize("value", HONEST, ids=lambda value: f"{type(value).__name__} {value!r}"[:60])
def test_plain_values_arrive_exactly(value: Any):
    assert same(result(value), value)
    trial = Trial("toy", {"x": value}, ("y",))
    assert same(travelled(trial), trial)


def test_aliased_arguments_travel():
    x = torch.arange(4.0)
    trial = Trial("toy", {"a": x, "b": x, "c": x[1:], "d": [x, x]}, ("y",))
    assert same(travelled(trial), trial)


def test_fixtures_travel_to_the_box_and_never_back():
    fixture = Fixture("layer", 3, (("name", "Linear"), ("arguments", (4, 2, (1,))), ("scale", 0.5)), "m", torch.float32)
    trial = Trial("toy", {"f": fixture}, ("y",), ("f",), "the layer is small", 7, ("f",))
    assert travelled(trial) == trial
    message, tensors = wire.trial_to_wire(trial)
    [[_, encoded]] = message["arguments"]
    forged = wire.observation_to_wire(Observation("returned", {"y": 1}))[0] | {"outputs": [["y", encoded]]}
    with pytest.raises(Malformed, match="no value"):
        wire.observation_from_wire(forged, tensors, ONE)


def test_a_trial_that_cannot_travel_is_an_error_of_the_course():
    with pytest.raises(Malformed, match="a dict does not travel"):
        wire.trial_to_wire(Trial("toy", {"x": {}}, ("y",)))


def test_exceptions_arrive_whole():
    failure = Failure("KeyError", ("KeyError", "LookupError", "object"), "'x'\n😀", 12, "y = table['x']")
    record = Observation("raised", failure=failure, printed="so far\n", seconds=0.25)
    assert same(returned(record, ONE), record)


def test_a_time_limit_arrives():
    record = Observation("timed out", seconds=3, dtype=torch.float32)
    assert returned(record, ONE).event == "timed out"
    assert returned(record, ONE).seconds == 3.0


# -- what does not travel arrives as its type's name --------------------------------------------------------------


class Always(torch.Tensor):
    """Equal to everything, if anybody asked it."""

    def __eq__(self, other: Any) -> Any:
        return True

    @classmethod
    def __torch_function__(cls, *_: Any, **__: Any) -> Any:
        return True


class Point(tuple):
    pass


class Odd:
    pass


Odd.__name__ = "<b>\x1b[31m" * 50


FOREIGN = [
    (object(), "object"),
    (Always(), "Always"),
    (Point((1, 2)), "Point"),
    ({"a": 1}, "dict"),
    (torch.tensor(1.0).numpy(), "ndarray"),
    (torch.tensor([1j], dtype=torch.complex128), "complex128 tensor"),
    (torch.empty(3, device="meta"), "tensor on meta, strided"),
    (torch.eye(2).to_sparse(), "tensor on cpu, sparse_coo"),
    (torch.zeros(1000, 1000), "tensor of shape (1000, 1000)"),
    (torch.zeros(0, 2**40), "tensor of shape (0, 1099511627776)"),
    (torch.zeros([1] * 9), "tensor of shape (1, 1, 1, 1, 1, 1, 1, 1, 1)"),
    (2**5000, "int"),
    ("x" * 10_001, "str"),
    ([0] * 10_001, "list"),
    ([[[[[[[[[1]]]]]]]]], "result of too many parts"),
    (Odd(), ("<b>_[31m" * 50)[:100]),
]


@pytest.mark.parametrize(("value", "name"), FOREIGN, ids=[name[:30] for _, name in FOREIGN])
def test_anything_else_arrives_as_the_name_of_its_type(value: Any, name: str):
    arrived = result(value)
    assert isinstance(arrived, Foreign)
    assert type(arrived).__name__ == arrived.type_name == name
    assert arrived != value
    assert arrived != result(value)


def test_a_foreign_result_is_wrong_and_named():
    exercise = definition("rnn_step")
    asked = exercise.trials(1)
    seen = [returned(observe(lambda *arguments: exercise.reference(*arguments).detach().numpy(), t), t) for t in asked]
    outcome = judge("rnn_step", asked, seen)
    assert outcome.status == "wrong"
    assert "numpy ndarray" in outcome.message


def test_a_float_of_numpy_counts_as_a_float():
    assert same(result(torch.tensor(0.5, dtype=torch.float64).numpy()[()]), 0.5)


def test_too_many_results_end_in_one_that_says_so():
    record = Observation("returned", {f"y[{i}]": float(i) for i in range(5000)}, dtype=torch.float32)
    outputs = returned(record, ONE).outputs
    assert len(outputs) == wire.LEAVES
    assert outputs["y[198]"] == 198.0
    assert repr(outputs["more"]) == "<list of 4801 more results>"
    record.outputs = {f"y[{i}]": float(i) for i in range(wire.LEAVES)}
    assert same(returned(record, ONE), record)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested")
def test_a_nested_tensor_travels_as_its_name():
    arrived = returned(Observation("returned", {"y": torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])}), ONE)
    assert repr(arrived.outputs["y"]) == "<nested tensor>"


def test_what_shares_memory_travels_with_too_many_results_or_long_names_too():
    """A wrong answer is no forgery: it arrives as the observation that it is."""
    results = {f"y[{i}]": torch.ones(1) for i in range(500)}
    arrived = returned(Observation("returned", results, shared=dict.fromkeys(results, next(iter(ONE.arguments)))), ONE)
    assert len(arrived.shared) == wire.LEAVES - 1 and "more" in arrived.outputs
    deep = {f"y{'[0]' * 80}[{i}]": torch.ones(1) for i in range(2)}
    assert len(returned(Observation("returned", deep), ONE).outputs) == 1


def test_results_that_are_too_large_together_still_fit_into_a_frame():
    record = Observation("returned", {f"y[{i}]": torch.ones(100_000) for i in range(20)})
    kinds = [type(value).__name__ for value in returned(record, ONE).outputs.values()]
    assert kinds == ["Tensor"] + ["tensor of shape (100000,)"] * 19


def test_long_and_broken_words_still_fit_into_a_frame():
    failure = Failure("E" * 5000, ("é" * 500,) * 500, "\ud800" * 5000, 3, "x" * 90_000)
    arrived = returned(Observation("raised", failure=failure, printed="\ud800" * 90_000), ONE)
    assert arrived.printed == "?" * 4000
    assert arrived.failure is not None
    assert (len(arrived.failure.message), len(arrived.failure.line), len(arrived.failure.parents)) == (1000, 1000, 100)


# -- hostile frames -----------------------------------------------------------------------------------------------


def file(header: Any, data: bytes = b"") -> bytes:
    """A safetensors file with this header, true or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def lying(data: bytes = bytes(8), **entry: Any) -> bytes:
    """A file with one float32 tensor of two entries, except for what `entry` says."""
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | entry
    return file({"__metadata__": {"message": "{}"}, "t": entry}, data)


def saying(text: str) -> bytes:
    """A file whose message is this text."""
    return file({"__metadata__": {"message": text}})


def explode() -> None:
    EXPLODED.append(True)


EXPLODED: list[bool] = []


class Bomb:
    def __reduce__(self) -> Any:
        return explode, ()


HOSTILE = {
    "nothing": (b"", "no safetensors file"),
    "short": (b"1234567", "no safetensors file"),
    "header beyond the frame": (file({})[:8] + b"", "a header of 2 bytes"),
    "header of 2^64 bytes": (b"\xff" * 8 + b"{}", "a header of 18446744073709551615 bytes"),
    "pickle": (pickle.dumps(Bomb()), "a header of"),
    "pickle as data": (file({"__metadata__": {"message": "{}"}}, pickle.dumps(Bomb())), "no safetensors"),
    "pickle as message": (saying(pickle.dumps(Bomb(), 0).decode()), "no JSON"),
    "not UTF-8": (file(b"\xff\xfe{}"), "not UTF-8"),
    "no message": (file({}), "no message"),
    "message of another type": (file({"__metadata__": {"message": {}}}), "no message"),
    "more metadata": (file({"__metadata__": {"message": "{}", "more": ""}}), "no message"),
    "message that is a list": (saying("[]"), "a list, not an object"),
    "message that is a number": (saying("1"), "a int, not an object"),
    "deep list": (saying('{"a":' + "[" * 100_000 + "]" * 100_000 + "}"), "nested too deeply"),
    "rather deep list": (saying('{"a":' + "[" * 30 + "]" * 30 + "}"), "nested more than"),
    "deep object": (saying('{"a":' * 100_000 + "1" + "}" * 100_000), "nested too deeply"),
    "deep header": (file(b'{"a":' * 50_000 + b"1" + b"}" * 50_000), "nested too deeply"),
    "many values": (saying('{"a":[' + "0," * 150_000 + "0]}"), "more than"),
    "NaN": (saying('{"a":NaN}'), "the number NaN"),
    "infinity": (saying('{"a":-Infinity}'), "the number -Infinity"),
    "infinity in disguise": (saying('{"a":1e999}'), "the number inf"),
    "number of a million digits": (saying('{"a":' + "9" * 900_000 + "}"), "no JSON"),
    "number of 4000 digits": (saying('{"a":' + "9" * 4000 + "}"), "a whole number of"),
    "same key twice": (saying('{"a":1,"a":2}'), "same key twice"),
    "half a character": (saying('{"a":"\\ud800"}'), "half a character"),
    "unknown dtype": (lying(dtype="F31"), "does not travel"),
    "dtype that is no text": (lying(dtype=[]), "does not travel"),
    "complex": (lying(dtype="C64", data_offsets=[0, 16], data=bytes(16)), "does not travel"),
    "more data than announced": (lying(bytes(12)), "no safetensors"),
    "less data than announced": (lying(bytes(4)), "no safetensors"),
    "shape larger than its data": (lying(shape=[3]), "no safetensors"),
    "huge shape": (lying(shape=[2**40]), "has shape"),
    "shape that overflows": (lying(shape=[2**32, 2**32]), "has shape"),
    "huge shape beside a zero": (lying(b"", shape=[0, 10**12], data_offsets=[0, 0]), "has shape"),
    "product of many": (lying(shape=[1000, 1000, 1000]), "has shape"),
    "negative shape": (lying(shape=[-2]), "has shape"),
    "fractional shape": (lying(shape=[2.0]), "has shape"),
    "true as shape": (lying(b"1234", shape=[True], data_offsets=[0, 4]), "has shape"),
    "nine dimensions": (lying(shape=[1] * 8 + [2]), "has shape"),
    "negative offsets": (lying(data_offsets=[-8, 0]), "no safetensors"),
    "huge offsets": (lying(data_offsets=[0, 2**63]), "no safetensors"),
    "missing offsets": (
        file({"__metadata__": {"message": "{}"}, "t": {"dtype": "F32", "shape": []}}),
        "strange header",
    ),
    "header entry that is no object": (file({"__metadata__": {"message": "{}"}, "t": 5}), "strange header"),
    "too many tensors": (
        file(
            {"__metadata__": {"message": "{}"}}
            | {str(i): {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]} for i in range(300)},
            bytes(300),
        ),
        "300 tensors",
    ),
    "tensors that overlap": (
        file(
            {"__metadata__": {"message": "{}"}}
            | {name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for name in "ab"},
            bytes(8),
        ),
        "no safetensors",
    ),
    "longer than a frame": (bytes(wire.LIMIT + 1), "a frame of 1000001 bytes"),
}


@pytest.mark.parametrize(("data", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_frames_are_refused(data: bytes, reason: str):
    start = time.perf_counter()
    with pytest.raises(Malformed, match=reason):
        wire.unpack(data)
    assert time.perf_counter() - start < 2
    assert not EXPLODED


def test_random_damage_is_refused_or_harmless():
    """A thousand frames with bytes changed, cut or doubled: unpacked, or Malformed, and nothing else."""
    draw = random.Random(5)
    trial = definition("lstm_update").trials(3)[0]
    whole = wire.pack(*wire.observation_to_wire(observe(definition("lstm_update").reference, trial)))
    refused = 0
    for _ in range(1000):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(data))
            data[at : at + draw.randint(0, 3)] = draw.randbytes(draw.randint(0, 3))
        try:
            wire.observation_from_wire(*wire.unpack(bytes(data)), trial)
        except Malformed:
            refused += 1
    assert 500 < refused <= 1000


def test_every_truncation_is_refused():
    whole = wire.pack({"a": 1}, {"t": torch.ones(3)})
    assert wire.unpack(whole)[0] == {"a": 1}
    for length in range(len(whole)):
        with pytest.raises(Malformed):
            wire.unpack(whole[:length])


def test_memory_for_a_hostile_frame_is_bounded():
    import tracemalloc

    data = saying('{"a":[' + "[]," * 300_000 + "0]}")
    tracemalloc.start()
    try:
        with pytest.raises(Malformed, match="more than"):
            wire.unpack(data)
        assert tracemalloc.get_traced_memory()[1] < 64 * wire.LIMIT
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("message", "tensors"),
    [({"a": math.nan}, {}), ({"a": object()}, {}), ({}, {"t": torch.tensor(1j)}), ({}, {"t": torch.zeros(1_000_000)})],
)
def test_what_would_be_refused_is_not_sent(message: dict, tensors: dict):
    with pytest.raises(Malformed):
        wire.pack(message, tensors)


# -- hostile observations -----------------------------------------------------------------------------------------

GOOD = wire.observation_to_wire(Observation("returned", {"y": 1.0}, "float", seconds=0.1))[0]
FAILED = wire.observation_to_wire(Observation("raised", failure=Failure("E", ("E",), "m", 1, "l")))[0]

LIES: dict[str, tuple[dict[str, Any], str]] = {
    "event unknown": ({**GOOD, "event": "right"}, "no event"),
    "event missing": ({k: v for k, v in GOOD.items() if k != "event"}, "'event' is no text"),
    "event of another type": ({**GOOD, "event": ["returned"]}, "'event' is no text"),
    "raised without exception": ({**FAILED, "failure": None}, "does not go with"),
    "returned with exception": ({**GOOD, "failure": FAILED["failure"]}, "does not go with"),
    "raised with results": ({**FAILED, "outputs": GOOD["outputs"]}, "does not go with results"),
    "time limit with changes": ({**GOOD, "event": "timed out", "outputs": [], "changed": ["x"]}, "does not go with"),
    "results as an object": ({**GOOD, "outputs": {"y": 1}}, "'outputs' is no list"),
    "same result twice": ({**GOOD, "outputs": [["y", 1], ["y", 2]]}, "strange entry"),
    "result without a name": ({**GOOD, "outputs": [[1]]}, "strange entry"),
    "result of three": ({**GOOD, "outputs": [["y", 1, 2]]}, "strange entry"),
    "result with a name in HTML": ({**GOOD, "outputs": [["<script>", 1]]}, "strange name"),
    "result with an endless name": ({**GOOD, "outputs": [["y" * 201, 1]]}, "strange name"),
    "too many results": ({**GOOD, "outputs": [[f"y{i}", 1] for i in range(201)]}, "201 results"),
    "tensor that is not there": ({**GOOD, "outputs": [["y", ["tensor", "0"]]]}, "no value"),
    "number without tag": ({**GOOD, "outputs": [["y", 1.5]]}, "no value"),
    "object": ({**GOOD, "outputs": [["y", {}]]}, "no value"),
    "unknown tag": ({**GOOD, "outputs": [["y", ["pickle", "gASV"]]]}, "no value"),
    "tag of another type": ({**GOOD, "outputs": [["y", [[], "1"]]]}, "no value"),
    "no float": ({**GOOD, "outputs": [["y", ["float", "1,5"]]]}, "no number"),
    "float out of range": ({**GOOD, "outputs": [["y", ["float", "0x1p99999"]]]}, "no number"),
    "no int": ({**GOOD, "outputs": [["y", ["int", "ten"]]]}, "no number"),
    "int too long": ({**GOOD, "outputs": [["y", ["int", "f" * 5000]]]}, "a number of 5000 digits"),
    "foreign type in HTML": ({**GOOD, "outputs": [["y", ["foreign", "a&b", ""]]]}, "no value"),
    "foreign type without a name": ({**GOOD, "outputs": [["y", ["foreign", "", ""]]]}, "no value"),
    "foreign module": ({**GOOD, "outputs": [["y", ["foreign", "a", "os"]]]}, "no value"),
    "structure too long": ({**GOOD, "structure": "x" * 10_001}, "'structure' is no text"),
    "printed too much": ({**GOOD, "printed": "x" * 4001}, "'printed' is no text"),
    "changed what is no argument": ({**GOOD, "changed": ["z"]}, "is no argument"),
    "changed twice": ({**GOOD, "changed": ["x", "x"]}, "is no argument"),
    "shared by no result": ({**GOOD, "shared": [["z", "x"]]}, "no result and argument"),
    "shared with no argument": ({**GOOD, "shared": [["y", "z"]]}, "no result and argument"),
    "shared with a list": ({**GOOD, "shared": [["y", ["x"]]]}, "no result and argument"),
    "negative time": ({**GOOD, "seconds": ["float", "-0x1p0"]}, "seconds"),
    "endless time": ({**GOOD, "seconds": ["float", "inf"]}, "seconds"),
    "no time at all": ({**GOOD, "seconds": ["float", "nan"]}, "seconds"),
    "time that is true": ({**GOOD, "seconds": True}, "seconds"),
    "exception that is a list": ({**FAILED, "failure": []}, "no object"),
    "exception with HTML": ({**FAILED, "failure": {**FAILED["failure"], "kind": "<b>&"}}, "strange type"),
    "exception with a long text": ({**FAILED, "failure": {**FAILED["failure"], "message": "x" * 1001}}, "'message'"),
    "line that is no number": ({**FAILED, "failure": {**FAILED["failure"], "line_number": "1"}}, "no line number"),
    "negative line": ({**FAILED, "failure": {**FAILED["failure"], "line_number": -1}}, "no line number"),
    "parents that are a text": ({**FAILED, "failure": {**FAILED["failure"], "parents": "E"}}, "'parents'"),
}


@pytest.mark.parametrize(("message", "reason"), LIES.values(), ids=LIES.keys())
def test_hostile_observations_are_refused(message: dict[str, Any], reason: str):
    with pytest.raises(Malformed, match=reason):
        wire.observation_from_wire(message, {}, ONE)


def test_the_lies_are_told_of_observations_that_are_accepted():
    assert wire.observation_from_wire(GOOD, {}, ONE).outputs == {"y": 1.0}
    assert wire.observation_from_wire(FAILED, {}, ONE).event == "raised"


def test_tensors_of_no_result_are_refused():
    with pytest.raises(Malformed, match="1 tensors of no result"):
        wire.observation_from_wire(GOOD, {"0": torch.ones(1)}, ONE)
    twice = {**GOOD, "outputs": [["a", ["tensor", "0"]], ["b", ["tensor", "0"]]]}
    with pytest.raises(Malformed, match="no value"):
        wire.observation_from_wire(twice, {"0": torch.ones(1)}, ONE)


def test_the_precision_is_the_graders_own_knowledge():
    """A box cannot ask for the tolerance of float32."""
    double = Trial("toy", {"x": torch.ones(2, dtype=torch.float64)}, ("y",))
    record = Observation("returned", {"y": 1.0}, dtype=torch.float32)
    assert returned(record, double).dtype == torch.float64
    assert returned(record, ONE).dtype == torch.float32


STRANGE: list[Callable[[Any], Any]] = [
    lambda value: wire.foreign("Thing"),
    lambda value: None,
    lambda value: math.nan,
    lambda value: 2**4000,
    lambda value: "<b>",
    lambda value: [2**63, "x"],
    lambda value: torch.full((1, 1, 1), -(2**62)),
    lambda value: torch.zeros(0, 1000),
    lambda value: torch.full_like(value, math.inf) if isinstance(value, Tensor) and value.is_floating_point() else -1,
    lambda value: value.bfloat16() if isinstance(value, Tensor) else True,
    lambda value: value.bool() if isinstance(value, Tensor) else (),
]


@pytest.mark.parametrize("name", names())
def test_no_strange_observation_upsets_the_judge(name: str):
    """Each strange value in place of each result, or of all of them: an outcome, and never a point."""
    exercise, draw = definition(name), random.Random(name)
    asked = exercise.trials(SEED)
    honest = [observe(exercise.reference, trial) for trial in asked]
    some = draw.sample(STRANGE, 2)
    for change in some:
        forged = []
        for trial, record in zip(asked, honest, strict=True):
            chosen = draw.choice([*record.outputs, ""]) if record.outputs else ""
            outputs = {n: change(v) if chosen in ("", n) else v for n, v in record.outputs.items()}
            record = Observation(**{**vars(record), "outputs": outputs})
            forged.append(returned(record, trial))
        assert judge(name, asked, forged).status in ("wrong", "diagnosed", "error")


# -- the channel --------------------------------------------------------------------------------------------------


class Pair:
    """A channel, and the raw ends of its pipes: what a hostile box would hold."""

    def __init__(self) -> None:
        reader, self.out = os.pipe()
        self.into, writer = os.pipe()
        self.channel = Channel(reader, writer)

    def write(self, data: bytes) -> None:
        os.write(self.out, data)

    def close(self) -> None:
        self.channel.close()
        for end in (self.out, self.into):
            try:
                os.close(end)
            except OSError:
                continue


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


def soon(seconds: float = 0.3) -> float:
    return time.monotonic() + seconds


def test_frames_pass_in_order(pair: Pair):
    other = Channel(pair.into, pair.out)
    for number in range(3):
        other.send({"n": number}, {"t": torch.full((2,), float(number))})
    for number in range(3):
        message, tensors = pair.channel.receive(soon())
        assert message == {"n": number}
        assert tensors["t"].tolist() == [number, number]


def test_a_frame_larger_than_the_pipe_passes(pair: Pair):
    other = Channel(pair.into, pair.out)
    big = torch.randn(100_000)
    writer = threading.Thread(target=other.send, args=({}, {"t": big}))
    writer.start()
    assert torch.equal(pair.channel.receive(soon(10))[1]["t"], big)
    writer.join()


def test_a_length_of_4_gb_is_refused_before_anything_is_read(pair: Pair):
    pair.write(b"\xff\xff\xff\xff")
    with pytest.raises(Malformed, match="4294967295 bytes is announced; at most 1000000"):
        pair.channel.receive(soon())


def test_the_limit_of_a_channel_holds_both_ways(pair: Pair):
    pair.channel.limit = 1000
    pair.write(struct.pack(">I", 1001))
    with pytest.raises(Malformed, match="1001 bytes is announced"):
        pair.channel.receive(soon())
    with pytest.raises(Malformed, match="at most 1000 are allowed"):
        pair.channel.send({"text": "x" * 2000})


def test_silence_ends_at_the_deadline(pair: Pair):
    start = time.monotonic()
    with pytest.raises(Late):
        pair.channel.receive(soon(0.2))
    assert 0.2 <= time.monotonic() - start < 2


def test_dribbled_bytes_do_not_move_the_deadline(pair: Pair):
    over = threading.Event()

    def dribble() -> None:
        pair.write(struct.pack(">I", 300))
        while not over.wait(0.01):
            pair.write(b"x")

    writer = threading.Thread(target=dribble)
    writer.start()
    start = time.monotonic()
    try:
        with pytest.raises(Late):
            pair.channel.receive(soon(0.3))
        assert time.monotonic() - start < 2
    finally:
        over.set()
        writer.join()


def test_a_box_that_does_not_read_does_not_hold_the_grader(pair: Pair):
    start = time.monotonic()
    with pytest.raises(Late):
        pair.channel.send({}, {"t": torch.zeros(100_000)}, soon(0.2))
    assert 0.2 <= time.monotonic() - start < 2


@pytest.mark.parametrize("sent", [b"", b"\x00\x00", struct.pack(">I", 100) + b"half"])
def test_the_end_of_the_box_is_told(pair: Pair, sent: bytes):
    pair.write(sent)
    os.close(pair.out)
    with pytest.raises(Closed, match="is gone"):
        pair.channel.receive(soon())


def test_sending_to_a_box_that_is_gone_is_told(pair: Pair):
    os.close(pair.into)
    with pytest.raises(Closed, match="does not read any more"):
        pair.channel.send({"a": 1}, deadline=soon())


def test_a_closed_channel_is_closed(pair: Pair):
    pair.channel.close()
    pair.channel.close()
    with pytest.raises(OSError):
        os.fstat(pair.channel.reader)
