"""Lesson 10's pictures: clouds of points, fields of arrows over densities, paths from noise to data, a step of two samplers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from course_utils import plane, plots, widgets
from course_utils.diagrams import BACKWARD, FORWARD, INK, THIRD, arrow, box, canvas, tensor

SIDE = 2.8  # a panel shows the square from -SIDE to SIDE
ARROWS = torch.cartesian_prod(*[torch.linspace(-2.2, 2.2, 15, dtype=torch.float64)] * 2)  # (225, 2)
PIXELS = 81  # of a density, in each direction

Field = Callable[[Tensor, Tensor], Tensor]  # places (N, 2) and times (N,) to vectors (N, 2)


def square() -> Tensor:
    """Places (PIXELS², 2) that cover a panel, for `densities`; float64."""
    return torch.cartesian_prod(*[torch.linspace(-SIDE, SIDE, PIXELS, dtype=torch.float64)] * 2)


def look(draws: Mapping[str, Callable[[int, torch.Generator], Tensor]], generator: torch.Generator) -> None:
    """Data sets in the plane, each given by a function that draws so many of its points (N, 2)."""
    title, alt = "The data: two thousand points each", f"Panels of points: {' and '.join(draws)}."
    _clouds({name: draw(2000, generator) for name, draw in draws.items()}, title, alt, size=3.0)


def spoiled(sets: Mapping[str, Tensor]) -> None:
    """Samples (N, 2) of the ring, whole and with a part spoiled, each in a panel with its name above."""
    title = "What each spoiled part does to the ring (first seed)"
    alt = (
        "Four panels of samples. As it should be: eight clouds with thin bridges. No time: clouds torn out of shape. The wrong "
        "schedule: smeared clouds. The same with the net told the right time: eight clouds again."
    )
    _clouds(sets, title, alt, size=2.8, dot=1.0)


def scores(
    best_noise: Field, alpha_bar_at: Callable[[Tensor], Tensor], times: Sequence[float] = (0.8, 0.4, 0.15)
) -> None:
    """The noisy ring's density at several times, in grey, and arrows of its score, times √(1 − ᾱ): minus the best guess of the
    noise."""
    title = "The less noise, the nearer the aim of the score: the middle, the ring, the nearest cloud"
    alt = (
        "Three panels with the ring's density at three noise levels, and arrows. Much noise: one blob, arrows to its middle. "
        "Less noise: a smeared ring, arrows to the ring. Little noise: eight spots, arrows to the nearest one."
    )
    with plots.figure(title=title, alt=alt, width=2.9 * len(times), height=3.3, columns=len(times)) as axes:
        for panel, t in zip(_panels(axes), times, strict=True):
            level = alpha_bar_at(torch.tensor(t, dtype=torch.float64)).item()
            _grey(panel, plane.log_density(square(), level**0.5, (1 - level) ** 0.5).exp())
            _arrows(panel, -best_noise(ARROWS, torch.full((len(ARROWS),), t, dtype=ARROWS.dtype)))
            _frame(panel, f"t = {t}")


@torch.no_grad()
def follow(velocity: Field, x: Tensor, pieces: int = 40) -> Tensor:
    """The path (pieces + 1, N, ...) of x (N, ...) along a velocity from t = 0 to 1, by one of Euler's steps for each piece."""
    path = [x]
    for piece in range(pieces):
        path.append(path[-1] + velocity(path[-1], x.new_full((len(x),), piece / pieces)) / pieces)
    return torch.stack(path)


def flows(
    velocities: Mapping[str, tuple[Field, Callable[[int, torch.Generator], Tensor]]],
    generator: torch.Generator,
    times: Sequence[float] = (0.1, 0.9),
) -> None:
    """For each name a row: a velocity's arrows at several times, over points between noise and data, and paths to the data.

    A row is given by the velocity (of float32) and a function that draws so many points (N, 2) of the data.
    """
    title = "The learned velocity early and late, and where it leads"
    alt = (
        f"A row each for {' and '.join(velocities)}. Arrows of the velocity: early all towards the middle, late to the nearest part "
        "of the data. On the right the paths of 25 points, many of them bent, and the ends of 300 on the data."
    )
    columns = len(times) + 1
    shape = {"width": 2.4 * columns, "height": 2.5 * len(velocities), "rows": len(velocities), "columns": columns}
    with plots.figure(title=title, alt=alt, **shape) as axes:
        rows = axes.reshape(len(velocities), columns)
        for line, (name, (velocity, draw)) in zip(rows, velocities.items(), strict=True):
            noise = torch.randn(1500, 2, generator=generator)
            data = draw(len(noise), generator).float()
            for panel, t in zip(line, times, strict=False):
                panel.plot(*((1 - t) * noise + t * data).T, ".", color="0.75", ms=2)
                _arrows(panel, velocity(ARROWS.float(), torch.full((len(ARROWS),), t)))
                _frame(panel, f"{name}, t = {t}")
            _paths(line[-1], follow(velocity, noise[:300]))
            _frame(line[-1], f"{name}, paths")


def walks(paths: Mapping[str, Tensor]) -> None:
    """Paths (steps + 1, N, 2) from the same beginnings, each in a panel: where all begin and end, and the first 25 in full."""
    title = "One network, the same beginnings: jagged and smooth paths"
    alt = f"Panels for {' and '.join(paths)}: paths of 25 points from a cloud of noise to the ring's clouds, first jagged, then smooth."
    with plots.figure(title=title, alt=alt, width=3.5 * len(paths), height=3.7, columns=len(paths)) as axes:
        for panel, (name, path) in zip(_panels(axes), paths.items(), strict=True):
            _paths(panel, path)
            _frame(panel, name)


def orders(paths: Mapping[float, Tensor]) -> None:
    """Guided paths (steps + 1, N, 2) by their scale: where all end, and a slider for scale and time."""

    def draw(axes: Any, scale: float, t: float) -> None:
        under_way(axes, paths[scale], t, plane.CENTRES)

    widgets.explore(
        draw,
        panels=[{"scale": scale, "t": 1.0} for scale in (0.0, 1.0, 2.0, 8.0)],
        title="Asked for the cloud at the right: not at all, as it is, drawn together, and pushed past it",
        alt="Four panels of paths from noise. Scale 0: to all eight clouds. Scale 1: to the cloud at the right. Scale 2: to a "
        "smaller spot at its outer edge. Scale 8: to a spot beyond it.",
        width=10.0,
        scale=list(paths),
        t=(0.0, 1.0, 0.05),
    )


def under_way(axes: Any, path: Tensor, t: float, centres: Tensor) -> None:
    """On Axes that exist: the centres (K, 2) as discs, and a path (steps + 1, N, 2) up to the time t in [0, 1]."""
    at = round(t * (len(path) - 1))
    for line in path[: at + 1, :40].unbind(1):
        axes.plot(*line.T, color=plots.COLOURS[0], lw=0.6, alpha=0.6)
    axes.plot(*centres.T, "o", color="0.75", ms=9)
    axes.plot(*path[at, :500].T, ".", color=plots.COLOURS[1], ms=3)
    _frame(axes, "")


def distances(curves: Mapping[str, plots.Band], level: float) -> None:
    """Energy distances to the data against network evaluations, both logarithmic, over the `level` of a second real sample."""
    title = "More evaluations bring all nearer to the data, until the networks' errors are left"
    alt = (
        f"Energy distance to the data against network evaluations, both logarithmic, median and range of the seeds, for "
        f"{', '.join(curves)}; a level line for a second real sample. All fall, and level off."
    )
    with plots.figure(title=title, alt=alt, height=3.4) as axes:
        budgets = next(iter(curves.values())).x.tolist()
        plots.draw_lines(axes, {**curves, "a second real sample": (budgets, [level] * len(budgets))})
        axes.set(xscale="log", yscale="log", xlabel="network evaluations per sample", ylabel="energy distance")
        axes.set_xticks(budgets, [f"{budget:g}" for budget in budgets])
        axes.minorticks_off()
        axes.set_ylim(top=1)  # room for the legend
        axes.legend(ncols=3, loc="upper right")


def densities(learned: Tensor) -> None:
    """The ring's density and a learned one (PIXELS²,) at the places of `square`; darkness grows with their root, so that thin
    parts show."""
    title = "The density that the flow has learned, beside the true one"
    alt = "Two panels with eight dark spots on a ring: the true density, and the learned one, which has thin grey bridges."
    both = {"true (square root)": plane.log_density(square(), 1.0, 0.0).exp(), "learned (square root)": learned}
    with plots.figure(title=title, alt=alt, width=6.4, height=3.5, columns=2) as axes:
        for panel, (name, density) in zip(_panels(axes), both.items(), strict=True):
            _grey(panel, density.sqrt())
            _frame(panel, name)


def groups(pictures: Tensor, names: Sequence[str], *, drawn: bool) -> None:
    """Pictures (N, 3, H, W) in a row for each of the names, equally many: real ones, or such as were drawn to order."""
    named = ", ".join(names)
    title = (
        f"Drawn to order, the first that came: {named}" if drawn else f"To learn from: {named} (OpenMoji, CC BY-SA 4.0)"
    )
    kind = "pictures in colour that a network has drawn to order" if drawn else "emoji to learn from"
    plots.images(pictures, title=title, alt=f"A row each of {kind}: {named}.", columns=len(pictures) // len(names))


def two_walks() -> None:
    """One step from noise to data: what DDPM and DDIM share, and where they part."""
    alt = (
        "From left to right: the noisy points x_s go into the network, which guesses the noise; predict_clean makes a guess of the "
        "clean points of both. There the samplers part. Above, DDPM: step_back and fresh noise give one x at the level before. "
        "Below, DDIM: ddim_step, with the same noise again, gives another."
    )
    title = "One network, two samplers: DDPM draws fresh noise at each step, DDIM puts back the noise that it has seen"
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


def _clouds(sets: Mapping[str, Tensor], title: str, alt: str, size: float, dot: float = 2.0) -> None:
    with plots.figure(title=title, alt=alt, width=size * len(sets), height=size + 0.5, columns=len(sets)) as axes:
        for panel, (name, points) in zip(_panels(axes), sets.items(), strict=True):
            panel.plot(*points.T, ".", color=plots.COLOURS[1], ms=dot)
            _frame(panel, name)


def _frame(axes: Any, title: str) -> None:
    axes.set(xlim=(-SIDE, SIDE), ylim=(-SIDE, SIDE), aspect="equal", xticks=[], yticks=[])
    axes.set_title(title, fontsize=10)
    axes.grid(False)


def _grey(axes: Any, values: Tensor) -> None:
    edges = (-SIDE, SIDE, -SIDE, SIDE)
    axes.imshow(values.view(PIXELS, PIXELS).T, origin="lower", extent=edges, cmap="Greys", interpolation="bilinear")


def _arrows(axes: Any, vectors: Tensor) -> None:
    axes.quiver(*ARROWS.T, *vectors.detach().T, color=plots.COLOURS[0], width=0.005)


def _paths(axes: Any, path: Tensor) -> None:
    for line in path[:, :25].unbind(1):
        axes.plot(*line.T, color=plots.COLOURS[0], lw=0.7, alpha=0.7)
    axes.plot(*path[0].T, ".", color="0.6", ms=2)
    axes.plot(*path[-1].T, ".", color=plots.COLOURS[1], ms=3)
