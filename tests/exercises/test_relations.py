"""Wrong answers that nobody listed are told by how they follow from the right one, if that holds on every trial."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from toys import defined, registered

from course_utils.exercises import check
from course_utils.exercises.catalogue import definition
from course_utils.exercises.define import randn


def affine(x, bias):
    """x plus a bias, row by row."""
    return x + bias


def size_of(n, stride):
    """A size."""
    return (n - 1) * stride + 3


@pytest.fixture(scope="module", autouse=True)
def toys() -> Iterator[None]:
    def make() -> None:
        @defined(affine, "y").cases
        def _(generator: torch.Generator) -> Iterator[Any]:
            for rows, columns in ((4, 3), (5, 2), (6, 7)):
                yield dict(x=randn(generator, rows, columns), bias=randn(generator, columns))

        @defined(size_of, "size").cases
        def _(generator: torch.Generator) -> Iterator[Any]:
            for _ in range(6):
                n, stride = torch.randint(2, 9, (2,), generator=generator).tolist()
                yield dict(n=n, stride=stride)

    with registered(make):
        yield


def but_last(x, bias):
    y = x + bias
    y[-1] += 1 + x[0]
    return y


@pytest.mark.parametrize(
    ("name", "answer", "key", "words"),
    [
        ("affine", lambda x, bias: x + bias + 1, "offset:1.0", "too large by 1, everywhere"),
        ("affine", lambda x, bias: x - bias, "argument-added:bias:-2", "minus twice `bias`"),
        ("affine", lambda x, bias: (x + bias) * bias, "argument-multiplied:bias", "multiplied by `bias`"),
        ("affine", lambda x, bias: (x + bias) ** 2, "function:the square", "the square of"),
        ("affine", lambda x, bias: x + bias + x.sum(), "offset-of-its-own", "one number, the same for all"),
        ("affine", lambda x, bias: (x + bias) * x.sum(), "factor-of-its-own", "another factor in each case"),
        ("affine", lambda x, bias: (x + bias)[:-1], "one-missing:0:last", "lacks the last entry"),
        ("affine", but_last, "wrong-at-the-end:0:last", "right everywhere but at the last place"),
        ("affine", lambda x, bias: (x + bias).flatten(), "reshaped", "in another shape"),
        ("affine", lambda x, bias: (x + bias).sort(0).values, "reordered", "not in their places"),
        ("affine", lambda x, bias: x**2 + bias, "as-if:x:squared", "if `x` were squared"),
        ("size_of", lambda n, stride: n * stride + 3, "argument-added:stride:1", "plus `stride`"),
        ("size_of", lambda n, stride: (stride - 1) * n + 3, "exchanged:n:stride", "were exchanged"),
    ],
)
def test_a_relation_that_holds_on_every_trial_is_told(name: str, answer: Callable, key: str, words: str) -> None:
    outcome = check(name, answer)
    assert (outcome.status, outcome.mistake) == ("diagnosed", f"generic:{key}"), outcome.message
    assert words in outcome.message


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("affine", lambda x, bias: x + bias + x.cos()),
        ("affine", lambda x, bias: x - bias if len(x) < 6 else x + 3 * bias),  # another multiple on some trials
        ("size_of", lambda n, stride: (n - 1) * stride + (4 if n % 2 else 2)),  # off by one, both ways
        ("size_of", lambda n, stride: 11),  # now and then right
    ],
)
def test_what_holds_on_some_trials_only_is_not_told(name: str, answer: Callable) -> None:
    outcome = check(name, answer)
    assert (outcome.status, outcome.mistake) == ("wrong", None), outcome.message


@pytest.mark.parametrize("off", [1 + 2e-6, 1 + 4e-5, 1.02])
def test_a_factor_is_told_unless_it_would_read_as_one(off: float) -> None:
    """1.00000 times the expected value says nothing; and no answer is divided by a batch of one."""
    reference = definition("kl_to_standard_normal").reference
    message = check("kl_to_standard_normal", lambda mu, logvar: reference(mu, logvar) * off).message
    assert " 1 times" not in message and "1/1 " not in message
    assert ("times the expected value" in message) == (off > 1 + 1e-5)
