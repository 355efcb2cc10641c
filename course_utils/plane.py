"""Points in the plane (lesson 10): a ring of eight normal clouds, with its exact densities and best guesses, and two moons.

Everything is computed in float64, or in the dtype of the points that are given.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SPREAD, RADIUS = 0.1, 1.4  # of each cloud; of the ring, so that its variance is close to 1
_ANGLES = torch.arange(8, dtype=torch.float64) * 2 * math.pi / 8
CENTRES = RADIUS * torch.stack([_ANGLES.cos(), _ANGLES.sin()], 1)  # (8, 2)


def ring(n: int, generator: torch.Generator, clouds: Tensor = CENTRES) -> Tensor:
    """Points (n, 2) of the ring, or of other `clouds` (K, 2): a centre drawn evenly, and normal noise of spread 0.1 around it."""
    place = torch.randint(len(clouds), (n,), generator=generator)
    return clouds[place] + SPREAD * torch.randn(n, 2, generator=generator, dtype=torch.float64)


def moons(n: int, generator: torch.Generator) -> Tensor:
    """Points (n, 2) of two half circles, one turned around, with normal noise of spread 0.1."""
    angle = math.pi * torch.rand(n, generator=generator, dtype=torch.float64)
    side = torch.where(torch.rand(n, generator=generator) < 0.5, 1.0, -1.0)
    arc = torch.stack([1.2 * angle.cos() - 0.6, 1.4 * (angle.sin() - 0.3)], 1)
    return side.unsqueeze(1) * arc + 0.1 * torch.randn(n, 2, generator=generator, dtype=torch.float64)


def log_density(x: Tensor, a: Tensor | float, b: Tensor | float, clouds: Tensor = CENTRES) -> Tensor:
    """The log (N,) of the density at x (N, 2) of a · (a point of the ring) + b · (standard normal noise).

    a, b: (N,), or numbers that hold for all. A mixture of normal distributions, one for each of `clouds` (K, 2), with
    centres a · c and variance a² · 0.1² + b². Integrates to 1 over the plane.
    """
    away, variance = _away(x, a, b, clouds)
    squares = away.square().sum(2)  # (N, K)
    return torch.logsumexp(-0.5 * squares / variance, 1) - (2 * math.pi * len(clouds) * variance).squeeze(1).log()


def share_in_clouds(points: Tensor, clouds: Tensor = CENTRES) -> float:
    """The share in percent of the points (N, 2) that lie within three spreads of the nearest centre: 98.9 of normal clouds."""
    nearest = torch.cdist(points.to(clouds.dtype), clouds).amin(1)
    return 100 * (nearest < 3 * SPREAD).double().mean().item()


def exact_noise(x: Tensor, a: Tensor | float, b: Tensor | float, clouds: Tensor = CENTRES) -> Tensor:
    """The mean noise (N, 2) in x (N, 2) = a · data + b · noise, if the data are normal clouds around `clouds` (K, 2).

    a, b: (N,), or numbers that hold for all. Each cloud's own mean noise is b (x − a c) / (a² · 0.1² + b²); they are
    weighted by how probable it is that x comes from that cloud.
    """
    away, variance = _away(x, a, b, clouds)
    weights = torch.softmax(-0.5 * away.square().sum(2) / variance, 1)  # (N, K)
    return (weights.unsqueeze(2) * away).sum(1) * _column(b, x) / variance


def exact_velocity(x: Tensor, t: Tensor, clouds: Tensor = CENTRES) -> Tensor:
    """The mean of data − noise (N, 2) at the places x (N, 2) = t · data + (1 − t) · noise, for times t (N,) in [0, 1].

    At t = 0 nothing is known of the data: there it is the clouds' middle − x.
    """
    noise, a = exact_noise(x, t, 1 - t, clouds), t.unsqueeze(1)
    clean = torch.where(a > 1e-6, (x - (1 - a) * noise) / a.clamp(min=1e-6), clouds.mean(0))
    return clean - noise


def bound(points: Tensor, steps: int, generator: torch.Generator, clouds: Tensor = CENTRES) -> Tensor:
    """The bound on −log p of points (N, 2) in nats, by the clouds' perfect denoiser in a chain of `steps` levels: (N,).

    Levels of ᾱ run from sigmoid(8), hardly any noise, to sigmoid(−8), hardly any data. Each step costs half of what the
    signal-to-noise ratio loses in it, times the squared error of the guessed clean point (Kingma et al., "Variational
    diffusion models", 2021); the ends cost a KL divergence and a normal density. One draw of the noise per point and step.
    """
    levels = torch.sigmoid(torch.linspace(8, -8, steps, dtype=points.dtype))
    ratio = levels / (1 - levels)

    def noise() -> Tensor:
        return torch.randn(points.shape, generator=generator, dtype=points.dtype)

    total = 0.5 * noise().square().sum(1) + math.log(2 * math.pi) - ratio[0].log()  # −log p(x_0 | x_1): spread ratio^-½
    total += 0.5 * (levels[-1] * points.square() - levels[-1] - torch.log1p(-levels[-1])).sum(1)  # KL at the last level
    for level, weight in zip(levels[1:], ratio[:-1] - ratio[1:], strict=True):
        a, b = level.sqrt(), (1 - level).sqrt()
        x = a * points + b * noise()
        clean = (x - b * exact_noise(x, a, b, clouds)) / a
        total += 0.5 * weight * (points - clean).square().sum(1)
    return total


def _away(x: Tensor, a: Tensor | float, b: Tensor | float, clouds: Tensor) -> tuple[Tensor, Tensor]:
    """How far x lies from each cloud's centre, (N, K, 2), and the clouds' variance there, (N, 1)."""
    a, b = _column(a, x), _column(b, x)
    return x.unsqueeze(1) - a.unsqueeze(2) * clouds, a**2 * SPREAD**2 + b**2


def _column(values: Tensor | float, x: Tensor) -> Tensor:
    """A number for each of the points, or one for all, as (N, 1) in the points' dtype."""
    return torch.as_tensor(values, dtype=x.dtype).expand(len(x)).unsqueeze(1)
