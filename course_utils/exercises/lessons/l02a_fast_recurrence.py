"""Exercise of detour 02a: one step of the way back through an LSTM."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from course_utils.exercises.define import AUTOGRAD, Case, define, edge, randn

# -- 2a.1 ----------------------------------------------------------------------------------------------------------


@define(lesson="02a", points=3, outputs=("delta", "grad_c_before"), forbidden=AUTOGRAD)
def lstm_step_backward(grad_h, grad_c, c, i, f, g, o):
    """One step of the way back through an LSTM: from its two new states to the sums inside the squashings.

    grad_h, grad_c: (batch, hidden), all that arrives at h_next, and what arrives at c_next from the step after. c: (batch,
    hidden), the cell before the step. i, f, g, o: (batch, hidden), the gates and the candidate, squashed.
    Returns (delta, grad_c_before): the gradients of the four sums, (batch, 4 * hidden) in the order i, f, g, o, and what
    the step sends back to c, (batch, hidden).
    """
    shown = torch.tanh(f * c + i * g)
    at_c = grad_c + grad_h * o * (1 - shown**2)
    into_i, into_f = at_c * g * i * (1 - i), at_c * c * f * (1 - f)
    into_g, into_o = at_c * i * (1 - g**2), grad_h * shown * o * (1 - o)
    return torch.cat([into_i, into_f, into_g, into_o], dim=1), at_c * f


def _step(generator: torch.Generator, batch: int, hidden: int) -> dict:
    grad_h, grad_c, c, g = (randn(generator, batch, hidden) for _ in range(4))
    i, f, o = (torch.sigmoid(1.5 * randn(generator, batch, hidden)) for _ in range(3))
    return dict(grad_h=grad_h, grad_c=grad_c, c=1.3 * c, i=i, f=f, g=torch.tanh(g), o=o)


@lstm_step_backward.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for batch, hidden in ((4, 3), (2, 5), (6, 2), (3, 7)):
        yield _step(generator, batch, hidden)
    last = _step(generator, 3, 4)
    yield edge(
        "nothing arrives at the cell from a later step",
        stated="At the last step nothing arrives at the cell",
        **(last | dict(grad_c=torch.zeros_like(last["c"]))),
    )
    yield edge("the batch holds one sequence", stated="a batch may hold one sequence", **_step(generator, 1, 5))


@lstm_step_backward.typical
def _(generator: torch.Generator) -> dict:
    return _step(generator, 64, 256)


def _back(
    arguments: tuple[Tensor, ...],
    *,
    cell: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda grad_c, through_h, bend: grad_c + through_h * bend,
    sigmoid: Callable[[Tensor], Tensor] = lambda out: out * (1 - out),
    tanh: Callable[[Tensor], Tensor] = lambda out: 1 - out**2,
    before: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda at_c, f, grad_c: at_c * f,
    order: str = "ifgo",
) -> tuple[Tensor, Tensor]:
    """The reference with one thing exchanged: what arrives at the cell, a slope, what goes back, or the blocks' order."""
    grad_h, grad_c, c, i, f, g, o = arguments
    shown = torch.tanh(f * c + i * g)
    at_c = cell(grad_c, grad_h * o, 1 - shown**2)
    sums = {"i": at_c * g * sigmoid(i), "f": at_c * c * sigmoid(f), "g": at_c * i * tanh(g)}
    sums["o"] = grad_h * shown * sigmoid(o)
    return torch.cat([sums[name] for name in order], 1), before(at_c, f, grad_c)


@lstm_step_backward.mistake(
    "what arrives at the cell from the step after is lost. The cell has two readers, tanh on its way to h_next and the next step; "
    "what both send back adds up."
)
def later_cell_lost(grad_h, grad_c, c, i, f, g, o):
    return _back((grad_h, grad_c, c, i, f, g, o), cell=lambda grad_c, through_h, bend: through_h * bend)


@lstm_step_backward.mistake(
    "the cell hears only of the step after, not of its own h_next. Add what comes through the output gate and tanh: "
    "grad_h · o · (1 − tanh²)."
)
def own_state_lost(grad_h, grad_c, c, i, f, g, o):
    return _back((grad_h, grad_c, c, i, f, g, o), cell=lambda grad_c, through_h, bend: grad_c)


@lstm_step_backward.mistake(
    "on the way from h_next to the cell the slope of tanh is missing: 1 − tanh(c_next)². Only a copy of the cell went through it, "
    "so what comes from the step after does not meet it."
)
def tanh_s_slope_missing(grad_h, grad_c, c, i, f, g, o):
    return _back((grad_h, grad_c, c, i, f, g, o), cell=lambda grad_c, through_h, bend: grad_c + through_h)


@lstm_step_backward.mistake(
    "you send what the step after said about the cell through tanh's slope as well. The cell itself is handed on unsquashed; only "
    "the copy that became h_next went through tanh."
)
def both_through_tanh(grad_h, grad_c, c, i, f, g, o):
    return _back((grad_h, grad_c, c, i, f, g, o), cell=lambda grad_c, through_h, bend: (grad_c + through_h) * bend)


@lstm_step_backward.mistake(
    "you stop at the gates. delta belongs to the sums *inside* the squashings: multiply by each one's slope, a(1 − a) for a gate "
    "and 1 − g² for the candidate."
)
def outside_the_squashings(grad_h, grad_c, c, i, f, g, o):
    return _back((grad_h, grad_c, c, i, f, g, o), sigmoid=torch.ones_like, tanh=torch.ones_like)


@lstm_step_backward.mistake("the candidate is a tanh: its slope is 1 − g². You take a sigmoid's, g(1 − g).")
def candidate_by_a_sigmoid(grad_h, grad_c, c, i, f, g, o):
    return _back((grad_h, grad_c, c, i, f, g, o), tanh=lambda out: out * (1 - out))


@lstm_step_backward.mistake(
    "you take the slope of a squashed value as if it were the sum: i, f and o have been through the sigmoid already, so the slope "
    "is i(1 − i) as it stands."
)
def squashed_again(grad_h, grad_c, c, i, f, g, o):
    return _back((grad_h, grad_c, c, i, f, g, o), sigmoid=lambda out: torch.sigmoid(out) * (1 - torch.sigmoid(out)))


@lstm_step_backward.mistake("the blocks stand in the order i, g, f, o; torch's order is i, f, g, o.")
def candidate_second(grad_h, grad_c, c, i, f, g, o):
    return _back((grad_h, grad_c, c, i, f, g, o), order="igfo")


@lstm_step_backward.mistake(
    "you send back to c what arrived at c_next, without the forget gate. c_next = f · c + i · g: on the way back, too, f decides "
    "how much passes."
)
def past_the_forget_gate(grad_h, grad_c, c, i, f, g, o):
    return _back((grad_h, grad_c, c, i, f, g, o), before=lambda at_c, f, grad_c: at_c)


@lstm_step_backward.mistake(
    "what goes back to c holds only what came from the step after. All that arrives at c_next goes through the forget gate: what "
    "came through h_next as well."
)
def only_the_later_cell_goes_on(grad_h, grad_c, c, i, f, g, o):
    return _back((grad_h, grad_c, c, i, f, g, o), before=lambda at_c, f, grad_c: grad_c * f)


lstm_step_backward.hints(
    "First collect what arrives at c_next: from the step after, and from h_next through the output gate and tanh. You need "
    "tanh(c_next), and c_next is f · c + i · g.",
    "From there each sum is two factors away: the other factor of its product (g for i, c for f, i for g), then the slope of its "
    "own squashing. The output gate hangs on grad_h and tanh(c_next) instead.",
    "With `at_c` for what arrives at c_next: `at_c * g * i * (1 - i)`, `at_c * c * f * (1 - f)`, `at_c * i * (1 - g**2)`, "
    "`grad_h * torch.tanh(c_next) * o * (1 - o)`, side by side; and `at_c * f` goes back to c.",
)
