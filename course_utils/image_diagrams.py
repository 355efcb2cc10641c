"""Pictures of networks for images: what a convolution reads, an autoencoder's stages, a variational autoencoder, the game of
two networks and its players, what a critic's slope allows, a generator that grows, two translators in a circle, a U-Net.

Drawn with the primitives of `diagrams`. Shapes are read off the layers by sending an image through them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

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
    operation,
    shape_text,
    tensor,
)

Stage = tuple[str, tuple[int, ...], int]
SHEETS, SHIFT = 5, 0.07  # feature maps that a pile shows at most, and how far each stands behind the one before it


@torch.no_grad()
def stages(layers: Iterable[nn.Module], x: Tensor) -> list[Stage]:
    """Where the shape changes as x (N, ...) goes through the layers: (layer, shape without the batch, its weights)."""
    seen: list[Stage] = [("image", tuple(x.shape[1:]), 0)]
    for layer in layers:
        x = layer(x)
        if tuple(x.shape[1:]) != seen[-1][1]:
            count = sum(p.numel() for p in layer.parameters())
            seen.append((type(layer).__name__.removesuffix("2d"), tuple(x.shape[1:]), count))
    return seen


def pile(axes: Any, place: Place, shape: tuple[int, ...], scale: float = 0.028) -> None:
    """Feature maps (C, H, W) as a pile of squares around `place`, a vector (d,) as a column that grows with its root."""
    from matplotlib.patches import Rectangle

    if len(shape) == 1:
        tall = 0.045 * shape[0] ** 0.5
        corner = place[0] - 0.05, place[1] - tall / 2
        axes.add_patch(Rectangle(corner, 0.1, tall, color=plots.COLOURS[1], lw=0))
        return
    side, sheets = scale * shape[1], min(shape[0], SHEETS)
    for sheet in reversed(range(sheets)):
        off = SHIFT * (sheet - (sheets - 1) / 2)
        corner = place[0] - side / 2 + off, place[1] - side / 2 + off
        axes.add_patch(Rectangle(corner, side, side, fc=plots.COLOURS[0], ec="white", lw=0.8))


def autoencoder(encoder: nn.Sequential, decoder: nn.Sequential, image: Tensor) -> None:
    """The stages of an autoencoder from the image (1, C, H, W) to its reconstruction, with shapes and weights."""
    layers = stages([*encoder, *decoder], image)
    waist = min(shape for _, shape, _ in layers if len(shape) == 1)
    title = f"The bottleneck: {image[0].numel()} numbers → {waist[0]} → {image[0].numel()}, {sum(n for *_, n in layers):,} weights"
    alt = "Stages from left to right: " + "; ".join(f"{name} {shape_text(shape)}" for name, shape, _ in layers) + "."
    with canvas(title=title, alt=alt, width=1.02 * len(layers) + 0.7, height=3.0) as axes:
        axes.text(0.05, 0.15, "weights", color="0.4", fontsize=8, va="center")
        for place, (name, shape, count) in enumerate(layers):
            x = 1.1 + 1.02 * place
            pile(axes, (x, 1.55), shape)
            axes.text(x, 2.8, name.replace("ConvT", "Conv\nT"), ha="center", va="center", color=INK, fontsize=8)
            bold = "bold" if shape == waist else "normal"
            said = "×".join(map(str, shape))
            axes.text(x, 0.42, said, ha="center", va="center", color=INK, fontsize=8, fontweight=bold)
            axes.text(x, 0.15, f"{count:,}" if count else "–", ha="center", va="center", color="0.4", fontsize=8)


def convolution(layer: nn.Conv2d, size: int) -> None:
    """What a convolution reads: all channels under one window (left), and one row of `size` pixels (right)."""
    k, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
    outputs = (size + 2 * padding - k) // stride + 1
    title = f"Kernel {k}, stride {stride}, padding {padding}: {size} pixels become {outputs}"
    alt = (
        f"Left: {layer.in_channels} input maps; a window of {k} by {k} pixels on all of them, times the weights of one "
        f"output channel, gives one pixel of one of {layer.out_channels} output maps. Right: {size} pixels in a row with "
        f"{padding} zero at each end, and {outputs} windows of {k} pixels, {stride} apart, each joined to its output."
    )
    with canvas(title=title, alt=alt, width=12.5, height=2.7) as axes:
        _channels(axes, layer, size, outputs)
        _row(axes, size, k, stride, padding)


def _channels(axes: Any, layer: nn.Conv2d, size: int, outputs: int) -> None:
    from matplotlib.patches import Rectangle

    k = layer.kernel_size[0]
    for x, channels, pixels in ((0.9, layer.in_channels, size), (4.1, layer.out_channels, outputs)):
        pile(axes, (x, 1.5), (channels, pixels, pixels), scale=0.08)
        axes.text(x, 0.25, shape_text((channels, pixels, pixels)), ha="center", color="0.35", fontsize=8)
    axes.add_patch(Rectangle((0.55, 1.5), 0.08 * k, 0.08 * k, fc=plots.COLOURS[4], ec=INK, zorder=4))
    axes.add_patch(Rectangle((3.95, 1.5), 0.09, 0.09, fc=plots.COLOURS[4], ec=INK, zorder=4))
    box(axes, (2.5, 1.6), f"Σ over {layer.in_channels}×{k}×{k}", width=1.25, fill="gate")
    axes.text(2.5, 1.15, "one kernel per\noutput channel", ha="center", va="center", color="0.35", fontsize=8)
    arrow(axes, (0.9, 1.62), (1.85, 1.62))
    arrow(axes, (3.15, 1.6), (3.92, 1.56))


def _row(axes: Any, size: int, k: int, stride: int, padding: int) -> None:
    step, left = 6.6 / (size + 2 * padding), 5.3
    at = [left + step * (n + padding + 0.5) for n in range(-padding, size + padding)]
    for first in range(0, size + 2 * padding - k + 1, stride):
        middle = (at[first] + at[first + k - 1]) / 2
        for x in at[first : first + k]:
            axes.plot([x, middle], [0.6, 2.0], color="0.7", lw=1, zorder=1)
        axes.plot(middle, 2.0, "o", ms=11, color=plots.COLOURS[1], zorder=3)
    for n, x in enumerate(at):
        inside = padding <= n < size + padding
        axes.plot(x, 0.6, "o", ms=11, color=plots.COLOURS[0] if inside else "white", mec="0.5", zorder=3)
        if not inside:
            axes.text(x, 0.6, "0", ha="center", va="center", color="0.4", fontsize=8, zorder=4)


def vae(encoder: nn.Sequential, decoder: nn.Sequential, image: Tensor) -> None:
    """A variational autoencoder as blocks, with the shapes that an image (1, C, H, W) gives, and its story as a plate."""
    latent = next(layer for layer in decoder if isinstance(layer, nn.Linear)).in_features
    down, up = stages(encoder, image), stages(decoder, torch.zeros(1, latent))
    alt = (
        f"Left, blocks: the image {shape_text(down[0][1])} goes through the encoder to mu and log sigma squared, "
        f"{latent} each; z is mu plus sigma times noise; the decoder makes logits {shape_text(up[-1][1])} of it. Right, in "
        "plate notation: an arrow from z to a shaded x, a dashed one back, both in a plate that is repeated N times."
    )
    title = "A VAE: the encoder answers with a distribution, the decoder reads a sample of it"
    with canvas(title=title, alt=alt, width=11.6, height=2.9) as axes:
        tensor(axes, (0.5, 1.5), "$x$", down[0][1])
        _half(axes, 1.9, "encoder", down)
        arrow(axes, (0.75, 1.5), (1.25, 1.5))
        for y, name in ((2.05, r"$\mu$"), (0.95, r"$\log\sigma^2$")):
            arrow(axes, (2.55, 1.5), (3.25, y))
            tensor(axes, (3.6, y), name, (latent,))
        arrow(axes, (3.8, 2.05), (4.62, 1.62))
        arrow(axes, (4.0, 0.98), (4.62, 1.38), text=r"$\times\,\sigma$", at=(4.32, 0.98))
        operation(axes, (4.8, 1.5), "+")
        arrow(axes, (4.8, 0.55), (4.8, 1.33))
        tensor(axes, (4.8, 0.38), r"$\varepsilon \sim \mathcal{N}(0, I)$")
        arrow(axes, (4.97, 1.5), (5.35, 1.5))
        tensor(axes, (5.55, 1.5), "$z$", (latent,))
        arrow(axes, (5.75, 1.5), (6.15, 1.5))
        _half(axes, 6.8, "decoder", up)
        arrow(axes, (7.45, 1.5), (7.95, 1.5))
        tensor(axes, (8.45, 1.5), "logits", up[-1][1])
        _plate(axes, 10.5)


def _half(axes: Any, x: float, name: str, layers: list[Stage]) -> None:
    """A box for encoder or decoder, and the shapes of its feature maps below."""
    box(axes, (x, 1.5), name, width=1.3, height=0.6)
    maps = [shape for _, shape, _ in layers[1:] if len(shape) == 3]
    words = " → ".join("×".join(map(str, shape)) for shape in maps)
    axes.text(x, 1.02, words.replace(" → ", "\n"), ha="center", va="top", color="0.35", fontsize=8)


def _plate(axes: Any, x: float) -> None:
    """z → x in a plate that is repeated N times, and the encoder's guess as a dashed way back."""
    from matplotlib.patches import Circle, Rectangle

    axes.add_patch(Rectangle((x - 0.75, 0.25), 1.6, 2.4, fc="none", ec=INK, lw=1.2))
    axes.text(x + 0.7, 0.38, "$N$", color=INK, fontsize=11, ha="center")
    for y, name, fill in ((2.2, "$z$", "white"), (0.8, "$x$", "0.8")):
        axes.add_patch(Circle((x, y), 0.26, fc=fill, ec=INK, lw=1.2, zorder=3))
        axes.text(x, y, name, ha="center", va="center", color=INK, fontsize=12, zorder=4)
    arrow(axes, (x, 1.94), (x, 1.08), text=r"$p(x\,|\,z)$", at=(x + 0.08, 1.5))
    arrow(axes, (x - 0.2, 0.98), (x - 0.2, 2.02), dashed=True, curve=-0.4, text="$q$", at=(x - 0.58, 1.5))


def game(labelled: bool = False) -> None:
    """The game of a generator and a discriminator: what flows forwards, and which gradient moves whom in whose turn.

    With `labelled` a label goes to both, as in the conditional game.
    """
    alt = (
        "Noise z goes through the generator G and becomes a fake. A fake or a real x goes into the discriminator D, which "
        "answers with a logit. Two dashed arrows run back from the logit: the discriminator's turn ends at D, the "
        "generator's turn passes through D and reaches G."
    )
    title = "Two turns: D learns to tell real from fake; then G learns, through D, what gave its fakes away"
    made, real = "fake $G(z)$", "real $x$"
    if labelled:
        title = "The label goes to both: G is told what to make, and D judges whether it is that"
        alt += " A label y goes into G and into D; the real x is one of that label."
        made, real = "fake $G(z, y)$", "real $x$ of $y$"
    with canvas(title=title, alt=alt, width=10.4, height=3.1) as axes:
        tensor(axes, (0.6, 2.2), "noise $z$", ("batch", "noise"))
        arrow(axes, (1.15, 2.2), (1.9, 2.2), ink=INK)
        box(axes, (2.6, 2.2), "generator\n$G$", width=1.3, height=0.8)
        arrow(axes, (3.3, 2.2), (4.0, 2.2), ink=INK)
        tensor(axes, (4.6, 2.2), made, ("batch", "…"))
        tensor(axes, (4.6, 0.75), real, ("batch", "…"))
        arrow(axes, (5.2, 2.2), (6.0, 1.72))
        arrow(axes, (5.2, 0.75), (6.0, 1.28))
        box(axes, (6.75, 1.5), "discriminator\n$D$", width=1.4, height=0.8)
        arrow(axes, (7.5, 1.5), (8.2, 1.5))
        tensor(axes, (8.75, 1.5), r"logit $\ell$", ("batch",))
        axes.text(9.3, 1.5, r"$D = \sigma(\ell)$", ha="left", va="center", color=INK, fontsize=12)
        if labelled:
            tensor(axes, (2.6, 0.75), "label $y$", ("batch",), ink=THIRD)
            arrow(axes, (2.6, 0.95), (2.6, 1.76), ink=THIRD)
            arrow(axes, (2.6, 0.4), (2.6, 0.15), (6.3, 0.15), (6.3, 1.06), ink=THIRD)
        arrow(axes, (8.75, 1.1), (8.75, 0.5), (6.75, 0.5), (6.75, 1.05), ink=FORWARD, dashed=True)
        axes.text(7.75, 0.42, "discriminator's turn: moves $D$", ha="center", va="top", color=FORWARD, fontsize=9)
        arrow(axes, (8.75, 1.75), (8.75, 2.85), (2.6, 2.85), (2.6, 2.65), ink=BACKWARD, dashed=True)
        axes.text(
            6.9, 2.78, "generator's turn: through $D$, moves $G$", ha="center", va="top", color=BACKWARD, fontsize=9
        )


def dcgan(generator: Any, discriminator: Any, noise: Tensor) -> None:
    """A DCGAN's two networks as the stages of their `layers`, with the shapes that `noise` (N, d) gives.

    The generator begins with a dense layer and its `nn.Unflatten`, the discriminator ends with `nn.Flatten` and a dense one.
    """
    made, judged = stages(generator.layers, noise), stages(discriminator.layers, generator(noise))
    shown = [made[0], ("Linear", *made[2][1:]), *made[3:], *judged[1:-2], judged[-1]]
    weights = [sum(p.numel() for p in network.parameters()) for network in (generator, discriminator)]
    title = f"The generator ({weights[0]:,} weights) makes larger what the discriminator ({weights[1]:,}) makes smaller"
    named = "; ".join(f"{name} {shape_text(shape)}" for name, shape, _ in shown[1:])
    alt = f"Stages from left to right: noise {shape_text(made[0][1])}; {named}."
    image = len(made) - 2
    with canvas(title=title, alt=alt, width=1.75 * len(shown), height=2.7) as axes:
        for place, (layer, shape, _) in enumerate(shown):
            x = 0.8 + 1.75 * place
            pile(axes, (x, 1.4), shape, scale=0.038)
            said = {0: "noise ", image: "image ", len(shown) - 1: "logit "}.get(place, "") + "×".join(map(str, shape))
            axes.text(x, 0.35, said, ha="center", va="center", color=INK, fontsize=9)
            if place:
                ink = BACKWARD if place <= image else FORWARD
                arrow(axes, (x - 1.15, 1.4), (x - 0.65, 1.4), ink=ink)
                axes.text(x - 0.9, 2.35, layer.replace("T", "\nT"), ha="center", va="center", color=ink, fontsize=9)
        for x, name, ink in (
            (0.8 + 0.875 * image, "generator", BACKWARD),
            (0.8 + 1.75 * (image + 1.5), "discriminator", FORWARD),
        ):
            axes.text(x, 0.05, name, ha="center", va="center", color=ink, fontsize=11)


def lipschitz() -> None:
    """What a slope of at most 1 allows: from each of its points a critic stays between two walls."""
    from matplotlib.patches import Polygon

    title = "1-Lipschitz: from any of its points, a critic stays between two walls of slope 1"
    alt = (
        "A curve, the critic, passes through a point. Two lines of slope 1 and −1 cross there; above and below them the plane "
        "is shaded. The curve stays in the white part. A dashed, steeper curve runs into the shaded part."
    )
    with canvas(title=title, alt=alt, width=8.4, height=2.6) as axes:
        x, y, reach = 4.2, 1.3, 1.25
        for end in (y + reach, y - reach):
            corners = [(x - reach, end), (x, y), (x + reach, end)]
            axes.add_patch(Polygon(corners, fc="0.88", ec="0.6", lw=1, zorder=1))
            axes.text(x - 0.1, y + 0.75 * (end - y), "forbidden", ha="center", va="center", color="0.35", fontsize=8)
        place = torch.linspace(-2.4, 2.4, 97)
        allowed = y + 0.8 * torch.sin(place)
        axes.plot(x + place, allowed, color=FORWARD, lw=2, zorder=3)
        steep = torch.linspace(-0.62, 0.62, 9)
        axes.plot(x + steep, y + 1.9 * steep, color=BACKWARD, lw=2, ls="--", zorder=3)
        axes.plot(x, y, "o", ms=8, color=INK, zorder=4)
        axes.text(x + 2.45, allowed[-1], "allowed", color=FORWARD, fontsize=9, va="center")
        axes.text(x + 1.32, y + 1.12, "dashed: too steep", color=BACKWARD, fontsize=9, va="center")


def growth(size: int) -> None:
    """A generator whose images of `size` pixels a side grow to twice that: the old way out fades, the new one comes in."""
    title = f"Growing from {size} to {2 * size} pixels: α goes from 0 to 1, and the old way out fades"
    alt = (
        f"Feature maps of {size} pixels a side go two ways. Above, the old way: to grey, enlarged to {2 * size} pixels, times "
        f"one minus alpha. Below, the new block makes maps of {2 * size} pixels, and new weights grey of them, times alpha. "
        "Both are added and become the image."
    )
    with canvas(title=title, alt=alt, width=10.6, height=2.5) as axes:
        box(axes, (1.0, 1.3), "trained\nblocks", width=1.3, height=0.8)
        axes.text(1.0, 0.72, f"maps of {size} × {size}", ha="center", color="0.35", fontsize=8)
        for y, ink, boxes in ((2.0, INK, ("to grey", "enlarge")), (0.5, FORWARD, ("new block", "to grey, new"))):
            arrow(axes, (1.7, 1.3), (2.2, 1.3), (2.2, y), (2.75, y), ink=ink)
            for x, name in zip((3.5, 5.5), boxes, strict=True):
                box(axes, (x, y), name, width=1.45, fill="box" if ink == INK else "gate", ink=ink)
            arrow(axes, (4.25, y), (4.75, y), ink=ink)
            arrow(axes, (6.25, y), (7.9, y), (7.9, 1.48 if y > 1 else 1.12), ink=ink)
        axes.text(7.1, 2.12, r"$\times\,(1 - \alpha)$", ha="center", color=INK, fontsize=11)
        axes.text(7.1, 0.62, r"$\times\,\alpha$", ha="center", color=FORWARD, fontsize=11)
        operation(axes, (7.9, 1.3), "+")
        arrow(axes, (8.08, 1.3), (8.8, 1.3))
        tensor(axes, (9.5, 1.3), "image", (1, 2 * size, 2 * size))


def cycle() -> None:
    """Two translators in a circle: there and back from either kind, a critic for each kind, and what is compared."""
    alt = (
        "Two rows. Above, x goes through the translator T to T(x), which the critic of the kind y judges, and on through B "
        "back to B(T(x)), which is compared with x. Below, y goes through B to B(y), which the critic of the kind x judges, "
        "and on through T to T(B(y)), which is compared with y."
    )
    title = "Two translators in a circle: critics judge the half-way stop, the cycle loss the return"
    with canvas(title=title, alt=alt, width=10.2, height=3.3) as axes:
        for y, start, first, second in ((2.6, "x", "T", "B"), (0.95, "y", "B", "T")):
            other = "y" if start == "x" else "x"
            for x, name, kind in (
                (0.7, f"${start}$", start),
                (4.5, f"${first}({start})$", other),
                (8.7, f"${second}({first}({start}))$", start),
            ):
                tensor(axes, (x, y), name)
                axes.text(x, y - 0.26, f"kind {kind}", ha="center", va="center", color="0.35", fontsize=8)
            for x, name in ((2.5, first), (6.5, second)):
                box(axes, (x, y), f"${name}$", width=0.9, fill="box" if name == "T" else "gate")
                arrow(axes, (x - 1.25, y), (x - 0.5, y))
                arrow(axes, (x + 0.5, y), (x + 1.25, y))
            arrow(axes, (5.0, y - 0.2), (5.6, y - 0.5), ink=BACKWARD)
            axes.text(5.7, y - 0.58, f"critic of kind ${other}$", color=BACKWARD, fontsize=9, va="center")
            around = (0.7, y + 0.22), (0.7, y + 0.5), (8.7, y + 0.5), (8.7, y + 0.22)
            arrow(axes, *around, ink=THIRD, dashed=True, head=False)
            axes.text(1.2, y + 0.42, "cycle loss: equal?", color=THIRD, fontsize=9, va="top")


Level = tuple[str, tuple[int, ...], int]  # a stage of a U-Net: its name, its output without the batch, how far down


def unet(model: Any, *inputs: Tensor) -> None:
    """A U-Net as stages from left to right, the smaller the lower, with the shapes that `inputs` give, batch first.

    The model has `first`, blocks `down` with a `shrink` behind each, `middle`, a `grow` before each block of `up`, `last`.
    Blocks get the embedding of time and label; each `up` also gets what the `down` of its size has made.
    """
    levels = unet_levels(model, *inputs)
    weights = sum(p.numel() for p in model.parameters())
    title = f"A U-Net, {weights:,} weights: down to see the whole, up to draw, across for the details"
    named = "; ".join(f"{name} {shape_text(shape)}" for name, shape, _ in levels)
    alt = f"Stages along a U: {named}. Dashed arrows lead across from each block on the way down to its partner on the way up."
    deepest = max(depth for *_, depth in levels)
    places = [(0.9 + 1.3 * n, 1.0 + 1.15 * (deepest - depth)) for n, (*_, depth) in enumerate(levels)]
    with canvas(title=title, alt=alt, width=1.3 * len(levels) + 0.6, height=1.15 * deepest + 2.1) as axes:
        for (name, shape, _), place in zip(levels, places, strict=True):
            _unet_stage(axes, place, name, shape)
        for one, other in itertools.pairwise(places):
            arrow(axes, (one[0] + 0.5, one[1]), (other[0] - 0.5, other[1]))
        kept = [place for (name, *_), place in zip(levels, places, strict=True) if name == "down"]
        used = [place for (name, *_), place in zip(levels, places, strict=True) if name == "up"]
        for (x0, y), (x1, _) in zip(kept, reversed(used), strict=True):
            across = {"dashed": True, "ink": plots.COLOURS[1]}
            arrow(axes, (x0, y + 0.55), (x0, y + 0.75), (x1, y + 0.75), (x1, y + 0.55), **across)
        axes.plot(0.5, 0.2, "o", ms=6, color=plots.COLOURS[4])
        axes.text(0.65, 0.2, "is told the time, and the label if there is one", color=INK, fontsize=9, va="center")


@torch.no_grad()
def unet_levels(model: Any, *inputs: Tensor) -> list[Level]:
    """The stages of a U-Net as they run on `inputs`: see `unet`."""
    parts = [("first", model.first), *(("middle", block) for block in model.middle), ("last", model.last)]
    for name in ("down", "shrink", "grow", "up"):
        parts += [(name, block) for block in getattr(model, name)]
    seen: list[Level] = []

    def note(name: str) -> Any:
        def hook(_: nn.Module, given: Any, output: Tensor) -> None:
            depth = seen[-1][2] if seen else 0
            seen.append((name, tuple(output.shape[1:]), depth + (name == "shrink") - (name == "grow")))

        return hook

    handles = [part.register_forward_hook(note(name)) for name, part in parts]
    try:
        model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _unet_stage(axes: Any, place: Place, name: str, shape: tuple[int, ...]) -> None:
    pile(axes, place, shape, scale=0.035)
    axes.text(place[0], place[1] + 0.45, name, ha="center", va="center", color=INK, fontsize=9)
    said = "×".join(map(str, shape))
    axes.text(place[0], place[1] - 0.5, said, ha="center", va="center", color="0.35", fontsize=8)
    if name in ("down", "middle", "up"):
        axes.plot(place[0] - 0.42, place[1] + 0.45, "o", ms=6, color=plots.COLOURS[4])
