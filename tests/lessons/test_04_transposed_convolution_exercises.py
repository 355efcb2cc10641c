"""Lesson 04: more right answers, answers that are nearly right, and the common slips by their names."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.exercises import check
from course_utils.exercises.catalogue import definition

stamp = definition("stamp").reference
convolution_matrix = definition("convolution_matrix").reference
insert_zeros = definition("insert_zeros").reference


def stamp_by_sliding(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    border = weight.shape[2] - 1
    return F.conv2d(F.pad(insert_zeros(x, stride), (border,) * 4), weight.flip(2, 3).transpose(0, 1))


def matrix_entry_by_entry(kernel: Tensor, height: int, width: int, stride: int) -> Tensor:
    k = len(kernel)
    down, right = (height - k) // stride + 1, (width - k) // stride + 1
    matrix = kernel.new_zeros(down * right, height * width)
    for place in range(down * right):
        top, left = place // right * stride, place % right * stride
        for weight in range(k * k):
            matrix[place, (top + weight // k) * width + left + weight % k] = kernel[weight // k, weight % k]
    return matrix


def zeros_by_the_library(x: Tensor, stride: int) -> Tensor:
    return F.conv_transpose2d(x.unsqueeze(1), x.new_ones(1, 1, 1, 1), stride=stride).squeeze(1)


def layer_by_trimming(x: Tensor, weight: Tensor, stride: int, padding: int, output_padding: int) -> Tensor:
    return F.pad(stamp(x, weight, stride), (-padding, output_padding - padding) * 2)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("stamp", stamp_by_sliding),
        ("convolution_matrix", matrix_entry_by_entry),
        ("insert_zeros", zeros_by_the_library),
        ("transposed_convolution", layer_by_trimming),
    ],
)
def test_another_way_to_write_it_is_right_too(name: str, answer: Callable) -> None:
    for seed in range(3):
        outcome = check(name, answer, seed)
        assert outcome.status == "right", outcome.message


def layer_of_modest_padding(x: Tensor, weight: Tensor, stride: int, padding: int, output_padding: int) -> Tensor:
    return layer_by_trimming(x, weight, stride, min(padding, weight.shape[2] - 1), output_padding)


def size(n: int, kernel: int, stride: int, padding: int, output_padding: int, dilation: int) -> int:
    return definition("output_size").reference(n, kernel, stride, padding, output_padding, dilation)


def places_rounded_up(kernel: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Where the kernel sticks out of the image, it is cut."""
    k = len(kernel)
    high, wide = (-(-(n - k) // stride) * stride + k for n in (height, width))
    matrix = convolution_matrix(kernel, high, wide, stride)
    return matrix.unflatten(1, (high, wide))[:, :height, :width].flatten(1)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("stamp", lambda x, weight, stride: stamp(x, weight, min(stride, weight.shape[2]))),
        ("stamp", lambda x, weight, stride: stamp(x, weight, max(stride, 2))),
        ("stamp", lambda x, weight, stride: stamp(x[:2], weight[:2], stride)),
        ("output_size", lambda n, k, s, p, o, d: size(n, k, s, min(p, k - 1), o, d)),
        ("output_size", lambda n, k, s, p, o, d: size(n, k, s, p, min(o, s - 1), d)),
        ("output_size", lambda n, k, s, p, o, d: size(n, k, s, p, o, d) if s > 1 else n),
        ("output_size", lambda n, k, s, p, o, d: n * s + o),
        ("convolution_matrix", lambda kernel, h, w, stride: convolution_matrix(kernel, h, w, min(stride, len(kernel)))),
        ("convolution_matrix", lambda kernel, h, w, stride: convolution_matrix(kernel, w, h, stride)),
        ("convolution_matrix", places_rounded_up),
        ("insert_zeros", lambda x, stride: insert_zeros(x, max(stride, 2))),
        ("insert_zeros", lambda x, stride: F.pad(insert_zeros(x, stride), (stride - 1,) * 4)),
        ("transposed_convolution", layer_of_modest_padding),
    ],
)
def test_nearly_right_is_not_right(name: str, answer: Callable) -> None:
    for seed in range(3):
        assert check(name, answer, seed).status in ("nearly right", "wrong", "diagnosed")


def matrix_of_runs(kernel: Tensor, height: int, width: int, stride: int) -> Tensor:
    rows = []
    for top in range(0, height - len(kernel) + 1, stride):
        for left in range(0, width - len(kernel) + 1, stride):
            start, k = top * width + left, len(kernel)
            rows.append(F.pad(kernel.flatten(), (start, height * width - k * k - start)))
    return torch.stack(rows)


def gaps_filled(x: Tensor, stride: int) -> Tensor:
    height, width = ((n - 1) * stride + 1 for n in x.shape[1:])
    return F.interpolate(x[None], (height, width), mode="bilinear", align_corners=True)[0]


@pytest.mark.parametrize(
    ("name", "answer", "mistake"),
    [
        ("stamp", lambda x, weight, stride: stamp(x, weight.mT, stride), "kernel_on_its_side"),
        ("convolution_matrix", matrix_of_runs, "kernel_in_one_run"),
        (
            "convolution_matrix",
            lambda kernel, h, w, stride: convolution_matrix(kernel.T, h, w, stride),
            "kernel_across",
        ),
        ("insert_zeros", gaps_filled, "interpolated"),
    ],
)
def test_a_common_slip_has_a_name(name: str, answer: Callable, mistake: str) -> None:
    outcome = check(name, answer, seed=1)
    assert outcome.mistake == mistake, outcome.message
