"""What a network for images sees: its gradients say which pixels an answer depends on (lessons 08, 08a and 08b)."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import Tensor, nn


def sees(net: nn.Module, size: tuple[int, int], row: int, col: int) -> Tensor:
    """Which pixels of an image (H, W) the logits at (row, col) depend on: (H, W) bool, True where a gradient arrives.

    A copy of the net, (N, 1, H, W) to (N, outputs, H, W), is asked on the CPU, in float64, about 16 random images: so
    many that no path is missed because a ReLU happens to be shut.
    """
    inspected = copy.deepcopy(net).cpu().double()
    x = torch.randn(16, 1, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(inspected(x)[:, :, row, col].sum(), x)
    return (slope != 0).any(dim=0)[0]


def before_in_order(size: tuple[int, int], row: int, col: int) -> Tensor:
    """The pixels of an image (H, W) that come before (row, col) in raster order: (H, W) bool."""
    height, width = size
    return torch.arange(height * width).view(height, width) < row * width + col


def prove(net: nn.Module, size: tuple[int, int]) -> str:
    """Of all places of an image (H, W): how many see themselves or later pixels, and how many see all earlier ones."""
    places = itertools.product(range(size[0]), range(size[1]))
    views = [(sees(net, size, *place), before_in_order(size, *place)) for place in places]
    leaks = sum(bool((seen & ~before).any()) for seen, before in views)
    whole = sum(bool((seen | ~before).all()) for seen, before in views)
    return f"{size[0]} × {size[1]}: {leaks} of {len(views)} places see themselves or a later pixel, {whole} all earlier ones"
