"""Lesson 00: its exercises accept every right way to write an answer, refuse wrong ones, and name the common slips."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.exercises import check
from course_utils.notebooks import lesson_code


def by_einsum(x: Tensor, weight: Tensor, grad_output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.einsum("no,oi->ni", grad_output, weight), (x.T @ grad_output).T, grad_output.sum(dim=0)


def row_by_row(x: Tensor, weight: Tensor, grad_output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    grad_x, grad_weight, grad_bias = [], torch.zeros_like(weight), torch.zeros_like(weight[:, 0])
    for row, gradient in zip(x, grad_output, strict=True):
        grad_x.append(weight.T @ gradient)
        grad_weight += torch.outer(gradient, row)
        grad_bias += gradient
    return torch.stack(grad_x), grad_weight, grad_bias


def through_a_step(x: Tensor, grad_output: Tensor) -> Tensor:
    return grad_output * torch.heaviside(x, torch.zeros((), dtype=x.dtype))


def in_a_copy(x: Tensor, grad_output: Tensor) -> Tensor:
    grad_x = grad_output.clone()
    grad_x[x <= 0] = 0
    return grad_x


def one_row_after_another(logits: Tensor, target: Tensor) -> Tensor:
    grad_logits = torch.zeros_like(logits)
    for row, (scores, label) in enumerate(zip(logits, target, strict=True)):
        powers = (scores - scores.max()).exp()
        grad_logits[row] = powers / powers.sum()
        grad_logits[row, label] -= 1
    return grad_logits / len(logits)


def from_log_softmax(logits: Tensor, target: Tensor) -> Tensor:
    return (F.log_softmax(logits, 1).exp() - F.one_hot(target, logits.shape[1])) / logits.shape[0]


def layer_by_layer(widths: list[int], batch_size: int, count_update: bool) -> float:
    forward = backward = update = 0
    for layer, (m, n) in enumerate(pairwise(widths)):
        forward += 2 * m * n * batch_size
        backward += (2 if layer else 1) * 2 * m * n * batch_size
        update += 2 * m * n
    return (backward + update * count_update) / forward


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("linear_backward", by_einsum),
        ("linear_backward", row_by_row),
        ("relu_backward", through_a_step),
        ("relu_backward", in_a_copy),
        ("relu_backward", lambda x, grad_output: torch.where(x > 0, grad_output, 0.0)),
        ("relu_backward", lambda x, grad_output: grad_output * (x > 0).float()),
        ("softmax_cross_entropy_backward", one_row_after_another),
        ("softmax_cross_entropy_backward", from_log_softmax),
        ("flop_ratio", layer_by_layer),
    ],
)
def test_another_way_to_write_it_is_right_too(name: str, answer: Callable) -> None:
    for seed in range(3):
        outcome = check(name, answer, seed)
        assert outcome.status == "right", outcome.message


def bias_kept_as_a_row(x: Tensor, weight: Tensor, grad_output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return grad_output @ weight, grad_output.T @ x, grad_output.sum(0, keepdim=True)


def biases_counted(widths: list[int], batch_size: int, count_update: bool) -> float:
    with_bias = sum((2 * m + 1) * n for m, n in pairwise(widths))
    first, plain = 2 * widths[0] * widths[1], sum(2 * m * n for m, n in pairwise(widths))
    return (2 * with_bias - first) / plain + count_update / batch_size


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("linear_backward", bias_kept_as_a_row),
        ("relu_backward", lambda x, grad_output: grad_output * (x > 1e-12)),
        ("relu_backward", lambda x, grad_output: grad_output * torch.relu(x) / (x + 1e-12)),
        ("relu_backward", lambda x, grad_output: grad_output * torch.sigmoid(1e12 * x)),
        ("softmax_cross_entropy_backward", lambda logits, target: from_log_softmax(logits.clamp(-50, 50), target)),
        ("flop_ratio", biases_counted),
    ],
)
def test_nearly_right_is_not_right(name: str, answer: Callable) -> None:
    for seed in range(3):
        assert check(name, answer, seed).status in ("nearly right", "wrong", "diagnosed")


def half_price(widths: list[int], batch_size: int, count_update: bool) -> float:
    forward = batch_size * sum(m * n for m, n in pairwise(widths))
    weights = sum(m * n for m, n in pairwise(widths))
    return (2 * forward - batch_size * widths[0] * widths[1] + 2 * weights * count_update) / forward


@pytest.mark.parametrize(
    ("name", "answer", "mistake"),
    [
        ("relu_backward", lambda x, grad_output: grad_output[x > 0], "open_entries_only"),
        ("relu_backward", lambda x, grad_output: grad_output * torch.where(x > 0, 1.0, 0.01).to(x), "leaking"),
        ("softmax_cross_entropy_backward", F.cross_entropy, "the_loss_itself"),
        (
            "softmax_cross_entropy_backward",
            lambda logits, target: (F.log_softmax(logits, -1) - F.one_hot(target, logits.shape[1])) / len(logits),
            "from_log_probabilities",
        ),
        (
            "softmax_cross_entropy_backward",
            lambda logits, target: (logits.sigmoid() - F.one_hot(target, logits.shape[1])) / len(logits),
            "sigmoid_for_softmax",
        ),
        ("flop_ratio", half_price, "products_at_half_price"),
        ("flop_ratio", lambda *arguments: 1 / layer_by_layer(*arguments), "upside_down"),
    ],
)
def test_a_common_slip_has_a_name(name: str, answer: Callable, mistake: str) -> None:
    outcome = check(name, answer, seed=1)
    assert outcome.mistake == mistake, outcome.message


def test_the_engine_of_the_lesson_agrees_with_autograd_where_a_number_is_used_again_and_again() -> None:
    engine = lesson_code.load("00", "Value", "in_order").Value

    def formula(a, b):
        s = a * b + a
        t = (s * s).relu() + s * b
        return t * t + t * a

    numbers = [engine(1.5), engine(-0.7)]
    formula(*numbers).backward()
    leaves = [torch.tensor(number.data, dtype=torch.float64, requires_grad=True) for number in numbers]
    wanted = torch.autograd.grad(formula(*leaves), leaves)
    torch.testing.assert_close(torch.tensor([n.grad for n in numbers], dtype=torch.float64), torch.stack(wanted))
    numbers = [engine(1.5), engine(-0.7)]
    formula(*numbers).backward(add_up=False)
    assert numbers[0].grad != wanted[0].item()
