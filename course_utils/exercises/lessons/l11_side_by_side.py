"""Exercises of lesson 11: four measures of what a model draws: Fréchet, precision and recall, bits per dimension, balance."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from course_utils.exercises.define import Case, define, edge, randn

# -- 11.1 ----------------------------------------------------------------------------------------------------------


@define(lesson="11", points=3, outputs="distance", forbidden=("course_utils.evaluate.frechet_distance",))
def frechet_distance(mean_a, cov_a, mean_b, cov_b):
    """The squared Fréchet distance of two normal distributions.

    mean_a, mean_b: (d,). cov_a, cov_b: (d, d), symmetric, without negative eigenvalues, perhaps singular.
    Returns a scalar: the squared distance of the means, plus the traces of both covariances, minus twice the sum of the
    roots of the eigenvalues of cov_a cov_b.
    """
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    shared = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * shared


def _covariance(generator: torch.Generator, d: int, rank: int) -> Tensor:
    """A covariance (d, d) of this rank; of full rank its eigenvalues are at least 0.3."""
    factor = randn(generator, d, rank)
    return factor @ factor.T / rank + (0.3 * torch.eye(d, dtype=torch.float64) if rank >= d else 0.0)


def _two_normals(generator: torch.Generator, d: int, ranks: tuple[int, int], apart: float = 1.0) -> dict:
    return dict(
        mean_a=apart * randn(generator, d),
        cov_a=_covariance(generator, d, ranks[0]),
        mean_b=apart * randn(generator, d),
        cov_b=2 * _covariance(generator, d, ranks[1]),
    )


@frechet_distance.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for d in (2, 3, 5, 8):
        yield _two_normals(generator, d, (2 * d, d + 1))
    # Far apart: a root turns a rounding error of 1e-7 into 3e-4, which must not count.
    yield edge("a covariance is singular", stated="perhaps singular", **_two_normals(generator, 7, (2, 3), apart=10.0))
    yield edge("d is 1", stated="may have a single dimension", **_two_normals(generator, 1, (4, 3)))


@frechet_distance.typical
def _(generator: torch.Generator) -> dict:
    return _two_normals(generator, 64, (200, 100))


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def _means(mean_a: Tensor, mean_b: Tensor) -> Tensor:
    return (mean_a - mean_b).square().sum()


def _shared(cov_a: Tensor, cov_b: Tensor) -> Tensor:
    root = _root(cov_a)
    return torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()


def _traces(cov_a: Tensor, cov_b: Tensor) -> Tensor:
    return cov_a.trace() + cov_b.trace()


@frechet_distance.mistake("you take the root at the end. The squared distance is asked for: what every table shows.")
def root_of_all(mean_a, cov_a, mean_b, cov_b):
    return (_means(mean_a, mean_b) + _traces(cov_a, cov_b) - 2 * _shared(cov_a, cov_b)).clamp(min=0).sqrt()


@frechet_distance.mistake(
    "the distance of the means is not squared. Traces are squares already, in the features' squared unit; so must this be."
)
def means_not_squared(mean_a, cov_a, mean_b, cov_b):
    return (mean_a - mean_b).norm() + _traces(cov_a, cov_b) - 2 * _shared(cov_a, cov_b)


@frechet_distance.mistake("the squares of the means' difference are averaged. Add them up: it is a distance.")
def means_averaged(mean_a, cov_a, mean_b, cov_b):
    return (mean_a - mean_b).square().mean() + _traces(cov_a, cov_b) - 2 * _shared(cov_a, cov_b)


@frechet_distance.mistake(
    "the means are forgotten: two clouds of equal shape would be at distance 0 wherever they lie."
)
def without_means(mean_a, cov_a, mean_b, cov_b):
    return _traces(cov_a, cov_b) - 2 * _shared(cov_a, cov_b)


@frechet_distance.mistake(
    "only the means are compared. A model that draws one average image over and over would be at distance 0."
)
def means_alone(mean_a, cov_a, mean_b, cov_b):
    return _means(mean_a, mean_b)


@frechet_distance.mistake(
    "the last part is subtracted once. It counts twice; else two equal distributions would not be at distance 0."
)
def subtracted_once(mean_a, cov_a, mean_b, cov_b):
    return _means(mean_a, mean_b) + _traces(cov_a, cov_b) - _shared(cov_a, cov_b)


@frechet_distance.mistake("the last part is added. What two distributions share brings them nearer: subtract it.")
def shared_added(mean_a, cov_a, mean_b, cov_b):
    return _means(mean_a, mean_b) + _traces(cov_a, cov_b) + 2 * _shared(cov_a, cov_b)


@frechet_distance.mistake(
    "you take the root of each *entry* of cov_a cov_b. The root of a matrix is another thing: it is the roots of the "
    "eigenvalues that are added up."
)
def roots_of_entries(mean_a, cov_a, mean_b, cov_b):
    roots = (cov_a @ cov_b).clamp(min=0).sqrt()
    return _means(mean_a, mean_b) + _traces(cov_a, cov_b) - 2 * roots.trace()


@frechet_distance.mistake(
    "the trace of cov_a cov_b is taken without any root, so that this part has the features' unit to the fourth power."
)
def without_a_root(mean_a, cov_a, mean_b, cov_b):
    return _means(mean_a, mean_b) + _traces(cov_a, cov_b) - 2 * (cov_a @ cov_b).trace()


@frechet_distance.mistake(
    "the eigenvalues are added first, and the root is taken of their sum. Each eigenvalue has a root of its own: `.sqrt().sum()`."
)
def root_of_the_sum(mean_a, cov_a, mean_b, cov_b):
    return _means(mean_a, mean_b) + _traces(cov_a, cov_b) - 2 * (cov_a @ cov_b).trace().clamp(min=0).sqrt()


@frechet_distance.mistake(
    "these are the singular values of cov_a cov_b. They are its eigenvalues only if it is symmetric, and it is not: use "
    "`torch.linalg.eigvals`."
)
def singular_values(mean_a, cov_a, mean_b, cov_b):
    shared = torch.linalg.svdvals(cov_a @ cov_b).sqrt().sum()
    return _means(mean_a, mean_b) + _traces(cov_a, cov_b) - 2 * shared


@frechet_distance.mistake(
    "you pair the eigenvalues of cov_a with those of cov_b by their size. That is right only where both clouds have the same "
    "axes: take the eigenvalues of the product."
)
def eigenvalues_of_each(mean_a, cov_a, mean_b, cov_b):
    spreads = [torch.linalg.eigvalsh(cov).clamp(min=0).sqrt() for cov in (cov_a, cov_b)]
    return _means(mean_a, mean_b) + (spreads[0] - spreads[1]).square().sum()


@frechet_distance.mistake(
    "you multiply the root of cov_a by the root of cov_b. The root of a product is the product of the roots only if the two "
    "matrices commute: if both clouds have the same axes."
)
def product_of_roots(mean_a, cov_a, mean_b, cov_b):
    return _means(mean_a, mean_b) + _traces(cov_a, cov_b) - 2 * (_root(cov_a) @ _root(cov_b)).trace()


@frechet_distance.mistake(
    "you use the diagonals alone, as if features did not vary together. Two thin clouds, one along each diagonal of a square, "
    "have equal variances and would be at distance 0."
)
def diagonals_alone(mean_a, cov_a, mean_b, cov_b):
    shared = (cov_a.diagonal() * cov_b.diagonal()).sqrt().sum()
    return _means(mean_a, mean_b) + _traces(cov_a, cov_b) - 2 * shared


@frechet_distance.mistake(
    "`eigvalsh` is for symmetric matrices, and cov_a cov_b is not one: it reads half of it and believes the rest. Use "
    "`torch.linalg.eigvals`, or the symmetric √cov_a cov_b √cov_a, which has the same eigenvalues."
)
def taken_for_symmetric(mean_a, cov_a, mean_b, cov_b):
    shared = torch.linalg.eigvalsh(cov_a @ cov_b).clamp(min=0).sqrt().sum()
    return _means(mean_a, mean_b) + _traces(cov_a, cov_b) - 2 * shared


@frechet_distance.mistake(
    "rounding has made an eigenvalue of 0 slightly negative, and its root is NaN: cut them off at 0, `.clamp(min=0)`."
)
def negative_by_rounding(mean_a, cov_a, mean_b, cov_b):
    root = _root(cov_a)
    shared = torch.linalg.eigvalsh(root @ cov_b @ root).sqrt().sum()
    return _means(mean_a, mean_b) + _traces(cov_a, cov_b) - 2 * shared


frechet_distance.hints(
    "Three parts are easy: the squared distance of the means, and two traces. For the fourth you need the eigenvalues of "
    "cov_a cov_b, which are never negative, though the product is not symmetric.",
    "`torch.linalg.eigvals(cov_a @ cov_b)` gives them as complex numbers: take `.real`. Or make a symmetric matrix with the same "
    "eigenvalues: √cov_a cov_b √cov_a, with √cov_a from `torch.linalg.eigh(cov_a)`.",
    "`shared = torch.linalg.eigvals(cov_a @ cov_b).real.clamp(min=0).sqrt().sum()`; then `(mean_a - mean_b).square().sum() + "
    "cov_a.trace() + cov_b.trace() - 2 * shared`.",
)

# -- 11.2 ----------------------------------------------------------------------------------------------------------


@define(lesson="11", points=3, outputs=("precision", "recall"), forbidden=("course_utils.evaluate.precision_recall",))
def precision_recall(real, fake, k):
    """How many fakes lie among the real points, and how many real points among the fakes.

    real: (N, d), fake: (M, d), features of images. k: int, at least 1, less than N and M.
    Around each point lies a ball that reaches to its k-th nearest neighbour in its own set, itself not counted. A point lies
    among a set if it is in at least one of the set's balls, borders included.
    Returns (precision, recall), two scalars: the share of the fakes among the real points, and the share of the real points
    among the fakes.
    """

    def share_among(points, centres):
        radii = torch.cdist(centres, centres).kthvalue(k + 1).values  # the nearest of all is the point itself
        return (torch.cdist(points, centres) <= radii).any(1).to(real.dtype).mean()

    return share_among(fake, real), share_among(real, fake)


def _clouds(generator: torch.Generator, n: int, m: int, d: int, k: int) -> dict:
    """Two clouds that overlap in part, so that neither share is 0 or 1."""
    shift = 0.7 * torch.ones(d, dtype=torch.float64)
    return dict(real=randn(generator, n, d), fake=0.8 * randn(generator, m, d) + shift, k=k)


@precision_recall.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for n, m, d, k in ((23, 17, 2, 2), (12, 21, 3, 1), (19, 24, 1, 3), (20, 15, 4, 3)):
        yield _clouds(generator, n, m, d, k)
    places = torch.tensor([0.0, 2.0, 6.0, 7.0], dtype=torch.float64)
    fakes = torch.tensor([-2.0, 4.0, 10.0, 11.0, 25.0], dtype=torch.float64)
    start = torch.randint(-5, 6, (), generator=generator)
    yield edge(
        "points lie on borders",
        stated="borders included",
        real=(places + start).unsqueeze(1),
        fake=(fakes + start).unsqueeze(1),
        k=1,
    )
    twice = _clouds(generator, 8, 9, 2, 2)
    yield edge(
        "a point occurs twice",
        stated="may occur twice",
        **(twice | {name: torch.cat([twice[name], twice[name][:5]]) for name in ("real", "fake")}),
    )


@precision_recall.typical
def _(generator: torch.Generator) -> dict:
    return _clouds(generator, 1000, 1000, 64, 3)


def _radii(centres: Tensor, place: int) -> Tensor:
    return torch.cdist(centres, centres).kthvalue(min(place, len(centres)), dim=1).values


def _in_a_ball(points: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    return (torch.cdist(points, centres) <= radii).any(1)


def _share(inside: Tensor, like: Tensor) -> Tensor:
    return inside.to(like.dtype).mean()


@precision_recall.mistake(
    "precision and recall are exchanged. Precision is about the fakes (do they look right?), recall about the real ones (is "
    "anything missing?)."
)
def exchanged(real, fake, k):
    precision, recall = precision_recall(real, fake, k)
    return recall, precision


@precision_recall.mistake(
    "each point counts as its own nearest neighbour, so that the balls are too small, and for k = 1 have no size at all. "
    "In a matrix of distances within a set, the smallest of each row is the point itself: take the (k + 1)-th."
)
def itself_counted(real, fake, k):
    return (
        _share(_in_a_ball(fake, real, _radii(real, k)), real),
        _share(_in_a_ball(real, fake, _radii(fake, k)), real),
    )


@precision_recall.mistake(
    "the balls reach one neighbour too far: the (k + 1)-th smallest distance of a row belongs to the k-th neighbour, since the "
    "point itself comes first. (Indices that count from 0, as those of `sort`, are one less: place k.)"
)
def one_too_far(real, fake, k):
    return (
        _share(_in_a_ball(fake, real, _radii(real, k + 2)), real),
        _share(_in_a_ball(real, fake, _radii(fake, k + 2)), real),
    )


@precision_recall.mistake("the border belongs to the ball: `<=`, not `<`. Its own k-th neighbour lies on it.")
def without_borders(real, fake, k):
    inside = [
        (torch.cdist(points, centres) < _radii(centres, k + 1)).any(1)
        for points, centres in ((fake, real), (real, fake))
    ]
    return _share(inside[0], real), _share(inside[1], real)


@precision_recall.mistake(
    "each point asks only the ball of its nearest neighbour in the other set. A ball further away may be larger, and hold "
    "it: it has to be in *some* ball."
)
def nearest_ball_alone(real, fake, k):
    shares = []
    for points, centres in ((fake, real), (real, fake)):
        distances, nearest = torch.cdist(points, centres).min(1)
        shares.append(_share(distances <= _radii(centres, k + 1)[nearest], real))
    return shares[0], shares[1]


@precision_recall.mistake(
    "the balls lie around the points that are asked about, not around the set that they are held against: this is recall in "
    "the place of precision, nearly. For precision, balls around the *real* points."
)
def balls_around_the_asked(real, fake, k):
    shares = [
        _share((torch.cdist(points, centres) <= _radii(points, k + 1).unsqueeze(1)).any(1), real)
        for points, centres in ((fake, real), (real, fake))
    ]
    return shares[0], shares[1]


@precision_recall.mistake(
    "the balls reach to the k-th nearest point of the *other* set. Their size comes from their own set: how dense it is there."
)
def sized_by_the_others(real, fake, k):
    between = torch.cdist(fake, real)
    real_radii = between.kthvalue(k, dim=0).values
    fake_radii = between.kthvalue(k, dim=1).values
    return _share((between <= real_radii).any(1), real), _share((between <= fake_radii.unsqueeze(1)).any(0), real)


@precision_recall.mistake(
    "one radius serves for all balls, their mean. Each point has its own: small where the set is dense, large where it is thin."
)
def one_radius_for_all(real, fake, k):
    return (
        _share(_in_a_ball(fake, real, _radii(real, k + 1).mean()), real),
        _share(_in_a_ball(real, fake, _radii(fake, k + 1).mean()), real),
    )


@precision_recall.mistake(
    "the balls reach to the k-th *farthest* point of their set. `topk` takes the largest, unless you say `largest=False`."
)
def farthest(real, fake, k):
    return (
        _share(_in_a_ball(fake, real, _radii(real, len(real) + 1 - k)), real),
        _share(_in_a_ball(real, fake, _radii(fake, len(fake) + 1 - k)), real),
    )


@precision_recall.mistake(
    "one side is squared and the other is not: hold distances against distances, or squares against squares."
)
def radii_squared(real, fake, k):
    return (
        _share(_in_a_ball(fake, real, _radii(real, k + 1).square()), real),
        _share(_in_a_ball(real, fake, _radii(fake, k + 1).square()), real),
    )


@precision_recall.mistake(
    "your recall keeps the real points' balls, and asks which of them hold a fake. (That is another measure, coverage: Naeem "
    "and others, 2020.) For recall the balls lie around the fakes."
)
def coverage_for_recall(real, fake, k):
    precision, _ = precision_recall(real, fake, k)
    return precision, _share((torch.cdist(real, fake) <= _radii(real, k + 1).unsqueeze(1)).any(1), real)


@precision_recall.mistake("a point must be in *all* balls here. One is enough: `any`, not `all`.")
def in_all_balls(real, fake, k):
    return (
        _share((torch.cdist(fake, real) <= _radii(real, k + 1)).all(1), real),
        _share((torch.cdist(real, fake) <= _radii(fake, k + 1)).all(1), real),
    )


@precision_recall.mistake(
    "you count the points. Shares are asked for, between 0 and 1, so that sets of other sizes can be compared."
)
def counted(real, fake, k):
    precision, recall = precision_recall(real, fake, k)
    return precision * len(fake), recall * len(real)


@precision_recall.mistake(
    "these are the shares of *pairs*: how many balls each point is in, on average. Ask for each point whether it is in any."
)
def shares_of_pairs(real, fake, k):
    return (
        _share(torch.cdist(fake, real) <= _radii(real, k + 1), real),
        _share(torch.cdist(real, fake) <= _radii(fake, k + 1), real),
    )


@precision_recall.mistake(
    "you ask which *balls* are hit. Ask which points are in a ball: look along the other dimension of the matrix."
)
def balls_that_are_hit(real, fake, k):
    return (
        _share((torch.cdist(fake, real) <= _radii(real, k + 1)).any(0), real),
        _share((torch.cdist(real, fake) <= _radii(fake, k + 1)).any(0), real),
    )


@precision_recall.mistake("the second is precision once more. For recall, real and fake change their places.")
def precision_twice(real, fake, k):
    precision, _ = precision_recall(real, fake, k)
    return precision, precision


@precision_recall.mistake(
    "points at distance 0 are left out, which is more than the point itself: one that occurs twice has a true neighbour at "
    "distance 0. Leave out the diagonal, or count one place further."
)
def doubles_left_out(real, fake, k):
    shares = []
    for points, centres in ((fake, real), (real, fake)):
        within = torch.cdist(centres, centres)
        radii = within.masked_fill(within == 0, torch.inf).kthvalue(k, dim=1).values
        shares.append(_share(_in_a_ball(points, centres, radii), real))
    return shares[0], shares[1]


precision_recall.hints(
    "Write one function for both: which share of some points lies in the balls around some centres? Then call it twice.",
    "`torch.cdist(centres, centres)` gives the distances within a set; in each row the smallest is 0, the point itself, so the "
    "radius is the (k + 1)-th smallest: `.kthvalue(k + 1).values`, or `.sort(1).values[:, k]`.",
    "`(torch.cdist(points, centres) <= radii).any(1)` tells which points are in some ball; its share is `.double().mean()`.",
)

# -- 11.3 ----------------------------------------------------------------------------------------------------------


@define(lesson="11", points=1, outputs="share")
def balanced_share(labels, n_classes):
    """How evenly the classes occur: the share of the rarest one, as a part of what it would be if all were equal.

    labels: (N,) int64, from 0 to n_classes − 1. n_classes: int.
    Returns a scalar: 1 if all classes occur equally often, 0 where a class is absent.
    """
    return torch.bincount(labels, minlength=n_classes).min() * n_classes / len(labels)


def _labels(generator: torch.Generator, n: int, n_classes: int, *absent: int) -> Tensor:
    """Labels that hold every class but the absent ones at least twice, shuffled."""
    present = torch.tensor([c for c in range(n_classes) if c not in absent])
    drawn = present[torch.randint(len(present), (n,), generator=generator)]
    labels = torch.cat([present, present, drawn])
    return labels[torch.randperm(len(labels), generator=generator)]


@balanced_share.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for n, n_classes in ((30, 3), (17, 4), (60, 10), (9, 2)):
        yield dict(labels=_labels(generator, n, n_classes), n_classes=n_classes)
    for absent in (1, 4):
        yield edge(
            "a class is absent",
            stated="where a class is absent",
            labels=_labels(generator, 20, 5, absent),
            n_classes=5,
        )
    yield edge(
        "all classes occur equally often",
        stated="all classes occur equally often",
        labels=torch.arange(3).repeat(4)[torch.randperm(12, generator=generator)],
        n_classes=3,
    )


@balanced_share.typical
def _(generator: torch.Generator) -> dict:
    return dict(labels=_labels(generator, 2000, 10), n_classes=10)


def _counts(labels: Tensor, n_classes: int) -> Tensor:
    return torch.bincount(labels, minlength=n_classes)


@balanced_share.mistake(
    "this is the share of the rarest class by itself. Times n_classes, so that 1 means balanced for any number of classes."
)
def times_missing(labels, n_classes):
    return _counts(labels, n_classes).min() / len(labels)


@balanced_share.mistake(
    "this is the share of the most frequent class. Ask for the rarest: it is the one that goes missing."
)
def most_frequent(labels, n_classes):
    return _counts(labels, n_classes).max() * n_classes / len(labels)


@balanced_share.mistake(
    "the rarest class is compared with the most frequent one. It is compared with an equal share, 1 / n_classes."
)
def rarest_of_the_most_frequent(labels, n_classes):
    counts = _counts(labels, n_classes)
    return counts.min() / counts.max()


@balanced_share.mistake(
    "only classes that occur are looked at, so that an absent one goes unnoticed. Count with `torch.bincount(labels, "
    "minlength=n_classes)`: then it has a 0."
)
def of_those_that_occur(labels, n_classes):
    return labels.unique(return_counts=True)[1].min() * n_classes / len(labels)


@balanced_share.mistake(
    "the last classes are overlooked when they are absent: `bincount` stops at the largest label. Say `minlength=n_classes`."
)
def last_ones_overlooked(labels, n_classes):
    return torch.bincount(labels).min() * n_classes / len(labels)


@balanced_share.mistake("you count the rarest class. Divide by how many labels there are: a share is asked for.")
def rarest_counted(labels, n_classes):
    return _counts(labels, n_classes).min() * n_classes / 1.0


@balanced_share.mistake(
    "you divide by n_classes. An equal share is 1 / n_classes, so dividing by *it* multiplies by n_classes."
)
def divided_by_the_classes(labels, n_classes):
    return _counts(labels, n_classes).min() / (len(labels) * n_classes)


@balanced_share.mistake("this is 1 as soon as every class occurs, however rarely. Ask how often the rarest one does.")
def classes_present(labels, n_classes):
    return (_counts(labels, n_classes) > 0).double().mean()


@balanced_share.mistake(
    "this is the entropy of the shares, as a part of the largest possible. It hardly falls when one class of ten is missing; "
    "the rarest class's share falls to 0."
)
def entropy_of_the_shares(labels, n_classes):
    shares = _counts(labels, n_classes).double() / len(labels)
    return -torch.xlogy(shares, shares).sum() / math.log(n_classes)


balanced_share.hints(
    "Count how often each class occurs, absent ones included, and take the smallest count.",
    "`torch.bincount(labels, minlength=n_classes)` counts. Divide by the number of labels, and compare with 1 / n_classes.",
    "`torch.bincount(labels, minlength=n_classes).min() * n_classes / len(labels)`",
)

# -- 11.4 ----------------------------------------------------------------------------------------------------------


@define(lesson="11", points=1, outputs="bits")
def nats_to_bits_per_dim(nll, n_dims, levels):
    """Nats per image as bits per dimension, also of a density.

    nll: nats per image, a tensor of any shape. n_dims: how many numbers make up an image. levels: None if the nats are minus
    the logarithm of a probability; or the number of grey levels, if they are that of a density, and the density is of pixels
    that were scaled from [0, levels] to [0, 1]: then log2(levels) bits per dimension are added.
    Returns a tensor of nll's shape.
    """
    bits = nll / (n_dims * math.log(2))
    return bits if levels is None else bits + math.log2(levels)


def _nats(generator: torch.Generator, *shape: int) -> Tensor:
    return 80 + 20 * randn(generator, *shape)


@nats_to_bits_per_dim.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape, n_dims, levels in (((5,), 784, None), ((3,), 12, 256), ((2, 4), 192, 32), ((4,), 49, 16)):
        yield dict(nll=_nats(generator, *shape), n_dims=n_dims, levels=levels)
    yield dict(nll=-_nats(generator, 3), n_dims=20, levels=256)  # a density may be large
    yield edge("nll is one number", stated="of any shape", nll=_nats(generator), n_dims=64, levels=None)


@nats_to_bits_per_dim.typical
def _(generator: torch.Generator) -> dict:
    return dict(nll=_nats(generator, 10_000), n_dims=784, levels=None)


def _per_dim(nll: Tensor, n_dims: int) -> Tensor:
    return nll / (n_dims * math.log(2))


def _added(levels: int | None) -> float:
    return 0.0 if levels is None else math.log2(levels)


@nats_to_bits_per_dim.mistake("these are nats per dimension. A bit is log 2 = 0.693 nats: divide by `math.log(2)` too.")
def nats_kept(nll, n_dims, levels):
    return nll / n_dims + _added(levels)


@nats_to_bits_per_dim.mistake(
    "you multiply by log 2, which turns bits into nats. There are more bits than nats: divide."
)
def wrong_way(nll, n_dims, levels):
    return nll * math.log(2) / n_dims + _added(levels)


@nats_to_bits_per_dim.mistake("these are bits for the whole image: divide by n_dims.")
def bits_of_the_image(nll, n_dims, levels):
    return nll / math.log(2) + _added(levels)


@nats_to_bits_per_dim.mistake("the levels are left out: a density on [0, 1] looks 8 bits cheaper than 256 levels are.")
def levels_left_out(nll, n_dims, levels):
    return _per_dim(nll, n_dims)


@nats_to_bits_per_dim.mistake(
    "the levels' bits are subtracted. Squeezed to [0, 1], the pixels' density is `levels` times as high, and minus its "
    "logarithm too low: put it back."
)
def levels_subtracted(nll, n_dims, levels):
    return _per_dim(nll, n_dims) - _added(levels)


@nats_to_bits_per_dim.mistake(
    "the levels come in as nats, `math.log(levels)`. Bits are added to bits: `math.log2(levels)`."
)
def levels_in_nats(nll, n_dims, levels):
    return _per_dim(nll, n_dims) + (0.0 if levels is None else math.log(levels))


@nats_to_bits_per_dim.mistake(
    "the levels' share is divided by n_dims as well. *Every* dimension was squeezed, so each of them gets log2(levels) bits."
)
def levels_shared_out(nll, n_dims, levels):
    return _per_dim(nll, n_dims) + _added(levels) / n_dims


@nats_to_bits_per_dim.mistake(
    "the levels' bits are added to nats per image, before you divide. Turn the nats into bits per dimension first."
)
def added_too_early(nll, n_dims, levels):
    return _per_dim(nll + _added(levels), n_dims)


@nats_to_bits_per_dim.mistake("you add 8 bits for any number of levels. 8 is right for 256 of them: log2(levels).")
def eight_for_all(nll, n_dims, levels):
    return _per_dim(nll, n_dims) + (0.0 if levels is None else 8.0)


@nats_to_bits_per_dim.mistake(
    "levels=None is taken for 256 levels. It says that the nats are those of a probability: then nothing is added."
)
def none_for_256(nll, n_dims, levels):
    return _per_dim(nll, n_dims) + math.log2(256 if levels is None else levels)


@nats_to_bits_per_dim.mistake(
    "the levels' bits are added for all dimensions at once. This is per dimension: add them once."
)
def levels_of_the_image(nll, n_dims, levels):
    return _per_dim(nll, n_dims) + n_dims * _added(levels)


@nats_to_bits_per_dim.mistake(
    "you take levels − 1, the largest level. The pixels ran from 0 to `levels`, each level as an interval of length 1."
)
def largest_level(nll, n_dims, levels):
    return _per_dim(nll, n_dims) + (0.0 if levels is None else math.log2(levels - 1))


@nats_to_bits_per_dim.mistake(
    "you divide by the levels' bits, as if they were a unit. They are what the scaling has taken from every pixel: add them."
)
def divided_by_levels(nll, n_dims, levels):
    return _per_dim(nll, n_dims) / (1.0 if levels is None else math.log2(levels))


@nats_to_bits_per_dim.mistake("you average over the images. Each keeps its own number, in the shape of `nll`.")
def averaged(nll, n_dims, levels):
    return (_per_dim(nll, n_dims) + _added(levels)).mean()


nats_to_bits_per_dim.hints(
    "First as in lesson 08: from an image to one of its dimensions, and from nats to bits. The levels come afterwards.",
    "If `levels` is None that was all. Else add its logarithm to base 2.",
    "`bits = nll / (n_dims * math.log(2))`, and `bits + math.log2(levels)` where levels is not None.",
)
