"""Muon for convolutions (lesson 10): each update of a kernel is turned into one that pushes equally hard in every direction.

`torch.optim.Muon` takes matrices only; here a kernel (outputs, inputs, height, width) counts as a matrix with a row for
each output. Lesson 09a derives the method. Source: Jordan et al., "Muon", 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of the odd polynomial that pulls singular values towards 1 (Jordan et al.)


def orthogonal(matrix: Tensor, rounds: int = 5) -> Tensor:
    """A matrix (rows, columns) with the same singular vectors and singular values near 1, by Newton and Schulz's rounds."""
    a, b, c = COEFFICIENTS
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(rounds):
        squares = x @ x.T
        x = a * x + (b * squares + c * squares @ squares) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, then `orthogonal`, for parameters of two dimensions or more: the first one's entries are the rows."""

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        for parameter in (p for group in self.param_groups for p in group["params"]):
            if parameter.dim() < 2:
                raise ValueError(f"Muon moves matrices and kernels, not a parameter of shape {tuple(parameter.shape)}")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One update of all parameters that have a gradient."""
        if closure is not None:
            raise ValueError("this Muon takes no closure: call backward before step")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["mean"] = torch.zeros_like(parameter)
        mean = state["mean"].lerp_(gradient, 1 - group["momentum"])
        ahead = gradient.lerp(mean, group["momentum"]).flatten(1)
        size = max(1.0, ahead.shape[0] / ahead.shape[1]) ** 0.5
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(orthogonal(ahead).view(parameter.shape), alpha=-group["lr"] * size)


def optimizers_for(model: nn.Module, rate: float, kernel_rate: float) -> list[torch.optim.Optimizer]:
    """Muon at `kernel_rate` for the kernels within the model, AdamW at `rate` for all else: its `first` and `last` layer,
    dense layers, biases. Both decouple a weight decay of 0.01."""
    kernels = {
        name: p for name, p in model.named_parameters() if p.dim() == 4 and name.split(".")[0] not in ("first", "last")
    }
    others = [p for name, p in model.named_parameters() if name not in kernels]
    adam = torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    return [Muon(kernels.values(), lr=kernel_rate), adam]
