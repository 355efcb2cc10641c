"""Exercise of detour 00a: what the way back through a recurrent layer costs."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from course_utils.exercises.define import Case, define, edge

# -- 0a.1 ----------------------------------------------------------------------------------------------------------


@define(lesson="00a", points=2, outputs="ratio")
def recurrent_flop_ratio(n_in, hidden, steps):
    """FLOPs of the backward pass of a recurrent layer, for every FLOP of its forward pass.

    n_in, hidden, steps: int. The layer computes h_t = tanh(W_ih x_t + W_hh h_(t-1)) for t = 1 … steps; the loss reads its
    last state. The inputs x_t are data and h_0 is a constant: neither needs a gradient. Only products of matrices count,
    all steps of both passes. Returns the ratio as a float.
    """
    forward = steps * (n_in + hidden)
    backward = steps * n_in + (2 * steps - 1) * hidden
    return backward / forward


@recurrent_flop_ratio.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    def size(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=generator))

    for _ in range(4):
        yield dict(n_in=size(2, 20), hidden=size(21, 60), steps=size(2, 12))
    yield dict(n_in=size(40, 90), hidden=size(5, 30), steps=size(3, 30))
    yield edge(
        "there is one step", stated="where there is a single step", n_in=size(3, 9), hidden=size(10, 30), steps=1
    )


@recurrent_flop_ratio.typical
def _(generator: torch.Generator) -> dict:
    return dict(n_in=128, hidden=256, steps=64)


@recurrent_flop_ratio.mistake(
    "you let the gradient go on to h_0. It is a constant, nobody asks how to change it, so the first step saves one product "
    "with W_hh."
)
def a_gradient_for_the_start(n_in, hidden, steps):
    return (steps * n_in + 2 * steps * hidden) / (steps * (n_in + hidden))


@recurrent_flop_ratio.mistake(
    "you spare the product for the data at the first step only, as in a dense net, whose data enter once. Here x_t is data at "
    "every step."
)
def data_at_the_first_step_only(n_in, hidden, steps):
    return ((2 * steps - 1) * n_in + (2 * steps - 1) * hidden) / (steps * (n_in + hidden))


@recurrent_flop_ratio.mistake(
    "you count two products back for every product, also where a factor needs no gradient: the data, at every step, and h_0."
)
def twice_everything(n_in, hidden, steps):
    return 2.0


@recurrent_flop_ratio.mistake(
    "you have exchanged the two: the products that are spared at every step are those of W_ih, with the data; through W_hh the "
    "gradient goes back."
)
def exchanged(n_in, hidden, steps):
    return (steps * hidden + (2 * steps - 1) * n_in) / (steps * (n_in + hidden))


@recurrent_flop_ratio.mistake(
    "you count one product for the gradient of each matrix, as if it were used once. It is used at every step, and every step "
    "adds its product."
)
def one_product_a_matrix(n_in, hidden, steps):
    return (n_in + hidden + (steps - 1) * hidden) / (steps * (n_in + hidden))


@recurrent_flop_ratio.mistake("your ratio is upside down: backward over forward is asked for.")
def upside_down(n_in, hidden, steps):
    return steps * (n_in + hidden) / (steps * n_in + (2 * steps - 1) * hidden)


recurrent_flop_ratio.hints(
    "Count products in units of 2 · batch · hidden FLOPs: forward, a step costs n_in for W_ih x_t and hidden for W_hh h_(t−1).",
    "Back, each of these costs its size once for the matrix, and once more for its other factor if that needs a gradient. "
    "x_t never does; h_(t−1) does at every step but the first.",
    "`(steps * n_in + (2 * steps - 1) * hidden) / (steps * (n_in + hidden))`",
)
