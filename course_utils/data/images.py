"""Sets of images: what they consist of, their black-and-white versions, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

PIXELS = 28  # height and width of MNIST's images and of the glyphs


class Split(NamedTuple):
    """Images (N, H, W), or (N, 3, H, W) in colour, float32 in [0, 1], and their labels (N,), int64 in 0..9."""

    images: Tensor
    labels: Tensor


class Images(NamedTuple):
    """Three `Split`s, a short text that says where they come from, and False for `real` when that is a stand-in."""

    train: Split
    validation: Split
    test: Split
    source: str
    real: bool


def binarise(images: Tensor, generator: torch.Generator) -> Tensor:
    """Zeros and ones, float32, in the shape of `images`: each pixel is 1 with probability equal to its grey level.

    The numbers are drawn on the generator's device. Raises ValueError for levels outside [0, 1].
    Source: Salakhutdinov and Murray, "On the quantitative analysis of deep belief networks", ICML 2008.
    """
    _check_levels(images)
    drawn = torch.rand(images.shape, generator=generator, device=generator.device)
    return (drawn.to(images.device) < images).float()


def select(split: Split, digits: Sequence[int]) -> Split:
    """The images whose label is one of `digits`, in their order, with their labels.

    Raises ValueError when `digits` is empty, or names a label outside 0..9 or one of which `split` has no image.
    """
    wanted = sorted(set(digits))
    strange = [digit for digit in wanted if digit not in range(10)]
    if strange or not wanted:
        raise ValueError(f"digits must name some of the labels 0 to 9, not {strange or wanted}: for example [3, 5]")
    missing = [digit for digit in wanted if not (split.labels == digit).any()]
    if missing:
        raise ValueError(
            f"these {len(split.labels)} images have none of {', '.join(map(str, missing))}: take another part of the data"
        )
    chosen = torch.isin(split.labels, torch.tensor(wanted, device=split.labels.device))
    return Split(split.images[chosen], split.labels[chosen])


def check_images(images: Tensor, channels: int = 1, side: int | None = None) -> None:
    """Refuse, by a ValueError that says what to do, all but floats (N, channels, H, W) in [0, 1] with N >= 1.

    Where a `side` is given, H and W must both be that many pixels.
    """
    shape, needed = tuple(images.shape), f"(N, {channels}, H, W)"
    if images.dim() == 3 and channels == 1:
        raise ValueError(f"images have shape {shape}, not {needed}: add the channel with images.unsqueeze(1)")
    if images.dim() != 4:
        raise ValueError(f"images have shape {shape}, not {needed}: one row an image, then channels, height and width")
    if images.shape[1] != channels:
        advice = "average them with images.mean(1, keepdim=True), or build the model for their number"
        if images.shape[3] == channels:
            advice = "put them behind the batch with images.movedim(-1, 1)"
        raise ValueError(f"images have {images.shape[1]} channels in shape {shape}, not {channels}: {advice}")
    if not images.numel():
        raise ValueError(f"there are no images in shape {shape}: is the class or the part that you chose empty?")
    if side is not None and shape[2:] != (side, side):
        raise ValueError(f"images must have {side}x{side} pixels, not {shape[2]}x{shape[3]}: resize them")
    _check_levels(images)


def _check_levels(images: Tensor) -> None:
    """Raise ValueError for anything but floats in [0, 1]; an empty tensor has nothing to refuse."""
    if not images.is_floating_point():
        raise ValueError(f"images are {images.dtype}, not floats in [0, 1]: make them so with images.float() / 255")
    if not images.numel():
        return
    low, high = (end.item() for end in images.aminmax())
    if low >= 0 and high <= 1:
        return
    if images.isnan().any():
        raise ValueError("images have pixels that are NaN: look for a division by zero where they come from")
    advice = "bring them into it, for example with images.clamp(0, 1)"
    if low >= 0 and 2 < high <= 255:
        advice = "divide them by 255"
    elif -1 <= low < -0.5 and high <= 1:
        advice = "(images + 1) / 2 brings them into it"
    raise ValueError(f"images run from {low:.4g} to {high:.4g}, outside [0, 1]: {advice}")


def read_mnist(root: Path) -> Images:
    """MNIST from the files below `root`, in torchvision's layout; their sums have been verified.

    torchvision would read them too, but importing it takes 4 seconds in every notebook. A test compares the two.
    """
    raw = root / "MNIST" / "raw"
    parts = []
    for name in ("train", "t10k"):
        # The IDX format: 4 bytes and one 4-byte size for each dimension, then the values.
        images = np.fromfile(raw / f"{name}-images-idx3-ubyte", dtype=np.uint8, offset=16).reshape(-1, 28, 28)
        labels = np.fromfile(raw / f"{name}-labels-idx1-ubyte", dtype=np.uint8, offset=8)
        parts.append((torch.from_numpy(images).float().div_(255), torch.from_numpy(labels).long()))
    (images, labels), (test_images, test_labels) = parts
    train, validation = Split(images[:50_000], labels[:50_000]), Split(images[50_000:], labels[50_000:])
    return Images(train, validation, Split(test_images, test_labels), source="MNIST", real=True)


def three_parts(images: Tensor, labels: Tensor, train: int, validation: int) -> tuple[Split, Split, Split]:
    """Consecutive parts of the given sizes; the test part is what is left."""
    first, second, third = slice(0, train), slice(train, train + validation), slice(train + validation, None)
    return (
        Split(images[first], labels[first]),
        Split(images[second], labels[second]),
        Split(images[third], labels[third]),
    )
