"""Lesson 01: its exercises accept every right way to write an answer, refuse wrong ones, and name the common slips."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.exercises import check
from course_utils.notebooks import lesson_code

Grads = list[Tensor]


def step_by_linear(x: Tensor, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor) -> Tensor:
    return torch.tanh(F.linear(x, weight_ih, bias) + F.linear(h, weight_hh))


def step_side_by_side(x: Tensor, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor) -> Tensor:
    return torch.tanh(torch.cat([x, h], 1) @ torch.cat([weight_ih, weight_hh], 1).T + bias)


def fitting(series: Tensor, window: int, horizon: int) -> int:
    """The number of windows. Raises ValueError where there is none."""
    if len(series) < window + horizon:
        raise ValueError(f"{len(series)} values are too few")
    return len(series) - window - horizon + 1


def windows_by_index(series: Tensor, window: int, horizon: int) -> tuple[Tensor, Tensor]:
    starts = torch.arange(fitting(series, window, horizon)).unsqueeze(1)
    return series[starts + torch.arange(window)], series[starts + window + torch.arange(horizon)]


def windows_by_unfold(series: Tensor, window: int, horizon: int) -> tuple[Tensor, ...]:
    fitting(series, window, horizon)
    return series.unfold(0, window + horizon, 1).split([window, horizon], 1)


def backward(
    slope: Callable[[Tensor], Tensor] = lambda h: 1 - h.square(),
    message: Callable[[Tensor], Tensor] = lambda delta: delta,
) -> Callable:
    """An answer that finds all δ first and sums at the end, with this slope of the squashing, and this done to δ."""

    def answer(inputs: Tensor, hiddens: Tensor, grad_hiddens: Tensor, weight_hh: Tensor) -> tuple[Tensor, ...]:
        deltas, carried = torch.zeros_like(grad_hiddens), torch.zeros_like(grad_hiddens[0])
        for t in range(len(inputs) - 1, -1, -1):
            deltas[t] = message(grad_hiddens[t] + carried) * slope(hiddens[t + 1])
            carried = deltas[t] @ weight_hh
        to_ih, to_hh = (torch.einsum("tbh,tbi->hi", deltas, went_in) for went_in in (inputs, hiddens[:-1]))
        return to_ih, to_hh, deltas.sum((0, 1))

    return answer


def norm_of(grads: Grads) -> Tensor:
    return sum((grad**2).sum() for grad in grads) ** 0.5  # type: ignore[return-value]


def scaled(grads: Grads, factor: Tensor | float) -> Grads:
    return [grad * factor for grad in grads]


def clip_like_torch(grads: Grads, max_norm: float) -> tuple[Grads, Tensor]:
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(grad) for grad in grads]))
    return scaled(grads, torch.clamp(max_norm / (norm + 1e-6), max=1.0)), norm


def clip_by_torch(grads: Grads, max_norm: float) -> tuple[Grads, Tensor]:
    parameters = [torch.nn.Parameter(torch.zeros_like(grad)) for grad in grads]
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = grad.clone()
    norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    return [parameter.grad for parameter in parameters if parameter.grad is not None], norm


def clip_if_too_long(grads: Grads, max_norm: float) -> tuple[Grads, Tensor]:
    norm = norm_of(grads)
    return ([grad / norm * max_norm for grad in grads] if norm > max_norm else list(grads)), norm


def clip_by_the_larger(grads: Grads, max_norm: float) -> tuple[Grads, Tensor]:
    return scaled(grads, max_norm / max(norm_of(grads).item(), max_norm)), norm_of(grads)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("rnn_step", step_by_linear),
        ("rnn_step", step_side_by_side),
        ("make_windows", windows_by_index),
        ("make_windows", windows_by_unfold),
        ("rnn_backward", backward()),
        ("truncate", lambda h: h.data),
        ("truncate", lambda h: h.clone().detach()),
        ("truncate", lambda h: torch.from_numpy(h.detach().numpy())),
        ("clip_by_global_norm", clip_like_torch),
        ("clip_by_global_norm", clip_by_torch),
        ("clip_by_global_norm", clip_if_too_long),
        ("clip_by_global_norm", clip_by_the_larger),
    ],
)
def test_another_way_to_write_it_is_right_too(name: str, answer: Callable) -> None:
    for seed in range(3):
        outcome = check(name, answer, seed)
        assert outcome.status == "right", outcome.message


def step_that_ends_early(x: Tensor, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor) -> Tensor:
    return torch.tanh((x @ weight_ih.T + h @ weight_hh.T + bias).clamp(-5, 5))


def step_that_forgets_how(x: Tensor, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor) -> Tensor:
    return step_by_linear(x, h.detach(), weight_ih, weight_hh, bias)


def targets_as_a_row(series: Tensor, window: int, horizon: int) -> tuple[Tensor, Tensor]:
    inputs, targets = windows_by_index(series, window, horizon)
    return inputs, targets.squeeze(1)


def windows_without_a_word(series: Tensor, window: int, horizon: int) -> tuple[Tensor, ...]:
    return series.unfold(0, window + horizon, 1).split([window, horizon], 1)


def clip_beside(constant: float) -> Callable:
    def answer(grads: Grads, max_norm: float) -> tuple[Grads, Tensor]:
        return scaled(grads, (max_norm / (norm_of(grads) + constant)).clamp(max=1)), norm_of(grads)

    return answer


def clip_above_one(grads: Grads, max_norm: float) -> tuple[Grads, Tensor]:
    return scaled(grads, max_norm / norm_of(grads) if norm_of(grads) > 1 else 1.0), norm_of(grads)


def clip_as_if_at_least_one(grads: Grads, max_norm: float) -> tuple[Grads, Tensor]:
    return scaled(grads, (max_norm / norm_of(grads).clamp(min=1)).clamp(max=1)), norm_of(grads)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("rnn_step", step_that_ends_early),
        ("rnn_step", step_that_forgets_how),
        ("make_windows", targets_as_a_row),
        ("make_windows", windows_without_a_word),
        ("rnn_backward", backward(message=lambda delta: delta.clamp(-10, 10))),
        ("rnn_backward", backward(slope=lambda h: 1 - h**2 + 1e-6)),
        ("truncate", lambda h: h.detach() + 0 * h),
        ("truncate", lambda h: h.detach().clamp(-1, 1)),
        ("clip_by_global_norm", clip_beside(1e-3)),
        ("clip_by_global_norm", clip_above_one),
        ("clip_by_global_norm", clip_as_if_at_least_one),
    ],
)
def test_nearly_right_is_not_right(name: str, answer: Callable) -> None:
    for seed in range(3):
        assert check(name, answer, seed).status in ("nearly right", "wrong", "diagnosed", "error")


def step_with_relu(x: Tensor, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor) -> Tensor:
    return F.relu(F.linear(x, weight_ih, bias) + F.linear(h, weight_hh))


def step_with_sigmoid(x: Tensor, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor) -> Tensor:
    return F.sigmoid(F.linear(x, weight_ih, bias) + F.linear(h, weight_hh))


@pytest.mark.parametrize(
    ("name", "answer", "mistake"),
    [
        ("rnn_step", step_with_relu, "relu_state"),
        ("rnn_step", step_with_sigmoid, "sigmoid_state"),
        ("rnn_step", lambda x, h, *weights: step_by_linear(x, h.tanh(), *weights), "old_state_squashed_again"),
        ("rnn_backward", backward(slope=lambda h: 1 - torch.tanh(h) ** 2), "tanh_of_a_state"),
        ("rnn_backward", backward(slope=lambda h: h * (1 - h)), "slope_of_a_sigmoid"),
        ("rnn_backward", backward(slope=lambda h: 1 - h), "slope_not_squared"),
        ("clip_by_global_norm", clip_beside(1), "one_in_the_denominator"),
    ],
)
def test_a_common_slip_has_a_name(name: str, answer: Callable, mistake: str) -> None:
    outcome = check(name, answer, seed=1)
    assert outcome.mistake == mistake, outcome.message


def test_the_forecaster_s_gradients_are_autograd_s() -> None:
    lesson = lesson_code.load("01", "unroll", "new_weights", "forward", "loss_and_gradients")
    generator = torch.Generator().manual_seed(0)
    weights = lesson.new_weights(3, 6, 2, 0.9, generator)
    weights = {name: weight.double().requires_grad_() for name, weight in weights.items()}
    x, y = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((7, 4, 3), (4, 2)))
    loss, grads = lesson.loss_and_gradients(weights, x, y)
    assert list(grads) == list(weights)
    for grad, expected in zip(grads.values(), torch.autograd.grad(loss, list(weights.values())), strict=True):
        torch.testing.assert_close(grad, expected, rtol=0, atol=1e-12)


def test_the_latch_answers_with_the_last_word_that_was_spoken() -> None:
    x, y = lesson_code.load("01", "latch").latch(200, 5, torch.Generator().manual_seed(0))
    assert x.shape == y.shape == (200, 5, 1)
    for row in range(5):
        last = 0.0
        for word, answer in zip(x[:, row, 0].tolist(), y[:, row, 0].tolist(), strict=True):
            last = word or last
            assert answer == (last > 0)


def test_both_writers_of_the_lesson_are_used_alike_and_see_no_future() -> None:
    lesson = lesson_code.load("01", "Recurrent", "CharacterRNN", "CharacterWindow", V=7)
    tokens = torch.randint(7, (12, 3), generator=torch.Generator().manual_seed(0))
    for network in (lesson.CharacterRNN(7, 5, 7), lesson.CharacterWindow(4, 2, 5)):
        logits, h = network(tokens, torch.zeros(3, 5))
        assert logits.shape == (12, 3, 7)
        assert h.shape == (3, 5)
        changed = tokens.clone()
        changed[8] = (changed[8] + 1) % 7
        other, _ = network(changed, torch.zeros(3, 5))
        assert torch.equal(other[:8], logits[:8])
        assert not torch.equal(other[8], logits[8])
