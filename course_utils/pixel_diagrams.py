"""Pictures of lesson 08: what a mask opens, what a pixel sees, a gated layer, and the two LSTMs that walk over an image.

Drawn with the primitives of `diagrams`; shapes, masks and views are those that are handed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from course_utils import plots
from course_utils.diagrams import INK, PAPER, Place, arrow, box, canvas, operation, tensor

SEEN, BLIND, PALE = plots.COLOURS[0], plots.COLOURS[1], "0.93"


def reading(axes: Any, image: Tensor, read: int) -> None:
    """An image (H, W) of which `read` pixels have been read in raster order: the rest is grey, a square marks the next."""
    picture = image.detach().cpu().flatten().clone()
    picture[read:] = 0.5
    axes.imshow(picture.view_as(image), cmap="gray", vmin=0, vmax=1)
    row, col = divmod(read, image.shape[1])
    axes.plot(col, row, "s", mfc="none", mec=BLIND, mew=2, ms=7)
    axes.axis("off")


def masks(shown: Mapping[str, Tensor]) -> None:
    """Kernels of ones and zeros, each (k, k), side by side under their names; a cross marks the centre."""
    said = (f"{name}, {int(mask.sum())} of {mask.numel()} weights are open" for name, mask in shown.items())
    title = "One weight makes the difference: the centre"
    alt = f"Grids of weights: {'; '.join(said)}: the rows above the centre, and what is left of it. A cross marks the centre."
    with plots.figure(title=title, alt=alt, width=3.2 * len(shown), height=3.2, columns=len(shown)) as panels:
        for axes, (name, mask) in zip(panels, shown.items(), strict=True):
            axes.imshow(mask, cmap="Blues", vmin=0, vmax=1.6)
            axes.plot(mask.shape[1] // 2, mask.shape[0] // 2, "x", color="black", ms=9, mew=2)
            axes.set(title=name, xticks=range(mask.shape[1]), yticks=range(mask.shape[0]))
            axes.grid(False)


def views(seen: Mapping[str, Tensor], before: Tensor, place: tuple[int, int], title: str) -> None:
    """What a pixel at `place` sees in each of some networks, bool (H, W), of those `before` it: blue; orange where it is blind."""
    from matplotlib.colors import ListedColormap

    blind = {
        name: f"blind to {int((before & ~view).sum())} of {int(before.sum())} pixels" for name, view in seen.items()
    }
    size = f"{before.shape[0]} by {before.shape[1]} pixels"
    alt = f"What the pixel in row {place[0]} and column {place[1]} of {size} sees. "
    alt += "; ".join(f"{name}: {words}" for name, words in blind.items()) + "."
    with plots.figure(title=title, alt=alt, width=3.2 * len(seen), height=3.4, columns=len(seen)) as panels:
        for axes, (name, view) in zip(panels, seen.items(), strict=True):
            axes.imshow(before.int() + view.int(), cmap=ListedColormap([PALE, BLIND, SEEN]), vmin=0, vmax=2)
            axes.plot(place[1], place[0], "s", mfc="none", mec="black", mew=2, ms=6)
            axes.text(0, len(view) - 2, name, fontsize=10)
            axes.set_title(blind[name])
            axes.axis("off")


def costs(shown: Mapping[str, Tensor], title: str) -> None:
    """What each pixel of one image costs in nats, (1, 1, H, W) or (H, W), by model, with the sum above each."""
    sums = {name: f"{name}: {nats.sum():.0f} nats" for name, nats in shown.items()}
    alt = f"Nats for each pixel of one image, bright where it is expensive. {'; '.join(sums.values())}."
    with plots.figure(title=title, alt=alt, width=3.0 * len(shown), height=3.0, columns=len(shown)) as panels:
        for axes, (name, nats) in zip(panels, shown.items(), strict=True):
            axes.imshow(nats.detach().cpu().view(nats.shape[-2:]), cmap="magma", vmin=0, vmax=4)
            axes.set_title(sums[name])
            axes.axis("off")
        panels[-1].figure.colorbar(panels[-1].images[0], ax=panels, label="nats", shrink=0.8)


def gated_layer(layer: nn.Module, v: Tensor, h: Tensor) -> None:
    """One layer of both stacks with the shapes that v and h, (N, c, H, W), give in it.

    The layer has the convolutions `vertical`, `horizontal`, `link` and `mix`, and maps v, h to the next v, h.
    """
    with torch.no_grad():
        v_next, h_next = layer(v, h)
    kernels = {name: getattr(layer, name) for name in ("vertical", "horizontal", "link", "mix")}
    said = {name: f"{name}\n{'×'.join(map(str, part.kernel_size))}" for name, part in kernels.items()}
    wide = kernels["vertical"].out_channels
    alt = (
        f"Two rows of boxes. Above, the vertical stack: v goes through the convolution vertical, which gives {wide} channels, "
        "and a gate to the next v. Below, the horizontal stack: h goes through horizontal; what vertical gave is added by "
        "way of link; then a gate, mix, and h itself is added. No arrow leads from the lower row to the upper one."
    )
    title = "One layer, two stacks: news goes from the vertical one to the horizontal one, never back"
    with canvas(title=title, alt=alt, width=10.4, height=3.5) as axes:
        up, low = 2.7, 1.0
        for y, name, given, result in ((up, "v", v, v_next), (low, "h", h, h_next)):
            tensor(axes, (0.6, y), name, tuple(given.shape[1:]))
            tensor(axes, (9.7, y), f"next {name}", tuple(result.shape[1:]))
            arrow(axes, (0.95, y), (1.5, y), ink=SEEN)
        box(axes, (2.15, up), said["vertical"], width=1.3, height=0.75)
        box(axes, (2.15, low), said["horizontal"], width=1.3, height=0.75)
        box(axes, (3.9, (up + low) / 2), said["link"], width=0.9, height=0.7)
        operation(axes, (3.9, low), "+")
        for x, y in ((5.6, up), (5.6, low)):
            box(axes, (x, y), "gate", fill="gate", width=0.9, height=0.5)
        box(axes, (7.1, low), said["mix"], width=0.9, height=0.7)
        operation(axes, (8.3, low), "+")
        arrow(axes, (2.8, up), (5.15, up), text=f"{wide} channels", ink=SEEN)
        arrow(axes, (3.9, up), (3.9, 2.22), ink=SEEN)
        arrow(axes, (3.9, 1.5), (3.9, low + 0.18), ink=SEEN)
        for start, end in ((2.8, 3.72), (4.08, 5.15), (6.05, 6.65), (7.55, 8.12), (8.48, 9.2)):
            arrow(axes, (start, low), (end, low), ink=SEEN)
        arrow(axes, (6.05, up), (9.2, up), ink=SEEN)
        arrow(axes, (1.2, low), (1.2, 0.25), (8.3, 0.25), (8.3, low - 0.18), ink=SEEN)


def row_lstm(rows: int = 4, columns: int = 9) -> None:
    """How the Row LSTM walks: a row per step; a pixel hears three states above, and reads two places of its own row."""
    row, column = rows - 1, columns // 2
    alt = (
        f"A grid of {rows} by {columns} pixels, a row per step. Arrows lead from the three pixels above, left, straight and "
        "right, to a pixel of the last row; the one straight above hands on its cell as well. A dashed arrow comes from "
        "the left neighbour. The pixels that can reach it form a triangle; left and right of it they stay orange."
    )
    title = "Row LSTM: a row per step. States travel one column per row, so a triangle is all that arrives"
    with canvas(title=title, alt=alt, width=0.62 * columns + 3.6, height=0.62 * rows + 0.3) as axes:
        for r in range(rows):
            for c in range(columns):
                reached = abs(c - column) <= row - r if r < row else c == column - 1
                before = (r, c) < (row, column)
                fill = PAPER["state"] if before and reached else "#fbe0cc" if before else "white"
                _pixel(axes, _at(r, c, rows), fill)
            axes.text(0.62 * columns + 0.35, _at(r, 0, rows)[1], f"step {r + 1}", color=INK, fontsize=10, va="center")
        here = _at(row, column, rows)
        for side in (-1, 0, 1):
            start = _at(row - 1, column + side, rows)
            arrow(axes, start, (here[0] + 0.12 * side, here[1] + 0.2), ink=SEEN)
        arrow(axes, _at(row, column - 1, rows), (here[0] - 0.2, here[1]), ink=plots.COLOURS[2], dashed=True)
        left = 0.62 * columns + 1.3
        for y, text, ink in (
            (1.7, "states $h$ of three neighbours;\nthe cell $c$ from straight above", SEEN),
            (0.7, "$K_{is}$ reads the layer's input", plots.COLOURS[2]),
        ):
            axes.text(left, y, text, color=ink, fontsize=9, va="center")


def diagonal_lstm(turn: Tensor, skewed: Tensor) -> None:
    """How the Diagonal BiLSTM walks: `turn` (H, W) says at which step each pixel is updated, `skewed` is the same, skewed."""
    (height, width), wide = turn.shape, skewed.shape[1]
    alt = (
        f"Left: {height} by {width} pixels with the number of the step at which each is updated, equal along diagonals; "
        "arrows come from the pixel above and from the one to the left. Middle: skewed, every step is a column, and both "
        "arrows come from the column before. Right: the second sweep, numbered from the upper right corner; its result "
        "is handed to the row below."
    )
    title = "Diagonal BiLSTM: a diagonal per step, and skewing makes a column of it; a second sweep sees the right side"
    with canvas(title=title, alt=alt, width=0.62 * (2 * width + wide) + 1.6, height=0.62 * height + 0.6) as axes:
        row, column = height // 2, width // 2
        for left, numbers in ((0.0, turn), (0.62 * width + 0.7, skewed), (0.62 * (width + wide) + 1.4, turn.flip(1))):
            for r, c in (numbers > 0).nonzero().tolist():
                step = int(numbers[r, c])
                _pixel(axes, _at(r, c, height, left), plots.COLOURS[0], 0.08 + 0.5 * step / int(turn.max()))
                axes.text(
                    *_at(r, c, height, left), str(step), ha="center", va="center", fontsize=9, color=INK, zorder=5
                )
        here = _at(row, column, height)
        arrow(axes, _at(row - 1, column, height), (here[0], here[1] + 0.14), ink=BLIND)
        arrow(axes, _at(row, column - 1, height), (here[0] - 0.16, here[1]), ink=BLIND)
        left = 0.62 * width + 0.7
        here = _at(row, column + row, height, left)
        for r in (row - 1, row):
            start = _at(r, column + row - 1, height, left)
            arrow(axes, start, (here[0] - 0.16, here[1] + 0.08 * (r < row)), ink=BLIND)
        left = 0.62 * (width + wide) + 1.4
        start = _at(row - 1, column + 1, height, left)
        arrow(axes, start, (start[0], start[1] - 0.45), ink=BLIND)
        for x, name in (
            (0.0, "from the left"),
            (0.62 * width + 0.7, "skewed"),
            (left, "from the right, then one row down"),
        ):
            axes.text(x + 0.1, 0.62 * height + 0.42, name, color=INK, fontsize=10, va="center")


def _at(row: int, column: int, rows: int, left: float = 0.0) -> Place:
    """The middle of a pixel in a grid of so many rows that begins `left` inches from the edge."""
    return left + 0.1 + 0.62 * (column + 0.5), 0.62 * (rows - row - 0.5) + 0.1


def _pixel(axes: Any, place: Place, fill: str, opacity: float = 1.0) -> None:
    from matplotlib.patches import Rectangle

    corner = place[0] - 0.29, place[1] - 0.29
    axes.add_patch(Rectangle(corner, 0.58, 0.58, fc=fill, alpha=opacity, ec="none", zorder=1))
    axes.add_patch(Rectangle(corner, 0.58, 0.58, fc="none", ec="0.6", lw=0.8, zorder=1))
