"""Exercise of detour 07a: what two translators owe each other when there are no pairs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.exercises.define import Case, define, edge, randn

# -- 7a.1 ----------------------------------------------------------------------------------------------------------


@define(lesson="07a", points=1, outputs="loss", gradients=("x_back", "y_back"))
def cycle_loss(x, x_back, y, y_back):
    """How far images are from what comes back when they are translated to the other kind and back again.

    x, x_back: images of one kind and what came back, equal in shape. y, y_back: the same for the other kind, whose shape
    may be another one.
    Returns a scalar: the mean absolute error of x_back plus the mean absolute error of y_back.
    """
    return (x_back - x).abs().mean() + (y_back - y).abs().mean()


def _travels(generator: torch.Generator, shape: tuple[int, ...], other: tuple[int, ...]) -> dict:
    x, y = randn(generator, *shape), randn(generator, *other) + 0.5
    return dict(x=x, x_back=x + randn(generator, *shape), y=y, y_back=y + 0.5 * randn(generator, *other) - 0.2)


@cycle_loss.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape in ((4, 1, 3, 2), (2, 3, 2, 5), (5, 2, 4, 3)):
        yield _travels(generator, shape, shape)
    yield edge(
        "the two kinds differ in size",
        stated="whose shape may be another one",
        **_travels(generator, (3, 1, 2, 4), (5, 3, 2, 2)),
    )
    yield edge(
        "there is one image of each kind", stated="a single image", **_travels(generator, (1, 1, 3, 4), (1, 1, 3, 4))
    )


@cycle_loss.typical
def _(generator: torch.Generator) -> dict:
    return _travels(generator, (32, 1, 28, 28), (32, 1, 28, 28))


def _errors(x: Tensor, x_back: Tensor, y: Tensor, y_back: Tensor) -> tuple[Tensor, Tensor]:
    return (x_back - x).abs().mean(), (y_back - y).abs().mean()


@cycle_loss.mistake("exactly half of it: you average the two ways. They are added.")
def ways_averaged(x, x_back, y, y_back):
    return sum(_errors(x, x_back, y, y_back)) / 2


@cycle_loss.mistake(
    "only the way x → y → x counts. Then the other translator may do what it likes with y: both ways are added."
)
def only_from_x(x, x_back, y, y_back):
    return _errors(x, x_back, y, y_back)[0]


@cycle_loss.mistake(
    "only the way y → x → y counts. Then the other translator may do what it likes with x: both ways are added."
)
def only_from_y(x, x_back, y, y_back):
    return _errors(x, x_back, y, y_back)[1]


@cycle_loss.mistake(
    "these are squared errors. The mean *absolute* error is asked for: it asks for the median instead of the mean, and blurs less."
)
def squared_errors(x, x_back, y, y_back):
    return F.mse_loss(x_back, x) + F.mse_loss(y_back, y)


@cycle_loss.mistake("you sum over all pixels. A mean makes the loss independent of batch and image size.")
def summed_pixels(x, x_back, y, y_back):
    return (x_back - x).abs().sum() + (y_back - y).abs().sum()


@cycle_loss.mistake(
    "you take the absolute value of the mean difference: pixels that are too bright make up for others that are too dark. First "
    "abs, then the mean."
)
def mean_before_abs(x, x_back, y, y_back):
    return (x_back - x).mean().abs() + (y_back - y).mean().abs()


@cycle_loss.mistake("the absolute value is missing: errors of opposite signs cancel, and the loss has no bottom.")
def signed(x, x_back, y, y_back):
    return (x_back - x).mean() + (y_back - y).mean()


@cycle_loss.mistake(
    "each image is compared with the other kind's. What comes back from x is held against x, and what comes back from y against y."
)
def crossed(x, x_back, y, y_back):
    return (x_back - y).abs().mean() + (y_back - x).abs().mean()


@cycle_loss.mistake(
    "x is compared with y. There are no pairs: the two batches have nothing to do with each other. Compare x with what came back."
)
def taken_for_pairs(x, x_back, y, y_back):
    return (x - y).abs().mean() + (x_back - y_back).abs().mean()


@cycle_loss.mistake(
    "you put both ways into one heap and average over all of it. Then the kind with more pixels has more to say, and where both "
    "have equally many it is half of what is asked: each way has a mean of its own, and the two means are added."
)
def one_heap(x, x_back, y, y_back):
    return torch.cat([(x_back - x).flatten(), (y_back - y).flatten()]).abs().mean()


@cycle_loss.mistake(
    "you sum over the pixels of an image and average over the images. A mean over both makes the loss independent of the "
    "images' size."
)
def summed_over_an_image(x, x_back, y, y_back):
    return (x_back - x).abs().sum() / len(x) + (y_back - y).abs().sum() / len(y)


@cycle_loss.mistake(
    "you take roots of mean squared errors. The mean *absolute* error is asked for: first abs, then the mean, without squares."
)
def roots_of_squares(x, x_back, y, y_back):
    return F.mse_loss(x_back, x).sqrt() + F.mse_loss(y_back, y).sqrt()


@cycle_loss.mistake(
    "these are lengths of differences, roots of a sum of squares. The mean *absolute* error is asked for: first abs, then the mean."
)
def lengths(x, x_back, y, y_back):
    return (x_back - x).norm() + (y_back - y).norm()


@cycle_loss.mistake(
    "small errors count squared (`smooth_l1_loss`). The mean absolute error is asked for: `F.l1_loss`, or `.abs().mean()`."
)
def smooth_errors(x, x_back, y, y_back):
    return F.smooth_l1_loss(x_back, x) + F.smooth_l1_loss(y_back, y)


cycle_loss.hints(
    "Two round trips, x → y → x and y → x → y. Each has an error of its own.",
    "The mean absolute error of two tensors: `F.l1_loss(a, b)`, or `(a - b).abs().mean()`.",
    "(x_back − x).abs().mean() + (y_back − y).abs().mean()",
)
