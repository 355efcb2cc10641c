"""What the engine says about an answer, in every situation: tried on toy exercises that exist only here."""

import builtins
import contextlib
import functools
import importlib
import linecache
import math
import random
import re
import sys
import textwrap
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toys import defined, registered

from course_utils.boxed.deadline import PATIENCE
from course_utils.boxed.fixtures import Fixture
from course_utils.boxed.observe import observe
from course_utils.exercises import Outcome, check
from course_utils.exercises.catalogue import definition
from course_utils.exercises.define import edge
from course_utils.exercises.judge import judge, trials

# -- the toys ------------------------------------------------------------------------------------------------------


def randn(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def matrices(generator: torch.Generator) -> Iterator[Any]:
    for rows, columns in ((4, 3), (5, 2), (6, 7)):
        yield dict(x=randn(generator, rows, columns))
    yield edge("there is one row", stated="N may be 1", x=randn(generator, 1, 4))


def numbers(generator: torch.Generator) -> Iterator[dict]:
    for _ in range(5):
        yield dict(n=int(torch.randint(2, 9, (), generator=generator)))


def total(x):
    """Sum over the rows."""
    return x.sum(0)


def running(x):
    """The running sum down the rows."""
    return x.cumsum(0)


def column(x):
    """Each row's sum, as a column."""
    return x.sum(1, keepdim=True)


def mixing(x):
    """A square matrix that is not symmetric."""
    return x.T @ x.cumsum(0)


def blocks(x):
    """Two such matrices."""
    return torch.stack([mixing(x), mixing(x) ** 2])


def bounds(x):
    """The smallest and largest entry of each column."""
    return x.amin(0), x.amax(0)


def entropy(p):
    """The entropy of each row, in nats."""
    return torch.special.entr(p).sum(1)


def log_total(x):
    """The logarithm of each row's sum of exponentials."""
    return torch.logsumexp(x, 1)


def squash(x):
    """Tanh, with its gradient."""
    return torch.tanh(x)


def freeze(x):
    """Twice x, without its history."""
    return (2 * x).detach()


def duplicate(x):
    """A copy of x in memory of its own."""
    return x.clone()


def halves(parts):
    """Half of each."""
    return [part / 2 for part in parts]


def positives(x):
    """How many entries are positive."""
    return int((x > 0).sum())


def has_negative(x):
    """Whether any entry is negative."""
    return bool((x < 0).any())


def share(x):
    """The share of positive entries."""
    return float((x > 0).double().mean())


def root(n):
    """The square root; ValueError for negative numbers."""
    if n < 0:
        raise ValueError("n must not be negative")
    return math.sqrt(n)


def factorial(n):
    """n!, by recursion."""
    return 1 if n == 0 else n * factorial(n - 1)


def noisy(level, generator):
    """2000 normal numbers around `level`, from `generator`."""
    return level + torch.randn(2000, generator=generator, dtype=level.dtype)


def tossed(n, generator):
    """n fair coins."""
    return torch.randint(2, (n,), generator=generator)


def average(x):
    """The mean of all entries, a scalar."""
    return x.mean()


def frozen_dtype(x):
    """x, of the dtype that the card asks for."""
    return x.clone()


def make_toys() -> None:
    """Define the toys in whatever registry is in place."""
    defined(average, "average").cases(matrices)
    defined(frozen_dtype, "copy", exact=True).cases(matrices)
    for function, outputs in ((total, "total"), (running, "running"), (column, "column"), (bounds, ("low", "high"))):
        defined(function, outputs).cases(matrices)
    defined(mixing, "mixed").cases(matrices)
    defined(blocks, "mixed").cases(matrices)
    defined(squash, "squashed", gradients=("x",)).cases(matrices)
    defined(freeze, "frozen", gradients=("x",)).cases(matrices)
    defined(duplicate, "copy", fresh=True).cases(matrices)
    for function in (positives, has_negative, share):
        defined(function, "answer").cases(matrices)
    defined(factorial, "product").cases(numbers)

    @defined(root, "root").cases
    def _(generator):
        yield from numbers(generator)
        yield edge("n is negative", stated="raises ValueError", n=-3)

    @defined(halves, "halves").cases
    def _(generator):
        yield dict(parts=[randn(generator, 3, 2), randn(generator, 4)])
        yield dict(parts=[randn(generator, 2), randn(generator, 5), randn(generator, 3, 3)])

    @defined(entropy, "entropy").cases
    def _(generator):
        for rows, columns in ((4, 3), (5, 6)):
            yield dict(p=torch.softmax(randn(generator, rows, columns), 1))
        yield edge("some probabilities are 0", stated="may be 0", p=torch.eye(3, dtype=torch.float64)[[0, 2]])

    @defined(log_total, "log_total").cases
    def _(generator):
        for rows, columns in ((4, 3), (5, 6)):
            yield dict(x=randn(generator, rows, columns))
        yield edge("the numbers are as large as 1000", stated="as large as 1000", x=randn(generator, 3, 4) + 1000)

    mistake = definition("total").mistake("you subtract where you should add.")
    mistake(types.FunctionType((lambda x: -x.sum(0)).__code__, {}, "subtracted"))
    make_random_toy()
    make_toy_with_a_claim_across_trials()


def make_random_toy() -> None:
    toy = defined(noisy, "noise")

    @toy.cases
    def _(generator):
        for seed in (11, 12, 13):
            yield dict(level=randn(generator) * 3, generator=Fixture("generator", seed))

    @toy.claim("the numbers do not lie around the level.")
    def centred(arguments, noise):
        return abs(noise.mean() - arguments["level"]) < 7 / 2000**0.5

    @toy.claim("the numbers spread by 1 around their mean; yours do not.")
    def spread(arguments, noise):
        return abs(noise.std() - 1) < 0.12

    @toy.claim("the numbers are not distributed like a bell.")
    def bell(arguments, noise):
        return abs(((noise - noise.mean()).abs() < noise.std()).double().mean() - 0.683) < 0.073

    @toy.claim("the same generator must give the same numbers: draw from the one you are given.")
    def from_the_generator(arguments, noise):
        own = arguments["generator"].build()
        return torch.allclose(noise, arguments["level"] + torch.randn(2000, generator=own, dtype=noise.dtype))

    @toy.mistake("your noise lies around 0, whatever the level.")
    def level_forgotten(level, generator):
        return torch.randn(2000, generator=generator, dtype=level.dtype)

    @toy.mistake("you draw from torch's global generator.")
    def global_generator(level, generator):
        return level + torch.randn(2000, dtype=level.dtype)

    @toy.mistake("you draw from a uniform distribution; normal numbers are asked for.")
    def uniform(level, generator):
        return level - 0.5 + torch.rand(2000, generator=generator, dtype=level.dtype)


def make_toy_with_a_claim_across_trials() -> None:
    toy = defined(tossed, "coins")

    @toy.cases
    def _(generator):
        for seed in (11, 11, 12):
            yield dict(n=60, generator=Fixture("generator", seed))

    @toy.claim("the same generator must give the same coins.", across=True)
    def repeatable(arguments, results):
        first = {a["generator"]: coins for a, coins in zip(arguments, results, strict=True)}
        return all(torch.equal(first[a["generator"]], c) for a, c in zip(arguments, results, strict=True))

    @toy.claim("another generator must give other coins.", across=True)
    def no_two_alike(arguments, results):
        return len({tuple(coins.tolist()) for coins in results}) == len({a["generator"] for a in arguments})


@pytest.fixture(scope="module", autouse=True)
def toys() -> Iterator[None]:
    with registered(make_toys):
        yield


# -- helpers -------------------------------------------------------------------------------------------------------


def cell(source: str, name: str, number: int = 7, **namespace: Any) -> Callable:
    """The function `name` from a notebook's cell; like IPython, remember its lines for error messages."""
    source, file = textwrap.dedent(source).lstrip("\n"), f"/tmp/ipykernel_1/{number}.py"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope = {"torch": torch, **namespace}
    exec(compile(source, file, "exec"), scope)
    return scope[name]


def hurried(name: str, answer: Callable) -> Outcome:
    """`check` with a time limit of a fifth of a second for one call."""
    observations = []
    for trial in trials(name, seed=0):
        observations.append(observe(answer, trial, time_limit=0.2))
        if observations[-1].event == "timed out":
            break
    return judge(name, trials(name, seed=0), observations)


def expect(outcome: Outcome, status: str, *words: str, mistake: str | None = None) -> None:
    """The outcome has this status and key, and its message contains these words."""
    assert outcome.status == status, outcome
    if mistake is not None:
        assert outcome.mistake == mistake, outcome
    if status not in ("diagnosed", "nearly right"):
        assert outcome.mistake is None, outcome
    for word in words:
        assert word in outcome.message, f"{word!r} is not in {outcome.message!r}"
    for word in ("observe.py", "deadline.py", "judge.py", "course_utils"):
        assert word not in outcome.message


# -- right answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["total", "bounds", "squash", "duplicate", "halves", "factorial", "root", "noisy"])
def test_the_reference_is_right(name: str) -> None:
    for seed in range(3):
        expect(check(name, definition(name).reference, seed), "right", "right on", "random cases")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("total", lambda anything: anything.sum(0)),
        ("total", lambda x, start=0: start + x.sum(0)),
        ("total", lambda x: torch.ones(len(x), dtype=x.dtype) @ x),
        ("bounds", lambda x: [x.amin(0), x.amax(0)]),
        ("share", lambda x: np.float64((x > 0).double().mean())),
        ("running", lambda x: x.cumsum(0).T.contiguous().T),
        ("halves", lambda parts: tuple(part * 0.5 for part in parts)),
    ],
    ids=["names", "defaults", "rounding", "a list", "numpy's float", "strides", "a tuple"],
)
def test_another_way_to_write_it_is_right_too(name: str, answer: Callable) -> None:
    expect(check(name, answer), "right")


def test_a_more_special_exception_is_right_too() -> None:
    class NegativeError(ValueError):
        pass

    def root(n):
        if n < 0:
            raise NegativeError
        return n**0.5

    expect(check("root", root), "right")


def test_sharing_memory_is_right_where_no_fresh_tensor_is_asked_for() -> None:
    expect(check("column", lambda x: x.sum(1, keepdim=True)[:]), "right")


def test_an_answer_may_be_recursive() -> None:
    factorial = cell("def factorial(n):\n    return n * factorial(n - 1) if n else 1", "factorial")
    expect(check("factorial", factorial), "right")


def test_printing_does_not_hurt_and_is_not_shown(capsys: pytest.CaptureFixture) -> None:
    def total(x):
        print("looking at", x)
        return x.sum(0)

    expect(check("total", total), "right")
    assert capsys.readouterr() == ("", "")


# -- right answers in single precision ------------------------------------------------------------------------------


def singly(x):
    result = torch.zeros(x.shape[1])  # float32, whatever x is
    for row in x:
        result = result + row.float()
    return result


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("total", singly, ["`total` is torch.float32 instead of torch.float64", "x.new_zeros"]),
        ("running", lambda x: x.cumsum(0).float(), ["`running` is torch.float32", "dtype=x.dtype"]),
        ("running", lambda x: x.cumsum(0).double(), ["`running` is torch.float64 instead of torch.float32"]),
        ("running", lambda x: x.float().cumsum(0).to(x), ["seven digits", "float32"]),
        ("running", lambda x: x.cumsum(0) * torch.tensor(0.3) / 0.3, ["seven digits", "`torch.tensor(0.3)`"]),
        ("squash", lambda x: torch.tanh(x.float()), ["`squashed` is torch.float32"]),
        ("share", lambda x: (x > 0).double().mean(), ["`answer` is a tensor", "`.item()`"]),
        ("average", lambda x: x.mean().item(), ["`average` is a plain number", "tensor is asked for"]),
    ],
)
def test_single_precision_is_right_with_a_word_of_advice(name: str, answer: Callable, words: list[str]) -> None:
    for seed in range(3):
        expect(check(name, answer, seed), "right", "right on", "One thing", *words)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("running", lambda x: (x.cumsum(0) + 1e-3).float()),
        ("running", lambda x: x.cumsum(0) + 1e-6),
        ("running", lambda x: x.cumsum(0) * 1.000004),  # a constant of six digits
        ("average", lambda x: x.mean().item() + 1e-6),
        ("share", lambda x: (x > 0).double().mean() + 1e-6),
        ("frozen_dtype", lambda x: x.float()),
    ],
)
def test_what_is_wrong_in_single_precision_is_wrong(name: str, answer: Callable) -> None:
    assert check(name, answer).status in ("wrong", "diagnosed")


# -- not attempted -------------------------------------------------------------------------------------------------


def test_a_stub_is_not_attempted() -> None:
    def total(x):
        raise NotImplementedError

    expect(check("total", total), "not attempted", "goes on with the reference")


def test_a_stub_that_has_begun_to_work_is_told_of_the_line_that_remains() -> None:
    def total(x):
        print(x.sum(0))
        raise NotImplementedError

    expect(check("total", total), "not attempted", "delete that line")


def test_torchs_own_not_implemented_error_is_an_error() -> None:
    def total(x):
        raise NotImplementedError("no kernel for this")

    expect(check("total", total), "error", "NotImplementedError", "no kernel for this")


# -- slips of form -------------------------------------------------------------------------------------------------


def printed_only(x):
    print(x.sum(0))


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("total", lambda x: None, ["returned None", "forget `return`"]),
        ("bounds", lambda x: None, ["returned None", "forget `return`"]),
        ("total", printed_only, ["printed its result", "returned None"]),
        ("bounds", lambda x: (x.amin(0), x.amax(0), x), ["2 results", "(low, high)", "(tensor, tensor, tensor)"]),
        ("bounds", lambda x: x.amin(0), ["2 results", "(low, high)", "yours returned tensor"]),
        ("bounds", lambda x: (x.amin(0), None), ["`high`", "tensor", "None"]),
        ("total", lambda x: (x.sum(0),), ["`total`", "a tensor", "(tensor)"]),
        ("halves", lambda parts: parts[0] / 2, ["`halves`", "[tensor, tensor]", "yours returned tensor"]),
        ("halves", lambda parts: [part / 2 for part in parts[1:]], ["`halves`", "[tensor, tensor]", "[tensor]"]),
        ("halves", lambda parts: [], ["`halves`", "[tensor, tensor]", "[]"]),
        ("total", lambda x: x.sum(0).tolist(), ["`total`", "a tensor", "[float, float, float]"]),
        ("total", lambda x: x.sum(0).numpy(), ["tensor of shape (3,)", "a numpy ndarray"]),
        ("total", lambda x: {"total": x.sum(0)}, ["tensor of shape (3,)", "a dict"]),
        ("total", lambda x: 3 * x.sum(0)[:-1], ["shape (3,)", "yours has (2,)"]),
        ("running", lambda x: x.cumsum(0).half(), ["dtype torch.float64", "like the arguments", "torch.float16"]),
        ("running", lambda x: x.cumsum(0).bfloat16(), ["dtype torch.float64", "torch.bfloat16"]),
        ("running", lambda x: x.cumsum(0).long(), ["dtype torch.float64", "torch.int64"]),
        ("running", lambda x: x.cumsum(0).to("meta"), ["on cpu", "on meta"]),
        ("squash", lambda x: torch.tanh(x).to("meta"), ["on cpu", "on meta"]),
        ("running", lambda x: x.cumsum(0) * math.nan, ["`running` contains NaN", "12 of 12"]),
        ("positives", lambda x: float((x > 0).sum()), ["an int", "a float"]),
        ("positives", lambda x: bool((x > 0).any()), ["an int", "a bool"]),
        ("positives", lambda x: (x > 0).sum(), ["an int", "a tensor"]),
        ("has_negative", lambda x: int((x < 0).any()), ["a bool", "an int"]),
        ("has_negative", lambda x: (x < 0).any(), ["a bool", "a tensor"]),
        ("has_negative", lambda x: (x < 0).any().numpy()[()], ["a bool", "a numpy bool"]),
        ("share", lambda x: str((x > 0).double().mean()), ["a float", "a str"]),
    ],
)
def test_a_wrong_form_is_told_as_such(name: str, answer: Callable, words: list[str]) -> None:
    expect(check(name, answer), "wrong", *words)


def test_a_subclass_of_tensor_is_not_a_plain_tensor() -> None:
    class Fancy(Tensor):
        pass

    expect(check("total", lambda x: x.sum(0).as_subclass(Fancy)), "wrong", "plain tensor", "Fancy")


def test_a_generator_function_is_told_to_return() -> None:
    def total(x):
        yield x.sum(0)

    expect(check("total", total), "wrong", "generator", "`return` instead of `yield`")


def test_a_slip_that_shows_on_an_edge_case_only_names_the_case() -> None:
    def total(x):
        return x.sum(0) if len(x) > 1 else None

    expect(check("total", total), "nearly right", "returned None", "except where there is one row")


# -- arguments that were changed, memory that is shared ------------------------------------------------------------


def emptied(x):
    result = x.cumsum(0)
    x.zero_()
    return result


def accumulated(x):
    for i in range(1, len(x)):
        x[i] += x[i - 1]
    return x


def halved_in_place(parts):
    for part in parts:
        part.div_(2)
    return parts


def replaced_in_the_list(parts):
    for i in range(len(parts)):
        parts[i] = parts[i] / 2
    return parts


def used_up(parts):
    return [parts.pop(0) / 2 for _ in range(len(parts))]


def cut_off(x):
    result = torch.tanh(x)
    x.detach_()
    return result


@pytest.mark.parametrize(
    ("name", "answer", "argument"),
    [
        ("running", emptied, "x"),
        ("running", accumulated, "x"),
        ("running", lambda x: x.t_().cumsum(1).T, "x"),
        ("halves", halved_in_place, "parts"),
        ("halves", replaced_in_the_list, "parts"),
        ("halves", used_up, "parts"),
        ("squash", cut_off, "x"),
        ("squash", lambda x: x.tanh_(), "x"),
    ],
)
def test_a_changed_argument_is_named(name: str, answer: Callable, argument: str) -> None:
    expect(check(name, answer), "wrong", f"changes its argument `{argument}` in place")


@pytest.mark.parametrize("answer", [lambda x: x, lambda x: x[:], lambda x: x.view_as(x), lambda x: x.T.T])
def test_shared_memory_is_a_slip_where_a_fresh_tensor_is_asked_for(answer: Callable) -> None:
    expect(check("duplicate", answer), "wrong", "`copy` shares its memory", "`x`", "fresh")


# -- gradients -----------------------------------------------------------------------------------------------------


def without_grad(x):
    with torch.no_grad():
        return torch.tanh(x)


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: torch.tanh(x).detach(),
        lambda x: torch.tanh(x.data),
        lambda x: torch.tensor(np.tanh(x.detach().numpy())),
        without_grad,
    ],
)
def test_an_answer_that_is_cut_from_the_graph_is_told_so(answer: Callable) -> None:
    expect(check("squash", answer), "diagnosed", "values are right", "cut from the graph", "`x`", mistake="generic:cut")


def weighed(x, weight):
    """x times a number."""
    return weight * x


def test_no_gradient_is_as_good_as_one_that_is_zero_everywhere() -> None:
    @defined(weighed, "product", gradients=("x",)).cases
    def _(generator):
        for weight in (0.5, 2.0, 0.0):
            yield dict(x=randn(generator, 3, 2), weight=weight)

    expect(check("weighed", lambda x, weight: weight * x if weight else torch.zeros_like(x)), "right")
    expect(check("weighed", lambda x, weight: weight * x.detach()), "diagnosed", "cut from the graph")


def test_a_gradient_where_none_should_be_is_told() -> None:
    outcome = check("freeze", lambda x: 2 * x)
    expect(outcome, "diagnosed", "gradients flow where none should", mistake="generic:not-cut")


def test_right_values_with_a_wrong_gradient_are_not_right() -> None:
    class Leaky(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Tensor) -> Tensor:
            return torch.tanh(x)

        @staticmethod
        def backward(context: Any, grad: Tensor) -> Tensor:
            return grad

    expect(check("squash", Leaky.apply), "wrong", "gradient with respect to x")


# -- errors --------------------------------------------------------------------------------------------------------


def test_an_exception_is_shown_with_the_students_own_line() -> None:
    total = cell(
        """
        def total(x):
            rows = len(x)
            return x.reshape(rows + 1, -1).sum(0)
        """,
        "total",
    )
    expect(check("total", total), "error", "RuntimeError", "line 3: return x.reshape(rows + 1, -1).sum(0)")


def test_an_exception_in_a_helper_shows_the_line_that_called_it() -> None:
    helper = cell("def helper(x):\n    return x.nonsense", "helper", number=6)
    total = cell("def total(x):\n    return helper(x)", "total", helper=helper)
    expect(check("total", total), "error", "AttributeError", "nonsense", "line 2: return helper(x)")


def test_an_exception_on_an_edge_case_names_the_case() -> None:
    total = cell("def total(x):\n    return x[0] + x[1] + x[2:].sum(0)", "total")
    expect(check("total", total), "nearly right", "IndexError", "there is one row", "line 2: return x[0] + x[1]")


def test_an_assertion_without_a_message_still_reads_well() -> None:
    total = cell("def total(x):\n    assert len(x) < 3\n    return x.sum(0)", "total")
    expect(check("total", total), "error", "AssertionError", "line 2: assert len(x) < 3")


def test_a_name_that_is_not_known_is_an_error_of_that_line() -> None:
    total = cell("def total(x):\n    return y.sum(0)", "total")
    expect(check("total", total), "error", "NameError", "'y'", "line 2: return y.sum(0)")


@pytest.mark.parametrize("answer", [lambda: None, lambda x, y: x.sum(0)], ids=["too few", "too many"])
def test_a_wrong_signature_is_told(answer: Callable) -> None:
    expect(check("total", answer), "error", "cannot be called with the arguments (x)", "Keep the parameters")


def test_a_type_error_inside_is_not_mistaken_for_a_wrong_signature() -> None:
    total = cell("def total(x):\n    return x.sum(0) + 'one'", "total")
    expect(check("total", total), "error", "TypeError", "line 2")


def test_endless_recursion_is_told() -> None:
    total = cell("def total(x):\n    return total(x)", "total")
    expect(check("total", total), "error", "`total` calls itself without end", "line 2: return total(x)")


def test_calling_the_reference_by_ones_own_name_is_no_answer() -> None:
    """In the notebook the name was bound to the reference when the stub's cell ran."""
    reference = definition("total").reference
    total = cell("def total(x):\n    return total(x)", "total")
    total.__globals__["total"] = reference
    expect(check("total", total), "error", "calls itself")
    assert total.__globals__["total"] is reference


@pytest.mark.parametrize("leave", ["exit()", "raise SystemExit", "import sys; sys.exit(0)"])
def test_leaving_python_is_an_error(leave: str) -> None:
    total = cell(f"def total(x):\n    {leave}", "total", exit=exit)
    expect(check("total", total), "error", "leaves Python", "line 2")


def test_another_exception_than_the_one_asked_for_is_told() -> None:
    root = cell("def root(n):\n    assert n >= 0\n    return n ** 0.5", "root")
    expect(check("root", root), "nearly right", "AssertionError", "n is negative", "ValueError", "line 2")


# -- time ----------------------------------------------------------------------------------------------------------


def test_a_loop_that_never_ends_is_stopped() -> None:
    def total(x):
        while True:
            pass

    expect(check("total", total), "error", "stopped after 3 seconds", "never ends")


def test_catching_every_exception_does_not_outlive_the_limit() -> None:
    def total(x):
        while True:
            with contextlib.suppress(Exception):
                x = x + 1

    expect(hurried("total", total), "error", "stopped after", "never ends")


def test_one_bare_except_does_not_outlive_the_limit() -> None:
    def total(x):
        try:
            while True:
                x = x + 1
        except:  # noqa: E722
            while True:
                x = x - 1

    expect(hurried("total", total), "error", "stopped after", "never ends")


def test_an_answer_that_swallows_the_limit_is_not_right() -> None:
    def total(x):
        try:
            while True:
                pass
        except:  # noqa: E722
            return x.sum(0)

    expect(hurried("total", total), "error", "stopped after")


def test_the_line_at_which_an_answer_was_stopped_is_told() -> None:
    source = """
    def total(x):
        while len(x):
            x = x + 1
    """
    outcome = hurried("total", cell(source, "total"))
    assert re.search(r"a loop that never ends\?\n    line [23]: (while len\(x\):|x = x \+ 1)$", outcome.message)


def test_an_answer_that_sleeps_is_stopped_as_soon_as_one_that_computes_and_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not only after all of the patience that a busy machine is given: that would be some minutes here."""
    monkeypatch.setattr("course_utils.boxed.deadline.PATIENCE", 1000.0)
    source = """
    import time
    def total(x):
        while True:
            time.sleep(0.01)
    """
    expect(hurried("total", cell(source, "total")), "error", "it waited instead of computing", "time.sleep(0.01)")


def test_an_answer_that_asks_for_input_is_told_at_once() -> None:
    outcome = check("total", cell("def total(x):\n    return float(input('how many?'))", "total"))
    expect(outcome, "error", "EOFError: an answer reads no input", "line 2: return float(input('how many?'))")
    assert builtins.input.__name__ == "input"


BURN = """
import time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
"""


def compiler(seconds: str) -> Callable:
    """A function that computes so long, in a file of torch's compiler."""
    scope: dict[str, Any] = {"first": [0.5]}
    exec(compile(BURN + f"def work():\n    burn({seconds})", "/site-packages/torch/_dynamo/work.py", "exec"), scope)
    return scope["work"]


def test_a_first_import_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large_library.py").write_text(BURN + "burn(0.5)")
    monkeypatch.syspath_prepend(str(tmp_path))
    source = """
    def total(x):
        import large_library
        return x.sum(0)
    """
    monkeypatch.setattr("course_utils.boxed.deadline.PATIENCE", 100.0)
    expect(hurried("total", cell(source, "total")), "right")
    sys.modules.pop("large_library")


def test_an_endless_loop_has_no_more_time_where_answers_are_checked_while_something_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checks_on_import.py").write_text(
        "import time\nfrom course_utils.boxed.deadline import TimeIsOver, deadline\n"
        "try:\n    with deadline(0.2):\n        while True: time.process_time()\n"
        "except TimeIsOver:\n    took = time.process_time()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    start = time.process_time()
    took = importlib.import_module("checks_on_import").took
    sys.modules.pop("checks_on_import")
    assert took - start < 0.2 * PATIENCE / 2


def test_a_first_compilation_is_not_counted_and_an_endless_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
    def total(x):
        work()
        return x.sum(0)
    """
    monkeypatch.setattr("course_utils.boxed.deadline.PATIENCE", 100.0)
    expect(hurried("total", cell(source, "total", work=compiler("first.pop() if first else 0"))), "right")
    monkeypatch.setattr("course_utils.boxed.deadline.PATIENCE", 2.0)
    outcome = hurried("total", cell(source, "total", work=compiler("60")))
    expect(outcome, "error", "stopped: `torch.compile` was still at work", "line 2: work()")


def test_after_the_limit_a_debugger_or_profiler_still_works() -> None:
    """On some Pythons an interrupt that is called back half-way leaves traced code hanging."""

    def total(x):
        while True:
            pass

    observe(total, trials("total", seed=0)[0], time_limit=0.1)
    calls: list[str] = []
    earlier = sys.getprofile()
    sys.setprofile(lambda frame, event, argument: calls.append(event))
    try:
        check("total", definition("total").reference)
    finally:
        sys.setprofile(earlier)
    assert calls


# -- generic diagnoses ---------------------------------------------------------------------------------------------


def late_by_one(x):
    result = x.cumsum(0)
    return torch.cat([torch.zeros_like(result[:1]), result[:-1]])


def early_by_one(x):
    result = x.cumsum(0)
    return torch.cat([result[1:], torch.zeros_like(result[:1])])


@pytest.mark.parametrize(
    ("name", "answer", "key", "words"),
    [
        ("running", lambda x: -x.cumsum(0), "negated", ["wrong sign"]),
        ("running", lambda x: x.cumsum(0).T, "transposed:(1, 0)", ["transposed", "(7, 6)", "(6, 7)"]),
        ("mixing", lambda x: mixing(x).T, "transposed:(1, 0)", ["transposed: rows and columns", "square matrix"]),
        ("blocks", lambda x: blocks(x).mT, "transposed:(0, 2, 1)", ["transposed: dimensions of equal length"]),
        ("running", lambda x: 2 * x.cumsum(0), "factor:2.0", ["2 times the expected value"]),
        ("running", lambda x: x.cumsum(0) / 8, "factor:0.125", ["0.125 times"]),
        (
            "total",
            lambda x: x.mean(0),
            "divided:`x.shape[0]` (the batch size)",
            ["exactly 1/6", "the batch size", "mean", "sum"],
        ),
        ("column", lambda x: x.mean(1, keepdim=True), "divided:`x.shape[1]`", ["exactly 1/7", "x.shape[1]"]),
        (
            "column",
            lambda x: x.sum(1, keepdim=True) * len(x),
            "multiplied:`x.shape[0]` (the batch size)",
            ["exactly 6 times"],
        ),
        ("entropy", lambda p: torch.special.entr(p).sum(1) / math.log(2), "bits", ["bits", "nats"]),
        ("running", late_by_one, "shifted:0:1", ["shifted by one", "dimension 0", "late"]),
        ("running", early_by_one, "shifted:0:-1", ["shifted by one", "dimension 0", "early"]),
        ("running", lambda x: x.cumsum(0).flip(0), "flipped:0", ["reversed along dimension 0"]),
        ("bounds", lambda x: (x.amax(0), x.amin(0)), "order", ["(high, low)", "(low, high) is asked for"]),
        ("total", lambda x: 2 * x.sum(0, keepdim=True), "", ["shape (3,)"]),
        ("running", lambda x: x.cumsum(0)[None], "a-dimension-too-many", ["dimension too many", "(1, 6, 7)"]),
        ("column", lambda x: x.sum(1), "a-dimension-too-few", ["dimension too few", "(6,)", "(6, 1)"]),
        ("total", lambda x: x, "not-summed:0", ["not summed over dimension 0", "(6, 7)"]),
        ("total", lambda x: x.sum(), "summed-away", ["single number", "(7,)"]),
        ("running", lambda x: x, "unchanged:x", ["just the argument `x`"]),
        ("running", torch.zeros_like, "zeros", ["zero everywhere"]),
        ("bounds", lambda x: (-x.amin(0), x.amax(0)), "negated", ["`low`", "wrong sign"]),
        ("bounds", lambda x: (-x.amin(0), -x.amax(0)), "negated", ["`low`", "wrong sign", "`high`"]),
        ("halves", lambda parts: [-part / 2 for part in parts], "negated", ["`halves[0]`", "wrong sign"]),
        ("share", lambda x: 100 * share(x), "factor:100.0", ["100 times"]),
    ],
)
def test_what_goes_wrong_everywhere_is_recognised(name: str, answer: Callable, key: str, words: list[str]) -> None:
    outcome = check(name, answer)
    if key and name != "total":
        expect(outcome, "diagnosed", *words, mistake=f"generic:{key}")
    else:
        expect(outcome, "diagnosed" if key else "wrong", *words)


def test_a_named_mistake_comes_before_a_generic_one() -> None:
    expect(check("total", lambda x: -x.sum(0)), "diagnosed", "you subtract", mistake="subtracted")


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: -(x[0] + x[1] + x[2:].sum(0)),
        lambda x: -x.sum(0) if len(x) > 1 else 0.0,
        lambda x: -x.sum(0) if len(x) > 1 else None,
        lambda x: -x.sum(0) if len(x) > 1 else x.new_zeros(0),
    ],
    ids=["raises", "float", "None", "shape"],
)
def test_a_named_mistake_is_recognised_in_an_answer_that_breaks_down_on_an_edge_case(answer: Callable) -> None:
    expect(check("total", answer), "diagnosed", "you subtract", mistake="subtracted")


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (lambda x: x[0] + x[1] + x[2:].sum(0), "nearly right", "IndexError"),  # nothing speaks for the mistake
        (lambda x: -(x[0] + x[4] + x[1:4].sum(0) + x[5:].sum(0)), "error", "IndexError"),  # on ordinary cases too
        (lambda x: -(x[0] + x[1] + x[2:].mean(0)), "error", "IndexError"),  # a mistake of another kind
        (lambda x: -x.sum(0) if len(x) > 1 else x[0] + 1, "wrong", "`total` differs"),  # in form, but otherwise wrong
    ],
    ids=["right otherwise", "ordinary cases", "unlike", "in form"],
)
def test_a_breakdown_alone_speaks_for_no_mistake(answer: Callable, status: str, words: str) -> None:
    expect(check("total", answer), status, words)


def test_a_mistake_that_explains_the_breakdown_too_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = definition("root")
    monkeypatch.setattr(toy, "mistakes", {})
    for name, special in (("negated", "0.0"), ("negated_and_open", "1 / 0")):
        source = f"def {name}(n):\n    return -(n ** 0.5) if n > 0 else {special}"
        toy.mistake(f"{name}.")(cell(source, name))
    open_ended = cell("def root(n):\n    return -(n ** 0.5) if n > 0 else 1 / 0", "root")
    expect(check("root", open_ended), "diagnosed", mistake="negated_and_open")
    expect(check("root", lambda n: -(n**0.5) if n > 0 else []), "diagnosed", mistake="negated")


def test_a_diagnosis_must_hold_on_every_case() -> None:
    def total(x):
        return x.sum(0).sin() if len(x) > 4 else x.sum(0)

    expect(check("total", total), "wrong", "`total` differs", "of 28 random cases")


def test_an_answer_that_overflows_is_told_where_and_why() -> None:
    outcome = check("log_total", lambda x: x.exp().sum(1).log())
    words = ("nearly right, except where", "as large as 1000", "contains inf (3 of 3 entries)", "overflows")
    expect(outcome, "nearly right", *words, mistake="generic:edge:the numbers are as large as 1000")


def test_nan_on_an_edge_case_is_told_with_the_case() -> None:
    outcome = check("entropy", lambda p: -(p * p.log()).sum(1))
    expect(outcome, "nearly right", "nearly right, except where some probabilities are 0", "NaN")


# -- nearly right --------------------------------------------------------------------------------------------------


def test_right_except_on_the_edge_case_says_which() -> None:
    def total(x):
        return x.sum(0) if len(x) > 1 else x[0] + 1

    outcome = check("total", total)
    expect(outcome, "nearly right", "nearly right, except where there is one row: `total` is too large by 1")
    assert outcome.mistake == "generic:edge:there is one row"


def test_one_ordinary_case_that_is_wrong_is_wrong() -> None:
    def total(x):
        return x.sum(0) if len(x) not in (1, 6) else x[0] + 1

    expect(check("total", total), "wrong", "differs")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("stub()", "NotImplementedError"),
        ("forever()", "stopped after 3 seconds: a loop that never ends?"),
    ],
)
def test_what_an_edge_case_stops_is_nearly_right_all_the_same(body: str, words: str) -> None:
    source = f"""
    def stub():
        raise NotImplementedError

    def forever():
        while True:
            pass

    def total(x):
        return x.sum(0) if len(x) > 1 else {body}
    """
    outcome = hurried("total", cell(source, "total"))
    expect(outcome, "nearly right", f"nearly right, except where there is one row: {words}")
    assert "(when" not in outcome.message, "the case is told once"


def test_an_answer_that_is_slow_everywhere_is_not_nearly_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("course_utils.exercises.judge.TOTAL_LIMIT", 0.2)
    source = """
    import time
    def total(x):
        end = time.process_time() + (0.01 if len(x) > 1 else 2)
        while time.process_time() < end:
            pass
        return x.sum(0)
    """
    expect(hurried("total", cell(source, "total")), "error", "for all cases together")


def test_several_edge_cases_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [dict(n=4), edge("n is 0", stated="…", n=0), edge("n is negative", stated="…", n=-2)]
    monkeypatch.setattr(definition("root"), "_cases", lambda generator: iter(cases))
    outcome = check("root", lambda n: n**0.5 if n > 0 else -1.0)
    expect(outcome, "nearly right", "except where n is 0, or where n is negative: ", "(This is the case where n is 0.)")


def test_a_named_mistake_that_shows_on_edge_cases_only_is_nearly_right_with_its_sentence() -> None:
    outcome = check("relu_backward", definition("relu_backward").mistakes["open_at_zero"].function)
    sentence = definition("relu_backward").mistakes["open_at_zero"].sentence
    assert (outcome.status, outcome.mistake) == ("nearly right", "open_at_zero")
    assert outcome.message == f"nearly right, except where some inputs are exactly 0: {sentence}"


def test_an_answer_judged_by_claims_may_be_nearly_right() -> None:
    draw = definition("next_character").reference

    def next_character(logits, temperature, generator):
        return draw(logits, temperature, generator) if temperature else torch.zeros(len(logits), dtype=torch.int64)

    outcome = check("next_character", next_character)
    expect(outcome, "nearly right", "except where the temperature is 0: ", mistake="generic:edge:the temperature is 0")


def test_what_breaks_a_claim_on_ordinary_cases_is_not_nearly_right() -> None:
    draw = definition("next_character").reference

    def next_character(logits, temperature, generator):
        return draw(logits, 1.0 if temperature else 0.0, generator)

    assert check("next_character", next_character).status in ("wrong", "diagnosed")


def test_a_missing_exception_is_told() -> None:
    outcome = check("root", lambda n: abs(n) ** 0.5)
    expect(outcome, "nearly right", "n is negative", "should raise ValueError", "n must not be negative")


def test_a_plain_difference_shows_the_worst_entry() -> None:
    def running(x):
        result = x.cumsum(0)
        if len(x) == 4:
            result[1, 0] += 0.5
        elif len(x) == 5:
            result[0, 1] += 0.25
        return result

    expect(check("running", running), "wrong", "largest difference 0.5 at [1, 0]", "shape (4, 3)", "torch.float64")


def test_results_that_are_right_already_are_named() -> None:
    outcome = check("bounds", lambda x: (x.amin(0), x.amax(0) + x.cos().sum(0)))
    expect(outcome, "wrong", "`high` differs", "Right already: `low`.")


# -- answers that draw random numbers ------------------------------------------------------------------------------


def test_a_random_reference_keeps_its_claims_for_many_seeds() -> None:
    for seed in range(30):
        assert check("noisy", noisy, seed).status == "right"


@pytest.mark.parametrize("key", ["level_forgotten", "global_generator", "uniform"])
def test_a_random_mistake_is_told_by_the_claims_it_breaks(key: str) -> None:
    mistake = definition("noisy").mistakes[key]
    expect(check("noisy", mistake.function), "diagnosed", mistake.sentence, mistake=key)


def test_a_random_answer_written_differently_is_told_all_the_same() -> None:
    outcome = check("noisy", lambda level, generator: torch.normal(0.0, 1.0, (2000,), generator=generator).to(level))
    expect(outcome, "diagnosed", "whatever the level", mistake="level_forgotten")


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (lambda level, generator: noisy(level, generator)[:-1], "wrong", ["shape (2000,)", "(1999,)"]),
        (lambda level, generator: (noisy(level, generator), level), "wrong", ["`noise`", "(tensor, tensor)"]),
        (lambda level, generator: None, "wrong", ["returned None"]),
        (lambda level, generator: generator.nonsense, "error", ["AttributeError", "nonsense"]),
        (lambda level, generator: level + 3 * (noisy(level, generator) - level), "wrong", ["spread by 1"]),
    ],
)
def test_a_random_answer_of_the_wrong_form_is_told(answer: Callable, status: str, words: list[str]) -> None:
    expect(check("noisy", answer), status, *words)


def test_a_claim_may_compare_the_trials_with_one_another() -> None:
    expect(check("tossed", tossed), "right")
    expect(check("tossed", lambda n, generator: torch.rand(n).round().long()), "wrong", "the same generator")
    expect(check("tossed", lambda n, generator: torch.ones(n, dtype=torch.int64)), "wrong", "another generator")
    expect(check("tossed", lambda n, generator: 1 / 0), "error", "ZeroDivisionError")


# -- the check itself ----------------------------------------------------------------------------------------------


def test_an_answer_that_disturbs_global_state_disturbs_nothing() -> None:
    def total(x):
        torch.set_default_dtype(torch.float16)
        torch.set_grad_enabled(False)
        torch.set_num_threads(3)
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        return x.sum(0)

    def state() -> list:
        generators = [torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()]
        return [*generators, torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()]

    before = state()
    expect(check("total", total), "right")
    assert state() == before


def test_the_same_seed_gives_the_same_outcome_for_answers_that_draw_from_global_generators() -> None:
    def total(x):
        return x.sum(0) + torch.rand(()) + np.random.rand() + random.random()

    assert check("total", total, seed=3) == check("total", total, seed=3)


def test_nothing_is_displayed(capsys: pytest.CaptureFixture) -> None:
    check("total", printed_only)
    assert capsys.readouterr() == ("", "")


def test_an_unknown_exercise_is_named_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match=r"nonsense.*linear_backward"):
        check("nonsense", total)


def test_an_answer_must_be_a_function() -> None:
    with pytest.raises(TypeError, match="must be a function"):
        check("total", 3)  # type: ignore[arg-type]


def test_two_mistakes_in_two_results_are_both_named() -> None:
    def answer(x, weight, grad_output):
        return grad_output @ weight, (x.T @ grad_output), grad_output.mean(0)

    outcome = check("linear_backward", answer)
    assert outcome.status == "diagnosed"
    assert outcome.mistake == "weight_laid_out_as_in_out+averaged_bias"
    assert "`grad_weight`" in outcome.message and "`grad_bias`" in outcome.message


def test_slow_calls_that_add_up_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("course_utils.exercises.judge.TOTAL_LIMIT", 0.5)

    def answer(x, grad_output):
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass
        return grad_output * (x > 0)

    outcome = check("relu_backward", answer)
    assert outcome.status == "error"
    assert "0.5 seconds for all cases together" in outcome.message


def test_a_changed_default_device_neither_leaks_nor_fools_the_check() -> None:
    def answer(x, h, weight_ih, weight_hh, bias):
        torch.set_default_device("meta")
        return (x[:, :1] * 0 + 7).expand(len(x), len(bias))

    before = torch.get_default_device()
    assert check("rnn_step", answer).status != "right"
    assert torch.get_default_device() == before


def test_recursion_limit_and_anomaly_mode_are_restored() -> None:
    def answer(x, grad_output):
        sys.setrecursionlimit(5000)
        torch.autograd.set_detect_anomaly(True)
        return grad_output * (x > 0)

    before = sys.getrecursionlimit()
    assert check("relu_backward", answer).status == "right"
    assert sys.getrecursionlimit() == before
    assert not torch.is_anomaly_enabled()


def test_an_exception_that_cannot_say_its_message_is_still_reported() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def answer(x, grad_output):
        raise MuteError

    outcome = check("relu_backward", answer)
    assert outcome.status == "error"
    assert "MuteError: its message cannot be shown" in outcome.message


def test_a_number_beyond_all_floats_is_just_wrong() -> None:
    assert check("flop_ratio", lambda widths, batch_size, count_update: 10**400).status == "wrong"


def test_an_error_outside_the_answer_is_not_blamed_on_its_parameters() -> None:
    cached = functools.lru_cache(lambda widths, batch_size, count_update: 2.0)
    outcome = check("flop_ratio", cached)
    assert outcome.status == "error"
    assert "unhashable" in outcome.message and "parameters" not in outcome.message


def test_what_torch_leaves_out_of_its_message_is_added() -> None:
    def answer(x, grad_output):
        return grad_output if x > 0 else 0 * grad_output

    outcome = check("relu_backward", answer)
    assert outcome.status == "error"
    assert "ambiguous" in outcome.message and "multiply by a mask" in outcome.message


def mean_of_all(x):
    """The mean of all entries, as a plain number."""
    return x.mean().item()


def test_a_plain_number_is_compared_as_exactly_as_its_arguments_allow() -> None:
    defined(mean_of_all, "mean").cases(matrices)
    expect(check("mean_of_all", lambda x: (x.sum() / x.numel()).item()), "right")
    expect(check("mean_of_all", lambda x: x.mean().item() * (1 + 1e-7)), "right", "seven digits")
