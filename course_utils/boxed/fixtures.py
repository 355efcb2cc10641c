"""Arguments that are built afresh for every call: generators, networks, critics, samplers, fields, layers, optimisers.

Like `observe`, this may run beside untrusted code: it knows no reference. Everything follows from a seed, so that
both sides of a sandbox build the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Fixture:
    """How to build an argument. `of` names the argument it is made for: an optimiser's network.

    Networks come in `dtype` and on `device`; `define.place` sets both to those of the trial's tensors.
    """

    kind: str
    seed: int = 0
    options: tuple[tuple[str, Any], ...] = ()
    of: str = ""
    dtype: torch.dtype = torch.float64
    device: str = "cpu"

    @property
    def has_state(self) -> bool:
        """Whether it is a network, or works on one: anything but a generator."""
        return self.kind != "generator"

    def build(self, others: Mapping[str, Any] | None = None) -> Any:
        """Make the object. Raises KeyError for a kind that nobody has registered in `FIXTURES`."""
        if self.kind not in FIXTURES:
            raise KeyError(f"no fixture of kind {self.kind!r}; known: {', '.join(sorted(FIXTURES))}")
        given = [(others or {})[self.of]] if self.of else []
        with torch.random.fork_rng(devices=[]):  # torch draws first weights, which are then replaced
            made = FIXTURES[self.kind](self.seed, *given, **dict(self.options))
        return made.to(self.device, self.dtype) if isinstance(made, nn.Module) else made


def generator(seed: int, drawn: int = 0) -> torch.Generator:
    """A generator with this seed, from which so many numbers have been drawn already."""
    made = torch.Generator().manual_seed(seed)
    torch.rand(drawn, generator=made)
    return made


class Network(nn.Sequential):
    """A small multilayer perceptron from (N, sizes[0]) to (N, sizes[-1]), or to (N,) where that is 1."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, inputs) to (N, outputs) or (N,)."""
        out = super().forward(input)
        return out.squeeze(1) if out.shape[1] == 1 else out


def network(seed: int, sizes: tuple[int, ...], batch_norm: bool = False, stale: bool = False) -> Network:
    """A `Network` with tanh between its layers. `batch_norm`: its rows depend on one another, through their mean and
    variance. `stale`: its parameters carry gradients of an earlier step."""
    layers: list[nn.Module] = []
    for position, (inputs, outputs) in enumerate(pairwise(sizes)):
        normed = batch_norm and not position
        layers += [nn.Tanh()] * bool(position) + [nn.Linear(inputs, outputs, bias=not normed)]
        if normed:
            layers.append(nn.BatchNorm1d(outputs, track_running_stats=False))
    return _random(Network(*layers), seed, stale)


class _Noted(torch.autograd.Function):
    """The identity on images (N, ...), which hands them to `note` on their way.

    A function of autograd, for inside `torch.func.grad` and `vmap` only such a one meets plain tensors.
    """

    @staticmethod
    def forward(images: Tensor, note: Callable[[Tensor], None]) -> Tensor:
        note(images.detach())
        return images.view_as(images)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return gradient, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return tangent.view_as(tangent)

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *args: Any) -> tuple[Any, int]:
        images = args[0].movedim(in_dims[0], 0)  # (calls, N, ...)
        noted: Any = _Noted.apply(images.flatten(0, 1), args[1])
        return noted.unflatten(0, images.shape[:2]), 0


class Critic(nn.Module):
    """Smooth scores (N,) of images (N, *shape), each for itself.

    It remembers all that it is asked about, however it is asked: at the end of its buffer `seen`, (remembers, *shape),
    stand the latest images, and `asked` counts them all.
    """

    seen: Tensor
    asked: Tensor

    def __init__(self, shape: tuple[int, ...], hidden: int, remembers: int) -> None:
        super().__init__()
        pixels = torch.Size(shape).numel()
        self.first = nn.Linear(pixels, hidden)
        self.last = nn.Linear(hidden, 1)
        self.register_buffer("seen", torch.zeros(remembers, *shape))
        self.register_buffer("asked", torch.zeros((), dtype=torch.long))

    def forward(self, images: Tensor) -> Tensor:
        """Score (N, *shape); returns (N,). Raises ValueError for images of another shape."""
        shape = self.seen.shape[1:]
        if images.shape[1:] != shape:
            wanted = ", ".join(map(str, ("N", *shape)))
            raise ValueError(f"the critic wants images of shape ({wanted}), not {tuple(images.shape)}")
        noted: Any = _Noted.apply(images, self._note)
        return self.last(torch.tanh(self.first(noted.flatten(1)))).squeeze(1)

    def _note(self, images: Tensor) -> None:
        self.asked = self.asked + len(images)
        self.seen = torch.cat([self.seen, images.to(self.seen)])[len(images) :]


def critic(seed: int, shape: tuple[int, ...], hidden: int = 6, scale: float = 1.0, remembers: int = 0) -> Critic:
    """A `Critic`; the gradient of its score with respect to the image grows with `scale`."""
    made = _random(Critic(shape, hidden, remembers), seed)
    with torch.no_grad():
        made.last.weight *= scale
    return made


class Sampler(nn.Module):
    """Draws pixels (B,) for images (B, 1, H, W): from all their pixels as they stand, the place, and a generator.

    Its buffer `asked` keeps the places, (calls, 2), in the order in which they were asked for.
    """

    weight: Tensor
    place: Tensor
    asked: Tensor

    def __init__(self, weight: Tensor, place: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("place", place)
        self.register_buffer("asked", torch.zeros(0, 2, dtype=torch.long))

    def forward(self, image: Tensor, row: int, col: int, generator: torch.Generator | None) -> Tensor:
        """The pixel at (row, col) of each image, between 0 and 1. Raises ValueError for images of another shape."""
        if image.shape[1:] != (1, *self.place.shape):
            wanted = ", ".join(map(str, self.place.shape))
            raise ValueError(f"sample_pixel wants all images as they stand, (B, 1, {wanted}), not {tuple(image.shape)}")
        asked = torch.tensor([[int(row), int(col)]], device=self.asked.device)
        self.asked = torch.cat([self.asked, asked])
        chance = torch.randn(len(image), generator=generator).to(self.place)
        return torch.sigmoid((image * self.weight).flatten(1).sum(1) + self.place[row, col] + chance)


def sampler(seed: int, height: int, width: int) -> Sampler:
    """A `Sampler` for images of this size."""
    draw = torch.Generator().manual_seed(seed)
    weight, place = torch.randn(2, height, width, generator=draw, dtype=torch.float64)
    return Sampler(weight, place)


class Field(nn.Module):
    """Smooth velocities (N, *shape) at places (N, *shape) and times (N,), each for itself.

    Its buffer `asked` keeps the times, (calls * N,), in the order in which they were asked for.
    """

    asked: Tensor

    def __init__(self, shape: tuple[int, ...], hidden: int) -> None:
        super().__init__()
        self.shape = tuple(shape)
        size = torch.Size(shape).numel()
        self.first = nn.Linear(size + 1, hidden)
        self.last = nn.Linear(hidden, size)
        self.register_buffer("asked", torch.zeros(0))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """The velocity at x (N, *shape) and t (N,), computed in x's dtype. Raises ValueError for other shapes, and for times
        that are no fractions."""
        if x.shape[1:] != self.shape:
            wanted = ", ".join(map(str, ("N", *self.shape)))
            raise ValueError(f"the velocity wants places of shape ({wanted}), not {tuple(x.shape)}")
        if not isinstance(t, Tensor) or t.shape != x.shape[:1] or not t.is_floating_point():
            given = f"{tuple(t.shape)} {t.dtype}" if isinstance(t, Tensor) else repr(t)
            raise ValueError(f"the velocity wants times of shape ({len(x)},) and of x's dtype {x.dtype}, not {given}")
        t = t.to(x.dtype)
        self.asked = torch.cat([self.asked, t.detach()])
        return self.last(torch.tanh(self.first(torch.cat([x.flatten(1), t.unsqueeze(1)], 1)))).view_as(x)


def field(seed: int, shape: tuple[int, ...], hidden: int = 8) -> Field:
    """A `Field` of random weights."""
    return _random(Field(shape, hidden), seed)


def layer(seed: int, name: str, arguments: tuple[Any, ...] = (), **named: Any) -> nn.Module:
    """A layer of `torch.nn` with random parameters, biases and scales included."""
    return _random(getattr(nn, name)(*arguments, **named), seed)


def adam(seed: int, module: nn.Module, lr: float = 0.01) -> torch.optim.Adam:
    """Adam for the parameters of `module`."""
    return torch.optim.Adam(module.parameters(), lr=lr, betas=(0.5, 0.999))


def sgd(seed: int, module: nn.Module, lr: float = 0.1) -> torch.optim.SGD:
    """Gradient descent for the parameters of `module`."""
    return torch.optim.SGD(module.parameters(), lr=lr)


def _random(module: Any, seed: int, stale: bool = False) -> Any:
    """Give the parameters, in float64, normal values of a sensible size; and, if `stale`, gradients."""
    draw = torch.Generator().manual_seed(seed)
    module.double()
    for parameter in module.parameters():
        size = max(1, parameter[0].numel()) ** 0.5 if parameter.dim() > 1 else 1.0
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64) / size)
        if stale:
            parameter.grad = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
    return module


FIXTURES: dict[str, Callable[..., Any]] = {
    "generator": generator,
    "network": network,
    "critic": critic,
    "sampler": sampler,
    "field": field,
    "layer": layer,
    "adam": adam,
    "sgd": sgd,
}
