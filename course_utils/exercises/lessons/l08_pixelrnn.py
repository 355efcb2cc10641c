"""Exercises of lesson 08: the likelihood of black-and-white pixels, masks, a gate, skewed images, completion."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.boxed.fixtures import Fixture
from course_utils.exercises.define import Case, define, edge, randn

# -- 8.1 -----------------------------------------------------------------------------------------------------------


@define(lesson="08", points=1, outputs="nll", gradients=("logits",))
def bernoulli_nll(logits, x):
    """How unlikely a model finds each black-and-white image: minus the logarithm of its probability, in nats.

    logits: (N, ...), often (N, 1, H, W): a pixel is white with probability sigmoid(logit). They may be large, ±1000.
    x: zeros (black) and ones (white), of the same shape and dtype.
    Returns (N,): the sum over all dimensions but the first.
    """
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


def _images(generator: torch.Generator, *shape: int) -> dict:
    x = torch.randint(0, 2, shape, generator=generator).double()
    return dict(logits=3 * randn(generator, *shape), x=x)


@bernoulli_nll.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape in ((5, 1, 3, 4), (3, 1, 6, 2), (6, 2, 5, 3), (4, 1, 2, 7)):
        yield _images(generator, *shape)
    huge = _images(generator, 4, 1, 3, 5)
    yield edge(
        "the logits are ±1000", stated="They may be large, ±1000", **(huge | dict(logits=1000 * huge["logits"].sign()))
    )
    yield edge(
        "the images are flat, (N, D)", stated="the sum over all dimensions but the first", **_images(generator, 4, 7)
    )


@bernoulli_nll.typical
def _(generator: torch.Generator) -> dict:
    return _images(generator, 64, 1, 28, 28)


@bernoulli_nll.mistake(
    "you average over the pixels. An image's probability is the product of its pixels' probabilities, so their logarithms "
    "add: sum them, or the image would count as one average pixel."
)
def mean_over_pixels(logits, x):
    return _cost(logits, x).flatten(1).mean(1)


@bernoulli_nll.mistake(
    "you return one number for the whole batch. Every image has a likelihood of its own: sum over the pixels only, (N,)."
)
def batch_summed_too(logits, x):
    return _cost(logits, x).sum()


@bernoulli_nll.mistake(
    "this is `binary_cross_entropy_with_logits` as it comes: the mean over all pixels of all images. Ask for "
    "`reduction='none'`, and sum over the pixels of each image."
)
def mean_over_everything(logits, x):
    return _cost(logits, x).mean()


@bernoulli_nll.mistake(
    "you add up the pixels and average over the images, as one does with a loss. Here every image keeps a number of its own: "
    "sum over the pixels only, (N,)."
)
def averaged_over_images(logits, x):
    return _cost(logits, x).sum() / len(x)


@bernoulli_nll.mistake(
    "logits and images have changed places: `F.binary_cross_entropy_with_logits` takes the logits first, and the zeros and "
    "ones as its target."
)
def arguments_exchanged(logits, x):
    return _cost(x, logits).flatten(1).sum(1)


@bernoulli_nll.mistake(
    "this is the log-probability itself, which is never above 0. A loss is minimised, so the sign turns: likely images get "
    "a small number, unlikely ones a large one."
)
def sign_forgotten(logits, x):
    return -_cost(logits, x).flatten(1).sum(1)


@bernoulli_nll.mistake(
    "you take the logarithm of a sigmoid. For a logit of −1000 that sigmoid is exactly 0 on a computer, its logarithm is "
    "−inf, and 0 · −inf is NaN. `F.logsigmoid` and `F.binary_cross_entropy_with_logits` never leave the logits."
)
def logarithm_of_zero(logits, x):
    p = torch.sigmoid(logits)
    return -(x * torch.log(p) + (1 - x) * torch.log(1 - p)).flatten(1).sum(1)


def _constant_in_the_logarithm(constant: float) -> None:
    """The mistake of writing log(p + constant), so that log 0 does not occur."""

    def wrong(logits, x):
        p = torch.sigmoid(logits)
        cost = x * torch.log(p + constant) + (1 - x) * torch.log(1 - p + constant)
        return -cost.flatten(1).sum(1)

    wrong.__name__ = f"logarithm_of_p_plus_{constant:.0e}"
    bernoulli_nll.mistake(
        f"you add {constant:.0e} to the probability before you take its logarithm. That keeps it finite, but changes every "
        f"price a little, and no pixel costs more than −log {constant:.0e} = {-math.log(constant):.1f} nats: one that the "
        "model rules out with a logit of 1000 costs 1000. `F.binary_cross_entropy_with_logits` never leaves the logits."
    )(wrong)


for _constant in (1e-6, 1e-7, 1e-8, 1e-10, 1e-12):
    _constant_in_the_logarithm(_constant)


def _probability_kept_inside(constant: float) -> None:
    """The mistake of cutting p off at a constant from 0 and 1, so that log 0 does not occur."""

    def kept_above(logits, x):
        p = torch.sigmoid(logits).clamp(constant, 1 - constant)
        return F.binary_cross_entropy(p, x, reduction="none").flatten(1).sum(1)

    kept_above.__name__ = f"p_kept_above_{constant:.0e}"
    bernoulli_nll.mistake(
        f"right for tame logits, but you keep the probability above {constant:.0e}: no pixel costs more than −log {constant:.0e} "
        f"= {-math.log(constant):.1f} nats, where one that the model rules out with a logit of 1000 costs 1000, and there the "
        "gradient vanishes. `F.binary_cross_entropy_with_logits` never leaves the logits."
    )(kept_above)


for _constant in (1e-6, 1e-7):  # nearer to 1 there is no number in single precision
    _probability_kept_inside(_constant)


@bernoulli_nll.mistake(
    "you go through the sigmoid: it rounds to exactly 0 or 1 when a logit is large, and `F.binary_cross_entropy` then calls "
    "the cost 100, whatever it is, and loses the gradient. `F.binary_cross_entropy_with_logits` never leaves the logits."
)
def capped_at_a_hundred(logits, x):
    return F.binary_cross_entropy(torch.sigmoid(logits), x, reduction="none").flatten(1).sum(1)


@bernoulli_nll.mistake(
    "the sigmoid is taken twice: `binary_cross_entropy_with_logits` contains one. With yours in front, no pixel could ever "
    "be called black: the sigmoid of a probability is at least ½."
)
def sigmoid_twice(logits, x):
    return _cost(torch.sigmoid(logits), x).flatten(1).sum(1)


@bernoulli_nll.mistake(
    "only the white pixels cost something. A model that calls everything white would then be perfect: each black pixel "
    "costs −log(1 − sigmoid(logit))."
)
def only_white(logits, x):
    return -(x * F.logsigmoid(logits)).flatten(1).sum(1)


@bernoulli_nll.mistake(
    "only the black pixels cost something. A model that calls everything black would then be perfect: each white pixel costs "
    "−log sigmoid(logit)."
)
def only_black(logits, x):
    return -((1 - x) * F.logsigmoid(-logits)).flatten(1).sum(1)


@bernoulli_nll.mistake(
    "black and white are exchanged: sigmoid(logit) is the probability of white, a 1. You take it for that of a 0."
)
def colours_exchanged(logits, x):
    return _cost(-logits, x).flatten(1).sum(1)


def _cost(logits: Tensor, x: Tensor) -> Tensor:
    """Nats for each pixel, in the images' shape."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none")


bernoulli_nll.hints(
    "A white pixel costs −log sigmoid(logit), a black one −log(1 − sigmoid(logit)). Pixels multiply their probabilities, "
    "so that their costs add.",
    "`F.binary_cross_entropy_with_logits(logits, x, reduction='none')` gives the cost of each pixel, in the images' shape, "
    "and never leaves the logits. What is left to sum?",
    "Flatten everything but the first dimension, `.flatten(1)`, and sum over dimension 1.",
)

# -- 8.2 -----------------------------------------------------------------------------------------------------------


@define(lesson="08", points=1, outputs="bits")
def bits_per_dimension(nll, n_dims):
    """Nats per image turned into bits per dimension: how many yes-or-no questions one pixel takes on average.

    nll: nats per image, a plain number or a tensor of any shape. n_dims: the numbers that make up one image, 784 for
    28 × 28 pixels of one colour.
    Returns what `nll` is: a plain number, or a tensor of the same shape. One bit is log 2 nats.
    """
    return nll / (n_dims * math.log(2))


def _nats(generator: torch.Generator, *shape: int) -> Tensor:
    return 80 + 20 * randn(generator, *shape)


@bits_per_dimension.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape, n_dims in (((5,), 784), ((3,), 12), ((2, 4), 3072)):
        yield dict(nll=_nats(generator, *shape), n_dims=n_dims)
    yield edge("nll is one number in a tensor", stated="a tensor of any shape", nll=_nats(generator), n_dims=49)
    yield edge("nll is a plain number", stated="a plain number", nll=_nats(generator).item(), n_dims=196)


@bits_per_dimension.typical
def _(generator: torch.Generator) -> dict:
    return dict(nll=_nats(generator, 10_000), n_dims=784)


@bits_per_dimension.mistake(
    "these are nats per dimension. A bit is a smaller unit, log 2 = 0.693 nats: divide by `math.log(2)` too."
)
def nats_kept(nll, n_dims):
    return nll / n_dims


@bits_per_dimension.mistake(
    "you multiply by log 2. That turns bits into nats. A bit is the smaller unit, so there must be more of them than of "
    "nats: divide."
)
def wrong_way(nll, n_dims):
    return nll * math.log(2) / n_dims


@bits_per_dimension.mistake(
    "these are bits for the whole image. Divide by n_dims, or a large image could never be compared with a small one."
)
def bits_of_the_image(nll, n_dims):
    return nll / math.log(2)


@bits_per_dimension.mistake(
    "you multiply by n_dims. `nll` belongs to the whole image already; one of its n_dims pixels has a share of it: divide."
)
def times_the_dimensions(nll, n_dims):
    return nll / math.log(2) * n_dims


@bits_per_dimension.mistake(
    "you take the logarithm of the nats. They are logarithms already (minus the log of a probability); from base e to "
    "base 2 it is a division by log 2."
)
def logarithm_twice(nll, n_dims):
    return (torch.log2(nll) if isinstance(nll, Tensor) else math.log2(nll)) / n_dims


def _rounded(written: str, factor: float) -> None:
    """The mistake of writing a rounded number instead of log 2 or of what it divides by."""

    def wrong(nll, n_dims):
        return nll * factor / n_dims

    wrong.__name__ = f"rounded_to_{written}"
    off = round(1 / abs(factor * math.log(2) - 1))
    bits_per_dimension.mistake(
        f"{written} is {'log 2' if float(written) < 1 else '1 / log 2'}, rounded: what comes out is off by one part in "
        f"{off}. Models are compared by such differences, so write `math.log(2)`."
    )(wrong)


for _written in ("0.69", "0.693", "0.6931", "0.69315"):
    _rounded(_written, 1 / float(_written))
for _written in ("1.44", "1.443", "1.4427"):
    _rounded(_written, float(_written))


@bits_per_dimension.mistake(
    "you average over the images. Each keeps its own number here, in the shape of `nll`; a mean over them comes later."
)
def averaged(nll, n_dims):
    return (nll.mean() if isinstance(nll, Tensor) else nll) / (n_dims * math.log(2))


bits_per_dimension.hints(
    "Two steps: from an image to one of its pixels, and from nats to bits.",
    "A bit is the cost of one fair coin: −log ½ = log 2 = 0.693 nats. So there are more bits than nats.",
    "nll / (n_dims · log 2), with `math.log(2)`.",
)

# -- 8.3 -----------------------------------------------------------------------------------------------------------


@define(lesson="08", points=2, outputs="mask", exact=True)
def causal_mask(kernel_size, kind, channels_in, channels_out):
    """Ones where a convolution may look, zeros where it may not: at pixels that come later in reading order.

    kernel_size: k, odd, so that the kernel has a centre. kind: "A", the rows above the centre, and in its own row all
    that is left of it; "B", the same and the centre itself. channels_in, channels_out: how many; all are treated alike.
    Returns (channels_out, channels_in, k, k), of the default dtype, laid out like the weight of a `Conv2d`.
    Raises ValueError if k is even, or `kind` neither "A" nor "B".
    """
    if kernel_size % 2 == 0:
        raise ValueError(f"a kernel of {kernel_size} has no centre: kernel_size must be odd")
    if kind not in ("A", "B"):
        raise ValueError(f'kind must be "A" or "B", not {kind!r}')
    mask = torch.zeros(channels_out, channels_in, kernel_size, kernel_size)
    centre = kernel_size // 2
    mask[:, :, :centre] = 1
    mask[:, :, centre, : centre + (kind == "B")] = 1
    return mask


def _wanted(kernel_size: int, kind: str, channels_in: int, channels_out: int) -> dict:
    return dict(kernel_size=kernel_size, kind=kind, channels_in=channels_in, channels_out=channels_out)


@causal_mask.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for sizes in ((7, "A", 1, 4), (3, "B", 5, 2), (5, "A", 3, 2), (5, "B", 2, 6), (3, "A", 2, 3), (9, "B", 1, 2)):
        yield _wanted(*sizes)
    yield edge(
        "the kernel is a single weight, of kind A", stated="A kernel may be a single weight", **_wanted(1, "A", 3, 2)
    )
    yield edge(
        "the kernel is a single weight, of kind B", stated="A kernel may be a single weight", **_wanted(1, "B", 2, 4)
    )
    yield edge("the kernel's size is even", stated="a $k$ that is even", **_wanted(4, "A", 1, 2))
    yield edge("the kind is neither A nor B", stated='any kind but "A" and "B"', **_wanted(3, "C", 2, 1))
    yield edge("the kind is neither A nor B", stated='any kind but "A" and "B"', **_wanted(5, "AB", 1, 3))
    yield edge("the kind is neither A nor B", stated='any kind but "A" and "B"', **_wanted(3, "b", 1, 2))
    yield edge("the kind is neither A nor B", stated='any kind but "A" and "B"', **_wanted(5, "", 2, 1))


@causal_mask.typical
def _(generator: torch.Generator) -> dict:
    return _wanted(7, "A", 1, 64)


@causal_mask.mistake(
    "the centre is open in kind A. The first layer would show the network the very pixel that it is to predict: it copies "
    "it, its loss falls to almost nothing, and it has learnt nothing. Close the centre in A."
)
def centre_open_in_a(kernel_size, kind, channels_in, channels_out):
    mask, centre = causal_mask(kernel_size, kind, channels_in, channels_out), kernel_size // 2
    mask[:, :, centre, centre] = 1
    return mask


@causal_mask.mistake(
    "the centre is closed in kind B as well. From the second layer on a place holds nothing of its own pixel, only what "
    "the layers before have made of earlier ones. Closed there too, every layer would forget one more of its "
    "neighbours to the left. Open the centre in B."
)
def centre_closed_in_b(kernel_size, kind, channels_in, channels_out):
    mask, centre = causal_mask(kernel_size, kind, channels_in, channels_out), kernel_size // 2
    mask[:, :, centre, centre] = 0
    return mask


@causal_mask.mistake(
    "A and B are exchanged: the centre is closed in A, the first layer, where it is the pixel to be predicted, and open in B."
)
def kinds_exchanged(kernel_size, kind, channels_in, channels_out):
    return causal_mask(kernel_size, {"A": "B", "B": "A"}.get(kind, kind), channels_in, channels_out)


@causal_mask.mistake(
    "your mask reads column after column: it opens the columns left of the centre, and what is above in its own. Pixels are "
    "predicted row after row: open the rows above, and what is left in the centre's own row. (Of four dimensions, the "
    "third counts rows.)"
)
def columns_first(kernel_size, kind, channels_in, channels_out):
    return causal_mask(kernel_size, kind, channels_in, channels_out).mT.contiguous()


@causal_mask.mistake(
    "the rows above the centre are closed. They come earlier in reading order and may all be seen; with the own row alone, "
    "every row of the image would be drawn without knowing the others."
)
def own_row_only(kernel_size, kind, channels_in, channels_out):
    mask = causal_mask(kernel_size, kind, channels_in, channels_out)
    mask[:, :, : kernel_size // 2] = 0
    return mask


@causal_mask.mistake(
    "of the rows above, you open only what is to the left. What is above and to the right comes earlier in reading order "
    "too: rows above the centre are open from end to end."
)
def upper_right_closed(kernel_size, kind, channels_in, channels_out):
    mask, centre = causal_mask(kernel_size, kind, channels_in, channels_out), kernel_size // 2
    mask[:, :, :centre, centre + 1 :] = 0
    return mask


@causal_mask.mistake(
    "of the rows above, you open only what is to the left of the centre, not even what is straight above it. All of these "
    "pixels come earlier in reading order: open the rows from end to end."
)
def left_half_only(kernel_size, kind, channels_in, channels_out):
    mask, centre = causal_mask(kernel_size, kind, channels_in, channels_out), kernel_size // 2
    mask[:, :, :centre, centre:] = 0
    return mask


@causal_mask.mistake(
    "the centre's own row is open to its right. What stands there comes later in reading order; the network would be shown "
    "pixels that are not drawn yet when it samples. Close the row from the centre on (A), or behind it (B)."
)
def own_row_to_the_end(kernel_size, kind, channels_in, channels_out):
    mask, centre = causal_mask(kernel_size, kind, channels_in, channels_out), kernel_size // 2
    mask[:, :, centre, centre + 1 :] = 1
    return mask


@causal_mask.mistake(
    "this is a triangle (`torch.tril`). It would suit a table that says for each pixel (a row) which others (the columns) "
    "it may see. The kernel is a window around one pixel: open the rows above its centre, and what is left of it."
)
def triangle(kernel_size, kind, channels_in, channels_out):
    mask = causal_mask(kernel_size, kind, channels_in, channels_out)
    return torch.ones_like(mask).tril(-1 if kind == "A" else 0)


@causal_mask.mistake(
    "your mask shows the future: it opens the rows below and what is to the right. PyTorch's `Conv2d` does not turn its "
    "kernel over; weight [0, 0] is multiplied with the pixel above and to the left."
)
def turned_over(kernel_size, kind, channels_in, channels_out):
    return causal_mask(kernel_size, kind, channels_in, channels_out).flip(2, 3)


@causal_mask.mistake(
    "the channels are exchanged: the weight of a `Conv2d` has the shape (channels_out, channels_in, k, k)."
)
def channels_exchanged(kernel_size, kind, channels_in, channels_out):
    return causal_mask(kernel_size, kind, channels_out, channels_in)


@causal_mask.mistake(
    "right, but nothing is refused. A kernel of even size has no centre, so that its mask is one pixel off; and a kind that is "
    "mistyped would silently count as A. Raise a ValueError in both cases."
)
def nothing_refused(kernel_size, kind, channels_in, channels_out):
    mask = torch.zeros(channels_out, channels_in, kernel_size, kernel_size)
    mask.flatten(2)[:, :, : kernel_size * (kernel_size // 2) + kernel_size // 2 + (kind == "B")] = 1
    return mask


@causal_mask.mistake(
    "right, but nothing is refused. A kernel of even size has no centre, so that its mask is one pixel off; and a kind that is "
    "mistyped would silently count as B, the one that lets a first layer see its own pixel. Raise a ValueError in both cases."
)
def nothing_refused_and_b_by_default(kernel_size, kind, channels_in, channels_out):
    return nothing_refused(kernel_size, "A" if kind == "A" else "B", channels_in, channels_out)


causal_mask.hints(
    "Start with zeros of the weight's shape, (channels_out, channels_in, k, k). The centre stands in row k // 2 and column "
    "k // 2. Which rows are open entirely, and how far is the centre's own row open?",
    "Open the rows above with `mask[:, :, : k // 2] = 1`. In row k // 2 of kind A, open the columns before k // 2; of kind "
    "B, one more.",
    'mask[:, :, k // 2, : k // 2 + (kind == "B")] = 1: a truth counts as 0 or 1.',
)

# -- 8.4 -----------------------------------------------------------------------------------------------------------


@define(lesson="08", points=1, outputs="y", gradients=("features",))
def gate(features):
    """Let one half of the channels decide how much of the other half passes.

    features: (B, 2C, H, W), with any C from 1 on. The first C channels are the contents, the last C the doors.
    Returns (B, C, H, W): the tanh of each content times the sigmoid of its door.
    """
    content, door = features.chunk(2, dim=1)
    return torch.tanh(content) * torch.sigmoid(door)


@gate.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape in ((2, 6, 3, 5), (3, 4, 5, 2), (4, 8, 2, 3), (1, 10, 4, 6)):
        yield dict(features=2 * randn(generator, *shape))
    yield edge("there is one content and one door", stated="any C from 1 on", features=randn(generator, 3, 2, 4, 5))


@gate.typical
def _(generator: torch.Generator) -> dict:
    return dict(features=randn(generator, 16, 64, 28, 28))


@gate.mistake(
    "contents and doors have changed places: the tanh belongs to the first half of the channels, the sigmoid to the second."
)
def halves_exchanged(features):
    door, content = features.chunk(2, dim=1)
    return torch.tanh(content) * torch.sigmoid(door)


@gate.mistake(
    "both halves go through a sigmoid. A content must be able to be negative, or a layer could only ever add: tanh for the "
    "first half."
)
def sigmoid_twice_over(features):
    content, door = features.chunk(2, dim=1)
    return torch.sigmoid(content) * torch.sigmoid(door)


@gate.mistake(
    "both halves go through a tanh. A door is open or shut or between, from 0 to 1: a negative one would turn the content's "
    "sign. Sigmoid for the second half."
)
def tanh_twice_over(features):
    content, door = features.chunk(2, dim=1)
    return torch.tanh(content) * torch.tanh(door)


@gate.mistake(
    "you add the two. Then a shut door adds 0 and the content passes all the same: a gate multiplies, as in lesson 02."
)
def added(features):
    content, door = features.chunk(2, dim=1)
    return torch.tanh(content) + torch.sigmoid(door)


@gate.mistake(
    "you take every second channel. The contents are the first C channels and the doors the last C: `features.chunk(2, dim=1)`."
)
def every_second_channel(features):
    return torch.tanh(features[:, ::2]) * torch.sigmoid(features[:, 1::2])


@gate.mistake(
    "the contents are not squashed. That is a gated linear unit (`F.glu`); here the content lies between −1 and 1, by a tanh."
)
def content_not_squashed(features):
    content, door = features.chunk(2, dim=1)
    return content * torch.sigmoid(door)


@gate.mistake(
    "the doors are not squashed: a gate that lets through 5 times what comes, or −2 times, is none. A sigmoid keeps them "
    "between 0 and 1."
)
def door_not_squashed(features):
    content, door = features.chunk(2, dim=1)
    return torch.tanh(content) * door


@gate.mistake("there is no door: you return the tanh of the first half. Multiply by the sigmoid of the second half.")
def no_door(features):
    return torch.tanh(features.chunk(2, dim=1)[0])


@gate.mistake(
    "every channel is its own content and its own door. Half of the channels are contents, the other half doors, so that "
    "the two are learned apart; what comes out has C channels."
)
def own_door(features):
    return torch.tanh(features) * torch.sigmoid(features)


@gate.mistake(
    "neither half is squashed: tanh for the contents, which keeps them between −1 and 1, and a sigmoid for the doors, which lets "
    "through between nothing and all."
)
def nothing_squashed(features):
    content, door = features.chunk(2, dim=1)
    return content * door


@gate.mistake(
    "a content and its door are multiplied before the tanh. The gate comes last: the tanh of the content times the sigmoid of the "
    "door."
)
def gated_before_the_tanh(features):
    content, door = features.chunk(2, dim=1)
    return torch.tanh(content * torch.sigmoid(door))


@gate.mistake(
    "the doors go through a softmax: they share one unit of opening among all channels. Each door opens by itself: a sigmoid."
)
def doors_share(features):
    content, door = features.chunk(2, dim=1)
    return torch.tanh(content) * torch.softmax(door, 1)


gate.hints(
    "Dimension 1 counts the channels. Split them into two halves.",
    "`content, door = features.chunk(2, dim=1)`: each (B, C, H, W). Which of the two may be negative?",
    "torch.tanh(content) * torch.sigmoid(door)",
)

# -- 8.5 -----------------------------------------------------------------------------------------------------------


@define(lesson="08", points=2, outputs="y", gradients=("x",))
def skew(x):
    """Shift row r of an image r places to the right, so that what was a diagonal becomes a column.

    x: (B, C, H, W).
    Returns (B, C, H, W + H − 1), of x's dtype: x[:, :, r, c] stands at [:, :, r, r + c], and everywhere else stands 0.
    """
    height = x.shape[2]
    longer = F.pad(x, (0, height)).flatten(2)  # each row, and then as many zeros as there are rows
    return longer[:, :, :-height].unflatten(2, (height, -1))  # rows shorter by one: each begins one place later


@skew.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape in ((2, 3, 4, 5), (3, 2, 5, 4), (1, 4, 3, 7), (4, 1, 6, 2), (2, 5, 3, 3)):
        yield dict(x=randn(generator, *shape))
    yield edge("the image is one row", stated="An image may be a single row", x=randn(generator, 3, 2, 1, 5))
    yield edge("the image is one column", stated="or a single column", x=randn(generator, 2, 3, 4, 1))


@skew.typical
def _(generator: torch.Generator) -> dict:
    return dict(x=randn(generator, 16, 32, 28, 28))


@skew.mistake(
    "the first row is shifted most and the last one not at all. Then the pixel above lies one column *later*, and a network "
    "that walks from column to column needs it before: row r moves r places, so that what is above and what is to the left "
    "both stand one column earlier."
)
def from_the_bottom(x):
    return skew(x.flip(2)).flip(2)


@skew.mistake(
    "what is pushed out on the right comes in again on the left (`torch.roll`). There it would be read first, long before "
    "its turn. The skewed image is wider, W + H − 1, so that nothing is pushed out."
)
def rolled(x):
    return torch.stack([x[:, :, row].roll(row, -1) for row in range(x.shape[2])], 2)


@skew.mistake(
    "what is pushed out on the right is lost: the image has kept its width. Make it W + H − 1 wide, for the last row moves "
    "H − 1 places."
)
def cut_off(x):
    return skew(x)[:, :, :, : x.shape[3]]


@skew.mistake(
    "the image is W + H wide, and its last column always empty. Rows are counted from 0, so that the last one moves only "
    "H − 1 places."
)
def one_too_wide(x):
    return F.pad(skew(x), (0, 1))


@skew.mistake(
    "every row stands one place too far right, and the image is one column too wide. Rows are counted from 0: the first one "
    "stays where it is."
)
def counted_from_one(x):
    return F.pad(skew(x), (1, 0))


@skew.mistake(
    "you shift the columns down. The rows move, to the right: the third dimension counts rows, the fourth columns."
)
def columns_shifted(x):
    return skew(x.mT).mT


@skew.mistake(
    "your rows move to the left, and what leaves there comes in at the far right. With `torch.roll` a positive number moves "
    "to the right, along `dims=-1`."
)
def to_the_left(x):
    wide = F.pad(x, (0, x.shape[2] - 1))
    return torch.stack([wide[:, :, row].roll(-row, -1) for row in range(x.shape[2])], 2)


@skew.mistake("the rows stand where they stood: you have only widened the image. Row r moves r places to the right.")
def only_widened(x):
    return F.pad(x, (0, x.shape[2] - 1))


skew.hints(
    "Begin with zeros of shape (B, C, H, W + H − 1), of x's dtype and on its device: `x.new_zeros(...)`. Where do the W "
    "numbers of row r begin, and where do they end?",
    "A loop over the rows: row r fills the columns from r to r + W.",
    "y[:, :, r, r : r + W] = x[:, :, r]. (Without a loop: give each row H zeros more, lay all rows end to end, drop the last "
    "H numbers, and cut anew into rows that are one shorter: each begins one place later than the one before.)",
)

# -- 8.6 -----------------------------------------------------------------------------------------------------------


@define(lesson="08", points=1, outputs="x", gradients=("y",))
def unskew(y, width):
    """Undo `skew`: read the W numbers of row r from column r on.

    y: (B, C, H, W + H − 1), any numbers: a network has written there. width: W.
    Returns x, (B, C, H, W), of y's dtype, with x[:, :, r, c] = y[:, :, r, r + c].
    """
    height = y.shape[2]
    return F.pad(y.flatten(2), (0, height)).unflatten(2, (height, -1))[:, :, :, :width]


@unskew.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for batch, channels, height, width in ((2, 3, 4, 5), (3, 2, 5, 4), (1, 4, 3, 7), (4, 1, 6, 2), (2, 5, 3, 3)):
        yield dict(y=randn(generator, batch, channels, height, width + height - 1), width=width)
    yield edge("the image is one row", stated="an image may be a single row", y=randn(generator, 3, 2, 1, 5), width=5)
    yield edge("the image is one column", stated="or a single column", y=randn(generator, 2, 3, 4, 4), width=1)


@unskew.typical
def _(generator: torch.Generator) -> dict:
    return dict(y=randn(generator, 16, 32, 28, 55), width=28)


@unskew.mistake(
    "you cut the first W columns out of every row. Only row 0 begins there; row r begins at column r, and before it lies "
    "what `skew` had filled with zeros."
)
def first_columns(y, width):
    return y[:, :, :, :width]


@unskew.mistake("you cut the last W columns out of every row. Only the last row lies there; row r begins at column r.")
def last_columns(y, width):
    return y[:, :, :, -width:]


@unskew.mistake(
    "you count the rows from the bottom: the last one begins at column 0 and the first at H − 1. Row r begins at column r."
)
def from_the_last_row(y, width):
    return unskew(y.flip(2), width).flip(2)


@unskew.mistake(
    "your rows move once more to the right, as in `skew`. To undo it, row r moves r places to the *left*, "
    "`torch.roll(..., -r)`, or is simply read from column r on."
)
def skewed_again(y, width):
    rows = [y[:, :, row].roll(row, -1) for row in range(y.shape[2])]
    return torch.stack(rows, 2)[:, :, :, :width]


@unskew.mistake(
    "your rows are moved back, but still W + H − 1 wide. An image has `width` columns: cut off the rest, which belongs to "
    "no pixel."
)
def still_wide(y, width):
    return torch.stack([y[:, :, row].roll(-row, -1) for row in range(y.shape[2])], 2)


unskew.hints(
    "Row r of the image lies in row r of y, from column r on. Where does it end?",
    "For each row r take y[:, :, r, r : r + width], (B, C, W), and put the rows together again.",
    "torch.stack([y[:, :, r, r : r + width] for r in range(y.shape[2])], dim=2)",
)

# -- 8.7 -----------------------------------------------------------------------------------------------------------


@define(lesson="08", points=2, outputs="completed", fresh=True)
def complete(image, known, sample_pixel, generator):
    """Let a model fill in what is hidden of some images, pixel by pixel, in reading order.

    image: (B, 1, H, W). known: bool (H, W), the same for all images: True where the pixel is given.
    sample_pixel: a function (image, row, col, generator) -> (B,), which draws one pixel of each image, given the images
    as they stand, all of (B, 1, H, W). generator: a torch.Generator, handed on to it.
    Returns a new (B, 1, H, W): the known pixels as they are. All unknown ones start at 0; then, row after row and from
    left to right, each is replaced by what `sample_pixel` draws. It is called for unknown pixels only.
    """
    completed = torch.where(known, image, 0)
    for row, col in (~known).nonzero().tolist():
        completed[:, 0, row, col] = sample_pixel(completed, row, col, generator)
    return completed


def _hidden(generator: torch.Generator, batch: int, height: int, width: int) -> dict:
    """Images of which half the pixels are known, here and there."""
    seed = int(torch.randint(2**31, (), generator=generator))
    known = torch.randperm(height * width, generator=generator).view(height, width) < height * width // 2
    return dict(
        image=randn(generator, batch, 1, height, width),
        known=known,
        sample_pixel=Fixture("sampler", seed, (("height", height), ("width", width))),
        generator=Fixture("generator", seed + 1),
    )


@complete.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for sizes in ((3, 4, 5), (2, 5, 3), (4, 2, 6), (5, 3, 4)):
        yield _hidden(generator, *sizes)
    yield edge(
        "every pixel is known",
        stated="if all pixels are known, nothing is drawn",
        **(_hidden(generator, 2, 3, 4) | dict(known=torch.ones(3, 4).bool())),
    )
    yield edge(
        "no pixel is known",
        stated="If nothing is known, the loop draws from nothing",
        **(_hidden(generator, 3, 4, 3) | dict(known=torch.zeros(4, 3).bool())),
    )
    black = _hidden(generator, 3, 4, 5)
    black["known"][:, 0] = True
    yield edge(
        "known pixels are 0",
        stated="A known pixel may be 0",
        **(black | dict(image=black["image"] * (torch.arange(5) > 1))),
    )


@complete.typical
def _(generator: torch.Generator) -> dict:
    known = (torch.arange(28) < 14).unsqueeze(1).expand(28, 28)
    return _hidden(generator, 16, 28, 28) | dict(known=known)


@complete.mistake(
    "you take every pixel that is 0 for an unknown one. A known pixel may be 0 as well, as most of a digit is: which pixels "
    "are unknown says `known`, and nothing else."
)
def zeros_taken_for_unknown(image, known, sample_pixel, generator):
    completed = torch.where(known, image, 0.0)
    for row in range(image.shape[2]):
        for col in range(image.shape[3]):
            if (completed[:, 0, row, col] == 0).all():
                completed[:, 0, row, col] = sample_pixel(completed, row, col, generator)
    return completed


@complete.mistake(
    "you fill the given `image` itself, and let its unknown pixels begin with what it holds there. Both go wrong: the caller's "
    "picture is gone, and where you have hidden the pixels yourself the model is shown the true ones. Begin with a new tensor, "
    "in which all unknown pixels are 0."
)
def in_place_and_peeking(image, known, sample_pixel, generator):
    return _filled(image, known, sample_pixel, generator)


@complete.mistake(
    "all pixels are drawn, starting from a black image, and the known ones are put in at the end: `sample_pixel` never sees "
    "them, and is asked about them for nothing. Begin with the known pixels in their places, and ask about the others only."
)
def everything_drawn_then_covered(image, known, sample_pixel, generator):
    return torch.where(known, image, _filled(torch.zeros_like(image), torch.zeros_like(known), sample_pixel, generator))


@complete.mistake(
    "you write into `image` itself. The caller's picture is gone, and with it the chance to complete it a second time, or "
    "to compare: begin with a new tensor."
)
def in_place(image, known, sample_pixel, generator):
    image[:, :, ~known] = 0
    return _filled(image, known, sample_pixel, generator)


@complete.mistake(
    "the unknown pixels start with the values that `image` holds there. That is peeking: where you have hidden them "
    "yourself, these are the true ones. They start at 0."
)
def peeking(image, known, sample_pixel, generator):
    return _filled(image.clone(), known, sample_pixel, generator)


@complete.mistake(
    "`sample_pixel` always sees the image as it was in the beginning, and each pixel is drawn as if the others had never "
    "been filled in. Hand over the image that you are filling: the next pixel must fit those before it."
)
def never_updated(image, known, sample_pixel, generator):
    start, completed = torch.where(known, image, 0), torch.where(known, image, 0)
    for row, col in (~known).nonzero().tolist():
        completed[:, 0, row, col] = sample_pixel(start, row, col, generator)
    return completed


@complete.mistake(
    "`sample_pixel` is given the original `image`: it sees what is hidden, and never what you have filled in. Hand over the "
    "new image, in which unknown pixels are 0 until their turn comes."
)
def asked_about_the_original(image, known, sample_pixel, generator):
    completed = torch.where(known, image, 0)
    for row, col in (~known).nonzero().tolist():
        completed[:, 0, row, col] = sample_pixel(image, row, col, generator)
    return completed


@complete.mistake(
    "you go down the columns. The model has learnt to predict pixels row after row, each from those before it in that order: "
    "rows outside, columns inside."
)
def columns_outside(image, known, sample_pixel, generator):
    completed = torch.where(known, image, 0)
    for col, row in (~known).T.nonzero().tolist():
        completed[:, 0, row, col] = sample_pixel(completed, row, col, generator)
    return completed


@complete.mistake(
    "the known pixels are drawn anew as well: nothing of the picture is left. Ask only where `known` is False."
)
def known_ones_drawn_too(image, known, sample_pixel, generator):
    return _filled(torch.where(known, image, 0), torch.zeros_like(known), sample_pixel, generator)


@complete.mistake(
    "you draw the known pixels anew as well, and restore them in the end. Until then the model has seen other pixels than "
    "the given ones, and what it has filled in fits those. Leave the known pixels alone from the start."
)
def known_ones_restored(image, known, sample_pixel, generator):
    everywhere = torch.zeros_like(known)
    return torch.where(known, image, _filled(torch.where(known, image, 0), everywhere, sample_pixel, generator))


@complete.mistake(
    "the known pixels are put in at the end only. `sample_pixel` never sees them, so that what it draws has nothing to do "
    "with the picture. Begin with the known pixels in their places."
)
def known_ones_at_the_end(image, known, sample_pixel, generator):
    return torch.where(known, image, _filled(torch.zeros_like(image), known, sample_pixel, generator))


@complete.mistake(
    "you ask `sample_pixel` about known pixels as well, and then throw its answer away. That costs a run of the network for "
    "each, and draws from the generator, so that later pixels come out differently. Ask only where `known` is False."
)
def known_ones_asked_about(image, known, sample_pixel, generator):
    completed = torch.where(known, image, 0)
    for row, col in torch.ones_like(known).nonzero().tolist():
        drawn = sample_pixel(completed, row, col, generator)
        if not known[row, col]:
            completed[:, 0, row, col] = drawn
    return completed


@complete.mistake(
    "you complete one image after the other. `sample_pixel` takes the whole batch and draws one pixel of each at once: image "
    "by image the network runs B times as often, and the generator's draws go to other pixels."
)
def image_by_image(image, known, sample_pixel, generator):
    start = torch.where(known, image, 0)
    return torch.cat([_filled(one, known, sample_pixel, generator) for one in start.split(1)])


@complete.mistake(
    "`known` is turned around: you draw the pixels that are given and keep those that are hidden. True means given."
)
def turned_around(image, known, sample_pixel, generator):
    return _filled(torch.where(known, 0, image), ~known, sample_pixel, generator)


@complete.mistake(
    "you copy a known pixel only when its turn comes, and until then it is 0. A causal model would not notice, but "
    "`sample_pixel` is promised the image as it stands: with all that is known, from the start."
)
def known_ones_come_late(image, known, sample_pixel, generator):
    completed = torch.zeros_like(image)
    for row, col in torch.ones_like(known).nonzero().tolist():
        given = image[:, 0, row, col] if known[row, col] else sample_pixel(completed, row, col, generator)
        completed[:, 0, row, col] = given
    return completed


def _filled(image: Tensor, known: Tensor, sample_pixel: Callable, generator: torch.Generator) -> Tensor:
    """The image itself, its unknown pixels drawn one after the other."""
    for row, col in (~known).nonzero().tolist():
        image[:, 0, row, col] = sample_pixel(image, row, col, generator)
    return image


complete.hints(
    "Make a new image first: the known pixels as they are, 0 for the others. `torch.where` does both at once.",
    "Two loops, rows outside and columns inside. Only where `known[row, col]` is False, ask `sample_pixel` about the new "
    "image as it then stands, and write its answer, (B,), to `[:, 0, row, col]`: the next question must see it.",
    "completed = torch.where(known, image, 0); then, in the loops: completed[:, 0, row, col] = sample_pixel(completed, row, "
    "col, generator).",
)
