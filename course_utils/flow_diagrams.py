"""Lesson 10's pictures: clouds of points, fields of arrows over densities, ways from noise to data, a step of two walks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from course_utils import plots
from course_utils.diagrams import BACKWARD, FORWARD, INK, THIRD, arrow, box, canvas, tensor

SIDE = 2.8  # a panel shows the square from -SIDE to SIDE
ARROWS = torch.cartesian_prod(*[torch.linspace(-2.2, 2.2, 15, dtype=torch.float64)] * 2)  # (225, 2)
PIXELS = 81  # of a density, in each direction

Field = Callable[[Tensor, Tensor], Tensor]  # places (N, 2) and times (N,) to vectors (N, 2)


def square() -> Tensor:
    """Places (PIXELS², 2) that cover a panel, for `densities`; float64."""
    return torch.cartesian_prod(*[torch.linspace(-SIDE, SIDE, PIXELS, dtype=torch.float64)] * 2)


def clouds(sets: Mapping[str, Tensor], *, title: str, alt: str, size: float = 3.2, dot: float = 2.0) -> None:
    """Sets of points (N, 2), each in a panel with its name above."""
    with plots.figure(title=title, alt=alt, width=size * len(sets), height=size + 0.5, columns=len(sets)) as axes:
        for panel, (name, points) in zip(_panels(axes), sets.items(), strict=True):
            panel.plot(*points.T, ".", color=plots.COLOURS[1], ms=dot)
            _frame(panel, name)


def fields(
    field: Field, density: Callable[[Tensor, Tensor], Tensor], times: Sequence[float], *, title: str, alt: str
) -> None:
    """A field's arrows at several times, over the density (N,) of the places (N, 2) at the times (N,), in grey."""
    with plots.figure(title=title, alt=alt, width=3.0 * len(times), height=3.4, columns=len(times)) as axes:
        for panel, t in zip(_panels(axes), times, strict=True):
            places = square()
            _grey(panel, density(places, torch.full((len(places),), t, dtype=places.dtype)))
            _arrows(panel, field(ARROWS, torch.full((len(ARROWS),), t, dtype=ARROWS.dtype)))
            _frame(panel, f"t = {t}")


@torch.no_grad()
def way(velocity: Field, x: Tensor, pieces: int = 40) -> Tensor:
    """The places (pieces + 1, N, ...) of x (N, ...) on its way along a velocity from t = 0 to 1, by one step for each piece."""
    path = [x]
    for piece in range(pieces):
        path.append(path[-1] + velocity(path[-1], x.new_full((len(x),), piece / pieces)) / pieces)
    return torch.stack(path)


def flows(
    velocities: Mapping[str, tuple[Field, Callable[[int, torch.Generator], Tensor]]],
    times: Sequence[float],
    generator: torch.Generator,
    *,
    title: str,
    alt: str,
) -> None:
    """For each name a row: a velocity's arrows at several times, over points between noise and data, and ways to the data.

    A row is given by the velocity (of float32) and a function that draws so many points (N, 2) of the data.
    """
    columns = len(times) + 1
    shape = {"width": 2.5 * columns, "height": 2.6 * len(velocities), "rows": len(velocities), "columns": columns}
    with plots.figure(title=title, alt=alt, **shape) as axes:
        rows = axes.reshape(len(velocities), columns)
        for line, (name, (velocity, draw)) in zip(rows, velocities.items(), strict=True):
            noise = torch.randn(1500, 2, generator=generator)
            data = draw(len(noise), generator).float()
            for panel, t in zip(line, times, strict=False):
                panel.plot(*((1 - t) * noise + t * data).T, ".", color="0.75", ms=2)
                _arrows(panel, velocity(ARROWS.float(), torch.full((len(ARROWS),), t)))
                _frame(panel, f"{name}, t = {t}")
            _ways(line[-1], way(velocity, noise[:300]))
            _frame(line[-1], f"{name}, ways")


def walks(paths: Mapping[str, Tensor], *, title: str, alt: str) -> None:
    """Paths (steps + 1, N, 2), each in a panel: where all begin and end, and the ways of the first 25."""
    with plots.figure(title=title, alt=alt, width=3.5 * len(paths), height=3.7, columns=len(paths)) as axes:
        for panel, (name, path) in zip(_panels(axes), paths.items(), strict=True):
            _ways(panel, path)
            _frame(panel, name)


def under_way(axes: Any, path: Tensor, t: float, centres: Tensor) -> None:
    """On Axes that exist: the centres (K, 2) as discs, and a path (steps + 1, N, 2) up to the time t in [0, 1]."""
    at = round(t * (len(path) - 1))
    for way in path[: at + 1, :40].unbind(1):
        axes.plot(*way.T, color=plots.COLOURS[0], lw=0.6, alpha=0.6)
    axes.plot(*centres.T, "o", color="0.75", ms=9)
    axes.plot(*path[at, :500].T, ".", color=plots.COLOURS[1], ms=3)
    _frame(axes, "")


def stills(axes: Any, path: Tensor, t: float, rows: int) -> None:
    """On Axes that exist: the pictures of a path (steps + 1, N, C, H, W) at the time t in [0, 1], levels near [0, 1].

    They stand in so many rows, column by column. N is a multiple of `rows`.
    """
    pictures = path[round(t * (len(path) - 1))].clamp(0, 1).unflatten(0, (-1, rows))  # (columns, rows, C, H, W)
    axes.imshow(pictures.permute(1, 3, 0, 4, 2).flatten(2, 3).flatten(0, 1))
    axes.axis("off")


def densities(values: Mapping[str, Tensor], *, title: str, alt: str) -> None:
    """Densities (PIXELS²,) at the places of `square`, each in a panel; darkness grows with their root, so that thin parts show."""
    with plots.figure(title=title, alt=alt, width=3.7 * len(values), height=3.9, columns=len(values)) as axes:
        for panel, (name, density) in zip(_panels(axes), values.items(), strict=True):
            _grey(panel, density.sqrt())
            _frame(panel, name)


def two_walks() -> None:
    """One step of a walk back: what DDPM and DDIM share, and where they part."""
    alt = (
        "From left to right: the noisy points x_s go into the network, which guesses the noise; predict_clean makes a guess of the "
        "clean points of both. There the ways part. Above, DDPM: step_back and fresh noise give one x at the level before. "
        "Below, DDIM: ddim_step, with the same noise again, gives another."
    )
    title = "One network, two walks: DDPM draws fresh noise at each step, DDIM puts back the noise that it has seen"
    with canvas(title=title, alt=alt, width=10.4, height=3.0) as axes:
        tensor(axes, (0.5, 1.5), "$x_s$", ("N", 2))
        arrow(axes, (0.85, 1.5), (1.5, 1.5))
        box(axes, (2.2, 1.5), "network,\nlevel $s$", width=1.4, height=0.8)
        arrow(axes, (2.9, 1.5), (3.9, 1.5), text=r"$\hat\varepsilon$", ink=FORWARD)
        box(axes, (4.75, 1.5), "predict_clean", width=1.7)
        arrow(axes, (0.5, 1.72), (0.5, 2.72), (4.4, 2.72), (4.4, 1.74), ink="0.6")
        arrow(axes, (5.6, 1.6), (6.3, 1.6), (6.3, 2.2), (6.85, 2.2), text=r"$\hat x$", at=(5.85, 1.78), ink=FORWARD)
        arrow(axes, (5.6, 1.4), (6.3, 1.4), (6.3, 0.8), (6.85, 0.8), ink=FORWARD)
        box(axes, (7.6, 2.2), "step_back", width=1.5)
        box(axes, (7.6, 0.8), "ddim_step", width=1.5)
        arrow(axes, (7.6, 2.85), (7.6, 2.44), text="fresh noise", at=(7.7, 2.8), ink=BACKWARD)
        arrow(axes, (3.4, 1.46), (3.4, 0.25), (7.6, 0.25), (7.6, 0.56), ink=THIRD, dashed=True)
        axes.text(5.4, 0.32, r"the same $\hat\varepsilon$", color=THIRD, fontsize=9, ha="center", va="bottom")
        for y, name in ((2.2, "DDPM"), (0.8, "DDIM")):
            arrow(axes, (8.35, y), (8.95, y))
            tensor(axes, (9.3, y), "$x_{s-1}$")
            axes.text(9.7, y, name, color=INK, fontsize=10, fontweight="bold", va="center")


def _panels(axes: Any) -> list[Any]:
    return list(axes.flat) if hasattr(axes, "flat") else [axes]


def _frame(axes: Any, title: str) -> None:
    axes.set(xlim=(-SIDE, SIDE), ylim=(-SIDE, SIDE), aspect="equal", xticks=[], yticks=[])
    axes.set_title(title, fontsize=10)
    axes.grid(False)


def _grey(axes: Any, values: Tensor) -> None:
    edges = (-SIDE, SIDE, -SIDE, SIDE)
    axes.imshow(values.view(PIXELS, PIXELS).T, origin="lower", extent=edges, cmap="Greys", interpolation="bilinear")


def _arrows(axes: Any, vectors: Tensor) -> None:
    axes.quiver(*ARROWS.T, *vectors.detach().T, color=plots.COLOURS[0], width=0.005)


def _ways(axes: Any, path: Tensor) -> None:
    for way in path[:, :25].unbind(1):
        axes.plot(*way.T, color=plots.COLOURS[0], lw=0.7, alpha=0.7)
    axes.plot(*path[0].T, ".", color="0.6", ms=2)
    axes.plot(*path[-1].T, ".", color=plots.COLOURS[1], ms=3)
