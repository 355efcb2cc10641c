"""One slip in the right way: told whatever the exercise, and only where it does on every trial what the answer did."""

import contextlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import mutants
import pytest
import torch
from answers import unheard_of
from toys import defined, registered

from course_utils.boxed.fixtures import Fixture
from course_utils.boxed.observe import deadline, results
from course_utils.boxed.undisturbed import undisturbed
from course_utils.exercises import check, names
from course_utils.exercises.catalogue import definition
from course_utils.exercises.define import edge, randn
from course_utils.exercises.findings import Status
from course_utils.exercises.relations import other_arguments
from course_utils.exercises.slips import slips

NAMED = 0.40  # of the wrong answers that mutants are; and of the listed mistakes, were they not listed


def score(x, weight, bias):
    """A sum over rows, of something that takes several steps."""
    hidden = torch.tanh(x @ weight.T + bias)
    return (hidden - x.mean(1, keepdim=True)).sum(0) / len(x)


def climb(n, step):
    """The heights of a staircase, from the first step to the n-th."""
    heights, height = [], 0
    while len(heights) < n:
        height += step * (len(heights) + 2)
        heights.append(height)
    return heights


def jitter(x, generator):
    """Twice x, with noise."""
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    return 2 * x + 0.5 * noise


def make() -> None:
    @defined(score, "score", gradients=("x",)).cases
    def _(generator: torch.Generator) -> Iterator[Any]:
        for rows, columns, hidden in ((4, 3, 5), (5, 2, 6), (6, 7, 3)):
            weight = randn(generator, hidden, columns)
            yield dict(x=randn(generator, rows, columns), weight=weight, bias=randn(generator, hidden))
        one = dict(x=randn(generator, 1, 4), weight=randn(generator, 3, 4), bias=randn(generator, 3))
        yield edge("there is one row", stated="may hold a single row", **one)

    @defined(climb, "heights").cases
    def _(generator: torch.Generator) -> Iterator[Any]:
        for n, step in ((3, 2), (5, 4), (4, 7)):
            yield dict(n=n, step=step)

    toy = defined(jitter, "noisy")

    @toy.cases
    def _(generator: torch.Generator) -> Iterator[Any]:
        for seed in range(3):
            yield dict(x=randn(generator, 400) + seed, generator=Fixture("generator", seed))

    @toy.claim("the result should lie around 2x.")
    def centred(arguments: dict[str, Any], noisy: torch.Tensor) -> bool:
        return bool((noisy - 2 * arguments["x"]).mean().abs() < 0.25)


@pytest.fixture(scope="module", autouse=True)
def toys() -> Iterator[None]:
    with registered(make):
        yield


def other_score(x, weight, bias, sign=1.0, divisor=None, middle=None, act=torch.tanh):
    """The same, written otherwise, so that one thing can be changed."""
    linear = torch.einsum("ni,oi->no", x, weight) + sign * bias
    middle = x.sum(1, keepdim=True) / x.shape[1] if middle is None else middle
    return torch.stack([row - m for row, m in zip(act(linear), middle, strict=True)]).sum(0) / (divisor or x.shape[0])


def one_stair_early(n, step):
    return [step * sum(range(1, i + 2)) for i in range(n)]


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("score", lambda x, weight, bias: other_score(x, weight, bias, -1.0), "a minus stands where a plus belongs"),
        ("score", lambda x, weight, bias: other_score(x, weight, bias, 0.0), "a term is missing"),
        (
            "score",
            lambda x, weight, bias: other_score(x, weight, bias, act=torch.sigmoid),
            "`sigmoid` stands where `tanh`",
        ),
        ("score", lambda x, weight, bias: other_score(x, weight, bias, act=lambda z: z), "the step `tanh` is left out"),
        (
            "score",
            lambda x, weight, bias: other_score(x, weight, bias, middle=x.sum(1, keepdim=True)),
            "`sum` stands where `mean` belongs",
        ),
        (
            "score",
            lambda x, weight, bias: other_score(x, weight, bias, divisor=len(x) + 1),
            "a length is too large by 1",
        ),
        (
            "score",
            lambda x, weight, bias: other_score(x.detach(), weight, bias, middle=x.mean(1, keepdim=True)),
            "cut from",
        ),
        ("climb", one_stair_early, "is too small by 1"),
        ("jitter", lambda x, generator: x + jitter(x, generator) - 2 * x, "a factor is missing"),
    ],
)
def test_a_slip_is_told_in_an_answer_that_is_written_otherwise(name: str, answer: Callable, words: str) -> None:
    outcome = check(name, answer)
    assert outcome.status == Status.DIAGNOSED, outcome
    assert "one slip gives exactly this: " in outcome.message and words in outcome.message
    assert (outcome.mistake or "").startswith("generic:slip:")


def test_a_slip_that_shows_on_some_trials_only_is_not_told() -> None:
    outcome = check("score", lambda x, w, bias: other_score(x, w, bias, -1.0 if len(x) != 5 else 0.5))
    assert (outcome.status, outcome.mistake) == (Status.WRONG, None)


def test_two_slips_are_not_told_as_one() -> None:
    outcome = check("score", lambda x, w, bias: other_score(x, w, bias, -1.0, divisor=len(x) + 1))
    assert (outcome.status, outcome.mistake) == (Status.WRONG, None)


def test_a_slip_that_never_ends_stops_the_search_for_a_moment_only() -> None:
    assert any(slip.may_not_end for slip in slips(definition("climb")))
    assert check("climb", lambda n, step: [0] * n).status != Status.RIGHT


@pytest.mark.parametrize("name", names())
def test_a_reference_ends_whatever_arguments_it_is_asked_about(name: str) -> None:
    """`explain` asks it about others than it is made for, without a limit of time."""
    for trial in definition(name).trials(0)[:3]:
        for *_, change in other_arguments({} if trial.has_networks else trial.arguments):
            with undisturbed(0), deadline(1.0), contextlib.suppress(RuntimeError, TypeError, ValueError, IndexError):
                results(definition(name).reference, replace(trial, arguments=change(trial.arguments)))


@pytest.mark.parametrize("name", names())
def test_no_slip_explains_an_answer_that_is_spoilt_everywhere(name: str) -> None:
    assert "slip" not in (check(name, unheard_of(name)).mistake or "")


def share(statuses: Iterator[Status]) -> float:
    """How many of the wrong answers are diagnosed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mutants do strange things
        counts = Counter(statuses)
    return counts[Status.DIAGNOSED] / (counts.total() - counts[Status.RIGHT])


def test_a_large_share_of_wrong_answers_is_named() -> None:
    """Of every tenth mutant: half of them stop with an exception and are told so."""
    assert share(status for name in names() for _, status in mutants.tally(name, every=10)) >= NAMED


def test_most_mistakes_would_be_named_if_nobody_had_listed_them() -> None:
    assert share(status for name in names() for status in mutants.unlisted(name, every=5)) >= NAMED
