"""Figures: one style, a palette that colour-blind readers can tell apart, a title that says what to see, alt text.

Every function shows one PNG of at most 80 dpi. `title` states the finding; `alt` describes the picture to someone
who cannot see it, and travels with the image. matplotlib is imported on first use.
"""

from __future__ import annotations

import base64
import contextlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from course_utils import runtime

# Okabe & Ito, "Color Universal Design" (2008): eight colours that most colour-blind readers can tell apart.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442"]
DPI = 80
STYLE: dict[str, Any] = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "figure.dpi": DPI,
    "font.size": 10,
    "image.cmap": "viridis",
    "image.interpolation": "nearest",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


@dataclass(frozen=True)
class Band:
    """Several runs of one curve: `x` (N,), the median `middle` (N,), and the range `low`, `high` (N,)."""

    x: Tensor
    low: Tensor
    middle: Tensor
    high: Tensor


def band(x: Sequence[float] | Tensor, runs: Tensor) -> Band:
    """The median and the range (smallest to largest) of `runs` (R, N) over `x` (N,)."""
    runs = torch.as_tensor(runs, dtype=torch.float64)
    if runs.dim() != 2 or runs.shape[1] != len(x) or not len(runs):
        raise ValueError(f"runs must have shape (R, {len(x)}), not {tuple(runs.shape)}")
    x = torch.as_tensor(x, dtype=torch.float64)
    return Band(x, runs.amin(0), runs.quantile(0.5, dim=0), runs.amax(0))


@contextlib.contextmanager
def figure(
    *, title: str, alt: str, width: float = 7.5, height: float = 3.4, rows: int = 1, columns: int = 1
) -> Iterator[Any]:
    """Yield one Axes (or an array of them) to draw on; show the figure with its title and alt text on leaving."""
    if not title or not alt:
        raise ValueError("a figure needs a title that states the finding, and alt text for those who cannot see it")
    import matplotlib
    from cycler import cycler
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: dict[Any, Any] = STYLE | {"axes.prop_cycle": cycler(color=COLOURS)}
    with matplotlib.rc_context(style):
        canvas = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(canvas)
        axes = canvas.subplots(rows, columns)
        canvas.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", wrap=True)
        yield axes
        png = _png(canvas)
    picture = {"image/png": base64.b64encode(png).decode(), "text/plain": f"[figure: {alt}]"}
    runtime.show(picture, metadata={"image/png": {"alt": alt}})


def _png(canvas: Any) -> bytes:
    """The figure as a PNG of 256 colours: a third of the size, so that a notebook stays small."""
    from PIL import Image

    full, small = io.BytesIO(), io.BytesIO()
    canvas.savefig(full, format="png", dpi=DPI)
    colours = Image.open(full).convert("RGB").quantize(256)
    colours.save(small, format="png", dpi=(DPI, DPI))
    return small.getvalue()


def lines(
    series: Mapping[str, Any],
    *,
    title: str,
    alt: str,
    xlabel: str = "",
    ylabel: str = "",
    log: str = "",
    width: float = 7.5,
    height: float = 3.4,
) -> None:
    """Curves in one Axes: `series` maps a label to y, to (x, y), or to a `Band`. `log`: "", "x", "y" or "xy"."""
    if log not in ("", "x", "y", "xy"):
        raise ValueError(f"log must be '', 'x', 'y' or 'xy', not {log!r}")
    with figure(title=title, alt=alt, width=width, height=height) as axes:
        draw_lines(axes, series)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        if "x" in log:
            axes.set_xscale("log")
        if "y" in log:
            axes.set_yscale("log")


def draw_lines(axes: Any, series: Mapping[str, Any]) -> None:
    """The curves of `lines`, on Axes that exist."""
    for label, values in series.items():
        if isinstance(values, Band):
            (line,) = axes.plot(_list(values.x), _list(values.middle), label=label)
            axes.fill_between(
                _list(values.x), _list(values.low), _list(values.high), alpha=0.2, color=line.get_color(), lw=0
            )
        elif isinstance(values, tuple):
            axes.plot(_list(values[0]), _list(values[1]), label=label)
        else:
            axes.plot(_list(values), label=label)
    if len(series) > 1:
        axes.legend()


def images(
    pictures: Tensor,
    *,
    title: str,
    alt: str,
    columns: int = 10,
    labels: Sequence[Any] | None = None,
    scale: float = 0.75,
) -> None:
    """A grid of grey images (N, H, W) or (N, 1, H, W), or of colour images (N, 3, H, W) with values in [0, 1]."""
    if pictures.dim() not in (3, 4) or not len(pictures) or (pictures.dim() == 4 and pictures.shape[1] not in (1, 3)):
        raise ValueError(f"images need shape (N, H, W), (N, 1, H, W) or (N, 3, H, W), not {tuple(pictures.shape)}")
    if columns < 1:
        raise ValueError(f"columns must be at least 1, not {columns}")
    if not pictures.is_floating_point() and pictures.max() > 1:
        raise ValueError(f"images need values in [0, 1]; these go up to {pictures.max().item()}: divide by 255")
    pictures = pictures.detach().float().cpu().clamp(0, 1)
    if pictures.dim() == 3:
        pictures = pictures.unsqueeze(1)
    columns = min(columns, len(pictures))
    gap = (0.3 if labels is not None else 0.08) / scale  # between rows, as a share of a picture's height
    mosaic, corners = _mosaic(pictures, columns, gap)
    width = max(columns * scale, 4.5)
    with figure(title=title, alt=alt, width=width, height=mosaic.shape[0] / mosaic.shape[1] * width + 0.38) as axes:
        axes.imshow(mosaic.numpy(), cmap="gray", vmin=0, vmax=1)
        axes.axis("off")
        for (top, left), label in zip(corners, labels if labels is not None else [], strict=False):
            axes.text(left + pictures.shape[3] / 2, top - 1, str(label), fontsize=9, ha="center", va="bottom")


def _mosaic(pictures: Tensor, columns: int, gap: float) -> tuple[Tensor, list[tuple[int, int]]]:
    """Pictures (N, C, H, W) side by side on white: (H', W') or (H', W', 3), and each one's upper left corner."""
    n, channels, height, width = pictures.shape
    above, between = round(gap * height), max(1, round(0.08 * width))
    rows = math.ceil(n / columns)
    mosaic = torch.ones(channels, rows * (height + above), columns * (width + between) - between)
    corners = []
    for place, picture in enumerate(pictures):
        top = place // columns * (height + above) + above
        left = place % columns * (width + between)
        mosaic[:, top : top + height, left : left + width] = picture
        corners.append((top, left))
    return mosaic[0] if channels == 1 else mosaic.permute(1, 2, 0), corners


def heatmap(
    matrix: Tensor,
    *,
    title: str,
    alt: str,
    xlabel: str = "",
    ylabel: str = "",
    diverging: bool = False,
    width: float = 6.0,
    height: float = 3.6,
) -> None:
    """A matrix (rows, columns) as colours; `diverging` centres the colours on zero."""
    if matrix.dim() != 2 or not matrix.numel():
        raise ValueError(f"a heat map needs a matrix (rows, columns), not {tuple(matrix.shape)}")
    matrix = matrix.detach().float().cpu()
    limit = matrix.abs().max().item() if diverging else None
    colours: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit} if limit is not None else {}
    with figure(title=title, alt=alt, width=width, height=height) as axes:
        picture = axes.imshow(matrix.numpy(), aspect="auto", **colours)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.grid(False)
        axes.figure.colorbar(picture, ax=axes)


def bars(
    values: Mapping[str, float | tuple[float, float]],
    *,
    title: str,
    alt: str,
    ylabel: str = "",
    width: float = 7.5,
    height: float = 3.0,
) -> None:
    """Bars with their value on top; a pair (value, half-width) adds an error bar."""
    with figure(title=title, alt=alt, width=width, height=height) as axes:
        for place, (label, value) in enumerate(values.items()):
            number, spread = value if isinstance(value, tuple) else (value, None)
            drawn = axes.bar(label, number, yerr=spread, capsize=4, color=COLOURS[place % len(COLOURS)])
            axes.bar_label(drawn, fmt="%.3g")
        axes.set_ylabel(ylabel)
        axes.grid(axis="x", visible=False)


def _list(values: Any) -> list[float]:
    return values.detach().cpu().tolist() if isinstance(values, Tensor) else list(values)
