"""Detour 01a: the gradient behind a wall is the truncated one, and what it measures is what it says."""

from types import SimpleNamespace

import pytest
import torch

from course_utils.notebooks import lesson_code


@pytest.fixture
def lesson() -> SimpleNamespace:
    return lesson_code.load("01a", "windows", "Forecaster", "step_gradients")


def test_windows_are_followed_by_the_values_after_them(lesson: SimpleNamespace) -> None:
    inputs, targets = lesson.windows(torch.arange(9), 4, 2)
    assert inputs.tolist() == [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]]
    assert targets.tolist() == [[4, 5], [5, 6], [6, 7], [7, 8]]


def test_without_a_wall_the_step_gradients_make_the_whole_gradient(lesson: SimpleNamespace) -> None:
    torch.manual_seed(0)
    network = lesson.Forecaster(1, 6, 1, radius=0.9)
    x, y = torch.randn(12, 3, 1), torch.randn(12, 3, 1)
    deltas = lesson.step_gradients(network, x, y, 12)
    states, _ = network.rnn(x, torch.zeros(1, 3, 6))
    loss = (network.output(states) - y).square().sum()
    expected = torch.autograd.grad(loss, network.rnn.weight_ih_l0)[0]
    torch.testing.assert_close(torch.einsum("tbh,tbi->hi", deltas, x), expected, rtol=1e-4, atol=1e-4)


def test_a_wall_hides_the_losses_beyond_it_and_no_others(lesson: SimpleNamespace) -> None:
    torch.manual_seed(0)
    network = lesson.Forecaster(1, 6, 1, radius=0.9)
    x, y = torch.randn(12, 3, 1), torch.randn(12, 3, 1)
    cut, full = (lesson.step_gradients(network, x, y, k) for k in (4, 12))
    beyond = y.clone()
    beyond[8:] += 1.0  # the losses of the third chunk change
    assert torch.equal(lesson.step_gradients(network, x, beyond, 4)[:8], cut[:8])
    assert not torch.allclose(lesson.step_gradients(network, x, beyond, 12)[:8], full[:8])
    torch.testing.assert_close(cut[8:], full[8:])  # behind the last wall nothing is missing
