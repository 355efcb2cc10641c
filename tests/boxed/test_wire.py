"""What passes between grader and box: exact for what is honest, refused for what is not."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from exactness import same
from torch import Tensor

from course_utils.boxed import frames, wire
from course_utils.boxed.fixtures import Fixture
from course_utils.boxed.frames import Malformed
from course_utils.boxed.observe import Failure, Observation, Trial, observe
from course_utils.boxed.wire import Foreign
from course_utils.exercises.catalogue import definition, names
from course_utils.exercises.findings import leaves
from course_utils.exercises.judge import judge

SEED = 20_000_000_000_000_007  # as long as the grader's


def travelled(trial: Trial) -> Trial:
    """The trial as it arrives in the box."""
    return wire.trial_from_wire(*frames.unpack(frames.pack(*wire.trial_to_wire(trial))))


def returned(observation: Observation, trial: Trial) -> Observation:
    """The observation as it arrives at the grader."""
    data = frames.pack(*wire.observation_to_wire(observation))
    return wire.observation_from_wire(*frames.unpack(data), trial)


def result(value: Any) -> Any:
    """What a result becomes on its way to the grader."""
    return returned(Observation("returned", {"y": value}, structure="…", dtype=torch.float32), ONE).outputs["y"]


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
    """On the reference and every named mistake, in lessons with plain functions, chance, and generators."""
    exercise = definition(name)
    asked = exercise.trials(SEED)
    expected = {None: exercise.reference}
    expected |= {mistake.key: mistake.function for mistake in exercise.mistakes.values()}
    for mistake, candidate in expected.items():
        here = [observe(candidate, trial) for trial in asked]
        there = [returned(o, t) for o, t in zip(here, asked, strict=True)]
        assert all(map(same, here, there))
        outcome = judge(name, asked, there)
        assert outcome.mistake == mistake
        assert outcome == judge(name, asked, here)


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


def test_results_states_and_gradients_are_bounded_together():
    record = Observation(
        "returned", *({f"{part}{i}": 1.0 for i in range(100)} for part in wire.PARTS), dtype=torch.float32
    )
    arrived = returned(record, ONE)
    assert [len(arrived.outputs), len(arrived.states), len(arrived.gradients)] == [101, 99, 0]
    assert repr(arrived.outputs["more"]) == "<list of 101 more results>"
    record = Observation("returned", {"x": 1.0}, {"x": 2.0}, {"x": None, "y": torch.ones(2)}, dtype=torch.float32)
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


# -- hostile observations -----------------------------------------------------------------------------------------

GOOD = wire.observation_to_wire(Observation("returned", {"y": 1.0}, structure="float", seconds=0.1))[0]
FAILED = wire.observation_to_wire(Observation("raised", failure=Failure("E", ("E",), "m", 1, "l")))[0]

LIES: dict[str, tuple[dict[str, Any], str]] = {
    "event unknown": ({**GOOD, "event": "right"}, "no event"),
    "event missing": ({k: v for k, v in GOOD.items() if k != "event"}, "'event' is no text"),
    "event of another type": ({**GOOD, "event": ["returned"]}, "'event' is no text"),
    "raised without exception": ({**FAILED, "failure": None}, "does not go with"),
    "returned with exception": ({**GOOD, "failure": FAILED["failure"]}, "does not go with"),
    "raised with results": ({**FAILED, "outputs": GOOD["outputs"]}, "does not go with results"),
    "time limit with changes": ({**GOOD, "event": "timed out", "outputs": [], "changed": ["x"]}, "does not go with"),
    "raised with a state": ({**FAILED, "states": [["net.training", True]]}, "does not go with results"),
    "raised with a gradient": ({**FAILED, "gradients": [["x", None]]}, "does not go with results"),
    "states missing": ({k: v for k, v in GOOD.items() if k != "states"}, "'states' is no list"),
    "gradients as an object": ({**GOOD, "gradients": {"x": 1}}, "'gradients' is no list"),
    "state with a name in HTML": ({**GOOD, "states": [["<script>", 1]]}, "strange name"),
    "gradient with an endless name": ({**GOOD, "gradients": [["x" * 201, 1]]}, "strange name"),
    "same gradient twice": ({**GOOD, "gradients": [["x", 1], ["x", 2]]}, "strange entry"),
    "too many leaves together": (
        {**GOOD, **{part: [[f"{part}{i}", 1] for i in range(67)] for part in wire.PARTS}},
        "201 results",
    ),
    "shared by a state": (
        {**GOOD, "states": [["net.training", True]], "shared": [["net.training", "x"]]},
        "no result and",
    ),
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
    lambda value: value.bool() if isinstance(value, Tensor) and value.dtype != torch.bool else (),
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
            chosen = draw.choice([*leaves(record), None])
            changed = {leaf: change(v) if chosen in (None, leaf) else v for leaf, v in leaves(record).items()}
            parts = {part: {leaf.name: v for leaf, v in changed.items() if leaf.part == part} for part in wire.PARTS}
            forged.append(returned(replace(record, **parts), trial))
        assert judge(name, asked, forged).status in ("wrong", "diagnosed", "error")
