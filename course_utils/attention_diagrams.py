"""Pictures of a transformer: attention with its shapes, a GPT along its residual stream, and where heads look.

Drawn with the primitives of `diagrams`. Shapes are those of the weights that the pictures are given.
"""

from __future__ import annotations

import itertools
from typing import Any

from torch import Tensor

from course_utils import plots
from course_utils.diagrams import (
    BACKWARD,
    FORWARD,
    INK,
    THIRD,
    Place,
    arrow,
    box,
    canvas,
    note,
    operation,
    shape_text,
    tensor,
)


def attention(layer: Any) -> None:
    """Causal self-attention from x to its result, with shapes.

    `layer` has c_attn, which makes queries, keys and values, (3 C, C), c_proj, which mixes what the heads have found, (C, C),
    and n_heads.
    """
    c_attn, c_proj, n_heads = layer.c_attn.weight, layer.c_proj.weight, layer.n_heads
    width = c_proj.shape[0]
    cut = ("B", n_heads, "T", width // n_heads)
    alt = (
        f"From left to right: x (B, T, {width}) goes through c_attn {shape_text(tuple(c_attn.shape))} and is cut into "
        f"queries q, keys k and values v, each {shape_text(cut)}. Products of q and k give scores (B, {n_heads}, T, T); "
        "the future is masked, a softmax makes weights of each row, the weights take the mean of the values, the heads are "
        f"merged, and c_proj {shape_text(tuple(c_proj.shape))} gives the result, shaped like x."
    )
    with canvas(title="Attention: queries meet keys, and bring home values", alt=alt, width=12.4, height=3.2) as axes:
        tensor(axes, (0.5, 1.6), "x", ("B", "T", width))
        arrow(axes, (0.95, 1.6), (1.35, 1.6))
        box(axes, (1.85, 1.6), "c_attn", width=0.95, fill="gate")
        note(axes, (1.85, 1.2), shape_text(tuple(c_attn.shape)))
        for name, y, ink in (("q", 2.6, FORWARD), ("k", 1.6, BACKWARD), ("v", 0.6, THIRD)):
            arrow(axes, (2.35, 1.6), (2.85, y), ink=ink)
            tensor(axes, (3.3, y + 0.1), name, cut, ink=ink)
        _scores(axes, n_heads)
        arrow(axes, (3.85, 0.6), (8.6, 0.6), (8.6, 1.93), ink=THIRD)
        operation(axes, (8.6, 2.1), "@")
        arrow(axes, (8.77, 2.1), (9.15, 2.1))
        box(axes, (9.7, 2.1), "merge\nheads", width=1.05, height=0.7)
        arrow(axes, (10.25, 2.1), (10.6, 2.1))
        box(axes, (11.05, 2.1), "c_proj", width=0.85, fill="gate")
        note(axes, (11.05, 1.7), shape_text(tuple(c_proj.shape)))
        arrow(axes, (11.5, 2.1), (11.75, 2.1))
        tensor(axes, (12.05, 2.2), "out", ("B", "T", width))


def _scores(axes: Any, n_heads: int) -> None:
    """From q and k to weights: products, the mask as a triangle, a softmax over each row."""
    from matplotlib.patches import Polygon, Rectangle

    operation(axes, (4.75, 2.1), "@")
    arrow(axes, (3.85, 2.6), (4.62, 2.22), ink=FORWARD)
    arrow(axes, (3.85, 1.6), (4.62, 1.98), ink=BACKWARD)
    arrow(axes, (4.92, 2.1), (5.55, 2.1), text="/ √d", at=(5.0, 2.3))
    axes.add_patch(Rectangle((5.6, 1.7), 0.8, 0.8, fc="#cfe5f5", ec=INK, lw=1.2, zorder=3))
    axes.add_patch(Polygon([(5.6, 2.5), (6.4, 2.5), (6.4, 1.7)], fc=INK, ec=INK, zorder=4))
    axes.text(6.13, 2.3, "−∞", color="white", fontsize=10, ha="center", va="center", zorder=5)
    note(axes, (6.0, 1.5), shape_text(("B", n_heads, "T", "T")))
    note(axes, (6.0, 2.68), "row asks, column is asked")
    arrow(axes, (6.45, 2.1), (6.8, 2.1))
    box(axes, (7.35, 2.1), "softmax", width=1.05)
    note(axes, (7.35, 1.7), "each row sums to 1")
    arrow(axes, (7.9, 2.1), (8.43, 2.1))


def gpt(model: Any) -> None:
    """A GPT along its residual stream: what one block reads from it and adds to it, with the shapes of the weights.

    `model` has wte, wpe, blocks (each with ln_1, attn, ln_2, mlp), ln_f and lm_head, named as in GPT-2.
    """
    count = len(model.blocks)
    shapes = {name: shape_text(tuple(weight.shape)) for name, weight in model.named_parameters()}
    width = model.wte.weight.shape[1]
    alt = (
        f"Tokens become vectors, wte {shapes['wte.weight']} plus positions wpe {shapes['wpe.weight']}. They run along a line, "
        f"the residual stream, of {width} channels for each place, through {count} blocks. In a block the stream is read "
        "twice: ln_1 and attention add their result to it, then ln_2 and the MLP. At the end ln_f and lm_head "
        f"{shapes['lm_head.weight']} make logits."
    )
    title = f"A GPT: {count} blocks read the residual stream and add to it"
    with canvas(title=title, alt=alt, width=12.4, height=3.0) as axes:
        tensor(axes, (0.45, 2.4), "tokens", ("B", "T"))
        arrow(axes, (0.95, 2.4), (1.3, 2.4))
        box(axes, (2.0, 2.4), "wte + wpe", width=1.35, fill="gate")
        note(axes, (2.0, 2.0), f"{shapes['wte.weight']} + {shapes['wpe.weight']}")
        arrow(axes, (2.7, 2.4), (5.63, 2.4), ink=FORWARD, text=shape_text(("B", "T", width)), at=(2.72, 2.58))
        _branch(axes, 3.9, "ln_1", "attn", f"c_attn {_of(shapes, 'attn.c_attn')}\nc_proj {_of(shapes, 'attn.c_proj')}")
        arrow(axes, (5.97, 2.4), (8.73, 2.4), ink=FORWARD)
        _branch(axes, 7.0, "ln_2", "mlp", f"c_fc {_of(shapes, 'mlp.c_fc')}\nc_proj {_of(shapes, 'mlp.c_proj')}")
        arrow(axes, (9.07, 2.4), (9.75, 2.4), ink=FORWARD)
        _frame(axes, (3.45, 0.15), (9.45, 2.85), f"block, {count} ×")
        for x, name, said in ((10.1, "ln_f", ""), (11.1, "lm_head", shapes["lm_head.weight"])):
            box(axes, (x, 2.4), name, width=0.65 if name == "ln_f" else 0.95, fill="box" if name == "ln_f" else "gate")
            note(axes, (x, 2.0), said)
        arrow(axes, (10.43, 2.4), (10.6, 2.4))
        arrow(axes, (11.6, 2.4), (11.75, 2.4))
        tensor(axes, (12.05, 2.4), "logits", ("B", "T", model.lm_head.weight.shape[0]))


def maps(weights: Tensor, line: str, said: Tensor, *, title: str, alt: str) -> None:
    """Attention weights (layers, heads, T, T) over the T characters of a line; `said` (layers, heads) is a share written above."""
    layers, heads = weights.shape[:2]
    letters = [letter if letter.strip() else "␣" for letter in line]
    size = {"rows": layers, "columns": heads, "width": 2.6 * heads, "height": 2.7 * layers + 0.3}
    with plots.figure(title=title, alt=alt, **size) as axes:
        for layer, head in itertools.product(range(layers), range(heads)):
            panel = axes[layer, head]
            panel.imshow(weights[layer, head].cpu().numpy(), cmap="Blues", vmin=0, vmax=1)
            panel.set_title(f"layer {layer + 1}, head {head + 1}: {said[layer, head]:.0%}", fontsize=10)
            panel.set_xticks(range(len(line)), letters, fontsize=7)
            panel.set_yticks(range(len(line)), letters, fontsize=7)
            panel.grid(False)


def _of(shapes: dict[str, str], layer: str) -> str:
    return shapes[f"blocks.0.{layer}.weight"]


def _branch(axes: Any, x: float, norm: str, layer: str, said: str) -> None:
    """What a layer reads from the stream at (x, 2.4), and the sum where it adds to it, 1.9 further on."""
    arrow(axes, (x, 2.4), (x, 1.57))
    box(axes, (x, 1.35), norm, width=0.7)
    arrow(axes, (x + 0.36, 1.35), (x + 0.72, 1.35))
    box(axes, (x + 1.15, 1.35), layer, width=0.85, fill="gate")
    note(axes, (x + 1.15, 0.8), said)
    arrow(axes, (x + 1.58, 1.35), (x + 1.9, 1.35), (x + 1.9, 2.23))
    operation(axes, (x + 1.9, 2.4), "+", ink=FORWARD)


def _frame(axes: Any, low: Place, high: Place, said: str) -> None:
    from matplotlib.patches import Rectangle

    size = high[0] - low[0], high[1] - low[1]
    axes.add_patch(Rectangle(low, *size, fc="none", ec="0.6", lw=1.0, ls="--", zorder=1))
    axes.text(high[0] - 0.08, low[1] + 0.18, said, ha="right", va="center", fontsize=10, color="0.35")
