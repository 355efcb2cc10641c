"""Lesson 11's families in one picture: how each draws an image, how often it asks its network for it, what teaches it.

Drawn with the primitives of `diagrams`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from course_utils.diagrams import BACKWARD, FORWARD, INK, arrow, box, canvas, note, tensor

HEIGHT = 1.0  # of a row, in inches
SIGNS = {"$": "", "\\mathcal{N}": "N", "\\sim": "~", "\\log": "log"}  # of formulas, in words


class Family(NamedTuple):
    """One row: where drawing begins, the network, what comes out, and what the network is taught by."""

    begins: str
    network: str
    ends: str
    teacher: str


FAMILIES: Mapping[str, Family] = {
    "autoencoder": Family("code\n$z \\sim \\mathcal{N}(m, C)$, fitted", "decoder", "picture", "squared error of\nwhat it gives back"),
    "VAE": Family("code\n$z \\sim \\mathcal{N}(0, I)$", "decoder", "a coin\nper pixel", "a bound of\n$\\log p(x)$"),
    "DCGAN": Family("noise $z$", "generator", "picture", "a discriminator,\ntrained beside it"),
    "conditional GAN": Family("noise $z$\nand a label", "generator", "picture", "a critic that is\ntold the label"),
    "PixelCNN": Family("pixels\nso far", "gated\nconvolutions", "a coin for\nthe next pixel", "$\\log p(x)$,\npixel by pixel"),
    "GPT": Family("patches\nso far", "attention", "one of 16 for\nthe next patch", "$\\log p(x)$,\npatch by patch"),
    "flow": Family("noise $x_0$,\nthen $x_t$", "U-Net", "velocity:\na small step", "squared error of\nthe velocity"),
}  # fmt: skip


def families(asked: Mapping[str, int], weights: Mapping[str, int]) -> None:
    """All families, a row each, in the order of `asked`: how often one image asks the network, and weights in training.

    Raises ValueError, naming them, for names that are no families or have no weights.
    """
    unknown = [name for name in asked if name not in FAMILIES or name not in weights]
    if unknown:
        raise ValueError(
            f"nothing is known of {', '.join(unknown)}; there are {', '.join(FAMILIES)}, each with weights"
        )
    told = "; ".join(f"{name}: {_in_words(FAMILIES[name])}, network asked {_often(n)}" for name, n in asked.items())
    alt = f"A row for each family, from where drawing begins to what comes out, and its teacher. {told}."
    title = f"Ways to draw a digit: the network is asked {_often(min(asked.values()))} to {_often(max(asked.values()))}"
    with canvas(title=title, alt=alt, width=11.4, height=HEIGHT * len(asked) + 0.4) as axes:
        _heads(axes, HEIGHT * len(asked) + 0.15)
        for place, (name, times) in enumerate(asked.items()):
            _row(axes, HEIGHT * (len(asked) - place - 0.5), name, times, weights[name])


def _in_words(family: Family) -> str:
    """From where to where and by whose teaching, without formulas' signs."""
    parts = (family.begins, family.network, family.ends, f"taught by {family.teacher}")
    text = ", ".join(" ".join(part.split()) for part in parts)
    for sign, word in SIGNS.items():
        text = text.replace(sign, word)
    return text


def _often(times: int) -> str:
    return "once" if times == 1 else f"{times} times"


def _heads(axes: Any, y: float) -> None:
    heads = ((0.1, "family", "left"), (3.0, "begins with", "center"), (5.1, "network", "center"))
    heads += ((7.2, "gives", "center"), (8.75, "asked", "center"), (10.4, "taught by", "center"))
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
        arrow(axes, (7.2, y + 0.24), (7.2, y + 0.42), (3.0, y + 0.42), (3.0, y + 0.26), ink=FORWARD)  # asked again
    tensor(axes, (8.75, y), f"{times} ×")
    arrow(axes, (10.4, y - 0.3), (10.4, y - 0.44), (5.1, y - 0.44), (5.1, y - 0.3), ink=BACKWARD, dashed=True)
    note(axes, (10.4, y), family.teacher, ink=BACKWARD, size=9)
