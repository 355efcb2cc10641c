"""Architectures as pictures, drawn from a few primitives: box, operation, tensor with its shape, arrow.

A place is (x, y) in inches from the lower left corner of `canvas`. Whatever a diagram says about shapes it reads off the
tensors that it is given, so that it cannot contradict the code. Ink is dark on white paper in light and dark themes alike.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from course_utils import plots

Place = tuple[float, float]

INK, PALE = "0.15", "0.8"
FORWARD, BACKWARD, THIRD = plots.COLOURS[0], plots.COLOURS[1], plots.COLOURS[2]
PAPER = {"box": "#e3eff7", "state": "#cfe5f5", "gate": "#fdebc8", "plain": "white"}  # what things are filled with
WEIGHTS = {"weight_ih": "$W_{ih}$", "weight_hh": "$W_{hh}$", "weight_out": "$W_{out}$"}


# -- primitives ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def canvas(*, title: str, alt: str, width: float, height: float, rows: int = 1, columns: int = 1) -> Iterator[Any]:
    """Yield Axes, or an array (rows, columns) of them, to draw on, each `width` by `height` inches; shown on leaving."""
    size = {"width": width * columns, "height": (height + 0.2) * rows + 0.3}
    with plots.figure(title=title, alt=alt, rows=rows, columns=columns, **size) as axes:
        for cell in [axes] if rows * columns == 1 else axes.flat:
            cell.set(xlim=(0, width), ylim=(0, height), aspect="equal")
            cell.axis("off")
        yield axes


def box(
    axes: Any, place: Place, text: str, *, width: float = 0.8, height: float = 0.45, fill: str = "box", ink: str = INK
) -> None:
    """A rounded box around `text`, its centre at `place`; `fill` names one of PAPER."""
    from matplotlib.patches import FancyBboxPatch

    corner = place[0] - width / 2, place[1] - height / 2
    style = "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch(corner, width, height, boxstyle=style, fc=PAPER[fill], ec=ink, lw=1.2, zorder=3))
    axes.text(*place, text, ha="center", va="center", color=ink, fontsize=11, zorder=4)


def operation(axes: Any, place: Place, symbol: str, *, ink: str = INK, radius: float = 0.17) -> None:
    """A circle with a sign in it: what is done entry by entry, as + or ×."""
    from matplotlib.patches import Circle

    axes.add_patch(Circle(place, radius, fc="white", ec=ink, lw=1.2, zorder=3))
    axes.text(*place, symbol, ha="center", va="center", color=ink, fontsize=11, zorder=4)


def tensor(axes: Any, place: Place, name: str, shape: Sequence[int | str] = (), *, ink: str = INK) -> None:
    """A tensor's name and, below it, its shape: numbers, or the names of sizes."""
    note(axes, place, name, ink=ink, size=12)
    if shape:
        note(axes, (place[0], place[1] - 0.24), shape_text(shape))


def note(axes: Any, place: Place, text: str, *, ink: str = "0.35", size: float = 8) -> None:
    """A few words, centred at the place, in front of lines and boxes."""
    axes.text(*place, text, ha="center", va="center", color=ink, fontsize=size, zorder=4)


def arrow(
    axes: Any,
    *places: Place,
    text: str = "",
    at: Place | None = None,
    ink: str = INK,
    dashed: bool = False,
    head: bool = True,
    curve: float = 0.0,
) -> None:
    """A line through the places, with a head at the last; `text` stands beside its middle, or `at` a place.

    `curve` bends the line from the first place to the last, as a share of its length; it then passes by the others.
    """
    style = {"color": ink, "lw": 1.5, "linestyle": "--" if dashed else "-", "zorder": 2}
    start = places[0] if curve else places[-2]
    if not curve:
        axes.plot(*zip(*places[:-1], strict=True), solid_capstyle="round", **style)
    bend = {"arrowstyle": "-|>" if head else "-", "shrinkA": 0, "shrinkB": 0, "connectionstyle": f"arc3,rad={curve}"}
    axes.annotate("", places[-1], start, arrowprops=style | bend)
    if text:
        middle = at or ((places[0][0] + places[-1][0]) / 2 + 0.06, (places[0][1] + places[-1][1]) / 2)
        level = places[0][1] == places[-1][1] and not at
        ha, va = ("center", "bottom") if level else ("left", "center")
        axes.text(*middle, text, color=ink, fontsize=9, ha=ha, va=va, zorder=4)


def shape_text(shape: Sequence[int | str]) -> str:
    """A shape as the course writes it: (256, 65), (batch, hidden)."""
    return f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"


# -- lesson 00: a computation as a graph, and two layers -----------------------------------------------------------


def graph(
    nodes: Mapping[str, tuple[Place, str, float, float]],
    edges: Mapping[tuple[str, str], float],
    *,
    title: str,
    alt: str,
    width: float = 8.0,
    height: float = 3.0,
) -> None:
    """A computation: its values forwards, its local derivatives on the edges, its gradients below the nodes.

    `nodes` maps a name to (place, formula, value, gradient); `edges` maps (from, to) to the local derivative.
    """
    with canvas(title=title, alt=alt, width=width, height=height) as axes:
        for (start, end), slope in edges.items():
            (x0, y0), (x1, y1) = nodes[start][0], nodes[end][0]
            arrow(axes, (x0 + 0.55, y0), (x1 - 0.6, y1), ink=FORWARD)
            middle = (x0 + x1) / 2, (y0 + y1) / 2
            paper = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none"}
            axes.text(*middle, f"× {slope:g}", color=THIRD, fontsize=10, ha="center", va="center", bbox=paper, zorder=4)
        for place, formula, value, gradient in nodes.values():
            box(axes, place, f"${formula}$ = {value:g}", width=1.15, fill="plain")
            below = place[0], place[1] - 0.38
            axes.text(
                *below, f"{gradient:+g}", color=BACKWARD, ha="center", va="center", fontweight="bold", fontsize=11
            )


def two_layers(parameters: Mapping[str, Tensor]) -> None:
    """Lesson 00's network: values forwards, gradients backwards, with the names and shapes of its code.

    `parameters` has weight1 (hidden, in), bias1 (hidden,), weight2 (out, hidden), bias2 (out,).
    """
    (hidden, n_in), (n_out, _) = parameters["weight1"].shape, parameters["weight2"].shape
    names = (("x", n_in), ("before", hidden), ("hidden", hidden), ("logits", n_out))
    layers = (("linear", ("weight1", "bias1")), ("ReLU", ()), ("linear", ("weight2", "bias2")), ("cross-\nentropy", ()))
    alt = (
        "Boxes from left to right: linear, ReLU, linear, cross-entropy. Above the arrows between them the values x, before, "
        "hidden, logits and the loss with their shapes; below, dashed arrows run back with the gradients, and each linear "
        "layer hands down the gradients of its weight and its bias."
    )
    back = {"ink": BACKWARD, "dashed": True}
    title = "Values go right, gradients come back; each linear layer leaves two of them with its parameters"
    with canvas(title=title, alt=alt, width=10.2, height=3.3) as axes:
        for place, (layer, own) in enumerate(layers):
            name, size = names[place]
            x = 0.55 + 2.45 * place
            before, middle = (x - 0.88, x - 0.18) if place else (x - 0.5, x)
            tensor(axes, (middle, 2.35), name, ("N", size))
            arrow(axes, (before, 1.85), (x + 0.52, 1.85), ink=FORWARD)
            box(axes, (x + 1.05, 1.6), layer, width=1.0, height=1.0)
            if place:  # nobody asks for the gradient of the data
                arrow(axes, (x + 0.52, 1.35), (before, 1.35), **back)
                axes.text(middle, 1.12, f"grad_{name}", color=BACKWARD, fontsize=9, ha="center", va="center")
            for line, parameter in enumerate(own):
                said = f"{parameter} {shape_text(tuple(parameters[parameter].shape))}"
                axes.text(x + 1.05, 3.0 - 0.22 * line, said, color="0.35", fontsize=8, ha="center", va="center")
                left = f"grad_{parameter}"
                axes.text(x + 1.05, 0.55 - 0.24 * line, left, color=BACKWARD, fontsize=9, ha="center", va="center")
            if own:
                arrow(axes, (x + 1.05, 2.62), (x + 1.05, 2.12))
                arrow(axes, (x + 1.05, 1.08), (x + 1.05, 0.72), **back)
        arrow(axes, (9.47, 1.85), (9.9, 1.85), ink=FORWARD)
        tensor(axes, (10.05, 1.85), "$L$")


# -- lesson 01: a recurrent network, unrolled ----------------------------------------------------------------------


def unrolled(weights: Mapping[str, Tensor], steps: int = 3) -> None:
    """A recurrent network over `steps` steps: states, outputs and losses forwards, gradients backwards.

    `weights` has weight_ih (hidden, in), weight_hh (hidden, hidden) and weight_out (out, hidden).
    """
    shapes = {name: shape_text(tuple(weights[name].shape)) for name in WEIGHTS}
    hidden, n_in = weights["weight_ih"].shape
    alt = (
        f"A network unrolled over {steps} steps. h0 enters at the left. At each step an input comes in through W_ih, the "
        "state before it through W_hh; the state gives an output through W_out, and the output a loss. Dashed messages "
        "run back: from each loss to its state, and from each state to the one before it."
    )
    title = "Unrolled: values go right, gradients come back left, through the same weights at every step"
    with canvas(title=title, alt=alt, width=2.2 * steps + 2.4, height=3.9) as axes:
        tensor(axes, (0.25, 1.7), "$h_0$")
        for step in range(1, steps + 1):
            _unrolled_step(axes, 2.2 * step, step, steps)
        left = 2.2
        for place, name in (
            ((left, 0.88), "weight_ih"),
            ((left - 0.75, 2.18), "weight_hh"),
            ((left, 2.32), "weight_out"),
        ):
            axes.text(place[0] - 0.08, place[1] - 0.13, shapes[name], color="0.35", fontsize=8, ha="right", va="center")
        axes.text(left + 0.3, 0.15, shape_text(("batch", n_in)), color="0.35", fontsize=8, va="center")
        axes.text(
            2.2 * steps + 1.0, 1.72, f"state\n{shape_text(('batch', hidden))}", color="0.35", fontsize=8, va="center"
        )
        axes.text(2.2 * steps + 1.0, 2.9, "dashed:\ngradients", color=BACKWARD, fontsize=9, va="center")


def _unrolled_step(axes: Any, x: float, step: int, steps: int) -> None:
    """One copy of the network, its state at (x, 1.7)."""
    tensor(axes, (x, 0.15), f"$x_{step}$")
    arrow(axes, (x, 0.35), (x, 1.42), text=WEIGHTS["weight_ih"], at=(x - 0.42, 0.98))
    box(axes, (x, 1.7), f"$h_{step}$", fill="state", height=0.5)
    arrow(axes, (x - 1.78, 1.78), (x - 0.42, 1.78), text=WEIGHTS["weight_hh"], ink=FORWARD)
    arrow(axes, (x, 1.97), (x, 2.65), text=WEIGHTS["weight_out"], at=(x - 0.52, 2.4))
    box(axes, (x, 2.88), f"$y_{step}$", width=0.6, height=0.4)
    arrow(axes, (x, 3.1), (x, 3.45))
    tensor(axes, (x, 3.62), rf"$\ell_{step}$")
    back = {"ink": BACKWARD, "dashed": True}
    arrow(axes, (x + 0.38, 3.5), (x + 0.3, 1.99), text=f"$g_{step}$", at=(x + 0.42, 2.5), **back)
    arrow(axes, (x - 0.42, 1.6), (x - 1.78, 1.6), **back)
    axes.text(x - 1.1, 1.53, rf"$W_{{hh}}^\top \delta_{step}$", color=BACKWARD, fontsize=9, ha="center", va="top")


# -- lesson 02: gated cells ----------------------------------------------------------------------------------------

LSTM_STEPS = {
    "keep": r"1. Keep: $f \odot c$",
    "write": r"2. Write: $+\ i \odot g$",
    "reveal": r"3. Reveal: $o \odot \tanh(c')$",
    "all": "4. The whole cell",
}


def lstm_cell(weights: Mapping[str, Tensor]) -> None:
    """An LSTM's cell in four steps: keep, write, reveal, and all of it with its shapes.

    `weights` has weight_ih (4 * hidden, in) and weight_hh (4 * hidden, hidden).
    """
    alt = (
        "The LSTM's cell, drawn four times. A line at the top carries the cell c to c'. First the forget gate multiplies "
        "it. Then the product of input gate and candidate is added. Then a copy goes through tanh, is multiplied by the "
        "output gate, and leaves as h'. The fourth picture shows all three, with the shapes of the weights."
    )
    title = "Keep, write, reveal: the cell's own line meets one product and one sum, and no matrix"
    with canvas(title=title, alt=alt, width=4.7, height=3.2, rows=2, columns=2) as axes:
        for cell, (step, words) in zip(axes.flat, LSTM_STEPS.items(), strict=True):
            cell.set_title(words)
            _lstm(cell, step, weights)


def _lstm(axes: Any, shown: str, weights: Mapping[str, Tensor]) -> None:
    def ink(step: str, colour: str) -> str:
        return colour if shown in (step, "all") else PALE

    keep, write, reveal = ink("keep", FORWARD), ink("write", BACKWARD), ink("reveal", THIRD)
    common = INK
    tensor(axes, (0.2, 2.8), "$c$")
    arrow(axes, (0.35, 2.8), (1.13, 2.8), ink=keep)
    arrow(axes, (1.47, 2.8), (2.43, 2.8), ink=keep)
    arrow(axes, (2.77, 2.8), (4.3, 2.8), ink=INK)
    tensor(axes, (4.5, 2.8), "$c'$")
    tensor(axes, (0.2, 0.45), "$x, h$")
    arrow(axes, (0.45, 0.45), (3.6, 0.45), head=False, ink=common)
    _doors(axes, 0.45, [(1.3, "f", keep), (2.2, "i", write), (3.0, "g", write), (3.6, "o", reveal)])
    arrow(axes, (1.3, 1.23), (1.3, 2.63), ink=keep)
    operation(axes, (1.3, 2.8), "×", ink=keep)
    arrow(axes, (2.2, 1.23), (2.2, 1.9), (2.43, 1.9), ink=write)
    arrow(axes, (3.0, 1.23), (3.0, 1.9), (2.77, 1.9), ink=write)
    operation(axes, (2.6, 1.9), "×", ink=write)
    arrow(axes, (2.6, 2.07), (2.6, 2.63), ink=write)
    operation(axes, (2.6, 2.8), "+", ink=write)
    arrow(axes, (4.0, 2.8), (4.0, 2.4), ink=reveal)
    box(axes, (4.0, 2.2), "tanh", width=0.5, height=0.36, fill="plain", ink=reveal)
    arrow(axes, (4.0, 2.02), (4.0, 1.77), ink=reveal)
    operation(axes, (4.0, 1.6), "×", ink=reveal)
    arrow(axes, (3.6, 1.23), (3.6, 1.6), (3.83, 1.6), ink=reveal)
    arrow(axes, (4.0, 1.43), (4.0, 0.45), (4.3, 0.45), ink=reveal)
    tensor(axes, (4.5, 0.45), "$h'$")
    if shown == "all":
        _shapes(axes, weights)


def gru_cell(weights: Mapping[str, Tensor]) -> None:
    """A GRU's cell as torch computes it: reset gate r, update gate z, candidate n, and h' = (1 - z) n + z h.

    `weights` has weight_ih (3 * hidden, in) and weight_hh (3 * hidden, hidden).
    """
    alt = (
        "The GRU's cell. The state h runs along the top: it is multiplied by the update gate z, and the candidate n, "
        "multiplied by one minus z, is added. The candidate hears x, and as much of h as the reset gate r lets through."
    )
    with canvas(title="A GRU: one gate divides between keeping and writing", alt=alt, width=6.2, height=3.4) as axes:
        tensor(axes, (0.2, 2.9), "$h$")
        arrow(axes, (0.4, 2.9), (3.83, 2.9), ink=FORWARD)
        operation(axes, (4.0, 2.9), "×", ink=FORWARD)
        arrow(axes, (4.17, 2.9), (5.03, 2.9), ink=FORWARD)
        operation(axes, (5.2, 2.9), "+")
        arrow(axes, (5.37, 2.9), (5.8, 2.9))
        tensor(axes, (6.0, 2.9), "$h'$")
        tensor(axes, (0.2, 0.5), "$x, h$")
        arrow(axes, (0.5, 0.5), (4.0, 0.5), head=False)
        axes.text(2.82, 0.68, "$x$ alone", color=BACKWARD, fontsize=9, ha="right", va="center")
        _doors(axes, 0.5, [(1.3, "r", THIRD), (2.9, "n", BACKWARD), (4.0, "z", FORWARD)])
        arrow(axes, (2.0, 2.9), (2.0, 2.07), text="$W_{hn} h$", at=(2.05, 2.5), ink=THIRD)
        arrow(axes, (1.3, 1.23), (1.3, 1.9), (1.83, 1.9), ink=THIRD)
        operation(axes, (2.0, 1.9), "×", ink=THIRD)
        arrow(axes, (2.0, 1.73), (2.0, 1.05), (2.63, 1.05), ink=THIRD)
        arrow(axes, (4.0, 1.23), (4.0, 2.73), ink=FORWARD)
        arrow(axes, (4.0, 1.9), (5.03, 1.9), text="$1 - z$", ink=FORWARD)
        arrow(axes, (2.9, 1.23), (2.9, 1.62), (5.2, 1.62), (5.2, 1.73), ink=BACKWARD)
        operation(axes, (5.2, 1.9), "×", ink=BACKWARD)
        arrow(axes, (5.2, 2.07), (5.2, 2.73), ink=BACKWARD)
        _shapes(axes, weights)


def _doors(axes: Any, line: float, doors: Sequence[tuple[float, str, str]]) -> None:
    """Gates and candidates (x, name, ink) that hear the line at the height `line`; candidates are called g or n."""
    for x, name, ink in doors:
        arrow(axes, (x, line), (x, 0.87), ink=ink)
        squash = "tanh" if name in "gn" else r"$\sigma$"
        box(axes, (x, 1.05), squash, width=0.5, height=0.36, fill="gate", ink=ink)
        axes.text(x - 0.1, 1.38, f"${name}$", color=ink, fontsize=11, ha="right", va="center")


def _shapes(axes: Any, weights: Mapping[str, Tensor]) -> None:
    said = "   ".join(
        f"{WEIGHTS[name]} {shape_text(tuple(weights[name].shape))}" for name in ("weight_ih", "weight_hh")
    )
    axes.text(0.2, 0.09, said, color="0.35", fontsize=9, va="center")
