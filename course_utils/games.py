"""Small games of two networks (lessons 06 and 07): several side by side, data on a ring of eight clouds, densities of fakes.

In all tensors the first axis is the game. Games never meet: what is computed in one depends on no other.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MODES, RADIUS, NOISE = 8, 2.0, 0.05  # of the ring: its clouds, how far they lie from the middle, how wide they are
_ANGLES = torch.arange(MODES) * 2 * math.pi / MODES
CENTRES = RADIUS * torch.stack([_ANGLES.cos(), _ANGLES.sin()], 1)  # (8, 2)


class Dense(nn.Module):
    """A linear layer of each game: (games, batch, inputs) -> (games, batch, outputs), with `nn.Linear`'s first weights."""

    def __init__(self, games: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(games, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(games, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """(games, batch, outputs)."""
        return torch.baddbmm(self.bias, x, self.weight)


def networks(games: int, inputs: int, outputs: int, activation: nn.Module, width: int = 64) -> nn.Sequential:
    """A network of two hidden layers for each game: (games, batch, inputs) -> (games, batch, outputs)."""
    hidden = Dense(games, inputs, width), activation, Dense(games, width, width), activation
    return nn.Sequential(*hidden, Dense(games, width, outputs))


class WithSpread(nn.Module):
    """Appends to each point (games, batch, d) the standard deviation of its batch: (games, batch, 2 d).

    What shows a discriminator that fakes are all alike: Karras et al., "Progressive growing of GANs", 2018, after the
    minibatch discrimination of Salimans et al., 2016.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(games, batch, 2 d)."""
        return torch.cat([x, x.std(1, keepdim=True).expand_as(x)], 2)


def with_die(normals: Tensor, faces: int, generator: torch.Generator) -> Tensor:
    """Noise (..., d + faces): `normals` (..., d), then the face of a die, one-hot, scaled to a mean square of 1 like them.

    Noise of several pieces is the idea of Gurumurthy et al., "DeLiGAN", 2017.
    """
    thrown = torch.randint(faces, normals.shape[:-1], generator=generator, device=normals.device)
    return torch.cat([normals, faces**0.5 * F.one_hot(thrown, faces)], -1)


def slope_step(discriminator: nn.Module, real: Tensor, optimizer: torch.optim.Optimizer, price: float) -> None:
    """One update of the discriminator by the R1 penalty: price / 2 times the mean squared slope of its logits at `real`.

    Source: Mescheder et al., "Which training methods for GANs do actually converge?", 2018.
    """
    real = real.detach().requires_grad_()
    logits = discriminator(real)
    (slope,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    penalty = 0.5 * price * slope.square().sum() / logits.numel()
    optimizer.zero_grad()
    penalty.backward()
    optimizer.step()


def ring(games: int, n: int, generator: torch.Generator) -> Tensor:
    """Points (games, n, 2) of the ring: a centre drawn evenly, and normal noise around it."""
    place = torch.randint(MODES, (games, n), generator=generator)
    return CENTRES[place] + NOISE * torch.randn(games, n, 2, generator=generator)


def density(points: Tensor, line: Tensor, width: float = 0.1) -> Tensor:
    """The density (L,) of points (n,) at the evenly spaced places `line` (L,), each point smeared by a normal of this width.

    Points outside the line are counted nowhere. In the line's dtype.
    """
    step = (line[1] - line[0]).item()
    ends = line[0].item() - step / 2, line[-1].item() + step / 2
    counts = torch.histc(points.to(line.dtype), bins=len(line), min=ends[0], max=ends[1])
    reach = math.ceil(6 * width / step)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=line.dtype) * step / width) ** 2)
    smeared = F.conv1d(counts.view(1, 1, -1), (kernel / kernel.sum()).view(1, 1, -1), padding=reach)
    return smeared.flatten() / (len(points) * step)
