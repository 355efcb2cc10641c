"""Lesson 08's recurrent PixelRNNs: they see the past and nothing else, and equal the recurrence, written pixel by pixel."""

from collections.abc import Iterator
from functools import partial
from itertools import product
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils import runtime
from course_utils.causality import before_in_order, sees
from course_utils.notebooks import lesson_code

WANTED = "MaskedConv2d PixelNet sweep RowLSTMLayer DiagonalBiLSTMLayer"
SIZES = ((2, 3), (4, 4), (5, 7), (4, 9), (9, 4))  # odd, even, higher than wide and wider than high
LINES = ((1, 6), (6, 1), (1, 1), (3, 5), (5, 3))  # what a layer takes, with or without a 7x7 kernel before it


@pytest.fixture
def lesson() -> SimpleNamespace:
    """The models as the notebook defines them, with random weights that are the same in every test."""
    session = runtime.Session("smoke", torch.device("cpu"), 0, "fp32", torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    loaded = lesson_code.load("08", *WANTED.split(), session=session)
    loaded.RowLSTM = partial(loaded.PixelNet, loaded.RowLSTMLayer, margin=1)
    loaded.DiagonalBiLSTM = partial(loaded.PixelNet, loaded.DiagonalBiLSTMLayer, margin=1)
    return loaded


def views(lesson: SimpleNamespace, net: nn.Module, size: tuple[int, int]) -> Iterator[tuple[int, int, Tensor, Tensor]]:
    """For every place of such an image: its row and column, what it sees, and what comes before it."""
    for place in product(range(size[0]), range(size[1])):
        yield *place, sees(net, size, *place), before_in_order(size, *place)


# -- what a pixel sees ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("model", ["RowLSTM", "DiagonalBiLSTM"])
def test_no_pixel_sees_itself_or_a_later_one(lesson: SimpleNamespace, model: str, size: tuple[int, int]) -> None:
    net = getattr(lesson, model)(2, 2)
    for row, column, seen, before in views(lesson, net, size):
        assert not (seen & ~before).any(), (row, column)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("size", [*SIZES, (7, 12)])
def test_the_diagonal_bilstm_sees_all_that_comes_before(
    lesson: SimpleNamespace, size: tuple[int, int], layers: int
) -> None:
    net = lesson.DiagonalBiLSTM(3, layers)
    for row, column, seen, before in views(lesson, net, size):
        assert torch.equal(seen, before), (row, column)


def test_without_the_empty_column_it_misses_the_last_pixel_of_the_row_above(lesson: SimpleNamespace) -> None:
    literal = lesson.PixelNet(lesson.DiagonalBiLSTMLayer, 4, 2, margin=0)
    missed = before_in_order((8, 15), 5, 6) & ~sees(literal, (8, 15), 5, 6)
    assert missed.nonzero().tolist() == [[4, 14]]


@pytest.mark.parametrize("layers", [1, 3])
def test_the_row_lstm_sees_a_triangle(lesson: SimpleNamespace, layers: int) -> None:
    """m rows up: m + 2 columns to the right, and m + 3 and one a layer to the left."""
    row, column, size = 9, 14, (12, 29)
    triangle = torch.zeros(size, dtype=torch.bool)
    for up in range(row + 1):
        left, right = column - up - 3 - layers, column + up + 2 if up else column - 1
        triangle[row - up, max(0, left) : right + 1] = True
    assert torch.equal(sees(lesson.RowLSTM(4, layers), size, row, column), triangle)


# -- the recurrence ------------------------------------------------------------------------------------------------


def library_cell(weight_ih: Tensor, bias: Tensor) -> nn.LSTMCell:
    """PyTorch's cell that takes all it is told as input, the states of neighbours included, and only keeps its c."""
    hidden = len(bias) // 4
    cell = nn.LSTMCell(weight_ih.shape[1], hidden).double()
    values = dict(
        weight_ih=weight_ih, bias_ih=bias, weight_hh=torch.zeros(4 * hidden, hidden), bias_hh=torch.zeros(4 * hidden)
    )
    cell.load_state_dict(values)
    return cell


def at(x: Tensor, row: int, column: int) -> Tensor:
    """The features (N, C) of x (N, C, H, W) at a place; zeros outside."""
    inside = 0 <= row < x.shape[2] and 0 <= column < x.shape[3]
    return x[:, :, row, column] if inside else torch.zeros_like(x[:, :, 0, 0])


@torch.no_grad()
def walk(
    x: Tensor, cell: nn.LSTMCell, inputs: list[tuple[int, int]], near: list[tuple[int, int]], kept: tuple[int, int]
) -> Tensor:
    """Visit pixel by pixel; each hears the features at `inputs` and the states at `near`, and goes on with c of `kept`."""
    h, c = (torch.zeros(len(x), cell.hidden_size, *x.shape[2:], dtype=x.dtype) for _ in range(2))
    for row, column in product(range(x.shape[2]), range(x.shape[3])):
        heard = [at(x, row + down, column + right) for down, right in inputs]
        heard += [at(h, row + down, column + right) for down, right in near]
        nothing = torch.zeros(len(x), cell.hidden_size, dtype=x.dtype)
        before = nothing, at(c, row + kept[0], column + kept[1])
        h[:, :, row, column], c[:, :, row, column] = cell(torch.cat(heard, 1), before)
    return h


@pytest.mark.parametrize("size", LINES)
def test_a_row_layer_equals_the_librarys_cell_pixel_by_pixel(lesson: SimpleNamespace, size: tuple[int, int]) -> None:
    layer, x = lesson.RowLSTMLayer(3).double(), torch.randn(2, 6, *size, dtype=torch.float64)
    of_inputs = layer.input_to_state.weight[:, :, 0]  # (4h, 2h, 2): the left neighbour, the pixel
    weight = torch.cat([of_inputs[..., 0], of_inputs[..., 1], layer.state_to_state[0].T], 1)
    cell = library_cell(weight, layer.input_to_state.bias)
    h = walk(x, cell, inputs=[(0, -1), (0, 0)], near=[(-1, -1), (-1, 0), (-1, 1)], kept=(-1, 0))
    torch.testing.assert_close(layer(x), x + layer.widen(h), rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", LINES)
def test_a_diagonal_layer_equals_the_librarys_cell_pixel_by_pixel(
    lesson: SimpleNamespace, size: tuple[int, int]
) -> None:
    layer, x = lesson.DiagonalBiLSTMLayer(3).double(), torch.randn(2, 6, *size, dtype=torch.float64)
    both = []
    for direction, image in enumerate((x, x.flip(3))):
        part = slice(12 * direction, 12 * (direction + 1))
        weight = torch.cat([layer.input_to_state.weight[part, :, 0, 0], layer.state_to_state[direction].T], 1)
        cell = library_cell(weight, layer.input_to_state.bias[part])
        both.append(walk(image, cell, inputs=[(0, 0)], near=[(-1, 0), (0, -1)], kept=(0, -1)))
    from_right = F.pad(both[1].flip(3), (0, 0, 1, 0))[:, :, :-1]  # one row down
    expected = x + layer.widen(torch.cat([both[0], from_right], 1))
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["RowLSTMLayer", "DiagonalBiLSTMLayer"])
def test_a_layer_adds_to_what_it_reads(lesson: SimpleNamespace, kind: str) -> None:
    layer, x = getattr(lesson, kind)(3), torch.randn(2, 6, 4, 5)
    nn.init.zeros_(layer.widen.weight)
    nn.init.zeros_(layer.widen.bias)
    assert torch.equal(layer(x), x)


# -- use -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["RowLSTM", "DiagonalBiLSTM"])
def test_logits_have_the_shape_of_the_image(lesson: SimpleNamespace, model: str) -> None:
    for size in ((5, 9), (28, 28), (6, 4), (1, 3)):
        assert getattr(lesson, model)(2, 1)(torch.rand(1, 1, *size)).shape == (1, 1, *size)


def test_the_papers_best_model_has_as_many_weights_as_the_lesson_says(lesson: SimpleNamespace) -> None:
    assert sum(p.numel() for p in lesson.DiagonalBiLSTM(16, 7).parameters()) == 67_649


def test_mixed_precision_leaves_the_memory_in_single_precision(lesson: SimpleNamespace) -> None:
    lines, weight = torch.randn(30, 2, 3, 5, 16).bfloat16(), torch.randn(2, 8, 16) / 4
    exact = lesson.sweep(lines.float(), weight, offsets=(-1, 0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = lesson.sweep(lines, weight, offsets=(-1, 0))
    assert mixed[-1].dtype == torch.float32
    assert (mixed[-1] - exact[-1]).abs().max() < 0.05
