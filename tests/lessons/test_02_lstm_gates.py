"""Lesson 02: its cells are the library's, and its random exercises accept every right way and tell wrong ones written differently."""

import random
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.exercises import check
from course_utils.exercises.catalogue import definition
from course_utils.notebooks import lesson_code


def test_the_cell_of_the_lesson_is_nn_lstm() -> None:
    lesson = lesson_code.load("02", "run_cell", "own_weights")
    torch.manual_seed(0)
    layer = torch.nn.LSTM(3, 5, num_layers=2).double()
    x, start = torch.randn(11, 4, 3, dtype=torch.float64), torch.zeros(4, 5, dtype=torch.float64)
    expected, (_, cells) = layer(x)
    for number in range(2):
        hiddens, contents = lesson.run_cell(x, start, start, *lesson.own_weights(layer, number))
        torch.testing.assert_close(contents[-1], cells[number], rtol=0, atol=1e-10)
        x = torch.stack(hiddens)
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-10)


def test_the_gru_s_step_is_nn_gru() -> None:
    gru_step = lesson_code.load("02", "gru_step").gru_step
    torch.manual_seed(0)
    layer = torch.nn.GRU(3, 5).double()
    x, h = torch.randn(7, 4, 3, dtype=torch.float64), torch.zeros(4, 5, dtype=torch.float64)
    for x_t, expected in zip(x, layer(x)[0], strict=True):
        h = gru_step(x_t, h, *layer.parameters())
        torch.testing.assert_close(h, expected, rtol=0, atol=1e-10)


def test_a_new_lstm_has_the_two_biases_that_were_asked_for() -> None:
    layer = lesson_code.load("02", "new_lstm").new_lstm(2, 3, forget=4.0, write=-5.0)
    bias = layer.bias_ih_l0 + layer.bias_hh_l0
    assert bias[:6].tolist() == 3 * [-5.0] + 3 * [4.0]


def test_a_benchmark_asks_only_for_what_a_lesson_defines() -> None:
    with pytest.raises(LookupError, match="02_lstm_gates defines no run_nothing"):
        lesson_code.load("02", "run_cell", "run_nothing")
    with pytest.raises(LookupError, match="no lesson '77'"):
        lesson_code.load("77", "run_cell")


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


def adding_by_scores(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The largest of as many random numbers as there are places is in each place equally often."""
    half, values = length // 2, torch.empty(batch, length).uniform_(generator=generator)
    scores = torch.rand(batch, length, generator=generator)
    return marked(values, scores[:, :half].argmax(1), half + scores[:, half:].argmax(1))


def marked(values: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """(x, y) of values (batch, length) and the places of two marks (batch,)."""
    marks, rows = torch.zeros_like(values), torch.arange(len(values))
    marks[rows, first] = marks[rows, second] = 1
    return torch.stack([values, marks], 2), (values * marks).sum(1)


def drawn(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Values and places as the exercise wants them, for answers that then spoil one of the three."""
    half, values = length // 2, torch.rand(batch, length, generator=generator)
    first = torch.randint(half, (batch,), generator=generator)
    return values, first, torch.randint(half, length, (batch,), generator=generator)


def character_at_nearly_zero(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    probabilities = torch.softmax(logits / max(temperature, 1e-6), 1)
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(1)


def gates_by_slices(x: Tensor, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    sums, m = F.linear(x, weight_ih, bias) + F.linear(h, weight_hh), h.shape[1]
    return (
        sums[:, :m].sigmoid(),
        sums[:, m : 2 * m].sigmoid(),
        sums[:, 2 * m : 3 * m].tanh(),
        sums[:, 3 * m :].sigmoid(),
    )


def update_by_addcmul(c: Tensor, i: Tensor, f: Tensor, g: Tensor, o: Tensor) -> tuple[Tensor, Tensor]:
    c_next = torch.addcmul(f * c, i, g)
    return c_next.tanh() * o, c_next


def bias_by_parts(bias: Tensor, value: float) -> Tensor:
    i, f, g, o = bias.chunk(4)
    return torch.cat([i, torch.full_like(f, value), g, o])


def bias_as_a_table(bias: Tensor, value: float) -> Tensor:
    table = bias.reshape(4, -1).clone()
    table[1] = value
    return table.flatten()


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("lstm_gates", gates_by_slices),
        ("lstm_update", update_by_addcmul),
        ("open_forget_gate", bias_by_parts),
        ("open_forget_gate", bias_as_a_table),
        ("adding_problem", adding_by_scores),
        ("next_character", character_at_nearly_zero),
    ],
)
def test_another_way_to_write_it_is_right_too(name: str, answer: Callable) -> None:
    for seed in range(3):
        outcome = check(name, answer, seed)
        assert outcome.status == "right", outcome.message


def gates_up_to_six(x: Tensor, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    i, f, g, o = (x @ weight_ih.T + h @ weight_hh.T + bias).clamp(-6, 6).chunk(4, 1)
    return i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()


def cell_of_limited_depth(c: Tensor, i: Tensor, f: Tensor, g: Tensor, o: Tensor) -> tuple[Tensor, Tensor]:
    c_next = (f * c + i * g).clamp(-10, 10)
    return o * c_next.tanh(), c_next


def few_values(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    values, first, second = drawn(batch, length, generator)
    return marked((100 * values).floor() / 100, first, second)


def every_row_twice(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    values, first, second = drawn(batch, length, generator)
    return marked(values[torch.arange(batch) // 2], first, second)


def mirrored_places(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    values, first, second = drawn(batch, length, generator)
    return marked(values, first, second if length % 2 else length - 1 - first)


def largest_values(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    values, half = torch.rand(batch, length, generator=generator), length // 2
    return marked(values, values[:, :half].argmax(1), half + values[:, half:].argmax(1))


def sorted_places(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    values, first, second = drawn(batch, length, generator)
    return marked(values, first.sort().values, second)


def by_probabilities(change: Callable[[Tensor, float], Tensor]) -> Callable:
    """An answer that draws with `change(logits, temperature)`, and takes the most probable character at temperature 0."""

    def answer(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
        if temperature == 0:
            return logits.argmax(1)
        return torch.multinomial(change(logits, temperature), 1, generator=generator).squeeze(1)

    return answer


def without_the_rarest(logits: Tensor, temperature: float) -> Tensor:
    p = torch.softmax(logits / temperature, 1)
    return p.masked_fill(p == p.amin(1, keepdim=True), 0)


def half_the_random_numbers(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    if temperature == 0:
        return logits.argmax(1)
    numbers = torch.rand((len(logits) + 1) // 2, 1, generator=generator).repeat(2, 1)[: len(logits)]
    return (torch.softmax(logits / temperature, 1).cumsum(1) < numbers).sum(1).clamp(max=logits.shape[1] - 1)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("lstm_gates", gates_up_to_six),
        ("lstm_update", cell_of_limited_depth),
        ("open_forget_gate", lambda bias, value: bias_by_parts(bias, abs(value))),
        ("open_forget_gate", lambda bias, value: bias_by_parts(bias, value or 1.0)),
        ("open_forget_gate", lambda bias, value: bias_by_parts(bias, int(value))),
        ("adding_problem", few_values),
        ("adding_problem", every_row_twice),
        ("adding_problem", mirrored_places),
        ("adding_problem", largest_values),
        ("adding_problem", sorted_places),
        ("next_character", by_probabilities(without_the_rarest)),
        ("next_character", by_probabilities(lambda z, t: torch.softmax(z / (t + 0.1), 1))),
        ("next_character", by_probabilities(lambda z, t: torch.softmax(z / max(t, 0.5), 1))),
        ("next_character", by_probabilities(lambda z, t: torch.softmax(z / min(t, 2), 1))),
        ("next_character", half_the_random_numbers),
    ],
)
def test_nearly_right_is_not_right(name: str, answer: Callable) -> None:
    for seed in range(3):
        assert check(name, answer, seed).status in ("nearly right", "wrong", "diagnosed")


def gates_of_tensorflow(x: Tensor, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    i, g, f, o = (x @ weight_ih.T + h @ weight_hh.T + bias).chunk(4, 1)
    return i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()


def candidate_through_tanh(c: Tensor, i: Tensor, f: Tensor, g: Tensor, o: Tensor) -> tuple[Tensor, Tensor]:
    c_next = f * c + i * g.tanh()
    return o * c_next.tanh(), c_next


def cell_through_sigmoid(c: Tensor, i: Tensor, f: Tensor, g: Tensor, o: Tensor) -> tuple[Tensor, Tensor]:
    c_next = f * c + i * g
    return o * c_next.sigmoid(), c_next


@pytest.mark.parametrize(
    ("name", "answer", "mistake"),
    [
        ("lstm_gates", gates_of_tensorflow, "candidate_second"),
        ("lstm_update", candidate_through_tanh, "candidate_squashed_again"),
        ("lstm_update", cell_through_sigmoid, "cell_through_a_sigmoid"),
        ("next_character", by_probabilities(lambda z, t: torch.exp(z / t)), "exponentials_overflow"),
    ],
)
def test_a_common_slip_has_a_name(name: str, answer: Callable, mistake: str) -> None:
    outcome = check(name, answer, seed=1)
    assert outcome.mistake == mistake, outcome.message


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


def values_up_to_two(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    x, _ = adding_row_by_row(batch, length, generator)
    x[..., 0] *= 2
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
        ("adding_problem", values_up_to_two, "diagnosed", "many of your values lie outside of [0, 1)"),
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
