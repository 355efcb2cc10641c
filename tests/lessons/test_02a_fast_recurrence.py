"""Detour 02a: its loops are nn.LSTM, ways back included, and its gates are held where the table says."""

from types import SimpleNamespace

import pytest
import torch

from course_utils.notebooks import lesson_code


@pytest.fixture
def lesson() -> SimpleNamespace:
    through = dict(through_sigmoid=torch.ops.aten.sigmoid_backward, through_tanh=torch.ops.aten.tanh_backward)
    return lesson_code.load(
        "02a", "update", "slow_lstm", "unbound_lstm", "fast_lstm", "HandLSTM", "gap_to_library", **through
    )


@pytest.mark.parametrize("loop", ["slow_lstm", "unbound_lstm", "fast_lstm", "HandLSTM"])
def test_a_loop_is_the_library_s_layer_in_values_and_gradients(lesson: SimpleNamespace, loop: str) -> None:
    function = getattr(lesson, loop)
    torch.manual_seed(0)
    for inputs, hidden in ((3, 5), (4, 1)):
        layer = torch.nn.LSTM(inputs, hidden).double()
        assert lesson.gap_to_library(getattr(function, "apply", function), layer) < 1e-10


def test_the_way_back_by_hand_agrees_with_finite_differences(lesson: SimpleNamespace) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = (4, 2, 3), (2, 2), (2, 2), (8, 3), (8, 2), (8,)
    arguments = [torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes]
    assert torch.autograd.gradcheck(lesson.HandLSTM.apply, arguments)


def test_the_value_to_hold_is_the_one_that_was_marked_last() -> None:
    draw = lesson_code.load("02a", "sample_and_hold").sample_and_hold
    x, y = draw(150, 4, torch.Generator().manual_seed(0))
    for row in range(4):
        last = 0.0
        for (value, mark), answer in zip(x[:, row].tolist(), y[:, row].tolist(), strict=True):
            last = value if mark else last
            assert answer == last


def test_a_held_gate_has_its_value_and_a_free_one_none() -> None:
    variants = {"all": {}, "f open": {"f": 1.0}, "f shut": {"f": 0.0}}
    held = lesson_code.load("02a", "held", VARIANTS=variants).held
    assert held("f", 2).flatten()[2:].tolist() == [1.0, 1.0, 0.0, 0.0]
    assert held("f", 2)[:2].isnan().all()
    assert held("i", 2).isnan().all()
