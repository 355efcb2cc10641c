"""Lesson 11: more right answers, answers that are nearly right, and calls that do the exercise's work."""

import math
from collections.abc import Callable

import pytest
import scipy.linalg
import torch
from torch import Tensor

from course_utils import evaluate
from course_utils.boxed import forbidden
from course_utils.exercises import check
from course_utils.exercises.catalogue import definition

frechet_distance = definition("frechet_distance").reference
precision_recall = definition("precision_recall").reference
balanced_share = definition("balanced_share").reference


def by_eigenvalues_of_the_product(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> Tensor:
    shared = torch.linalg.eigvals(cov_a @ cov_b).real.clamp(min=0).sqrt().sum()
    return (mean_a - mean_b).square().sum() + torch.trace(cov_a + cov_b) - 2 * shared


def by_complex_roots(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> Tensor:
    roots = torch.linalg.eigvals(cov_a @ cov_b).sqrt().real
    return (mean_a - mean_b) @ (mean_a - mean_b) + torch.trace(cov_a) + torch.trace(cov_b) - 2 * roots.sum()


def by_nuclear_norm(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> Tensor:
    """The singular values of √A √B are the roots of the eigenvalues of A B."""
    roots = []
    for matrix in (cov_a, cov_b):
        values, vectors = torch.linalg.eigh(matrix)
        roots.append(vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T)
    shared = torch.linalg.matrix_norm(roots[0] @ roots[1], "nuc")
    return torch.dist(mean_a, mean_b) ** 2 + (cov_a + cov_b).trace() - 2 * shared


def by_scipy(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> Tensor:
    root = scipy.linalg.sqrtm((cov_a @ cov_b).double().numpy())
    return (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * float(root.trace().real)


def by_sorting(real: Tensor, fake: Tensor, k: int) -> tuple[Tensor, Tensor]:
    between = (fake[:, None] - real[None]).square().sum(2)  # squares throughout
    radii = [(x[:, None] - x[None]).square().sum(2).sort(1).values[:, k] for x in (real, fake)]
    return (between <= radii[0]).any(1).double().mean(), (radii[1] >= between.T).any(1).double().mean()


def by_topk_without_the_diagonal(real: Tensor, fake: Tensor, k: int) -> tuple[Tensor, Tensor]:
    def radii(x: Tensor) -> Tensor:
        within = torch.cdist(x, x).fill_diagonal_(math.inf)
        return within.topk(k, largest=False).values[:, -1]

    between = torch.cdist(real, fake)  # (N, M)
    return (between <= radii(real)[:, None]).any(0).float().mean(), (between <= radii(fake)).any(1).float().mean()


def by_factors(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> Tensor:
    """With C = L L^T on both sides, the singular values of L_a^T L_b."""
    factors = [u * s.sqrt() for u, s, _ in map(torch.linalg.svd, (cov_a, cov_b))]
    shared = torch.linalg.svdvals(factors[0].T @ factors[1]).sum()
    return torch.linalg.norm(mean_a - mean_b) ** 2 + cov_a.trace() + cov_b.trace() - 2 * shared


def by_loops(real: Tensor, fake: Tensor, k: int) -> list[float]:
    def share(points: Tensor, centres: Tensor) -> float:
        within = [sorted((a - b).norm().item() for b in centres) for a in centres]
        return sum(any((p - c).norm() <= d[k] for c, d in zip(centres, within, strict=True)) for p in points) / len(
            points
        )

    return [share(fake, real), share(real, fake)]


RIGHT = [
    ("frechet_distance", by_eigenvalues_of_the_product),
    ("frechet_distance", by_complex_roots),
    ("frechet_distance", by_nuclear_norm),
    ("frechet_distance", by_factors),
    ("precision_recall", by_loops),
    ("precision_recall", by_sorting),
    ("precision_recall", by_topk_without_the_diagonal),
    ("nats_to_bits_per_dim", lambda nll, n_dims, levels: nll / math.log(2) / n_dims + math.log2(levels or 1)),
    ("nats_to_bits_per_dim", lambda nll, n_dims, levels: (nll / n_dims + math.log(levels or 1)) / math.log(2)),
    ("balanced_share", lambda labels, n: torch.searchsorted(labels.sort().values, torch.arange(n + 1)).diff().min() * n / len(labels)),
    ("balanced_share", lambda labels, n: torch.nn.functional.one_hot(labels, n).double().mean(0).min() * n),
    ("balanced_share", lambda labels, n: torch.stack([(labels == c).float().mean() for c in range(n)]).min() * n),
    ("balanced_share", lambda labels, n: min((labels == c).sum().item() for c in range(n)) / len(labels) * n),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_another_way_to_write_it_is_right_too(name: str, answer: Callable) -> None:
    for seed in range(3):
        outcome = check(name, answer, seed)
        assert outcome.status == "right", outcome.message


@pytest.mark.filterwarnings("ignore")  # of scipy, about singular matrices
def test_scipys_root_of_a_matrix_is_right_where_there_is_one() -> None:
    """Of a singular product it may find none: then the answer is nearly right at worst."""
    assert {check("frechet_distance", by_scipy, seed).status for seed in range(3)} <= {"right", "nearly right"}


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("precision_recall", lambda real, fake, k: definition("precision_recall").mistakes["without_borders"].function(real, fake, k)),
        ("balanced_share", lambda labels, n: torch.bincount(labels).min() * n / len(labels)),
        ("nats_to_bits_per_dim", lambda nll, n, levels: torch.stack([v / (n * math.log(2)) for v in nll]) + math.log2(levels or 1)),
    ],
)  # fmt: skip
def test_an_answer_that_fails_on_an_edge_alone_is_nearly_right(name: str, answer: Callable) -> None:
    for seed in range(3):
        assert check(name, answer, seed).status == "nearly right"


def _distance(shared: Callable) -> Callable:
    """An answer to 11.1 with another last part."""
    return lambda mean_a, cov_a, mean_b, cov_b: (
        (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * shared(cov_a, cov_b)
    )


def _shares(radii: Callable) -> Callable:
    """An answer to 11.2 with other radii."""

    def answer(real: Tensor, fake: Tensor, k: int) -> tuple[Tensor, Tensor]:
        pairs = (fake, real), (real, fake)
        return tuple((torch.cdist(a, b) <= radii(torch.cdist(b, b), k)).any(1).double().mean() for a, b in pairs)  # type: ignore[return-value]

    return answer


WRONG = [
    ("frechet_distance", _distance(lambda a, b: torch.linalg.eigvals(a @ b).real.sum().sqrt()), "added first"),
    ("frechet_distance", _distance(lambda a, b: torch.linalg.svdvals(a @ b).sqrt().sum()), "singular values"),
    ("frechet_distance", _distance(lambda a, b: (torch.linalg.eigvalsh(a) * torch.linalg.eigvalsh(b)).clamp(min=0).sqrt().sum()), "by their size"),
    ("frechet_distance", _distance(lambda a, b: (a @ b).trace()), "without any root"),
    ("precision_recall", _shares(lambda d, k: d.topk(k).values[:, -1]), "farthest"),
    ("precision_recall", _shares(lambda d, k: d.kthvalue(k + 1).values ** 2), "squared"),
    ("precision_recall", _shares(lambda d, k: d.kthvalue(k).values), "its own nearest"),
    ("balanced_share", lambda labels, n: torch.bincount(labels, minlength=n).double().mean() * n / len(labels), "as soon as every class occurs"),
    ("nats_to_bits_per_dim", lambda nll, n, levels: (nll + math.log2(levels or 1)) / (n * math.log(2)), "before you divide"),
    ("nats_to_bits_per_dim", lambda nll, n, levels: nll / (n * math.log(2)) + (8 if levels else 0), "8 bits for any"),
    ("nats_to_bits_per_dim", lambda nll, n, levels: nll / (n * math.log(2)) + math.log2(levels or 256), "taken for 256"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "words"), WRONG)
def test_a_likely_slip_is_named(name: str, answer: Callable, words: str) -> None:
    for seed in range(3):
        outcome = check(name, answer, seed)
        assert outcome.status == "diagnosed" and words in outcome.message, outcome.message


def test_coverage_is_not_taken_for_recall() -> None:
    def answer(real: Tensor, fake: Tensor, k: int) -> tuple[Tensor, Tensor]:
        precision, _ = precision_recall(real, fake, k)
        reach = torch.cdist(real, real).kthvalue(k + 1).values
        return precision, (torch.cdist(real, fake).amin(1) <= reach).double().mean()

    assert "coverage" in check("precision_recall", answer, 0).message


@pytest.mark.parametrize("d", [1, 5, 40])
def test_the_distance_of_moments_is_that_of_the_features_they_are_of(d: int) -> None:
    generator = torch.Generator().manual_seed(d)
    a, b = (torch.randn(30, d, generator=generator, dtype=torch.float64) * scale for scale in (1.0, 2.0))
    moments = [moment for x in (a, b) for moment in (x.mean(0), torch.cov(x.T).view(d, d))]
    assert frechet_distance(*moments).item() == pytest.approx(evaluate.frechet_distance(a, b), rel=1e-6)


def test_two_normals_on_a_line_are_apart_by_their_means_and_their_spreads() -> None:
    numbers = [torch.tensor(value, dtype=torch.float64) for value in ([3.0], [[4.0]], [-1.0], [[25.0]])]
    assert frechet_distance(*numbers).item() == pytest.approx((3 + 1) ** 2 + (5 - 2) ** 2)


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_are_those_of_the_course(k: int) -> None:
    generator = torch.Generator().manual_seed(k)
    real, fake = torch.randn(90, 6, generator=generator), 0.8 * torch.randn(70, 6, generator=generator) + 0.3
    ours = [share.item() for share in precision_recall(real.double(), fake.double(), k)]
    assert ours == pytest.approx(evaluate.precision_recall(real, fake, k))


@pytest.mark.parametrize("name", ["frechet_distance", "precision_recall"])
def test_the_courses_own_ruler_is_no_answer(name: str) -> None:
    cells = [
        "from course_utils import evaluate",
        f"@exercise\ndef {name}(*given):\n    return evaluate.{name}(*given)",
        f"from course_utils.evaluate import {name} as done",
    ]
    calls = definition(name).forbidden
    assert forbidden.calls(calls, name, cells) == list(calls)
    assert forbidden.calls(calls, name, [f"@exercise\ndef {name}(*given):\n    return sorted(given)"]) == []


def test_a_class_that_never_comes_makes_the_share_0_wherever_it_stands() -> None:
    for absent in range(4):
        labels = torch.tensor([c for c in range(4) if c != absent] * 3)
        assert balanced_share(labels, 4) == 0
