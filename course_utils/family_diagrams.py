"""Lesson 11's families in one picture: how each draws an image, how often its network is evaluated, what trains it.

Drawn with the primitives of `diagrams`. `trade` is the lesson's figure: quality against the time of drawing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from course_utils import plots
from course_utils.diagrams import BACKWARD, FORWARD, INK, arrow, box, canvas, note, tensor

HEIGHT = 1.0  # of a row, in inches
SIGNS = {"$": "", "\\mathcal{N}": "N", "\\sim": "~", "\\log": "log"}  # of formulas, in words


class Family(NamedTuple):
    """One row: where drawing begins, the network, what comes out, and what the network is trained by."""

    begins: str
    network: str
    ends: str
    trainer: str


FAMILIES: Mapping[str, Family] = {
    "autoencoder": Family("code\n$z \\sim \\mathcal{N}(m, C)$, fitted", "decoder", "picture", "squared error of\nwhat it gives back"),
    "VAE": Family("code\n$z \\sim \\mathcal{N}(0, I)$", "decoder", "a coin\nper pixel", "a bound of\n$\\log p(x)$"),
    "DCGAN": Family("noise $z$", "generator", "picture", "a discriminator,\ntrained beside it"),
    "conditional GAN": Family("noise $z$\nand a label", "generator", "picture", "a critic that is\ntold the label"),
    "PixelCNN": Family("pixels\nso far", "gated\nconvolutions", "a coin for\nthe next pixel", "$\\log p(x)$,\npixel by pixel"),
    "GPT": Family("patches\nso far", "attention", "one of 16 for\nthe next patch", "$\\log p(x)$,\npatch by patch"),
    "flow": Family("noise $x_0$,\nthen $x_t$", "U-Net", "velocity:\na small step", "squared error of\nthe velocity"),
}  # fmt: skip


def families(evaluations: Mapping[str, int], weights: Mapping[str, int]) -> None:
    """All families, a row each, in the order of `evaluations`: how often each network is evaluated for one image, and its weights.

    Raises ValueError, naming them, for names that are no families or have no weights.
    """
    unknown = [name for name in evaluations if name not in FAMILIES or name not in weights]
    if unknown:
        raise ValueError(
            f"nothing is known of {', '.join(unknown)}; there are {', '.join(FAMILIES)}, each with weights"
        )
    rows = (f"{name}: {_in_words(FAMILIES[name])}, network evaluated {_often(n)}" for name, n in evaluations.items())
    alt = f"A row for each family, from where drawing begins to what comes out, and what trains it. {'; '.join(rows)}."
    least, most = _often(min(evaluations.values())), _often(max(evaluations.values()))
    title = f"Ways to draw a digit: the network is evaluated {least} to {most}"
    with canvas(title=title, alt=alt, width=11.4, height=HEIGHT * len(evaluations) + 0.4) as axes:
        _heads(axes, HEIGHT * len(evaluations) + 0.15)
        for place, (name, times) in enumerate(evaluations.items()):
            _row(axes, HEIGHT * (len(evaluations) - place - 0.5), name, times, weights[name])


def _in_words(family: Family) -> str:
    """From where to where and what trains it, without formulas' signs."""
    parts = (family.begins, family.network, family.ends, f"trained by {family.trainer}")
    text = ", ".join(" ".join(part.split()) for part in parts)
    for sign, word in SIGNS.items():
        text = text.replace(sign, word)
    return text


def _often(times: int) -> str:
    return "once" if times == 1 else f"{times} times"


def _heads(axes: Any, y: float) -> None:
    heads = ((0.1, "family", "left"), (3.0, "begins with", "center"), (5.1, "network", "center"))
    heads += ((7.2, "gives", "center"), (8.75, "evaluations", "center"), (10.4, "trained by", "center"))
    for x, text, side in heads:
        axes.text(x, y, text, ha=side, va="center", color="0.4", fontsize=9)


def _row(axes: Any, y: float, name: str, times: int, weights: int) -> None:
    family = FAMILIES[name]
    axes.text(0.1, y + 0.12, name, ha="left", va="center", color=INK, fontsize=12, fontweight="bold")
    axes.text(0.1, y - 0.16, f"{weights:,} weights", ha="left", va="center", color="0.35", fontsize=8)
    note(axes, (3.0, y), family.begins, ink=INK, size=9)
    arrow(axes, (3.85, y), (4.35, y), ink=FORWARD)
    box(axes, (5.1, y), family.network, width=1.4, height=0.56)
    arrow(axes, (5.85, y), (6.4, y), ink=FORWARD)
    note(axes, (7.2, y), family.ends, ink=INK, size=9)
    if times > 1:
        arrow(axes, (7.2, y + 0.24), (7.2, y + 0.42), (3.0, y + 0.42), (3.0, y + 0.26), ink=FORWARD)  # once more
    tensor(axes, (8.75, y), f"{times} ×")
    arrow(axes, (10.4, y - 0.3), (10.4, y - 0.44), (5.1, y - 0.44), (5.1, y - 0.3), ink=BACKWARD, dashed=True)
    note(axes, (10.4, y), family.trainer, ink=BACKWARD, size=9)


def trade(
    ratios: Mapping[str, Sequence[float]],
    times: Mapping[str, float],
    dial: Sequence[tuple[float, float]],
    real: tuple[float, float],
    batch: int,
) -> None:
    """Distance against time per image, both logarithmic: one point for each seed of each family.

    ratios: the distances over the floor of a family's seeds, sorted. times: core-milliseconds per image, drawn `batch` at a
    time. dial: (time, distance) of the flow with few and many steps. real: the least and the largest distance of real sets.
    """
    best = min(ratios, key=lambda name: ratios[name][len(ratios[name]) // 2])
    fast, slow = min(times, key=times.__getitem__), max(times, key=times.__getitem__)
    with plots.figure(
        title=f"After equal training the {best} comes nearest to real digits;\n"
        f"the {slow} takes {times[slow] / times[fast]:,.0f} × as long per digit as the {fast}",
        alt="Squared Fréchet distance over the floor against core-milliseconds per digit, both logarithmic, a point for each "
        "seed of each family, the flow on a line from few to many steps, and a grey band for real digits. "
        f"The {best} lies lowest, the {fast} on the left, the {slow} on the right. "
        + "; ".join(f"{name} {values[0]:.0f} to {values[-1]:.0f}" for name, values in ratios.items()),
        width=9,
        height=5,
    ) as axes:
        axes.plot(*zip(*dial, strict=True), color="0.6", zorder=1)
        for (name, values), colour in zip(ratios.items(), plots.CLASSES, strict=False):
            axes.plot([times[name]] * len(values), values, "o", ms=8, color=colour, zorder=3)
            height, lift = (values[0], -18) if name == "VAE" else (values[-1], 8)  # it stands below the autoencoder
            axes.annotate(name, (times[name], height), xytext=(0, lift), textcoords="offset points", ha="center")
        axes.axhspan(*real, color="0.5", alpha=0.2, lw=0)
        axes.text(times[slow], real[1] * 1.1, "real digits", ha="right", color="0.4")
        axes.set(xscale="log", yscale="log", xlabel=f"core-milliseconds per digit, {batch} at a time", ylabel="× floor")
        axes.set_xlim(left=0.5 * times[fast])
        ticks = (1, 2, 5, 10, 20, 50, 100)
        axes.set_yticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
