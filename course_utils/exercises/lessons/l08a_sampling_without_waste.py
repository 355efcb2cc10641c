"""Exercise of detour 08a: a mask for pixels of three colours."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from course_utils.exercises.define import Case, define, edge

# -- 8a.1 ----------------------------------------------------------------------------------------------------------


@define(lesson="08a", points=2, outputs="mask", exact=True)
def rgb_mask(kernel_size, kind, channels_in, channels_out):
    """Ones where a convolution over colour images may look, zeros where it may not: at what comes later.

    kernel_size: k, odd, so that the kernel has a centre. Channels, in and out, are three equal groups: first all of red,
    then all of green, then all of blue. Pixels that come earlier in reading order are open to every group. At the centre,
    a group sees the groups before its own; in kind "B" it sees its own group as well, in kind "A" it does not.
    Returns (channels_out, channels_in, k, k), of the default dtype, laid out like the weight of a `Conv2d`.
    Raises ValueError if k is even, `kind` neither "A" nor "B", or a number of channels not divisible by 3.
    """
    if kernel_size % 2 == 0 or kind not in ("A", "B") or channels_in % 3 or channels_out % 3:
        raise ValueError(
            f"no mask for kernel_size {kernel_size}, kind {kind!r} and {channels_in} to {channels_out} channels: take an odd "
            'size, "A" or "B", and multiples of 3'
        )
    mask, centre = torch.zeros(channels_out, channels_in, kernel_size, kernel_size), kernel_size // 2
    mask[:, :, :centre] = 1
    mask[:, :, centre, :centre] = 1
    groups = torch.ones(3, 3).tril(0 if kind == "B" else -1)  # (to, from)
    mask[:, :, centre, centre] = groups.repeat_interleave(channels_out // 3, 0).repeat_interleave(channels_in // 3, 1)
    return mask


def _wanted(kernel_size: int, kind: str, channels_in: int, channels_out: int) -> dict:
    return dict(kernel_size=kernel_size, kind=kind, channels_in=channels_in, channels_out=channels_out)


@rgb_mask.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for sizes in ((7, "A", 3, 12), (3, "B", 6, 9), (5, "A", 9, 6), (3, "B", 12, 6), (5, "B", 6, 12), (3, "A", 6, 15)):
        yield _wanted(*sizes)
    yield edge("the kernel is a single weight", stated="A kernel may be a single weight", **_wanted(1, "B", 6, 9))
    yield edge("the kernel is a single weight", stated="A kernel may be a single weight", **_wanted(1, "A", 9, 6))
    yield edge("the kernel's size is even", stated="a $k$ that is even", **_wanted(4, "A", 3, 6))
    yield edge("the kind is neither A nor B", stated='a kind but "A" and "B"', **_wanted(3, "C", 6, 3))
    yield edge("the kind is neither A nor B", stated='a kind but "A" and "B"', **_wanted(3, "b", 3, 9))
    yield edge("channels_in is no multiple of 3", stated="channels that are no multiple of 3", **_wanted(3, "B", 4, 6))
    yield edge("channels_out is no multiple of 3", stated="channels that are no multiple of 3", **_wanted(3, "A", 6, 5))


@rgb_mask.typical
def _(generator: torch.Generator) -> dict:
    return _wanted(7, "A", 3, 96)


def _with_centre(wanted: tuple, groups: Tensor) -> Tensor:
    """The right mask with other groups (3, 3), (to, from), at its centre."""
    kernel_size, kind, channels_in, channels_out = wanted
    mask, centre = rgb_mask(kernel_size, kind, channels_in, channels_out), kernel_size // 2
    mask[:, :, centre, centre] = groups.repeat_interleave(channels_out // 3, 0).repeat_interleave(channels_in // 3, 1)
    return mask


@rgb_mask.mistake(
    "the centre is closed to all groups in kind A, as for images of one colour. Green and blue may see the earlier colours "
    "of their own pixel: without them, three colours of one pixel would be drawn as if they had nothing to do with each other."
)
def centre_closed_in_a(kernel_size, kind, channels_in, channels_out):
    groups = torch.ones(3, 3).tril(0) * (kind == "B")
    return _with_centre((kernel_size, kind, channels_in, channels_out), groups)


@rgb_mask.mistake(
    "the centre is open to all groups in kind B. Then red sees the green and the blue of its own pixel, which are drawn "
    "after it: at the centre a group sees its own and earlier ones."
)
def centre_open_in_b(kernel_size, kind, channels_in, channels_out):
    groups = torch.ones(3, 3) if kind == "B" else torch.ones(3, 3).tril(-1)
    return _with_centre((kernel_size, kind, channels_in, channels_out), groups)


@rgb_mask.mistake(
    "in kind A a group sees itself at the centre. The first layer reads the pixels, and red would be shown the red that it "
    "is to predict: only earlier groups in A."
)
def own_group_open_in_a(kernel_size, kind, channels_in, channels_out):
    return _with_centre((kernel_size, kind, channels_in, channels_out), torch.ones(3, 3).tril(0))


@rgb_mask.mistake(
    "in kind B a group does not see itself at the centre. From the second layer on its own channels there hold nothing but "
    "what came before; closed, each layer would forget them."
)
def own_group_closed_in_b(kernel_size, kind, channels_in, channels_out):
    return _with_centre((kernel_size, kind, channels_in, channels_out), torch.ones(3, 3).tril(-1))


@rgb_mask.mistake("A and B are exchanged: a group sees itself at the centre in kind B, not in kind A.")
def kinds_swapped(kernel_size, kind, channels_in, channels_out):
    return rgb_mask(kernel_size, {"A": "B", "B": "A"}.get(kind, kind), channels_in, channels_out)


@rgb_mask.mistake(
    "the colours are in the wrong order at the centre: a group sees those *after* its own. The first dimension of the mask "
    "is the group that looks, the second the one that is looked at: green (out) may see red (in)."
)
def order_reversed(kernel_size, kind, channels_in, channels_out):
    groups = torch.ones(3, 3).triu(0 if kind == "B" else 1)
    return _with_centre((kernel_size, kind, channels_in, channels_out), groups)


@rgb_mask.mistake(
    "your groups are interleaved, red, green, blue, red, …. Here each is one block: the first third of the channels is red, "
    "the second green, the last blue."
)
def interleaved(kernel_size, kind, channels_in, channels_out):
    mask, centre = rgb_mask(kernel_size, kind, channels_in, channels_out), kernel_size // 2
    to, of = torch.arange(channels_out).unsqueeze(1) % 3, torch.arange(channels_in) % 3
    mask[:, :, centre, centre] = ((of <= to) if kind == "B" else (of < to)).to(mask)
    return mask


@rgb_mask.mistake(
    "each group sees earlier pixels in its own colour only. What has been drawn is known in all three: away from the centre "
    "the mask does not look at groups."
)
def own_colour_only(kernel_size, kind, channels_in, channels_out):
    mask = rgb_mask(kernel_size, kind, channels_in, channels_out)
    same = torch.eye(3).repeat_interleave(channels_out // 3, 0).repeat_interleave(channels_in // 3, 1)
    centre = mask[:, :, kernel_size // 2, kernel_size // 2].clone()
    mask = mask * same[:, :, None, None]
    mask[:, :, kernel_size // 2, kernel_size // 2] = centre
    return mask


@rgb_mask.mistake(
    "the channels are exchanged: the weight of a `Conv2d` has the shape (channels_out, channels_in, k, k)."
)
def channels_swapped(kernel_size, kind, channels_in, channels_out):
    return rgb_mask(kernel_size, kind, channels_out, channels_in)


@rgb_mask.mistake(
    "right, but nothing is refused. Raise a ValueError for an even size, which has no centre, for a kind that does not exist, "
    "and for channels that do not make three equal groups."
)
def takes_anything(kernel_size, kind, channels_in, channels_out):
    mask, centre = torch.zeros(channels_out, channels_in, kernel_size, kernel_size), kernel_size // 2
    mask.flatten(2)[:, :, : kernel_size * centre + centre] = 1
    to, of = (torch.arange(n) // max(1, n // 3) for n in (channels_out, channels_in))
    mask[:, :, centre, centre] = ((of < to.unsqueeze(1)) | ((of == to.unsqueeze(1)) & (kind == "B"))).to(mask)
    return mask


@rgb_mask.mistake(
    "at the centre you compare single channels (a triangle of channels_out × channels_in). It is three *groups* that have an "
    "order, and each has many channels: red sees no red, green sees all of red."
)
def triangle_of_channels(kernel_size, kind, channels_in, channels_out):
    mask, centre = rgb_mask(kernel_size, kind, channels_in, channels_out), kernel_size // 2
    mask[:, :, centre, centre] = torch.ones(channels_out, channels_in).tril(0 if kind == "B" else -1)
    return mask


@rgb_mask.mistake(
    "at the centre a group sees the one right before it and no earlier one. Blue is drawn last: it may see red as well as green."
)
def only_the_group_before(kernel_size, kind, channels_in, channels_out):
    groups = torch.ones(3, 3).tril(0 if kind == "B" else -1).triu(-1)
    return _with_centre((kernel_size, kind, channels_in, channels_out), groups)


@rgb_mask.mistake(
    "at the centre a group sees itself alone, and that in kind B only. The groups before its own are drawn already: it may see "
    "them in both kinds."
)
def only_the_own_group(kernel_size, kind, channels_in, channels_out):
    return _with_centre((kernel_size, kind, channels_in, channels_out), torch.eye(3) * (kind == "B"))


rgb_mask.hints(
    "Away from the centre nothing is new: it is lesson 08's mask. At the centre, think of a table of 3 × 3 groups first: the "
    "row looks, the column is looked at.",
    "`torch.ones(3, 3).tril(0)` is that table in kind B, `.tril(-1)` in kind A. Every entry stands for a block of channels.",
    "table.repeat_interleave(channels_out // 3, 0).repeat_interleave(channels_in // 3, 1) has the shape (channels_out, "
    "channels_in): it belongs to mask[:, :, k // 2, k // 2].",
)
