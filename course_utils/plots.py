"""Figures: one style, a palette that colour-blind readers can tell apart, a title that says what to see, alt text.

Every function shows one PNG of at most 80 dpi. `title` states the finding; `alt` describes the picture to someone
who cannot see it, and travels with the image. matplotlib is imported on first use.
"""

from __future__ import annotations

import base64
import contextlib
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from course_utils import display

# Okabe & Ito, "Color Universal Design" (2008): eight colours that most colour-blind readers can tell apart.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442"]
# Petroff, "Accessible Color Sequences for Data Visualization" (2021): for points of up to ten classes.
CLASSES = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"]
DPI = 80
LINE = 1.9  # a line's height in `text`, in characters' widths
BLACK_ABOVE = 0.179  # a background's luminance; there the contrast with black is that with white: 4.6 to 1
ADVANCE = 0.602  # a character's width in DejaVu Sans Mono, in font sizes
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
    display.show(picture, metadata={"image/png": {"alt": alt}})


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


@torch.no_grad()
def atlas(decode: Callable[[Tensor], Tensor], across: Tensor, up: Tensor) -> Tensor:
    """A plane of codes as one picture (rows * H, columns * W): what `decode` makes of each place, upwards as on a map.

    `across` (columns,) and `up` (rows,) are the places along the axes; `decode` turns codes (N, 2) into (N, H, W).
    """
    first, second = torch.meshgrid(across, up.flip(0), indexing="xy")
    pictures = decode(torch.stack([first, second], -1).flatten(0, 1)).unflatten(0, first.shape)  # (rows, columns, H, W)
    return pictures.transpose(1, 2).flatten(2, 3).flatten(0, 1).cpu()


def scatter(
    points: Tensor,
    labels: Tensor,
    *,
    title: str,
    alt: str,
    xlabel: str = "",
    ylabel: str = "",
    names: Sequence[str] | None = None,
    label: str = "",
    width: float = 6.0,
    height: float = 4.8,
) -> None:
    """Points (N, 2), coloured by class or by value, as `draw_scatter` does; values get a colour bar called `label`."""
    with figure(title=title, alt=alt, width=width, height=height) as axes:
        picture = draw_scatter(axes, points, labels, names)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        if labels.is_floating_point():
            axes.figure.colorbar(picture, ax=axes, label=label)


def draw_scatter(axes: Any, points: Tensor, labels: Tensor, names: Sequence[str] | None = None) -> Any:
    """A cloud of points (N, 2) on Axes that exist; returns the picture, for a colour bar.

    Whole `labels` (N,) are up to ten classes, 0 to 9: each has its colour, and its name (`names`, else its number)
    written at the median of its points. Other `labels` are values, from dark to light. Raises ValueError for shapes
    that do not fit, points or values that are not finite, and a class outside 0 to 9 or without a name.
    """
    points, labels = points.detach().cpu().double(), labels.detach().cpu()
    if points.dim() != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1] or not len(points):
        raise ValueError(f"need points (N, 2) and labels (N,), not {tuple(points.shape)} and {tuple(labels.shape)}")
    if not (points.isfinite().all() and labels.isfinite().all()):
        raise ValueError("there are points or values that are not finite: look where they come from")
    x, y = points.T.numpy()
    size = min(25.0, max(4.0, 20_000 / len(points)))
    if labels.is_floating_point():
        return axes.scatter(x, y, s=size, c=labels.double().numpy(), linewidths=0)
    words = names or [str(digit) for digit in range(len(CLASSES))]
    known = min(len(CLASSES), len(words))
    if labels.min() < 0 or labels.max() >= known:
        raise ValueError(f"classes lie between 0 and {known - 1}; these run from {labels.min()} to {labels.max()}")
    picture = axes.scatter(x, y, s=size, c=[CLASSES[label] for label in labels.tolist()], linewidths=0)
    for label in map(int, labels.unique()):
        _write_on_points(axes, points[labels == label].quantile(0.5, dim=0).tolist(), words[label], CLASSES[label])
    return picture


def _write_on_points(axes: Any, place: Sequence[float], text: str, colour: str) -> None:
    """A word at (x, y) on a box of its class's colour, with a white edge that sets it off from the points."""
    from matplotlib.colors import to_rgb

    black = _luminance(torch.tensor([to_rgb(colour)], dtype=torch.float64)) > BLACK_ABOVE
    box = {"boxstyle": "round,pad=0.2", "facecolor": colour, "edgecolor": "white"}
    axes.text(*place, text, color="black" if black else "white", fontweight="bold", ha="center", va="center", bbox=box)


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


def panels(
    pictures: Mapping[str, Tensor],
    *,
    title: str,
    alt: str,
    columns: int | None = None,
    limits: tuple[float, float] | None = None,
    diverging: bool = False,
    size: float = 2.4,
) -> None:
    """Matrices (H, W) of any sizes as grey pictures with their names above, `columns` in a row (all of them by default).

    They share the `limits`, 0 and 1 by default; `diverging` shows colours around zero, with one scale for all. `size` is
    a panel's width in inches.
    """
    if not pictures or any(values.dim() != 2 for values in pictures.values()):
        raise ValueError(f"panels need matrices (H, W), not {[tuple(values.shape) for values in pictures.values()]}")
    columns = min(columns or len(pictures), len(pictures))
    rows = math.ceil(len(pictures) / columns)
    low, high = limits or (0.0, 1.0)
    if diverging and limits is None:
        high = max(values.abs().max().item() for values in pictures.values())
        low = -high
    shape: dict[str, Any] = {
        "rows": rows,
        "columns": columns,
        "width": columns * size,
        "height": rows * (size + 0.3) + 0.3,
    }
    with figure(title=title, alt=alt, **shape) as axes:
        grid = [axes] if rows * columns == 1 else axes.flatten()
        for panel in grid:
            panel.axis("off")
        for panel, (name, values) in zip(grid, pictures.items(), strict=False):
            colours = "RdBu_r" if diverging else "gray"
            panel.imshow(values.detach().float().cpu().numpy(), cmap=colours, vmin=low, vmax=high)
            panel.set_title(name, fontsize=10)


def text(
    text: str,
    values: Tensor | Sequence[float],
    *,
    title: str,
    alt: str,
    columns: int = 72,
    limits: tuple[float, float] | None = None,
    label: str = "",
    diverging: bool = False,
    width: float = 8.0,
) -> None:
    """A text, each character on a background coloured by its value, with a colour bar called `label`.

    The other arguments are those of `draw_text`; `width` is the figure's, in inches.
    """
    rows = max((row for row, _ in _places(text, columns)), default=0) + 1
    body = rows * LINE * (width - 0.2) / (columns + 1)
    with figure(title=title, alt=alt, width=width, height=body + 0.95) as axes:
        picture = draw_text(axes, text, values, columns, limits, diverging)
        bar = axes.inset_axes((0.0, -0.24 / body, 0.4, 0.12 / body))
        axes.figure.colorbar(picture, cax=bar, orientation="horizontal")
        bar.text(1.05, 0.5, label, transform=bar.transAxes, va="center")


def draw_text(
    axes: Any,
    text: str,
    values: Tensor | Sequence[float],
    columns: int = 72,
    limits: tuple[float, float] | None = None,
    diverging: bool = False,
) -> Any:
    """The characters of `text` on Axes that exist, in lines of `columns`; returns the picture, for a colour bar.

    `values` (len(text),) colour the characters' backgrounds from the lower to the upper of the `limits`, which are
    the smallest and the largest value unless given; `diverging` centres them on zero. A value of NaN leaves its
    character white. A newline is drawn as a faint ↵. Raises ValueError when there is not one value a character.
    """
    colours = torch.as_tensor(values).detach().cpu().double()
    if not text or columns < 1 or colours.shape != (len(text),):
        raise ValueError(
            f"draw_text needs a text, one value for each of its {len(text)} characters, not {tuple(colours.shape)}, "
            f"and at least 1 column, not {columns}"
        )
    places = _places(text, columns)
    low, high = limits or _limits(colours, diverging)
    grid = torch.full((places[-1][0] + 1, columns + 1), math.nan, dtype=torch.float64)
    grid[tuple(torch.tensor(places).T)] = colours
    picture = axes.imshow(
        grid.numpy(),
        cmap="RdBu_r" if diverging else "Blues",
        vmin=low,
        vmax=high,
        extent=(0, columns + 1, LINE * len(grid), 0),
    )
    axes.axis("off")
    backgrounds = torch.from_numpy(picture.to_rgba(colours.nan_to_num(nan=0.0).numpy()))[:, :3]
    backgrounds[colours.isnan()] = 1.0
    black = _luminance(backgrounds) > BLACK_ABOVE
    for mark, opacity in ((False, 1.0), (True, 0.4)):
        for dark in (True, False):
            chosen = [i for i, a in enumerate(text) if a != " " and (a == "\n") == mark and black[i] == dark]
            _letters(axes, [(text[i], *places[i]) for i in chosen], "black" if dark else "white", opacity)
    return picture


def _places(text: str, columns: int) -> list[tuple[int, int]]:
    """Each character's row and column; a newline may stand in the column after the last."""
    row, column, places = 0, 0, []
    for letter in text:
        if column == columns and letter != "\n":
            row, column = row + 1, 0
        places.append((row, column))
        row, column = (row + 1, 0) if letter == "\n" else (row, column + 1)
    return places


def _limits(values: Tensor, diverging: bool) -> tuple[float, float]:
    """The range of the values that are numbers, around zero if `diverging`; never empty."""
    known = values[values.isfinite()]
    if not known.numel():
        return (-1.0, 1.0) if diverging else (0.0, 1.0)
    low, high = known.min().item(), known.max().item()
    if diverging:
        high = max(abs(low), abs(high)) or 1.0
        return -high, high
    return low, high if high > low else low + 1.0


def _luminance(colours: Tensor) -> Tensor:
    """Relative luminance (N,) of sRGB colours (N, 3), as the Web Content Accessibility Guidelines 2.1 define it."""
    linear = torch.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    return linear @ torch.tensor([0.2126, 0.7152, 0.0722], dtype=linear.dtype)


def _letters(axes: Any, letters: Sequence[tuple[str, int, int]], colour: str, opacity: float) -> None:
    """Letters, each with its row and column, as one shape: their outlines scale with the Axes, whatever its size."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path
    from matplotlib.textpath import TextPath

    font = FontProperties(family="DejaVu Sans Mono")
    outlines: dict[str, Any] = {}
    shapes = []
    for letter, row, column in letters:
        if letter not in outlines:
            drawn = {"\n": "↵"}.get(letter, letter if letter.isprintable() else "·")
            outlines[letter] = TextPath((0, 0), drawn, size=1 / ADVANCE, prop=font)
        outline = outlines[letter]
        shapes.append(Path(outline.vertices * (1, -1) + (column, (row + 0.72) * LINE), outline.codes))
    if shapes:
        axes.add_patch(PathPatch(Path.make_compound_path(*shapes), color=colour, alpha=opacity, linewidth=0))


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


def draw_runs(axes: Any, runs: Mapping[str, Tensor], xlabel: str) -> None:
    """A line for each entry of `runs`, from the top, on Axes that exist: a bar to the mean of its numbers, and each as a point."""
    for place, numbers in enumerate(map(torch.as_tensor, runs.values())):
        axes.barh(place, numbers.mean().item(), color=COLOURS[5], alpha=0.6)
        axes.plot(numbers.tolist(), [place] * len(numbers), "o", color=COLOURS[1], ms=4)
    axes.set(yticks=range(len(runs)), yticklabels=list(runs), xlabel=xlabel)
    axes.grid(axis="y", visible=False)
    axes.invert_yaxis()


def _list(values: Any) -> list[float]:
    return values.detach().cpu().tolist() if isinstance(values, Tensor) else list(values)
