"""The same findings in two renderings: the notebook's tells all, the grader's nothing that follows from hidden inputs."""

import math
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_utils.exercises import check, words
from course_utils.exercises import findings as f
from course_utils.exercises.advice import ABOUT_SHAPES, ADVICE, advised_part

SIZE, LARGER = 7654, 7655  # stand for whatever the hidden inputs are
VALUE = SIZE + 0.5
BOX = "the box says 0.123"  # what a grading box could have chosen
SHAPE = (SIZE, SIZE)
RESULT = f.Leaf("outputs", f"parts[{SIZE}]")
STATE = f.Leaf("states", f"net.{SIZE}.weight")
GRADIENT = f.Leaf("gradients", "x")
REFERENCE = f"a series of {SIZE} is too short"  # a reference's message, which may name the inputs

TRANSFORMATIONS = [
    *(f.Transformation(kind, RESULT, (), SHAPE, SHAPE) for kind in ("negated", "zeros", "bits", "nats", "summed-away")),
    *(f.Transformation(f"a-dimension-too-{word}", RESULT, (), SHAPE, SHAPE) for word in ("many", "few")),
    f.Transformation("single-precision", RESULT),
    f.Transformation("transposed", RESULT, ((1, 0),), (SIZE, LARGER), (LARGER, SIZE)),
    f.Transformation("transposed", RESULT, ((1, 0),), SHAPE, SHAPE),
    f.Transformation("transposed", RESULT, ((0, 2, 1),), (SIZE, *SHAPE), (SIZE, *SHAPE)),
    *(f.Transformation("shifted", RESULT, (0, step), SHAPE, SHAPE) for step in (1, -1)),
    f.Transformation("flipped", RESULT, (1,), SHAPE, SHAPE),
    *(f.Transformation(kind, RESULT, (1,), SHAPE, (SIZE,)) for kind in ("not-summed", "not-averaged")),
    f.Transformation("unchanged", RESULT, ("x",), SHAPE, SHAPE),
    *(f.Transformation(kind, RESULT, ("`len(parts)`",), size=SIZE) for kind in ("divided", "multiplied")),
    f.Transformation("factor", RESULT, (VALUE,)),
    f.Transformation("offset", RESULT, (VALUE,)),
    *(f.Transformation(f"{word}-of-its-own", RESULT) for word in ("offset", "factor")),
    *(f.Transformation("function", RESULT, (word,)) for word in ("the square", "1 minus the value")),
    *(f.Transformation("argument-added", RESULT, ("x", times)) for times in (1, -2)),
    *(f.Transformation(f"argument-{word}", RESULT, ("x",)) for word in ("multiplied", "divided")),
    *(f.Transformation(kind, RESULT, (1, "last"), SHAPE, SHAPE) for kind in ("one-missing", "one-too-many")),
    f.Transformation("wrong-at-the-end", RESULT, (1, "first"), SHAPE, SHAPE),
    *(f.Transformation(kind, RESULT, (), SHAPE, SHAPE) for kind in ("reshaped", "reordered", "signs")),
    f.Transformation("same-along", RESULT, (1,), SHAPE, SHAPE),
    f.Transformation("as-if", RESULT, ("x", "negated")),
    f.Transformation("exchanged", RESULT, ("x", "h")),
    f.Transformation("negated", GRADIENT, (), SHAPE, SHAPE, others=(RESULT, STATE)),
]
FINDINGS = [
    f.Right(25),
    f.LessExact(RESULT, "torch.float64", "torch.float32"),
    f.LessExact(RESULT, "torch.float64", "torch.float64"),
    f.LessExact(RESULT, "torch.float64", "float"),
    f.LessExact(RESULT, "float", "torch.float64"),
    f.NotAttempted(begun=False),
    f.NotAttempted(begun=True),
    f.TimeLimit(3.0, "there is one row"),
    f.TimeLimit(10.0, together=True),
    *(f.TimeLimit(3.0, "", False, 1, "return y", stage) for stage in words.STOPPED),
    f.OtherParameters(("x", "h"), BOX),
    f.Raised("total", "ValueError", BOX, SIZE, "return y", "there is one row"),
    f.Raised("total", "ValueError", BOX, None, "", "", "OSError", REFERENCE),
    f.Raised("total", "RuntimeError", f"Expected target size {SIZE}", 1, "return y"),
    f.Raised("total", "RecursionError", BOX, 1, "return total(x)"),
    f.Raised("total", "SystemExit", BOX, 1, "exit()"),
    f.NamedMistake("subtracted", "you subtract.", RESULT, (GRADIENT,)),
    f.BrokenClaim("centred", "the numbers do not lie around the level."),
    *TRANSFORMATIONS,
    f.NotFinite(RESULT, True, SIZE, SIZE),
    f.OtherOrder(("high", "low"), ("low", "high")),
    f.Cut(("x", f"net.{SIZE}.weight")),
    f.NotCut(),
    f.OnlyOnEdge("there is one row", (f.OtherShape(RESULT, SHAPE, (SIZE,)),)),
    f.OnCase("there is one row"),
    f.NotRaised("ValueError", REFERENCE),
    f.NoResult(printed=True),
    f.NoResult(printed=False),
    f.YieldsResult(),
    f.OtherResults(("low", "high"), "(tensor, tensor)", "tensor"),
    f.OtherResults(("low",), "tensor", "(tensor, tensor)"),
    f.NoTensor(RESULT, SHAPE, "numpy ndarray"),
    f.NoPlainTensor(RESULT, "Parameter"),
    f.OtherShape(STATE, SHAPE, (SIZE,)),
    f.OtherDtype(RESULT, "torch.float64", "torch.float32", like_arguments=True),
    f.OtherDevice(RESULT, "cpu", "meta"),
    f.OtherType(RESULT, "int", "None"),
    f.ChangedArguments(("x",), is_list=False),
    f.ChangedArguments(("parts",), is_list=True),
    f.SharedMemory(f"parts[{SIZE}]", "x"),
    f.OtherEntry(RESULT, VALUE, SHAPE, VALUE, 0.0, SHAPE, "torch.float64"),
    f.OtherValue(RESULT, f.Value(number=VALUE), f.Value(text=str(SIZE)), (("n", str(SIZE)),)),
    f.OtherValue(RESULT, f.Value(shape=SHAPE), f.Value(shape=(SIZE,)), ()),
    f.OtherInfinities(RESULT, float("-inf"), SIZE, SIZE, SIZE, SHAPE, VALUE),
    f.OtherWay(),
    f.Share(SIZE, SIZE, ("low",)),
    f.ForbiddenCalls(("nn.LSTM",), f.Status.RIGHT),
    f.ForbiddenCalls(("nn.LSTM",), f.Status.NEARLY_RIGHT),
    f.NotThere("total"),
    f.NotThere("total", "totals"),
    f.Interfered(),
    f.Died("its process was killed"),
    f.CannotJudge(),
    f.CallsFailed(("total",)),
    *(f.ForAPerson(reason, ("einops",)) for reason in words.REASONS),
    f.ForbiddenCalls((), f.Status.RIGHT, ("conv_transpose2d",), 3),
    f.Postponed("the machine is too busy"),
]
OF_THE_NOTEBOOK = [f.TooSlow(SIZE), f.StandIn("total"), f.ForbiddenCalls(("nn.LSTM",), f.Status.WRONG)]


def test_there_are_words_for_every_finding_and_every_transformation() -> None:
    assert {type(finding) for finding in FINDINGS + OF_THE_NOTEBOOK} == set(f.Finding.__subclasses__())
    assert {finding.kind for finding in TRANSFORMATIONS} == set(words.TRANSFORMATIONS)
    assert all(words.for_notebook([finding]).strip() for finding in FINDINGS + OF_THE_NOTEBOOK)


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda finding: type(finding).__name__)
def test_the_grader_tells_no_number_of_the_inputs_and_no_word_of_the_box(finding: f.Finding) -> None:
    text = words.for_grader([finding])
    assert text and BOX not in text
    assert not any(str(size) in f"{text} {finding.general_key}" for size in (SIZE, LARGER))


@pytest.mark.parametrize("finding", TRANSFORMATIONS, ids=lambda finding: finding.key)
def test_the_notebook_and_the_grader_agree_but_for_the_numbers(finding: f.Transformation) -> None:
    text = words.for_notebook([finding])
    for number in (VALUE, SIZE, LARGER):
        text = text.replace(str(number), "…")
    assert words.for_grader([finding]) == text


@pytest.mark.parametrize(
    ("answer", "meant"),
    [
        (lambda mu, logvar: 0.5 * (mu**2 + logvra.exp() - 1 - logvar).sum(1), "logvar"),  # noqa: F821
        (lambda mu, logvar: 0.5 * (mu**2 + logvar.expp() - 1 - logvar).sum(1), "exp"),
        (lambda mu, logvar: 0.5 * torch.summ(mu**2 + logvar.exp() - 1 - logvar, 1), "sum"),
        (lambda mu, logvar: torch.zeros(lenn(mu)), "len"),  # noqa: F821
        (lambda mu, logvar: variance_of_the_code, ""),  # noqa: F821
        (lambda mu, logvar: mu.of_no_use, ""),
    ],
)
def test_a_misspelt_name_is_told_what_it_may_mean(answer: Callable, meant: str) -> None:
    outcome = check("kl_to_standard_normal", answer)
    assert outcome.status == "error"
    assert re.findall("Did you mean `(.*)`", outcome.message) == [meant] * bool(meant), outcome.message
    assert "Did you mean" not in words.for_grader(outcome.findings)


def test_numbers_that_belong_to_a_sentence_stay() -> None:
    assert "such as 1e-8" in words.for_grader([f.Transformation("single-precision", RESULT)])
    assert "0/0" in words.for_grader([f.NotFinite(RESULT, True, SIZE, SIZE)])
    assert "stopped after 3 seconds" in words.for_grader([f.TimeLimit(3.0)])


def test_the_grader_tells_of_another_value_only_that_there_is_one() -> None:
    entry = f.OtherEntry(RESULT, VALUE, SHAPE, VALUE, 0.0, SHAPE, "torch.float64")
    assert words.for_grader([entry, f.Share(3, 25, ("low",))]) == words.OTHER_RESULT
    assert "7654 of 7654 random cases" in words.for_notebook([entry, f.Share(SIZE, SIZE, ())])


def test_an_exception_is_told_with_its_line_and_advice_and_in_grading_without_its_message() -> None:
    raised = f.Raised("total", "RuntimeError", "Expected target size [4, 5]", 3, "return F.cross_entropy(x, y)")
    advice = ADVICE["Expected target size"]
    assert words.for_notebook([raised]) == (
        f"RuntimeError: Expected target size [4, 5]\n    line 3: return F.cross_entropy(x, y)\n    {advice}"
    )
    assert words.for_grader([raised]) == (
        f"RuntimeError: Expected target size.\n    in the line: return F.cross_entropy(x, y)\n    {advice}\n    {words.CELL_HINT}"
    )
    shaped = replace(raised, message="mat1 and mat2 shapes cannot be multiplied (4x3 and 5x3)", shapes=(("x", (4, 3)),))
    assert words.for_notebook([shaped]).endswith("Here the arguments have the shapes: `x` (4, 3).")
    assert "4" not in words.for_grader([shaped])
    unknown = replace(raised, message=BOX, line_number=None)
    assert words.for_grader([unknown]) == f"RuntimeError.\n    {words.CELL_HINT}"


def test_a_finding_without_words_is_an_error_of_the_course() -> None:
    with pytest.raises(TypeError, match="no words for a Finding"):
        words.for_notebook([f.Finding()])


x, y, w = torch.randn(4, 3), torch.randn(5, 3), torch.randn(4, 3, requires_grad=True)
SLIPS = (  # what provokes the messages that the advice is for
    lambda: x @ y,
    lambda: torch.randn(2, 3, 4) @ torch.randn(2, 5, 4),
    lambda: x @ torch.randn(4),
    lambda: torch.dot(torch.randn(3), torch.randn(4)),
    lambda: x + y,
    lambda: x.expand(2, 2),
    lambda: x.__setitem__(x > -9, torch.zeros(3, 3)),
    lambda: x.reshape(5, 5),
    lambda: x.unflatten(1, (2, -1)),
    lambda: x.sum(2),
    lambda: x[7],
    lambda: torch.stack([x, y]),
    lambda: torch.cat([x, torch.randn(4, 5)]),
    lambda: torch.cat([torch.tensor(1.0), torch.tensor(2.0)]),
    lambda: F.binary_cross_entropy_with_logits(x, torch.ones(4)),
    lambda: F.cross_entropy(x, torch.zeros(5, dtype=torch.long)),
    lambda: x.topk(7),
    lambda: bool(x > 0),
    lambda: x.sum().backward(),
    lambda: torch.autograd.grad(w.sum(), x),
    lambda: torch.autograd.grad(w.sum(), torch.randn(2, requires_grad=True)),
    lambda: w.backward(),
    lambda: [(square := w.square().sum()).backward(), square.backward()],
    lambda: w.add_(1),
    lambda: (grown := w.exp()).add_(1) is grown and grown.sum().backward(),
    lambda: w.numpy(),
    lambda: x @ x.T.double(),
    lambda: F.conv2d(torch.randn(1, 2, 5, 5), torch.randn(3, 2, 3, 3).double()),
    lambda: torch.arange(3).add_(0.5),
    lambda: (x > 0).mean(),
    lambda: -(x > 0),
    lambda: 1 - (x > 0),
    lambda: x.masked_fill(x, 0.0),
    lambda: x[torch.tensor([0.5])],
    lambda: torch.sqrt(x.max(1)),
    lambda: torch.log(3.0),
    lambda: torch.sqrt(2),
    lambda: x.item(),
    lambda: float(torch.tensor([x, x])),
    lambda: list(torch.tensor(1.0)),
    lambda: len(torch.tensor(1.0)),
    lambda: x.T.view(12),
    lambda: torch.multinomial(torch.tensor([1.0, math.nan]), 1),
    lambda: F.cross_entropy(torch.randn(2, 5, 3), torch.zeros(2, 5, dtype=torch.long)),
    lambda: nn.Linear(2, 2, bias=False).bias.zero_(),
)


def test_there_is_advice_for_what_torch_says_today_and_for_nothing_else() -> None:
    advised = []
    for slip in SLIPS:
        with pytest.raises(Exception) as told:
            slip()
        advised.append(advised_part(str(told.value)))
        assert advised[-1], told.value
    assert set(advised) == set(ADVICE)
    assert set(ABOUT_SHAPES) < set(ADVICE)
