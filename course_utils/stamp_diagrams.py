"""Pictures of small images as cells with numbers, coloured by the input pixel they come from: lesson 04's figures.

An image's pixels have a colour each, up to four. What several pixels reached carries the colours of all of them.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils import plots

Frame = tuple[int, int, int, int]  # top, left, bottom, right


def blend(colour: str, strength: float) -> Tensor:
    """A colour "#rrggbb" mixed with white, (3,): red, green and blue between 0 and 1."""
    return torch.tensor([1 - strength * (1 - int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5)])


PASTEL = [blend(plots.COLOURS[i], 0.5) for i in (5, 1, 2, 4)]  # of the pixels 0 and 1 (above), 2 and 3 (below)
PAPER = blend("#000000", 0.06)


def one_by_one(pixels: Tensor) -> Tensor:
    """Copies (H * W, 1, H, W) of an image (H, W), each with a single pixel left."""
    return torch.diag(pixels.flatten()).view(-1, 1, *pixels.shape)


def paint(reached: Tensor) -> Tensor:
    """Colours (2 H, 2 W, 3) for H x W cells that input pixels have reached, (pixels, H, W): each quarter its nearest."""
    _, height, width = reached.shape
    picture = PAPER.repeat(2 * height, 2 * width, 1)
    for row, column in itertools.product(range(2 * height), range(2 * width)):
        present = reached[:, row // 2, column // 2].nonzero().flatten().tolist()
        if present:
            nearest = min(present, key=lambda pixel: abs(pixel // 2 - row % 2) + abs(pixel % 2 - column % 2))
            picture[row, column] = PASTEL[nearest]
    return picture


def cells(
    axes: Any, numbers: Tensor, picture: Tensor | None = None, frame: Frame | None = None, hide_zeros: bool = False
) -> None:
    """Draw a matrix (H, W) as cells with its numbers on `picture`, colours in whole multiples of its size.

    All that lies outside the `frame` is faded; `hide_zeros` leaves cells of 0 empty.
    """
    rows, columns = numbers.shape
    picture = PAPER.repeat(rows, columns, 1) if picture is None else picture
    inside = torch.ones(rows, columns, dtype=torch.bool)
    if frame:
        top, left, bottom, right = frame
        inside[:] = False
        inside[top:bottom, left:right] = True
        outline(axes, frame)
        faded = ~inside.repeat_interleave(len(picture) // rows, 0).repeat_interleave(picture.shape[1] // columns, 1)
        picture = torch.where(faded.unsqueeze(2), 0.25 * picture + 0.75, picture)
    axes.imshow(picture.numpy(), extent=(0, columns, rows, 0))
    size = max(7.5, min(12, 100 / max(rows, columns)))
    for row, column in itertools.product(range(rows), range(columns)):
        value, ink = numbers[row, column].item(), "black" if inside[row, column] else "0.6"
        if value or not hide_zeros:
            axes.text(column + 0.5, row + 0.5, f"{value:g}", ha="center", va="center", color=ink, fontsize=size)
    axes.set(xticks=range(columns + 1), yticks=range(rows + 1), xlim=(-0.05, columns + 0.05), ylim=(rows + 0.05, -0.05))
    axes.set_axisbelow(False)
    axes.grid(visible=True, color="white", alpha=1, lw=1.5)
    axes.tick_params(length=0, labelbottom=False, labelleft=False)
    axes.spines[:].set_visible(False)


def outline(axes: Any, frame: Frame) -> None:
    """A black line around the cells of a frame."""
    top, left, bottom, right = frame
    axes.plot([left, right, right, left, left], [top, top, bottom, bottom, top], color="black", lw=2.5, zorder=4)


def prints(pixels: Tensor, kernel: Tensor, stride: int) -> None:
    """What each of the pixels (2, 2) prints with the kernel (k, k), alone (above) and one after the other (below)."""
    alone = F.conv_transpose2d(one_by_one(pixels), kernel[None, None], stride=stride)[:, 0]  # (4, H', W')
    size = alone.shape[1]
    with plots.figure(
        title="Each pixel prints the kernel, times its value; where prints overlap, the ink adds",
        alt=f"Upper row: the input in four colours, then the print of each pixel on an empty {size} by {size} canvas: the "
        "kernel, times the pixel's value. Lower row: the kernel, then the canvas after one, two, three and four prints. "
        "Cells that several prints reach carry several colours, and the sum.",
        width=12,
        height=5.6,
        rows=2,
        columns=5,
    ) as axes:
        cells(axes[0, 0], pixels, paint(one_by_one(pixels)[:, 0] > 0))
        cells(axes[1, 0], kernel)
        axes[0, 0].set_title("the input")
        axes[1, 0].set_title("the kernel")
        for pixel in range(4):
            number = torch.arange(4).view(4, 1, 1)
            for row, chosen in enumerate((number == pixel, number <= pixel)):
                cells(axes[row, pixel + 1], (alone * chosen).sum(0), paint(alone * chosen > 0), hide_zeros=True)
            axes[0, pixel + 1].set_title(f"pixel {pixel + 1} prints")
            axes[1, pixel + 1].set_title(f"the canvas, after {pixel + 1} of 4")


def windows(sizes: tuple[int, ...], kernel: int, stride: int, padding: int, *, title: str) -> None:
    """A convolution along one dimension, for several numbers of pixels: who looks at whom, and who is never seen."""
    made = {pixels: (pixels + 2 * padding - kernel) // stride + 1 for pixels in sizes}
    alt = f"Convolution with kernel {kernel}, stride {stride}, padding {padding} as dots joined by lines: " + ", ".join(
        f"{pixels} pixels become {outputs}" for pixels, outputs in made.items()
    )
    with plots.figure(title=title, alt=f"{alt}.", width=11, height=2.4, columns=len(sizes)) as axes:
        for panel, (pixels, outputs) in zip(axes, made.items(), strict=True):
            _row(panel, pixels, outputs, kernel, stride, padding)
            panel.set(xlim=(-1.7, 5.7), ylim=(-0.6, 1.35), title=f"{pixels} pixels become {outputs}")
            panel.axis("off")


def _row(axes: Any, pixels: int, outputs: int, kernel: int, stride: int, padding: int) -> None:
    unseen = set(range(-padding, pixels + padding))
    for first in range(-padding, -padding + outputs * stride, stride):
        middle = first + (kernel - 1) / 2
        for place in range(first, first + kernel):
            axes.plot([place, middle], [0, 1], color="0.6", lw=1.5, zorder=1)
            unseen.discard(place)
        axes.plot(middle, 1, "o", ms=20, color=plots.COLOURS[1])
    for place in range(-padding, pixels + padding):
        inside = 0 <= place < pixels
        axes.plot(place, 0, "o", ms=20, color=plots.COLOURS[0] if inside else "white", mec="0.5")
        axes.text(place, 0, "" if inside else "0", ha="center", va="center", color="0.4")
        if place in unseen:
            axes.text(place, -0.42, "never seen", ha="center", color="0.3", fontsize=9)


def matrix(C: Tensor, side: int) -> None:  # noqa: N803 - the lesson's name for it
    """A convolution's matrix (4, side²), each of its rows folded to a picture, and its transpose."""
    rows = (C > 0).unsqueeze(2) * torch.stack(PASTEL).unsqueeze(1)  # (4, side², 3)
    picture = torch.where(rows > 0, rows, PAPER)
    with plots.figure(
        title="A row of C is the kernel somewhere on the image; a column of its transpose is a stamp",
        alt=f"Left, above: C, a matrix of 4 rows and {side**2} columns, each row in its own colour, the kernel's weights in "
        f"groups. Left, below: each row folded to {side} by {side} shows the kernel in one of the corners. Right: the "
        f"transpose, {side**2} rows and 4 columns.",
        width=12,
        height=5.4,
    ) as axes:
        axes.axis("off")
        cells(axes.inset_axes((0, 0.6, 0.8, 0.3)), C, picture, hide_zeros=True)
        axes.text(0.4, 0.93, f"C : from {side**2} pixels to 4", ha="center", fontsize=11, transform=axes.transAxes)
        for place in range(4):
            folded = axes.inset_axes((0.21 * place, 0.05, 0.17, 0.42))
            cells(folded, C[place].view(side, side), picture[place].view(side, side, 3), hide_zeros=True)
            folded.set_title(f"row {place + 1}, folded")
        upright = axes.inset_axes((0.86, 0, 0.14, 0.95))
        cells(upright, C.T, picture.transpose(0, 1), hide_zeros=True)
        upright.set(aspect="auto", title=f"$C^T$: from 4 to {side**2}")


def sliding(spread: Tensor, spots: Tensor, kernel: Tensor, canvas: Tensor, reached: Tensor) -> None:
    """A kernel (3, 3), turned, on the spread-out image (7, 7), and the canvas (5, 5) that it makes; the centre is framed.

    `spots` (4, 7, 7) and `reached` (4, 5, 5) say which cells belong to which input pixel.
    """
    turned = kernel.flip(0, 1)
    terms = zip(turned.flatten().tolist(), spread[2:5, 2:5].flatten().tolist(), strict=True)
    sum_of = " + ".join(f"{weight:g}·{value:g}" for weight, value in terms if value)
    with plots.figure(
        title=f"Slide the flipped kernel over the spread-out image: {sum_of} = {canvas[2, 2]:g}, as before",
        alt="Left: the four pixels, coloured, with zeros between and around them, 7 by 7 cells, and a frame of 3 by 3 cells "
        "around the middle. Middle: the kernel, turned by 180 degrees. Right: the 5 by 5 result, its centre framed.",
        width=11,
        height=4,
        columns=3,
    ) as (before, middle, after):
        cells(before, spread, paint(spots))
        outline(before, (2, 2, 5, 5))
        cells(middle, turned)
        cells(after, canvas, paint(reached))
        outline(after, (2, 2, 3, 3))
        names = "spread out, with 2 zeros around", "the kernel, turned by 180°", "an ordinary convolution's result"
        for panel, name in zip((before, middle, after), names, strict=True):
            panel.set_title(name)
