"""Measures: how good is a prediction, and is one better than another?"""

from __future__ import annotations

import torch
from torch import Tensor


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of the rows of `logits` (N, classes) whose largest entry stands at `labels` (N,). Between 0 and 1.

    Raises ValueError when the shapes do not fit or there is nothing to count.
    """
    if logits.dim() != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(f"need logits (N, classes) and labels (N,), got {tuple(logits.shape)}, {tuple(labels.shape)}")
    return (logits.argmax(1) == labels).double().mean().item()


def rmse(prediction: Tensor, target: Tensor) -> float:
    """Root of the mean squared error, in the unit of the data. Raises ValueError when the shapes differ."""
    if prediction.shape != target.shape or not target.numel():
        raise ValueError(
            f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} must be equal in shape"
        )
    return (prediction.double() - target.double()).square().mean().sqrt().item()


def paired_bootstrap(
    errors_a: Tensor, errors_b: Tensor, resamples: int = 10_000, seed: int = 0, block: int = 1
) -> tuple[float, float]:
    """95 % interval of rmse(a) - rmse(b) for two forecasts of the same targets: below 0 means that a is better.

    `errors_a` and `errors_b` (N,) are the forecasts' errors. Both are resampled together, in blocks of `block`
    neighbours (Künsch, "The jackknife and the bootstrap for general stationary observations", 1989), because the
    errors of neighbouring months resemble one another. Raises ValueError for unequal lengths or a bad block.
    """
    if errors_a.shape != errors_b.shape or errors_a.dim() != 1:
        raise ValueError(f"need two error series (N,), got {tuple(errors_a.shape)} and {tuple(errors_b.shape)}")
    n = len(errors_a)
    if not 1 <= block <= n:
        raise ValueError(f"block must lie between 1 and the {n} errors, not {block}")
    generator = torch.Generator().manual_seed(seed)
    squares_a, squares_b = errors_a.double().square(), errors_b.double().square()
    gaps, at_once = [], max(1, 4_000_000 // n)  # a few million entries at a time
    for done in range(0, resamples, at_once):
        count = min(at_once, resamples - done)
        starts = torch.randint(0, n - block + 1, (count, -(-n // block)), generator=generator)
        index = (starts.unsqueeze(-1) + torch.arange(block)).flatten(1)[:, :n]  # (some resamples, N)
        gaps.append(squares_a[index].mean(1).sqrt() - squares_b[index].mean(1).sqrt())
    low, high = torch.quantile(torch.cat(gaps), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high
