"""Lesson 04: its four views are the library's layer, and its exercises meet answers that students really write."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from course_utils.exercises import check
from course_utils.notebooks import lesson_code

# -- the lesson ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["by_stamping", "by_matrix", "by_zeros", "by_gradient", "transposed_convolution"])
def test_every_view_is_the_library_s_layer(view: str) -> None:
    from course_utils.exercises.catalogue import definition

    names = ["trim", "by_stamping", "by_matrix", "by_zeros", "by_gradient", "random_layer"]
    lesson = lesson_code.load("04", *names)
    function = getattr(lesson, view, None) or definition(view).reference
    generator = torch.Generator().manual_seed(11)
    for _ in range(60):
        x, weight, stride, padding, output_padding = arguments = lesson.random_layer(generator)
        expected = F.conv_transpose2d(x, weight, None, stride, padding, output_padding)
        torch.testing.assert_close(function(*arguments), expected, rtol=0, atol=1e-10)


def test_a_constant_is_even_and_a_chessboard_is_not() -> None:
    unevenness = lesson_code.load("04", "unevenness").unevenness
    rows = torch.arange(8)
    chessboard = ((rows + rows.unsqueeze(1)) % 2).double()
    assert unevenness(torch.full((3, 8, 8), 0.7), 2) == pytest.approx(0, abs=1e-12)
    assert unevenness((chessboard - 0.5).unsqueeze(0), 2) == pytest.approx(1)
    assert unevenness(chessboard.unsqueeze(0), 2) == pytest.approx(0.5)  # half mean, half pattern
    slow = torch.cos(2 * torch.pi * rows / 8).expand(8, 8)
    assert unevenness(slow.unsqueeze(0), 2) == pytest.approx(0, abs=1e-12)  # a pattern, but not the stride's


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "extra"), [(4, 2, 1, 0), (3, 2, 1, 1), (2, 3, 0, 2), (5, 1, 3, 0)]
)
def test_the_module_is_the_library_s_for_batches(kernel: int, stride: int, padding: int, extra: int) -> None:
    made = lesson_code.load("04", "TransposedConvolution").TransposedConvolution(3, 2, kernel, stride, padding, extra)
    made, library = made.double(), torch.nn.ConvTranspose2d(3, 2, kernel, stride, padding, extra).double()
    library.load_state_dict(made.state_dict())
    x = torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(made(x), library(x))
    ours, theirs = (torch.autograd.grad(layer(x).square().sum(), list(layer.parameters())) for layer in (made, library))
    torch.testing.assert_close(ours, theirs)


def test_each_view_has_a_function_of_its_own() -> None:
    """Whatever a student writes for the whole layer, the third view is tested."""
    lesson = lesson_code.load("04", "by_zeros", transposed_convolution=None, trim=None)
    x, weight = torch.randn(2, 3, 4), torch.randn(2, 1, 3, 3)
    torch.testing.assert_close(lesson.by_zeros(x, weight, 2, 1, 1), F.conv_transpose2d(x, weight, None, 2, 1, 1))


def test_through_transposed_convolutions_a_pixel_sees_few_inputs() -> None:
    seen = lesson_code.load("04", "seen").seen
    assert [seen(F.conv1d, layers, 256) for layers in (1, 2, 3, 4)] == [4, 10, 22, 46]  # (r - 1) s + k
    assert [seen(F.conv_transpose1d, layers, 16) for layers in (1, 2, 3, 4)] == [2, 2, 2, 2]


@pytest.mark.parametrize("kind", ["transposed, kernel 3", "transposed, kernel 4", "resize, convolve", "PixelShuffle"])
def test_every_way_to_double_is_a_transposed_convolution(kind: str) -> None:
    torch.manual_seed(0)
    double = lesson_code.load("04", "double").double(kind, 2, 3).double()
    point = torch.zeros(2, 2, 9, 9, dtype=torch.float64)
    point[[0, 1], [0, 1], 4, 4] = 1
    with torch.no_grad():
        offset = double(torch.zeros_like(point))
        kernel = (double(point) - offset)[:, :, 4:14, 4:14]  # (C_in, C_out, 10, 10): around pixel 4, at 8 and 9
        x = torch.randn(1, 2, 9, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        ours = F.conv_transpose2d(x, kernel, stride=2, padding=4, output_padding=0)
        torch.testing.assert_close(ours, double(x) - offset[:1], rtol=0, atol=1e-12)


def test_a_resize_prints_a_small_kernel_smeared_by_a_block() -> None:
    torch.manual_seed(0)
    double = lesson_code.load("04", "double").double("resize, convolve", 1, 1)
    point = torch.zeros(1, 1, 7, 7)
    point[0, 0, 3, 3] = 1
    with torch.no_grad():
        printed = (double(point) - double(0 * point))[0, :, 5:9, 5:9]
    smeared = F.conv_transpose2d(torch.ones(1, 2, 2), double[1].weight.detach().flip(2, 3))
    torch.testing.assert_close(printed, smeared)


@pytest.mark.parametrize(
    ("kind", "weights", "multiplications"),
    [
        ("transposed, kernel 3", 9, 9),
        ("transposed, kernel 4", 16, 16),
        ("resize, convolve", 9, 36),
        ("PixelShuffle", 36, 36),
    ],
)
def test_the_prices_in_the_lesson_s_table_are_right(kind: str, weights: int, multiplications: int) -> None:
    made = lesson_code.load("04", "double").double(kind, 8, 8)
    assert sum(p.numel() for p in made.parameters() if p.dim() == 4) == weights * 8**2
    with FlopCounterMode(display=False) as counter:
        made(torch.zeros(1, 8, 7, 7))
    assert counter.get_total_flops() == 2 * multiplications * 8**2 * 7**2


# -- the exercises -------------------------------------------------------------------------------------------------


def stamp_by_fold(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    _, height, width = x.shape
    k = weight.shape[2]
    columns = weight.flatten(1).T @ x.flatten(1)
    size = ((height - 1) * stride + k, (width - 1) * stride + k)
    return F.fold(columns, size, kernel_size=k, stride=stride)


def stamp_in_six_loops(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    c_in, height, width = x.shape
    _, c_out, k, _ = weight.shape
    y = torch.zeros(c_out, (height - 1) * stride + k, (width - 1) * stride + k, dtype=x.dtype)
    for i in range(c_in):
        for row in range(height):
            for column in range(width):
                for o in range(c_out):
                    for a in range(k):
                        for b in range(k):
                            value = x[i, row, column].item() * weight[i, o, a, b].item()
                            y[o, row * stride + a, column * stride + b] += value
    return y


def matrix_by_columns(kernel: Tensor, height: int, width: int, stride: int) -> Tensor:
    pixels = torch.eye(height * width, dtype=kernel.dtype).view(-1, 1, height, width)
    return F.conv2d(pixels, kernel[None, None], stride=stride).flatten(1).T


def matrix_by_unfold(kernel: Tensor, height: int, width: int, stride: int) -> Tensor:
    places = torch.arange(height * width).view(height, width)
    windows = places.unfold(0, len(kernel), stride).unfold(1, len(kernel), stride).flatten(0, 1).flatten(1)
    matrix = torch.zeros(len(windows), height * width, dtype=kernel.dtype)
    return matrix.scatter(1, windows, kernel.flatten().expand(len(windows), -1))


def zeros_by_kronecker(x: Tensor, stride: int) -> Tensor:
    corner = torch.zeros(stride, stride, dtype=x.dtype)
    corner[0, 0] = 1
    grown = torch.stack([torch.kron(channel, corner) for channel in x])
    return grown[:, : grown.shape[1] - stride + 1, : grown.shape[2] - stride + 1]


def zeros_pixel_by_pixel(x: Tensor, stride: int) -> Tensor:
    channels, height, width = x.shape
    y = torch.zeros(channels, (height - 1) * stride + 1, (width - 1) * stride + 1, dtype=x.dtype)
    for row in range(height):
        for column in range(width):
            y[:, row * stride, column * stride] = x[:, row, column]
    return y


def stamp_in_single_precision(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    _, height, width = x.shape
    _, c_out, k, _ = weight.shape
    y = torch.zeros(c_out, (height - 1) * stride + k, (width - 1) * stride + k)
    y += stamp_by_fold(x, weight, stride)
    return y


def layer_by_stamps(x: Tensor, weight: Tensor, stride: int, padding: int, output_padding: int) -> Tensor:
    full = stamp_by_fold(x, weight, stride)
    full = F.pad(full, (0, output_padding, 0, output_padding))
    return full[:, padding : full.shape[1] - padding, padding : full.shape[2] - padding]


def layer_by_the_library(x: Tensor, weight: Tensor, stride: int, padding: int, output_padding: int) -> Tensor:
    made = F.conv_transpose2d(x.unsqueeze(0), weight, stride=stride, padding=padding, output_padding=output_padding)
    return made.squeeze(0)


def layer_with_a_generous_border(x: Tensor, weight: Tensor, stride: int, padding: int, output_padding: int) -> Tensor:
    k = weight.shape[2]
    spread = F.pad(zeros_pixel_by_pixel(x, stride), (k - 1, k - 1 + output_padding, k - 1, k - 1 + output_padding))
    full = F.conv2d(spread, torch.flip(weight, [2, 3]).permute(1, 0, 2, 3))
    return full[:, padding : full.shape[1] - padding, padding : full.shape[2] - padding]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("stamp", stamp_by_fold),
        ("stamp", stamp_in_six_loops),
        ("stamp", stamp_in_single_precision),
        ("convolution_matrix", matrix_by_columns),
        ("convolution_matrix", matrix_by_unfold),
        ("insert_zeros", zeros_by_kronecker),
        ("insert_zeros", zeros_pixel_by_pixel),
        ("transposed_convolution", layer_by_stamps),
        ("transposed_convolution", layer_by_the_library),
        ("transposed_convolution", layer_with_a_generous_border),
    ],
)
def test_another_way_is_right_too(name: str, answer: Callable) -> None:
    outcome = check(name, answer)
    assert outcome.status == "right", outcome.message


def a_size_that_is_no_int(
    size: int, kernel: int, stride: int, padding: int, output_padding: int, dilation: int
) -> float:
    return (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + output_padding + 0.5


def matrix_without_the_loop_over_rows(kernel: Tensor, height: int, width: int, stride: int) -> Tensor:
    return matrix_by_columns(kernel, height, width, stride)[:1]


def trimmed_by_a_slice_to_minus_padding(
    x: Tensor, weight: Tensor, stride: int, padding: int, output_padding: int
) -> Tensor:
    """The classic: `full[padding:-padding]` is empty when padding is 0."""
    full = F.pad(stamp_by_fold(x, weight, stride), (0, output_padding, 0, output_padding))
    return full[:, padding:-padding, padding:-padding]


def output_padding_as_zeros(x: Tensor, weight: Tensor, stride: int, padding: int, output_padding: int) -> Tensor:
    full = stamp_by_fold(x, weight, stride)
    cut = full[:, padding : full.shape[1] - padding, padding : full.shape[2] - padding]
    return F.pad(cut, (0, output_padding, 0, output_padding))


def weights_not_exchanged(x: Tensor, weight: Tensor, stride: int, padding: int, output_padding: int) -> Tensor:
    return F.conv2d(zeros_by_kronecker(x, stride), weight.flip(2, 3), padding=weight.shape[2] - 1 - padding)


@pytest.mark.parametrize(
    ("name", "answer", "status", "words"),
    [
        ("output_size", a_size_that_is_no_int, "wrong", "size_out"),
        ("convolution_matrix", matrix_without_the_loop_over_rows, "wrong", "shape"),
        ("transposed_convolution", trimmed_by_a_slice_to_minus_padding, "nearly right", "full[padding:-padding]"),
        ("transposed_convolution", output_padding_as_zeros, "diagnosed", "rows and columns of zeros"),
        ("transposed_convolution", weights_not_exchanged, "error", "channels"),
    ],
)
def test_a_wrong_answer_is_told(name: str, answer: Callable, status: str, words: str) -> None:
    outcome = check(name, answer)
    assert outcome.status == status, outcome.message
    assert words in outcome.message
