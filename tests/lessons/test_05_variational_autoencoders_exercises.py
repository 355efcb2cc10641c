"""Lesson 05: more right answers, answers that are nearly right, and the common slips by their names."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Normal

from course_utils.exercises import check
from course_utils.exercises.catalogue import definition

kl_to_standard_normal = definition("kl_to_standard_normal").reference
free_bits = definition("free_bits").reference


def kl_as_in_the_paper(mu: Tensor, logvar: Tensor) -> Tensor:
    return -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp(), dim=1)


def kl_by_deviations(mu: Tensor, logvar: Tensor) -> Tensor:
    deviation = torch.exp(0.5 * logvar)
    return (0.5 * (mu**2 + deviation**2 - 1) - deviation.log()).sum(-1)


def elbo_summed_first(logits: Tensor, x: Tensor, mu: Tensor, logvar: Tensor, beta: float) -> Tensor:
    pixels = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    return (pixels + torch.tensor(beta) * kl_as_in_the_paper(mu, logvar).sum()) / len(x)


def elbo(
    pixels: Callable[[Tensor, Tensor], Tensor] = lambda logits, x: F.softplus(logits) - x * logits,
    combine: Callable[[Tensor, Tensor, float], Tensor] = lambda pixels, kl, beta: (pixels + beta * kl).mean(),
) -> Callable:
    """An answer to `negative_elbo` with this loss of each pixel, and with this end: from both terms of each image."""

    def answer(logits: Tensor, x: Tensor, mu: Tensor, logvar: Tensor, beta: float) -> Tensor:
        return combine(pixels(logits, x).flatten(1).sum(1), kl_as_in_the_paper(mu, logvar), beta)

    return answer


def shifted_by(shift: Callable[[Tensor], Tensor]) -> Callable:
    """An answer to `importance_bound` that takes `shift(log_weights)` out of the exponential."""
    return lambda log_weights: shift(log_weights) + (log_weights - shift(log_weights)).exp().mean(0).log()


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("kl_to_standard_normal", kl_as_in_the_paper),
        ("kl_to_standard_normal", kl_by_deviations),
        ("reparameterise", lambda mu, logvar, noise: noise * logvar.exp() ** 0.5 + mu),
        ("negative_elbo", elbo()),
        ("negative_elbo", elbo(lambda logits, x: -x * F.logsigmoid(logits) - (1 - x) * F.logsigmoid(-logits))),
        ("negative_elbo", elbo_summed_first),
        ("importance_bound", shifted_by(lambda w: w.max(0).values)),
        ("importance_bound", lambda log_weights: torch.logcumsumexp(log_weights, 0)[-1] - math.log(len(log_weights))),
        ("importance_bound", lambda log_weights: torch.logsumexp(log_weights - math.log(len(log_weights)), 0)),
        ("free_bits", lambda kl, floor: torch.maximum(kl.mean(0), torch.tensor(floor)).sum()),
        ("free_bits", lambda kl, floor: torch.where(kl.mean(0) > floor, kl.mean(0), torch.tensor(floor)).sum()),
        ("free_bits", lambda kl, floor: torch.where(kl.mean(0) > floor, kl.mean(0), floor).sum()),
        ("free_bits", lambda kl, floor: (F.relu(kl.mean(0) - floor) + floor).sum()),
    ],
)
def test_another_way_to_write_it_is_right_too(name: str, answer: Callable) -> None:
    for seed in range(3):
        outcome = check(name, answer, seed)
        assert outcome.status == "right", outcome.message


def clamped_probabilities(logits: Tensor, x: Tensor) -> Tensor:
    return F.binary_cross_entropy(torch.sigmoid(logits).clamp(1e-7, 1 - 1e-7), x, reduction="none")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("kl_to_standard_normal", lambda mu, logvar: kl_to_standard_normal(mu, logvar.clamp(min=-20))),
        ("kl_to_standard_normal", lambda mu, logvar: kl_to_standard_normal(mu, logvar.clamp(max=10))),
        ("kl_to_standard_normal", lambda mu, logvar: kl_to_standard_normal(mu, logvar.detach())),
        ("reparameterise", lambda mu, logvar, noise: mu + (torch.exp(0.5 * logvar) + 1e-6) * noise),
        ("reparameterise", lambda mu, logvar, noise: mu + torch.exp(0.5 * logvar).clamp(min=1e-5) * noise),
        ("negative_elbo", elbo(clamped_probabilities)),
        ("negative_elbo", elbo(lambda logits, x: F.softplus(logits.clamp(-100, 100)) - x * logits.clamp(-100, 100))),
        ("negative_elbo", elbo(lambda logits, x: F.softplus(logits) - x.round() * logits)),
        ("negative_elbo", elbo(combine=lambda pixels, kl, beta: (pixels + (beta or 1) * kl).mean())),
        ("importance_bound", shifted_by(lambda w: w.mean(0))),
        ("importance_bound", shifted_by(lambda w: w.amin(0))),
        ("importance_bound", shifted_by(lambda w: w[0])),
        ("importance_bound", lambda w: torch.logsumexp(w.clamp(-700, 700), 0) - math.log(len(w))),
        ("free_bits", lambda kl, floor: free_bits(kl, max(floor, 0.1))),
        ("free_bits", lambda kl, floor: free_bits(kl, min(floor, 1.0))),
        ("free_bits", lambda kl, floor: torch.maximum(kl.mean(0).detach(), torch.tensor(floor)).sum()),
    ],
)
def test_nearly_right_is_not_right(name: str, answer: Callable) -> None:
    for seed in range(3):
        assert check(name, answer, seed).status in ("nearly right", "wrong", "diagnosed")


def log_variance_for_log_deviation(mu: Tensor, logvar: Tensor) -> Tensor:
    return 0.5 * (mu**2 + logvar.exp() - 1).sum(1) - logvar.sum(1)


def elbo_with_log_variance_for_log_deviation(
    logits: Tensor, x: Tensor, mu: Tensor, logvar: Tensor, beta: float
) -> Tensor:
    pixels = (F.softplus(logits) - x * logits).flatten(1).sum(1)
    return pixels.mean() + beta * log_variance_for_log_deviation(mu, logvar).mean()


def guarded(logits: Tensor, x: Tensor) -> Tensor:
    p = logits.sigmoid()
    return -x * torch.log(p + 1e-8) - (1 - x) * torch.log(1 - p + 1e-8)


@pytest.mark.parametrize(
    ("name", "answer", "mistake"),
    [
        ("kl_to_standard_normal", log_variance_for_log_deviation, "log_variance_for_log_deviation"),
        (
            "reparameterise",
            lambda mu, logvar, noise: mu + (logvar / 2).exp() * torch.randn_like(mu),
            "noise_like_the_mean",
        ),
        ("reparameterise", lambda mu, logvar, noise: Normal(mu, (logvar / 2).exp()).rsample(), "noise_like_the_mean"),
        (
            "reparameterise",
            lambda mu, logvar, noise: mu + (logvar / 2).exp() * torch.randn_like(noise),
            "noise_of_its_own",
        ),
        ("negative_elbo", elbo(guarded), "guarded_logarithm"),
        ("negative_elbo", elbo_with_log_variance_for_log_deviation, "kl_with_log_variance_for_log_deviation"),
        ("negative_elbo", elbo(combine=lambda p, kl, beta: p.mean() + beta * kl.sum()), "kl_summed_over_the_batch"),
        (
            "negative_elbo",
            elbo(combine=lambda p, kl, beta: p.sum() + beta * kl.mean()),
            "reconstruction_summed_over_the_batch",
        ),
        ("importance_bound", shifted_by(lambda w: w.max()), "one_largest_for_all"),
    ],
)
def test_a_common_slip_has_a_name(name: str, answer: Callable, mistake: str) -> None:
    outcome = check(name, answer, seed=1)
    assert outcome.mistake == mistake, outcome.message
