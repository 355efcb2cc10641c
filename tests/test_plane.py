"""The ring's densities and best guesses are exact; the moons are two and alike."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from course_utils import evaluate, plane


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def mixture(a: float, b: float) -> MixtureSameFamily:
    """The density of a · ring + b · noise, by torch's distributions."""
    covariance = (a**2 * plane.SPREAD**2 + b**2) * torch.eye(2, dtype=torch.float64)
    return MixtureSameFamily(
        Categorical(torch.ones(8, dtype=torch.float64)), MultivariateNormal(a * plane.CENTRES, covariance)
    )


def test_the_ring_has_about_unit_variance_and_its_density(generator: torch.Generator) -> None:
    points = plane.ring(20_000, generator)
    assert ((points.var(0) - 1).abs() < 0.05).all()
    torch.testing.assert_close(plane.log_density(points[:50], 1.0, 0.0), mixture(1.0, 0.0).log_prob(points[:50]))


def test_a_point_of_each_its_own_noise_has_the_density_of_that_noise() -> None:
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    levels = [(1.0, 0.1), (0.6, 0.8), (0.0, 1.0)]
    a, b = torch.tensor(levels, dtype=torch.float64).T
    expected = torch.cat([mixture(*level).log_prob(x[k : k + 1]) for k, level in enumerate(levels)])
    torch.testing.assert_close(plane.log_density(x, a, b), expected)


def test_the_moons_are_two_and_alike(generator: torch.Generator) -> None:
    points = plane.moons(20_000, generator)
    assert points.mean(0).abs().max() < 0.03  # turned around by half a circle, one is the other
    assert evaluate.energy_distance(points[:2000], -points[2000:4000]) < 0.01


def test_one_cloud_has_a_normal_density(generator: torch.Generator) -> None:
    cloud = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    points = plane.ring(4000, generator, cloud)
    normal = MultivariateNormal(0.6 * cloud[0], (0.36 * plane.SPREAD**2 + 0.64) * torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(plane.log_density(points, 0.6, 0.8, cloud), normal.log_prob(points))
    assert ((points - cloud).std(0) - plane.SPREAD).abs().max() < 0.005


def test_the_share_in_clouds_is_that_of_three_spreads(generator: torch.Generator) -> None:
    assert plane.share_in_clouds(plane.ring(20_000, generator)) == pytest.approx(100 * (1 - math.exp(-9 / 2)), abs=0.4)
    between = torch.tensor([[plane.RADIUS, 0.0], [0.0, 0.0]])
    assert plane.share_in_clouds(between) == 50


@pytest.mark.parametrize("t", [0.05, 0.4, 0.95])
def test_the_exact_noise_is_the_score_times_minus_b(generator: torch.Generator, t: float) -> None:
    a, b = math.cos(t), math.sin(t)
    x = torch.randn(40, 2, generator=generator, dtype=torch.float64).requires_grad_()
    (score,) = torch.autograd.grad(mixture(a, b).log_prob(x).sum(), x)
    torch.testing.assert_close(plane.exact_noise(x.detach(), a, b), -b * score)


def test_the_exact_noise_is_the_mean_of_the_noise_in_points_near_by(generator: torch.Generator) -> None:
    clean = plane.ring(400_000, generator)
    noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    x = 0.6 * clean + 0.8 * noise
    for place in (torch.tensor([0.5, 0.2]), torch.tensor([-1.0, 0.4])):
        near = (x - place).norm(dim=1) < 0.1
        expected = plane.exact_noise(x[near], 0.6, 0.8).mean(0)
        assert (noise[near].mean(0) - expected).abs().max() < 5 * noise[near].std() / near.sum().sqrt()


def test_the_exact_noise_of_one_cloud_is_a_straight_line(generator: torch.Generator) -> None:
    """Of one normal cloud the mean noise is b (x − a c) / (a² s² + b²)."""
    x, cloud = torch.randn(9, 2, generator=generator, dtype=torch.float64), torch.tensor([[1.0, -2.0]])
    expected = 0.6 * (x - 0.8 * cloud) / (0.64 * plane.SPREAD**2 + 0.36)
    torch.testing.assert_close(plane.exact_noise(x, 0.8, 0.6, cloud), expected)


def test_the_exact_velocity_is_clean_minus_noise_from_the_first_moment_to_the_last(generator: torch.Generator) -> None:
    x = torch.randn(30, 2, generator=generator, dtype=torch.float64)

    def at(t: float) -> Tensor:
        return plane.exact_velocity(x, torch.full((30,), t, dtype=torch.float64))

    for t in (0.3, 0.8):
        noise = plane.exact_noise(x, t, 1 - t)
        torch.testing.assert_close(at(t), (x - (1 - t) * noise) / t - noise)
    torch.testing.assert_close(at(0.0), -x)
    assert at(1.0).isfinite().all()


def test_the_bound_lies_above_the_truth_and_comes_down_to_it(generator: torch.Generator) -> None:
    points = plane.ring(4000, generator)
    truth = -plane.log_density(points, 1.0, 0.0).mean()
    gaps = [plane.bound(points, steps, generator).mean() - truth for steps in (5, 20, 400)]
    assert gaps[0] > gaps[1] > gaps[2] > -0.02
    assert gaps[2] < 0.15


def test_the_bound_of_one_cloud_has_a_gap_too_though_its_steps_back_are_normal(generator: torch.Generator) -> None:
    cloud = plane.CENTRES[:1]
    points = plane.ring(4000, generator, cloud)
    truth = -plane.log_density(points, 1.0, 0.0, cloud).mean()
    gaps = [plane.bound(points, steps, generator, cloud).mean() - truth for steps in (5, 400)]
    assert gaps[0] > 10 and abs(gaps[1]) < 0.15
