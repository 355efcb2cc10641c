"""Answers that readers and public bug reports brought up: what is right is right, what is wrong is told as what it is.

Those of which a lesson speaks stand in the tests of that lesson; here is what concerns several, and the precision policy.
"""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.exercises import check
from course_utils.exercises.catalogue import definition

# -- tensors of torch's default dtype, whatever the arguments have ----------------------------------------------------


def gradients_added_up(x, weight, grad_output):
    grad_x, grad_weight, grad_bias = torch.zeros(x.shape), torch.zeros(weight.shape), torch.zeros(len(weight))
    for row, (image, message) in enumerate(zip(x, grad_output, strict=True)):
        grad_x[row] = message @ weight
        grad_weight += torch.outer(message, image)
        grad_bias += message
    return grad_x, grad_weight, grad_bias


def windows_filled_in(series, window, horizon):
    n = len(series) - window - horizon + 1
    if n < 1:
        raise ValueError
    inputs, targets = torch.zeros(n, window), torch.zeros(n, horizon)
    for i in range(n):
        inputs[i], targets[i] = series[i : i + window], series[i + window : i + window + horizon]
    return inputs, targets


def stamped(x, weight, stride):
    (_, height, width), (_, channels, k, _) = x.shape, weight.shape
    y = torch.zeros(channels, (height - 1) * stride + k, (width - 1) * stride + k)
    for i in range(height):
        for j in range(width):
            place = y[:, i * stride : i * stride + k, j * stride : j * stride + k]
            place += (x[:, i, j, None, None, None] * weight).sum(0)
    return y


def matrix_of_floats(kernel, height, width, stride):
    k, rows = len(kernel), []
    for top in range(0, height - k + 1, stride):
        for left in range(0, width - k + 1, stride):
            row = torch.zeros(height, width)
            row[top : top + k, left : left + k] = kernel
            rows.append(row.flatten())
    return torch.stack(rows)


def spread_out(x, stride):
    channels, height, width = x.shape
    y = torch.zeros(channels, (height - 1) * stride + 1, (width - 1) * stride + 1)
    y[:, ::stride, ::stride] = x
    return y


def layer_of_floats(x, weight, stride, padding, output_padding):
    near = weight.shape[2] - 1 - padding
    far = near + output_padding
    return F.conv2d(F.pad(spread_out(x, stride), (near, far, near, far)), weight.flip(2, 3).transpose(0, 1).float())


def skewed(x):
    batch, channels, height, width = x.shape
    y = torch.zeros(batch, channels, height, width + height - 1)
    for row in range(height):
        y[:, :, row, row : row + width] = x[:, :, row]
    return y


def unskewed(y, width):
    x = torch.zeros(*y.shape[:3], width)
    for row in range(y.shape[2]):
        x[:, :, row] = y[:, :, row, row : row + width]
    return x


def entropy_as_a_number(symbols):
    total = 0.0
    for column in symbols.T:
        for symbol in column.unique():
            share = (column == symbol).double().mean().item()
            total -= share * math.log2(share)
    return total


def entropy_in_floats(symbols):
    shares = [column.unique(return_counts=True)[1].float() / len(symbols) for column in symbols.T]
    return sum(-(share * share.log2()).sum() for share in shares).double()


def attention_by_a_root_in_floats(q, k, v):
    scores = q @ k.mT / torch.sqrt(torch.tensor(float(q.shape[-1])))
    future = torch.ones(q.shape[-2], q.shape[-2]).triu(1).bool()
    return torch.softmax(scores.masked_fill(future, -math.inf), -1) @ v


@pytest.mark.parametrize(
    ("name", "answer", "advice"),
    [
        ("linear_backward", gradients_added_up, "`grad_x` is torch.float32"),
        ("make_windows", windows_filled_in, "`inputs` is torch.float32"),
        ("stamp", stamped, "`y` is torch.float32"),
        ("convolution_matrix", matrix_of_floats, "`C` is torch.float32"),
        ("insert_zeros", spread_out, "`y` is torch.float32"),
        ("transposed_convolution", layer_of_floats, "`y` is torch.float32"),
        ("skew", skewed, "`y` is torch.float32"),
        ("unskew", unskewed, "`x` is torch.float32"),
        ("entropy_bits", entropy_as_a_number, "`bits` is a plain number"),
        ("entropy_bits", entropy_in_floats, "seven digits"),
        ("causal_attention", attention_by_a_root_in_floats, "seven digits"),
        ("importance_bound", lambda w: w.logsumexp(0) - torch.log(torch.tensor(float(len(w)))), "seven digits"),
        ("bits_per_dimension", lambda nll, n_dims: nll / n_dims / torch.log(torch.tensor(2.0)), "One thing"),
        (
            "fade_in",
            lambda low, high, alpha: torch.lerp(F.interpolate(low, scale_factor=2), high, torch.tensor(alpha).to(low)),
            "seven digits",
        ),
    ],
)
def test_single_precision_is_right_in_every_exercise_that_was_reported(
    name: str, answer: Callable, advice: str
) -> None:
    for seed in range(2):
        outcome = check(name, answer, seed)
        assert outcome.status == "right" and advice in outcome.message, outcome.message


# -- networks --------------------------------------------------------------------------------------------------------


def test_an_initialisation_may_hand_its_layer_back() -> None:
    reference = definition("dcgan_init").reference

    def chained(module: nn.Module, generator: torch.Generator) -> nn.Module:
        reference(module, generator)
        return module

    assert check("dcgan_init", chained).status == "right"
    assert check("dcgan_init", lambda module, generator: module).status == "diagnosed"
    assert "should be None" in check("dcgan_init", lambda module, generator: reference(module, generator) or 3).message


# -- what was told as something else ---------------------------------------------------------------------------------


def twice_divided(x, noise_std, missing, generator):
    noisy = (x + noise_std * torch.randn(x.shape, generator=generator, dtype=x.dtype)).clamp(0, 1)
    return noisy * torch.bernoulli(torch.full_like(x, 1 - missing), generator=generator) / (1 - missing)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("corrupt", twice_divided),  # as dropout does: 0/0 where every pixel is missing
        ("corrupt", lambda x, noise_std, missing, generator: x * math.nan),
        ("adding_problem", lambda b, n, generator: (torch.full((b, n, 2), math.nan), torch.full((b,), math.nan))),
    ],
)
def test_nan_is_told_first_where_claims_judge(name: str, answer: Callable) -> None:
    assert "contains NaN" in check(name, answer).message


def last_columns(train: Tensor, x: Tensor, k: int) -> Tensor:
    mean = train.mean(0)
    directions = torch.linalg.eigh((train - mean).T @ (train - mean)).eigenvectors[:, -k:]
    return mean + (x - mean) @ directions @ directions.T


def textbook_nucleus(logits: Tensor, p: float) -> Tensor:
    ordered, order = logits.sort(descending=True)
    shares = torch.softmax(ordered, -1)
    return logits.scatter(-1, order, ordered.masked_fill(shares.cumsum(-1) - shares >= p, -math.inf))


def top_k_of_all(logits: Tensor, k: int) -> Tensor:
    return logits.masked_fill(logits < logits.topk(k).values[..., -1:], -math.inf)


@pytest.mark.parametrize(
    ("name", "answer", "status", "words"),
    [
        ("pca_reconstruct", last_columns, "nearly right", "`[:, -0:]` means all of them"),
        ("top_p_filter", textbook_nucleus, "nearly right", "p is 1 and one token is nearly certain"),
        ("top_k_filter", top_k_of_all, "nearly right", "There are fewer entries than k to choose from"),
        (
            "kl_to_standard_normal",
            lambda mu, logvar: (0.5 * (mu**2 + logvar.exp() ** 2 - 1) - logvar).sum(1),
            "diagnosed",
            "taken for the logarithm of the standard deviation",
        ),
        ("merge_pair", lambda ids, pair, new_id: ids, "diagnosed", "nothing is ever merged. If you compare"),
        ("linear_backward", lambda x, w, g: (g @ w, g @ x, g.sum(0)), "error", "Is a transpose (`.T`) missing"),
    ],
)
def test_what_was_reported_is_told(name: str, answer: Callable, status: str, words: str) -> None:
    outcome = check(name, answer)
    assert outcome.status == status and words in outcome.message, outcome.message
