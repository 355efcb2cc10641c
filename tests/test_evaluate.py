"""Measures agree with closed forms."""

import math
import sys

import pytest
import torch

from course_utils import evaluate


def normal(n: int, spread: float, seed: int) -> torch.Tensor:
    return spread * torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_accuracy_counts_the_largest_entries() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 3.0, 2.0]])
    assert evaluate.accuracy(logits, torch.tensor([0, 2, 2])) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "logits, labels",
    [(torch.ones(3), torch.ones(3)), (torch.ones(3, 2), torch.ones(2)), (torch.ones(0, 2), torch.ones(0))],
)
def test_accuracy_refuses_shapes_that_do_not_fit(logits: torch.Tensor, labels: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"need logits \(N, classes\) and labels \(N,\), got"):
        evaluate.accuracy(logits, labels)


def test_rmse_of_a_shift_is_the_shift() -> None:
    x = normal(50, 1.0, 0)
    assert evaluate.rmse(x - 0.3, x) == pytest.approx(0.3)
    assert evaluate.rmse(torch.tensor([3.0, 4.0]), torch.zeros(2)) == pytest.approx(math.sqrt(12.5))


def test_rmse_refuses_shapes_that_would_broadcast() -> None:
    with pytest.raises(ValueError, match=r"\(5, 1\) and target \(5,\) must be equal in shape"):
        evaluate.rmse(torch.zeros(5, 1), torch.zeros(5))


def test_the_interval_covers_a_known_difference_about_95_times_in_100() -> None:
    covered = 0
    for seed in range(200):
        a, b = normal(150, 1.0, 2 * seed), normal(150, 1.3, 2 * seed + 1)
        low, high = evaluate.paired_bootstrap(a, b, resamples=400, seed=seed)
        covered += low <= 1.0 - 1.3 <= high
    assert 178 <= covered <= 199  # 3.9 standard deviations below 190, of 200


def test_the_interval_is_as_wide_as_theory_says() -> None:
    # rmse of n normal errors has variance sigma^2 / 2n, so the gap's is the sum of both
    n, a, b = 4000, 1.0, 1.5
    low, high = evaluate.paired_bootstrap(normal(n, a, 1), normal(n, b, 2), resamples=2000)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt((a * a + b * b) / (2 * n)), rel=0.08)


def test_pairing_removes_what_both_forecasts_share() -> None:
    shared = normal(300, 1.0, 0)
    paired = evaluate.paired_bootstrap(1.1 * shared, shared, resamples=1000)
    apart = evaluate.paired_bootstrap(1.1 * normal(300, 1.0, 1), shared, resamples=1000)
    assert paired[0] > 0
    assert paired[1] - paired[0] < 0.2 * (apart[1] - apart[0])


def test_blocks_widen_the_interval_of_errors_that_resemble_their_neighbours() -> None:
    # Averages over 12 neighbours: the variance of a mean of squares grows by about 2/3 * 12
    slow = normal(3011, 1.0, 3).unfold(0, 12, 1).mean(1)
    fresh = normal(3000, float(slow.std()), 4)
    narrow, wide = (evaluate.paired_bootstrap(slow, fresh, resamples=1000, block=block) for block in (1, 60))
    assert wide[1] - wide[0] > 1.6 * (narrow[1] - narrow[0])


def test_equal_forecasts_differ_by_nothing() -> None:
    errors = normal(40, 1.0, 0)
    assert evaluate.paired_bootstrap(errors, errors.clone(), resamples=100, block=7) == (0.0, 0.0)


def test_one_block_leaves_nothing_to_chance() -> None:
    a, b = normal(40, 1.0, 0), normal(40, 2.0, 1)
    gap = a.square().mean().sqrt() - b.square().mean().sqrt()
    assert evaluate.paired_bootstrap(a, b, resamples=50, block=40) == pytest.approx((gap.item(), gap.item()))


def test_the_same_seed_gives_the_same_interval() -> None:
    a, b = normal(40, 1.0, 0), normal(40, 2.0, 1)
    first, again, other = (evaluate.paired_bootstrap(a, b, resamples=200, seed=seed) for seed in (3, 3, 4))
    assert first == again != other


def test_many_errors_and_resamples_do_not_need_much_memory() -> None:
    resource = pytest.importorskip("resource")  # not on Windows
    unit = 1e9 if sys.platform == "darwin" else 1e6
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    evaluate.paired_bootstrap(normal(5_000, 1.0, 0), normal(5_000, 1.1, 1))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit - before < 0.4  # GB; all at once would take 1.6


@pytest.mark.parametrize("block", [0, 11])
def test_a_block_that_cannot_be_is_refused(block: int) -> None:
    with pytest.raises(ValueError, match=f"between 1 and the 10 errors, not {block}"):
        evaluate.paired_bootstrap(torch.ones(10), torch.ones(10), block=block)


@pytest.mark.parametrize("shape", [(9,), (10, 1)])
def test_unequal_error_series_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="need two error series"):
        evaluate.paired_bootstrap(torch.ones(10), torch.ones(shape))
