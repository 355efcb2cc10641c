"""Exercises of detour 05a: mutual information from counts, and the loss of a decoder whose pixels are normal."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from course_utils.exercises.define import Case, define, edge, randn

# -- 5a.1 ----------------------------------------------------------------------------------------------------------


@define(lesson="05a", points=2, outputs="information")
def mutual_information(a, b):
    """How many nats two columns of whole numbers tell about each other, by their counts.

    a, b: int64 (N,), two labels of each of N things, 0 or more; joint and single shares are counted over the N.
    Returns a scalar: the sum over all pairs of p(a, b) log(p(a, b) / (p(a) p(b))).
    """
    total = 0.0
    for sign, columns in ((1, a), (1, b), (-1, torch.stack([a, b], 1))):
        share = columns.unique(dim=0, return_counts=True)[1].double() / len(columns)
        total = total - sign * (share * share.log()).sum()
    return total


def _labels(generator: torch.Generator, n: int, levels_a: int, levels_b: int) -> dict:
    """Two columns that go along with each other, with levels of uneven shares."""
    common = torch.rand(n, generator=generator)
    own = torch.rand(2, n, generator=generator)
    a = (levels_a * (0.7 * common + 0.3 * own[0]) ** 1.5).long().clamp(max=levels_a - 1)
    b = (levels_b * (0.6 * common + 0.4 * own[1])).long().clamp(max=levels_b - 1)
    return dict(a=a, b=b)


@mutual_information.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for n, levels_a, levels_b in ((80, 4, 3), (120, 5, 7), (60, 3, 6), (150, 8, 4)):
        yield _labels(generator, n, levels_a, levels_b)
    gaps = _labels(generator, 70, 4, 3)
    yield edge(
        "some labels between the others never occur",
        stated="Some labels between the others may never occur",
        a=3 * gaps["a"] + 1,
        b=2 * gaps["b"],
    )
    one = _labels(generator, 50, 4, 3)
    yield edge(
        "one of the two is always the same",
        stated="If one of the two is always the same",
        a=torch.zeros_like(one["a"]),
        b=one["b"],
    )


@mutual_information.typical
def _(generator: torch.Generator) -> dict:
    return _labels(generator, 4000, 20, 20)


def _shares(a: Tensor, b: Tensor) -> Tensor:
    joint = torch.zeros(int(a.max()) + 1, int(b.max()) + 1, dtype=torch.float64)
    joint.index_put_((a, b), torch.tensor(1.0, dtype=torch.float64), accumulate=True)
    return joint / len(a)


def _entropy(shares: Tensor) -> Tensor:
    return -torch.special.xlogy(shares, shares).sum()


def _information(joint: Tensor) -> Tensor:
    return _entropy(joint.sum(0)) + _entropy(joint.sum(1)) - _entropy(joint)


@mutual_information.mistake(
    "your result is in bits: the logarithm is to base 2. Nats are counted with the natural logarithm, as the KL is."
)
def in_bits(a, b):
    return _information(_shares(a, b)) / math.log(2)


@mutual_information.mistake(
    "you return the joint entropy, −Σ p(a, b) log p(a, b): what both tell together. What they tell about *each other* compares "
    "p(a, b) with p(a) p(b), what it would be if they had nothing to do with one another."
)
def joint_entropy(a, b):
    return _entropy(_shares(a, b))


@mutual_information.mistake(
    "you return what is left to say about a once b is known, the conditional entropy. Mutual information is what b has already "
    "told: the entropy of a, less that."
)
def conditional_entropy(a, b):
    joint = _shares(a, b)
    return _entropy(joint) - _entropy(joint.sum(0))


@mutual_information.mistake(
    "the pairs are not weighted: each logarithm counts as often as its pair occurs. Multiply it by p(a, b) before you sum."
)
def unweighted(a, b):
    joint = _shares(a, b)
    seen, apart = joint > 0, joint.sum(1, keepdim=True) * joint.sum(0)
    return (joint[seen] / apart[seen]).log().sum()


@mutual_information.mistake(
    "you take the KL the other way round, weighted by p(a) p(b). It must be weighted by how often a pair *does* occur, p(a, b)."
)
def weighted_by_the_product(a, b):
    joint = _shares(a, b)
    seen, apart = joint > 0, joint.sum(1, keepdim=True) * joint.sum(0)
    return (apart[seen] * (apart[seen] / joint[seen]).log()).sum()


@mutual_information.mistake(
    "a pair that never occurs gives you 0 · log 0, which is no number. It counts as 0: leave out the empty places of the table, "
    "or use `torch.special.xlogy`."
)
def empty_places(a, b):
    joint = _shares(a, b)
    return (joint * (joint / (joint.sum(1, keepdim=True) * joint.sum(0))).log()).sum()


@mutual_information.mistake(
    "you sum over counts instead of shares: the result grows with the number of things. Divide the counts by N."
)
def counts_for_shares(a, b):
    return len(a) * _information(_shares(a, b))


mutual_information.hints(
    "Count how often each pair of labels occurs: a table. Its rows' sums are the counts of a, its columns' those of b.",
    "Divided by N the table holds p(a, b). `table.sum(1, keepdim=True) * table.sum(0)` is p(a) p(b), of the same shape.",
    "Sum `p * (p / apart).log()` over the places where p > 0.",
)

# -- 5a.2 ----------------------------------------------------------------------------------------------------------


@define(lesson="05a", points=2, outputs="nll", gradients=("mean", "sigma"))
def gaussian_nll(mean, x, sigma):
    """Minus the log-density of images whose pixels are independent normals of one width, in nats per image.

    mean: (batch, ...), the decoder's answer. x: (batch, ...), the images. sigma: a scalar tensor, the standard deviation
    of every pixel around its mean. Returns (batch,): summed over the pixels, with all constants.
    """
    pixels = 0.5 * ((x - mean) / sigma).square() + sigma.log() + 0.5 * math.log(2 * math.pi)
    return pixels.flatten(1).sum(1)


def _grey(generator: torch.Generator, batch: int, *pixels: int) -> dict:
    x = torch.rand(batch, *pixels, generator=generator, dtype=torch.float64)
    sigma = 0.1 + torch.rand((), generator=generator, dtype=torch.float64)
    return dict(mean=x + sigma * randn(generator, batch, *pixels), x=x, sigma=sigma)


@gaussian_nll.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape in ((4, 7), (3, 5), (2, 1, 4, 3), (5, 6)):
        yield _grey(generator, *shape)
    narrow = _grey(generator, 3, 8)
    yield edge(
        "sigma is so small that the density exceeds 1",
        stated="so small that the density exceeds 1",
        **(narrow | dict(sigma=0.02 * narrow["sigma"])),
    )
    yield edge("the batch holds one image", stated="the batch may hold one image", **_grey(generator, 1, 6))


@gaussian_nll.typical
def _(generator: torch.Generator) -> dict:
    return _grey(generator, 128, 784)


def _squares(mean: Tensor, x: Tensor) -> Tensor:
    return (x - mean).square().flatten(1)


def _constant(x: Tensor) -> float:
    return x[0].numel() * 0.5 * math.log(2 * math.pi)


@gaussian_nll.mistake(
    "log σ is missing. It is what a decoder pays for being vague: without it, a σ without bound would make every error cost "
    "nothing."
)
def without_log_sigma(mean, x, sigma):
    return 0.5 * (_squares(mean, x) / sigma.square()).sum(1) + _constant(x)


@gaussian_nll.mistake(
    "log σ is counted once per image. Every pixel has its own normal density, and each brings a log σ: it belongs inside the sum."
)
def one_log_sigma(mean, x, sigma):
    return 0.5 * (_squares(mean, x) / sigma.square()).sum(1) + sigma.log() + _constant(x)


@gaussian_nll.mistake("you divide by σ where the variance belongs: the square runs over the whole of (x − mean) / σ.")
def divided_by_the_deviation(mean, x, sigma):
    return 0.5 * (_squares(mean, x) / sigma).sum(1) + x[0].numel() * sigma.log() + _constant(x)


@gaussian_nll.mistake("the ½ before the square is missing: the normal density's exponent is −½ ((x − mean) / σ)².")
def without_one_half(mean, x, sigma):
    return (_squares(mean, x) / sigma.square()).sum(1) + x[0].numel() * sigma.log() + _constant(x)


@gaussian_nll.mistake(
    "the constant ½ log 2π per pixel is missing. Training does not notice it, but the number is then no log-density, and cannot "
    "be compared with anybody's."
)
def without_the_constant(mean, x, sigma):
    return 0.5 * (_squares(mean, x) / sigma.square()).sum(1) + x[0].numel() * sigma.log()


@gaussian_nll.mistake(
    "you average over the pixels. Log-densities of independent pixels add up; averaged, the KL beside them would weigh hundreds "
    "of times too much."
)
def averaged_over_pixels(mean, x, sigma):
    return gaussian_nll.reference(mean, x, sigma) / x[0].numel()


@gaussian_nll.mistake("you return the log-density itself. A loss is minimised: turn the sign.")
def the_log_density(mean, x, sigma):
    return -gaussian_nll.reference(mean, x, sigma)


gaussian_nll.hints(
    "Each pixel is a normal variable around the decoder's answer; write minus the logarithm of its density, and add pixels up.",
    "The normal density is exp(−½ ((x − mean) / σ)²) / (σ √(2π)). Minus its logarithm has three terms, and each of them is "
    "there for every pixel.",
    "`(0.5 * ((x - mean) / sigma).square() + sigma.log() + 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)`",
)
