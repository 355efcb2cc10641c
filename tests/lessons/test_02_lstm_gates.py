"""Lesson 02: its loops agree, and its random exercises accept every right way and tell wrong ones written differently."""

import importlib
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from course_utils.exercises import check
from course_utils.exercises.catalogue import definition

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def lesson_code(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("lesson_code")


@pytest.fixture
def lesson(lesson_code) -> SimpleNamespace:
    return lesson_code.load("02", "run_cell", "slow_lstm", "fast_lstm", "one_layer")


def test_all_loops_of_the_lesson_are_nn_lstm(lesson: SimpleNamespace) -> None:
    torch.manual_seed(0)
    layer = torch.nn.LSTM(3, 5).double()
    x, start = torch.randn(11, 4, 3, dtype=torch.float64, requires_grad=True), torch.zeros(4, 5, dtype=torch.float64)
    expected = layer(x)[0]
    weighting = torch.randn_like(expected)
    (gradient,) = torch.autograd.grad((expected * weighting).sum(), x)
    read = lesson.run_cell(x, start, start, *lesson.one_layer(layer))[0]
    loops = [loop(x, start, start, *lesson.one_layer(layer)) for loop in (lesson.slow_lstm, lesson.fast_lstm)]
    for hiddens in (torch.stack(read), *loops):
        torch.testing.assert_close(hiddens, expected, rtol=0, atol=1e-10)
        (ours,) = torch.autograd.grad((hiddens * weighting).sum(), x)
        torch.testing.assert_close(ours, gradient, rtol=0, atol=1e-10)


def test_a_benchmark_asks_only_for_what_a_lesson_defines(lesson_code) -> None:
    with pytest.raises(LookupError, match="02_lstm_gates defines no fastest_lstm"):
        lesson_code.load("02", "fast_lstm", "fastest_lstm")
    with pytest.raises(LookupError, match="no lesson '77'"):
        lesson_code.load("77", "fast_lstm")


@pytest.mark.parametrize("name", ["adding_problem", "next_character"])
def test_no_right_answer_is_refused_by_chance(name: str) -> None:
    for seed in range(100, 140):
        outcome = check(name, definition(name).reference, seed)
        assert outcome.status == "right", (seed, outcome.message)


def adding_row_by_row(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    x = torch.zeros(batch, length, 2)
    for row in x:
        row[:, 0].uniform_(generator=generator)
        row[torch.randint(0, length // 2, (1,), generator=generator), 1] = 1
        row[torch.randint(length // 2, length, (1,), generator=generator), 1] = 1
    return x, (x[..., 0] * x[..., 1]).sum(1)


def character_by_noise(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """The Gumbel-max trick."""
    if temperature == 0:
        return torch.argmax(logits, dim=-1)
    noise = torch.empty_like(logits).exponential_(generator=generator)
    return (logits / temperature - noise.log()).argmax(-1)


def character_by_steps(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """A uniform number falls on one of the steps of the cumulative probabilities."""
    if not temperature:
        return logits.max(1).indices
    steps = torch.softmax(logits / temperature, 1).cumsum(1)
    drawn = torch.rand(len(logits), 1, generator=generator, dtype=logits.dtype)
    return (steps < drawn).sum(1).clamp(max=logits.shape[1] - 1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("adding_problem", adding_row_by_row),
        ("next_character", character_by_noise),
        ("next_character", character_by_steps),
    ],
)
def test_another_way_to_draw_is_right_too(name: str, answer: Callable, seed: int) -> None:
    outcome = check(name, answer, seed)
    assert outcome.status == "right", outcome.message


def biased(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    values = torch.rand(batch, length, generator=generator)
    marks = torch.zeros(batch, length)
    rows = torch.arange(batch)
    for low, high in ((0, length // 2), (length // 2, length)):
        chance = torch.rand(batch, generator=generator) ** 2  # early places are favoured
        marks[rows, low + (chance * (high - low)).long()] = 1
    return torch.stack([values, marks], 2), (values * marks).sum(1)


def places_by_python(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    dice, half = random.Random(generator.initial_seed()), length // 2
    values, marks = torch.rand(batch, length, generator=generator), torch.zeros(batch, length)
    for row in marks:
        row[dice.randrange(half)] = row[dice.randrange(half, length)] = 1
    return torch.stack([values, marks], 2), (values * marks).sum(1)


def only_marked_values(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    x, y = adding_row_by_row(batch, length, generator)
    return x * x[..., 1:], y


def one_value_a_row(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    x, _ = adding_row_by_row(batch, length, generator)
    x[..., 0] = x[:, :1, 0]
    return x, (x[..., 0] * x[..., 1]).sum(1)


def reseeded_globally(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    if temperature == 0:
        return logits.argmax(1)
    torch.manual_seed(generator.initial_seed())
    return torch.multinomial(torch.softmax(logits / temperature, 1), 1)[:, 0]


def squashed_by_a_sigmoid(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    if temperature == 0:
        return logits.argmax(1)
    return torch.multinomial(torch.sigmoid(logits / temperature), 1, generator=generator)[:, 0]


def without_dividing(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    if temperature == 0:
        return logits.argmax(1)
    return (logits - torch.empty_like(logits).exponential_(generator=generator).log()).argmax(1)


def squared(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    if temperature == 0:
        return logits.argmax(1)
    return torch.multinomial(torch.softmax(logits / temperature**2, 1), 1, generator=generator)[:, 0]


@pytest.mark.parametrize(
    ("name", "answer", "status", "words"),
    [
        ("adding_problem", biased, "wrong", "equally likely"),
        ("adding_problem", places_by_python, "diagnosed", "first seed"),
        ("adding_problem", only_marked_values, "wrong", "yours are 0 where there is no mark"),
        ("adding_problem", one_value_a_row, "wrong", "a value of its own"),
        ("next_character", reseeded_globally, "diagnosed", "first seed"),
        ("next_character", squashed_by_a_sigmoid, "diagnosed", "a sigmoid makes nearly the same"),
        ("next_character", without_dividing, "diagnosed", "the temperature has no effect"),
        ("next_character", squared, "wrong", "softmax(logits / temperature)"),
    ],
)
def test_a_wrong_way_to_draw_is_told(name: str, answer: Callable, status: str, words: str) -> None:
    outcome = check(name, answer, seed=0)
    assert outcome.status == status, outcome.message
    assert words in outcome.message
