"""Exercises of lesson 02: the gates of an LSTM, a test of memory, and text written character by character."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from course_utils.boxed.fixtures import Fixture
from course_utils.exercises.define import Case, define, edge, randn
from course_utils.exercises.lessons import chance

LIBRARY = ("nn.LSTM", "nn.LSTMCell", "torch.lstm", "torch.lstm_cell")  # what the exercises rebuild

# -- 2.1 -----------------------------------------------------------------------------------------------------------


@define(
    lesson="02",
    points=2,
    outputs=("i", "f", "g", "o"),
    gradients=("x", "h", "weight_ih", "weight_hh", "bias"),
    forbidden=LIBRARY,
)
def lstm_gates(x, h, weight_ih, weight_hh, bias):
    """Three gates and a candidate: what an LSTM decides at one step.

    x: (batch, in). h: (batch, hidden). weight_ih: (4 * hidden, in). weight_hh: (4 * hidden, hidden).
    bias: (4 * hidden,). Rows belong to, in torch's order: input gate, forget gate, candidate, output gate.
    Returns (i, f, g, o), each (batch, hidden): the gates between 0 and 1, the candidate g between -1 and 1.
    """
    i, f, g, o = (x @ weight_ih.T + h @ weight_hh.T + bias).chunk(4, dim=1)
    return torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)


def _step(generator: torch.Generator, batch: int, inputs: int, hidden: int) -> dict:
    return dict(
        x=randn(generator, batch, inputs),
        h=torch.tanh(randn(generator, batch, hidden)),
        weight_ih=randn(generator, 4 * hidden, inputs) / inputs**0.5,
        weight_hh=randn(generator, 4 * hidden, hidden) / hidden**0.5,
        bias=randn(generator, 4 * hidden) * 0.5,
    )


@lstm_gates.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for batch, inputs, hidden in ((5, 3, 6), (2, 6, 3), (7, 2, 5), (3, 5, 2)):
        step = _step(generator, batch, inputs, hidden)
        yield step | dict(x=3 * step["x"])  # loud enough to push some gates to their limits
    start = _step(generator, 5, 3, 2)
    yield edge(
        "the state is still zero, at the first step",
        stated="where the state is still zero",
        **(start | dict(h=torch.zeros_like(start["h"]))),
    )
    yield edge("the batch holds one sequence", stated="a batch of one sequence", **_step(generator, 1, 3, 5))
    yield edge(
        "there is one input and one hidden unit",
        stated="a single input and a single hidden unit",
        **_step(generator, 3, 1, 1),
    )


@lstm_gates.typical
def _(generator: torch.Generator) -> dict:
    return _step(generator, 64, 2, 64)


def _sums(x: Tensor, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    return (x @ weight_ih.T + h @ weight_hh.T + bias).chunk(4, dim=1)


def _squashed(i: Tensor, f: Tensor, g: Tensor, o: Tensor) -> tuple[Tensor, ...]:
    return torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)


@lstm_gates.mistake(
    "the candidate `g` goes through a sigmoid, like the gates. It is not a gate but the content that may be written, and "
    "a content can be negative: with a sigmoid the cell could only ever count up. Squash `g` with tanh."
)
def candidate_as_a_gate(x, h, weight_ih, weight_hh, bias):
    i, f, g, o = _sums(x, h, weight_ih, weight_hh, bias)
    return torch.sigmoid(i), torch.sigmoid(f), torch.sigmoid(g), torch.sigmoid(o)


@lstm_gates.mistake(
    "a gate goes through tanh. It stands between shut and open, 0 and 1; a gate of −1 would turn the memory's sign at "
    "every step. Only the candidate `g` is squashed with tanh, the three gates with a sigmoid."
)
def gates_below_zero(x, h, weight_ih, weight_hh, bias):
    i, f, g, o = _sums(x, h, weight_ih, weight_hh, bias)
    return torch.tanh(i), torch.tanh(f), torch.tanh(g), torch.tanh(o)


@lstm_gates.mistake(
    "sigmoid and tanh are exchanged: your gates lie between −1 and 1 and your candidate between 0 and 1. Doors are between "
    "shut and open, 0 and 1; contents may have either sign."
)
def squashings_exchanged(x, h, weight_ih, weight_hh, bias):
    i, f, g, o = _sums(x, h, weight_ih, weight_hh, bias)
    return torch.tanh(i), torch.tanh(f), torch.sigmoid(g), torch.tanh(o)


@lstm_gates.mistake(
    "the sum is returned as it is, not squashed. A gate that can be 3 or −7 is no gate; what it lets pass would grow from "
    "step to step. Sigmoid for `i`, `f`, `o`, tanh for `g`."
)
def unsquashed(x, h, weight_ih, weight_hh, bias):
    return _sums(x, h, weight_ih, weight_hh, bias)


@lstm_gates.mistake(
    "the gates are right, but the candidate `g` is not squashed. Then a single loud input can write any number into the "
    "cell; tanh keeps what is written at one step between −1 and 1."
)
def loud_candidate(x, h, weight_ih, weight_hh, bias):
    i, f, g, o = _sums(x, h, weight_ih, weight_hh, bias)
    return torch.sigmoid(i), torch.sigmoid(f), g, torch.sigmoid(o)


@lstm_gates.mistake(
    "the output gate is cut from the candidate's rows, the third block. The order is i, f, g, o: the output gate has the "
    "fourth and last block, from `3 * hidden` on."
)
def third_block_twice(x, h, weight_ih, weight_hh, bias):
    i, f, g, _ = _sums(x, h, weight_ih, weight_hh, bias)
    return _squashed(i, f, g, g)


@lstm_gates.mistake(
    "you take the rows in the order i, g, f, o, as TensorFlow's first LSTM kept them: the candidate second. In torch's order it "
    "stands third: i, f, g, o. No shape complains, and weights from `nn.LSTM` mean something else."
)
def candidate_second(x, h, weight_ih, weight_hh, bias):
    i, g, f, o = _sums(x, h, weight_ih, weight_hh, bias)
    return _squashed(i, f, g, o)


@lstm_gates.mistake(
    "you reshape the sums to (4, batch, hidden). That cuts along the batch: the first quarter of the rows would be the input "
    "gate of everybody. The four blocks lie side by side in dimension 1: `.chunk(4, dim=1)`."
)
def cut_along_the_batch(x, h, weight_ih, weight_hh, bias):
    return _squashed(*(x @ weight_ih.T + h @ weight_hh.T + bias).reshape(4, len(x), -1).unbind(0))


@lstm_gates.mistake(
    "you take the rows in the order i, f, o, g: the three gates first, then the candidate. In torch's order the candidate "
    "stands third: i, f, g, o. No shape complains, and weights from `nn.LSTM` mean something else."
)
def output_before_candidate(x, h, weight_ih, weight_hh, bias):
    i, f, o, g = _sums(x, h, weight_ih, weight_hh, bias)
    return _squashed(i, f, g, o)


@lstm_gates.mistake(
    "you take the forget gate's rows first. Many texts count f, i, g, o; torch counts i, f, g, o. No shape complains, and "
    "weights from `nn.LSTM` mean something else."
)
def forget_before_input(x, h, weight_ih, weight_hh, bias):
    f, i, g, o = _sums(x, h, weight_ih, weight_hh, bias)
    return _squashed(i, f, g, o)


@lstm_gates.mistake(
    "you deal the sums out like cards: every fourth one to the same gate. The rows lie in four blocks: the first `hidden` "
    "rows belong to the input gate, the next `hidden` to the forget gate, and so on."
)
def dealt_like_cards(x, h, weight_ih, weight_hh, bias):
    return _squashed(*(x @ weight_ih.T + h @ weight_hh.T + bias).unflatten(1, (-1, 4)).unbind(2))


@lstm_gates.mistake(
    "you do not transpose the blocks of `weight_hh`. A block is square, so no shape complains, but every connection runs "
    "backwards: what unit 3 should send to unit 5 goes from 5 to 3. Row i of a block holds what unit i listens to."
)
def backward_wires(x, h, weight_ih, weight_hh, bias):
    pushes, blocks, biases = (x @ weight_ih.T).chunk(4, dim=1), weight_hh.chunk(4), bias.chunk(4)
    return _squashed(*(push + h @ block + b for push, block, b in zip(pushes, blocks, biases, strict=True)))


@lstm_gates.mistake(
    "the old state has no say: your gates listen to the present input alone. A gate that does not know what was there "
    "before cannot decide to keep it. `h @ weight_hh.T` is missing."
)
def deaf_to_the_state(x, h, weight_ih, weight_hh, bias):
    return _squashed(*(x @ weight_ih.T + bias).chunk(4, dim=1))


@lstm_gates.mistake(
    "the input has no say: your gates listen to the old state alone, and nothing from outside can ever get in. "
    "`x @ weight_ih.T` is missing."
)
def deaf_to_the_input(x, h, weight_ih, weight_hh, bias):
    return _squashed(*(h @ weight_hh.T + bias).chunk(4, dim=1))


@lstm_gates.mistake(
    "the bias is missing. It decides where a gate rests when nothing is said: later in this lesson the forget gate's bias "
    "will decide whether the network can learn to remember at all."
)
def without_bias(x, h, weight_ih, weight_hh, bias):
    return _squashed(*(x @ weight_ih.T + h @ weight_hh.T).chunk(4, dim=1))


@lstm_gates.mistake(
    "the bias counts twice. `nn.LSTM` keeps two biases, one beside each matrix, although only their sum matters; here "
    "there is one, and it enters the sum once."
)
def bias_twice(x, h, weight_ih, weight_hh, bias):
    return _squashed(*(x @ weight_ih.T + h @ weight_hh.T + 2 * bias).chunk(4, dim=1))


lstm_gates.hints(
    "All four are computed alike: a sum of what the input says, what the old state says, and a bias, as in exercise 1.1. "
    "They differ only in their rows of the weights, and in the squashing at the end.",
    "One product with the whole of `weight_ih` gives (batch, 4 * hidden): all four sums side by side. Add the product "
    "with `weight_hh` and the bias, then cut the result into four blocks along dimension 1.",
    "`.chunk(4, dim=1)` cuts into (i, f, g, o). Return `torch.sigmoid` of i, f and o, and `torch.tanh` of g.",
)

# -- 2.2 -----------------------------------------------------------------------------------------------------------


@define(
    lesson="02",
    points=2,
    outputs=("h_next", "c_next"),
    gradients=("c", "i", "f", "g", "o"),
    forbidden=LIBRARY,
)
def lstm_update(c, i, f, g, o):
    """Write, keep, reveal: one step of the cell.

    c, i, f, g, o: (batch, hidden): the old cell, the input and forget gates, the candidate, the output gate.
    Returns (h_next, c_next), each (batch, hidden).
    """
    c_next = f * c + i * g
    return o * torch.tanh(c_next), c_next


def _gates(generator: torch.Generator, batch: int, hidden: int) -> dict:
    return dict(
        c=2 * randn(generator, batch, hidden),
        i=torch.sigmoid(randn(generator, batch, hidden)),
        f=torch.sigmoid(randn(generator, batch, hidden)),
        g=torch.tanh(randn(generator, batch, hidden)),
        o=torch.sigmoid(randn(generator, batch, hidden)),
    )


@lstm_update.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for batch, hidden in ((4, 7), (6, 3), (2, 5)):
        yield _gates(generator, batch, hidden)
    kept = _gates(generator, 3, 6)
    yield edge(
        "the cell is full, and the forget gate wide open",
        stated="a cell may hold 7 and, with the forget gate wide open, keep it",
        **(kept | dict(c=4 * kept["c"], f=torch.ones_like(kept["f"]))),
    )
    yield edge("the batch holds one sequence", stated="also in a batch of one sequence", **_gates(generator, 1, 6))


@lstm_update.typical
def _(generator: torch.Generator) -> dict:
    return _gates(generator, 64, 64)


@lstm_update.mistake(
    "you squash the cell before storing it. Then even a fully open forget gate cannot keep a value above 1, and what you "
    "keep shrinks at every step: the illness of lesson 01 is back. Squash only the copy that leaves through the output gate."
)
def squashed_memory(c, i, f, g, o):
    c_next = torch.tanh(f * c + i * g)
    return o * c_next, c_next


@lstm_update.mistake(
    "you squash the cell before storing it, and once more on its way out. What is stored must stay as it is, or it shrinks "
    "at every step: the illness of lesson 01. Squash only the copy that leaves through the output gate."
)
def squashed_twice(c, i, f, g, o):
    c_next = torch.tanh(f * c + i * g)
    return o * torch.tanh(c_next), c_next


@lstm_update.mistake(
    "the cell is right, but it leaves unsquashed. A cell may have grown far beyond 1, and everything that reads `h` would "
    "hear nothing else. Squash the copy that leaves: `torch.tanh(c_next)`."
)
def loud_output(c, i, f, g, o):
    c_next = f * c + i * g
    return o * c_next, c_next


@lstm_update.mistake(
    "you reveal the old cell. The output gate opens after the writing: whatever has just been stored can be seen at the "
    "same step. Squash and reveal `c_next`."
)
def yesterdays_cell(c, i, f, g, o):
    return o * torch.tanh(c), f * c + i * g


@lstm_update.mistake(
    "input and forget gate have changed places: `i` guards the old content and `f` the new. `f` says how much of the old "
    "cell stays; `i` says how much of the candidate is written."
)
def gates_exchanged(c, i, f, g, o):
    c_next = i * c + f * g
    return o * torch.tanh(c_next), c_next


@lstm_update.mistake(
    "your forget gate is turned round: 1 clears the cell. Its name misleads: 1 means keep, 0 means forget (`f * c`)."
)
def forget_at_one(c, i, f, g, o):
    c_next = (1 - f) * c + i * g
    return o * torch.tanh(c_next), c_next


@lstm_update.mistake(
    "you keep 1 − i of the old cell and leave the forget gate out. That ties keeping to writing, as slimmer cells do; here "
    "keeping has a gate of its own, `f`."
)
def coupled_to_the_input(c, i, f, g, o):
    c_next = (1 - i) * c + i * g
    return o * torch.tanh(c_next), c_next


@lstm_update.mistake(
    "nothing is ever forgotten: the old cell is added in full. That is the LSTM of 1997, before it had a forget gate; over "
    "a long text its cells fill up and never become empty again. Multiply the old cell by `f`."
)
def never_forgets(c, i, f, g, o):
    c_next = c + i * g
    return o * torch.tanh(c_next), c_next


@lstm_update.mistake(
    "everything is written: the input gate is missing. Each step then stamps its candidate on the cell, wanted or not. "
    "Write `i * g`."
)
def always_writes(c, i, f, g, o):
    c_next = f * c + g
    return o * torch.tanh(c_next), c_next


@lstm_update.mistake(
    "you write 1 − f of the candidate and leave the input gate out. So do some slimmer cells (the GRU shares one gate "
    "like this); here writing has a gate of its own, `i`."
)
def coupled(c, i, f, g, o):
    c_next = f * c + (1 - f) * g
    return o * torch.tanh(c_next), c_next


@lstm_update.mistake(
    "everything is shown: the output gate is missing. The cell could then keep nothing to itself until it is needed. "
    "Multiply the squashed cell by `o`."
)
def always_open(c, i, f, g, o):
    c_next = f * c + i * g
    return torch.tanh(c_next), c_next


@lstm_update.mistake(
    "you squash the product of output gate and cell. A half-open gate then hardly dims a full cell, since tanh lifts it up "
    "again. First squash the cell, then let the gate decide: `o * torch.tanh(c_next)`."
)
def gate_inside(c, i, f, g, o):
    c_next = f * c + i * g
    return torch.tanh(o * c_next), c_next


@lstm_update.mistake(
    "you reveal the candidate instead of the cell, so what was stored earlier never gets out. The output gate stands "
    "before the cell: `o * torch.tanh(c_next)`."
)
def reveals_the_candidate(c, i, f, g, o):
    return o * torch.tanh(g), f * c + i * g


@lstm_update.mistake(
    "you squash the gates and the candidate again. They arrive squashed already: an open gate of 1 becomes 0.73, and what "
    "should stay for ever is gone after ten steps. Use them as they are."
)
def squashed_again(c, i, f, g, o):
    c_next = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c_next), c_next


@lstm_update.mistake(
    "you squash the candidate again. `g` arrives squashed, between −1 and 1; a second tanh makes everything that is written "
    "smaller than it was meant. Write `i * g`."
)
def candidate_squashed_again(c, i, f, g, o):
    c_next = f * c + i * torch.tanh(g)
    return o * torch.tanh(c_next), c_next


@lstm_update.mistake(
    "the cell leaves through a sigmoid; tanh is asked for. An empty cell would then say ½ where it has nothing to say, and "
    "`h` could never be negative."
)
def cell_through_a_sigmoid(c, i, f, g, o):
    c_next = f * c + i * g
    return o * torch.sigmoid(c_next), c_next


@lstm_update.mistake(
    "the numbers are right, but you changed the old cell in place. The backward pass, and whoever called you, still needs "
    "it as it was: make a new tensor (`c_next = f * c + …`)."
)
def overwritten(c, i, f, g, o):
    c_next = c.mul_(f).add_(i * g)
    return o * torch.tanh(c_next), c_next


lstm_update.hints(
    "Three questions, asked for every entry: how much of the old content stays, how much of the candidate is written, and "
    "how much of the result is shown?",
    "The new cell is a sum of two products. The new hidden state is a third product, made from the *new* cell; of the two "
    "only this one is squashed.",
    "`c_next = f * c + i * g`; return `o * torch.tanh(c_next)` first, then `c_next`.",
)

# -- 2.3 -----------------------------------------------------------------------------------------------------------


@define(lesson="02", points=1, outputs="bias", fresh=True)
def open_forget_gate(bias, value):
    """Let a new LSTM begin with its forget gates open, before it has learned when to close them.

    bias: (4 * hidden,), in torch's order i, f, g, o. value: the forget gates' new bias, a float.
    Returns a new tensor (4 * hidden,): the forget quarter is `value`, the rest is as in `bias`.
    """
    hidden = len(bias) // 4
    bias = bias.clone()
    bias[hidden : 2 * hidden] = value
    return bias


@open_forget_gate.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for hidden, value in ((5, 1.5), (3, 2.0), (7, 0.25), (4, 5.0)):
        yield dict(bias=randn(generator, 4 * hidden), value=value)
    yield edge(
        "there is one hidden unit", stated="It must work for a single hidden unit", bias=randn(generator, 4), value=1.0
    )
    yield edge("the value is negative", stated="be it positive, negative or 0", bias=randn(generator, 24), value=-3.0)
    yield edge("the value is 0", stated="be it positive, negative or 0", bias=randn(generator, 12), value=0.0)


@open_forget_gate.typical
def _(generator: torch.Generator) -> dict:
    return dict(bias=randn(generator, 256), value=1.0)


def _quarter(number: int, value: float, bias: Tensor) -> Tensor:
    hidden, bias = len(bias) // 4, bias.clone()
    bias[number * hidden : (number + 1) * hidden] = value
    return bias


@open_forget_gate.mistake(
    "you set the first quarter: that is the input gate. The order is i, f, g, o, so the forget gate's entries come second, "
    "from `hidden` to `2 * hidden`."
)
def input_quarter(bias, value):
    return _quarter(0, value, bias)


@open_forget_gate.mistake(
    "you set the third quarter: that is the candidate, not a gate at all. Counting starts at 0 and the order is i, f, g, o: "
    "the forget gate's entries go from `hidden` to `2 * hidden`."
)
def candidate_quarter(bias, value):
    return _quarter(2, value, bias)


@open_forget_gate.mistake(
    "you set the last quarter: that is the output gate. The order is i, f, g, o; the forget gate's entries go from `hidden` "
    "to `2 * hidden`."
)
def output_quarter(bias, value):
    return _quarter(3, value, bias)


@open_forget_gate.mistake(
    "all four parts get the value. Input and output gates would start open as well, and every candidate near 1: the cell "
    "would fill up at once. Only the second quarter is the forget gate's."
)
def every_gate(bias, value):
    return torch.full_like(bias, value)


@open_forget_gate.mistake(
    "you set everything from the forget gate on: it, the candidate and the output gate. Where does its quarter end? At "
    "`2 * hidden`."
)
def from_there_on(bias, value):
    hidden, bias = len(bias) // 4, bias.clone()
    bias[hidden:] = value
    return bias


@open_forget_gate.mistake(
    "you set the whole first half, input gate and forget gate. The forget gate's entries begin at `hidden`, not at 0."
)
def first_half(bias, value):
    hidden, bias = len(bias) // 4, bias.clone()
    bias[: 2 * hidden] = value
    return bias


@open_forget_gate.mistake(
    "you set every fourth entry, as if the gates took turns. They lie in four blocks: the second `hidden` entries in a row "
    "belong to the forget gate."
)
def every_fourth(bias, value):
    bias = bias.clone()
    bias[1::4] = value
    return bias


@open_forget_gate.mistake(
    "you set one entry only. Each hidden unit has a forget gate of its own, so there are `hidden` entries to set, a quarter "
    "of the tensor: from `hidden` to `2 * hidden`."
)
def one_gate_only(bias, value):
    bias = bias.clone()
    bias[len(bias) // 4] = value
    return bias


@open_forget_gate.mistake(
    "you add the value to the old bias. It is to replace it: then every forget gate starts equally open, whatever the "
    "initialisation happened to draw."
)
def added(bias, value):
    return bias + _quarter(1, value, torch.zeros_like(bias))


@open_forget_gate.mistake(
    "the forget quarter is right, but everything else has become 0. The other gates and the candidate keep the bias that "
    "they had: begin with a copy of `bias`."
)
def the_rest_lost(bias, value):
    return _quarter(1, value, torch.zeros_like(bias))


@open_forget_gate.mistake(
    "the numbers are right, but you changed the bias that you were given. A new tensor is asked for, so that both can be "
    "compared: begin with `bias = bias.clone()`."
)
def in_place(bias, value):
    hidden = len(bias) // 4
    bias[hidden : 2 * hidden] = value
    return bias


open_forget_gate.hints(
    "How many hidden units are there, if the bias has 4 * hidden entries? Where do the forget gates' entries begin and end?",
    "Copy the bias first, with `.clone()`, so that the argument stays as it is. Then assign to a slice of the copy.",
    "`hidden = len(bias) // 4`, and the slice is `bias[hidden : 2 * hidden]`.",
)

# -- 2.4 -----------------------------------------------------------------------------------------------------------


@define(lesson="02", points=2, outputs=("x", "y"), exact=True)
def adding_problem(batch, length, generator):
    """Two numbers to remember and to add, among many that do not matter (after Hochreiter and Schmidhuber, 1997).

    Returns (x, y), both of the default dtype. x: (batch, length, 2): x[..., 0] are values, uniform in [0, 1);
    x[..., 1] marks two of them in each row with a 1, one among the first length // 2 and one among the rest, every
    place equally likely, and is 0 elsewhere. y: (batch,), the sum of the two marked values. All chance comes from
    `generator`; length >= 2.
    """
    half = length // 2
    values = torch.rand(batch, length, generator=generator)
    first = torch.randint(half, (batch, 1), generator=generator)
    second = torch.randint(half, length, (batch, 1), generator=generator)
    marks = torch.zeros(batch, length).scatter(1, torch.cat([first, second], 1), 1.0)
    return torch.stack([values, marks], 2), (values * marks).sum(1)


@adding_problem.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for batch, length in ((600, 10), (500, 14)):
        seed = int(torch.randint(2**31, (), generator=generator))
        for again in (seed, seed, seed + 1):  # the same generator twice, then another one
            yield dict(batch=batch, length=length, generator=Fixture("generator", again))
        yield dict(batch=batch, length=length, generator=chance.used(seed))
    seed = int(torch.randint(2**31, (), generator=generator))
    yield edge(
        "the length is odd",
        stated="Of an odd number of steps the second part is the longer one",
        batch=500,
        length=7,
        generator=Fixture("generator", seed),
    )
    yield edge(
        "there are two steps only",
        stated="two steps are the shortest sequence",
        batch=7,
        length=2,
        generator=Fixture("generator", seed),
    )
    yield edge(
        "the batch holds one sequence",
        stated="a batch may hold one sequence only",
        batch=1,
        length=12,
        generator=Fixture("generator", seed),
    )


@adding_problem.typical
def _(generator: torch.Generator) -> dict:
    return dict(batch=64, length=150, generator=Fixture("generator", 0))


def _marks(arguments: dict, result: Any) -> tuple[Tensor, Tensor]:
    """The marks of the first half and of the second, (batch, length // 2) and the rest."""
    marks, half = result[0][..., 1], arguments["length"] // 2
    return marks[:, :half], marks[:, half:]


@adding_problem.claim("x[..., 1] should hold nothing but zeros and ones: a mark is there, or it is not.")
def marks_are_zero_or_one(arguments, result):
    marks = result[0][..., 1]
    return bool(((marks == 0) | (marks == 1)).all())


@adding_problem.claim("every row should have exactly two marks; some of yours have more or fewer.")
def two_marks(arguments, result):
    return bool((result[0][..., 1].sum(1) == 2).all())


@adding_problem.claim("one mark belongs among the first length // 2 steps and one among the rest, in every row.")
def one_in_each_half(arguments, result):
    return all(bool((half.sum(1) == 1).all()) for half in _marks(arguments, result))


@adding_problem.claim("every place in a half should be equally likely to be marked; some of yours are favoured.")
def places_are_equally_likely(arguments, result):
    n = arguments["batch"]
    shares = [half.double().mean(0) for half in _marks(arguments, result)]
    return all(chance.likely(share, torch.full_like(share, 1 / len(share)), n) for share in shares)


@adding_problem.claim("of an even number of steps, one mark belongs to each half, in every row.")
def one_in_each_half_of_an_even_length(arguments, result):
    return arguments["length"] % 2 == 1 or one_in_each_half(arguments, result)


def _reached(arguments: dict, half: Tensor, place: int) -> bool:
    """Whether a place of a half is marked in some row; True where it may well be missed by chance."""
    return (1 - 1 / half.shape[1]) ** arguments["batch"] > 1e-12 or bool(half[:, place].any())


@adding_problem.claim("the last place of the first half should be marked now and then; yours never is.")
def first_half_is_reached_to_its_end(arguments, result):
    return _reached(arguments, _marks(arguments, result)[0], -1)


@adding_problem.claim("the very last step should be marked now and then; yours never is.")
def last_step_is_reached(arguments, result):
    return _reached(arguments, _marks(arguments, result)[1], -1)


@adding_problem.claim("step length // 2 belongs to the second half and should be marked now and then; yours never is.")
def second_half_is_reached_from_its_start(arguments, result):
    return _reached(arguments, _marks(arguments, result)[1], 0)


@adding_problem.claim("the rows should be marked independently; yours are all marked in the same places.")
def rows_differ(arguments, result):
    marks = result[0][..., 1]
    return arguments["batch"] < 100 or arguments["length"] < 4 or bool((marks != marks[0]).any())


@adding_problem.claim("the places of the two marks should be drawn one by one; yours are always equally far apart.")
def marks_are_not_tied(arguments, result):
    first, second = (half.argmax(1) for half in _marks(arguments, result))
    spared = arguments["batch"] < 100 or arguments["length"] < 4
    return spared or bool((second - first != second[0] - first[0]).any())


@adding_problem.claim("the place of one mark should tell nothing about that of the other; yours belong together.")
def marks_are_independent(arguments, result):
    halves = _marks(arguments, result)
    if arguments["batch"] < 100 or any(half.shape[1] < 3 for half in halves):
        return True
    first, second = (half.argmax(1) for half in halves)
    possible = halves[0].shape[1] * halves[1].shape[1]  # independent draws miss 4 pairs in 10 with less than 1e-100
    return len(torch.unique(first * arguments["length"] + second)) > 0.6 * possible


@adding_problem.claim("every row should draw its places for itself; yours follow from those of the row before.")
def rows_draw_for_themselves(arguments, result):
    if arguments["batch"] < 100 or arguments["length"] < 4:
        return True
    n = arguments["batch"] - 1
    for half in _marks(arguments, result):
        same = (half.argmax(1)[1:] == half.argmax(1)[:-1]).double().mean()
        if not chance.likely(same, torch.full_like(same, 1 / half.shape[1]), n):
            return False
    return True


@adding_problem.claim("the values, x[..., 0], should lie in [0, 1).")
def values_in_range(arguments, result):
    values = result[0][..., 0]
    return bool(((values >= 0) & (values < 1)).all())


@adding_problem.claim("the values, x[..., 0], should lie in [0, 1); some of yours are even beyond −1 or 1.")
def values_are_small(arguments, result):
    return bool((result[0][..., 0].abs() <= 1).all())


@adding_problem.claim("every step should have a value, marked or not; yours are 0 where there is no mark.")
def unmarked_steps_have_values(arguments, result):
    x = result[0]
    return arguments["length"] == 2 or bool((x[..., 0][x[..., 1] == 0] != 0).any())


@adding_problem.claim(
    "every step of every row should draw a value of its own; yours are the same along a row or column."
)
def values_are_drawn_one_by_one(arguments, result):
    values = result[0][..., 0]
    rows_vary, columns_vary = bool((values != values[:, :1]).any()), bool((values != values[:1]).any())
    return rows_vary and (columns_vary or arguments["batch"] == 1)


@adding_problem.claim(
    "the values, x[..., 0], should be drawn from all of [0, 1); in yours the same few numbers come again."
)
def values_hardly_repeat(arguments, result):
    values = result[0][..., 0]
    return len(torch.unique(values)) > 0.9 * values.numel()


@adding_problem.claim("the values, x[..., 0], should be uniform: every number in [0, 1) as likely as any other.")
def values_are_uniform(arguments, result):
    return chance.distributed(result[0][..., 0])


@adding_problem.claim(
    "which places are marked should not depend on the values there; your marked values are not uniform in [0, 1)."
)
def marks_ignore_the_values(arguments, result):
    marked = result[0][..., 0][result[0][..., 1] == 1]
    return len(marked) < 100 or chance.distributed(marked)


@adding_problem.claim("y should hold one number for each row.")
def y_has_rows(arguments, result):
    return result[1].ndim > 0


@adding_problem.claim("y should be the sum of the two values in x[..., 0] that x[..., 1] marks, for each row.")
def y_is_the_marked_sum(arguments, result):
    x, y = result
    return y.shape == x.shape[:1] and torch.allclose(y.double(), (x[..., 0] * x[..., 1]).double().sum(1), atol=1e-5)


@adding_problem.claim("y should not be the sum of all the values.")
def y_is_not_the_whole_sum(arguments, result):
    x, y = result
    return arguments["length"] == 2 or not torch.allclose(y.double(), x[..., 0].double().sum(1), atol=1e-3)


@adding_problem.claim("y should not be the mean of the two marked values, but their sum.")
def y_is_not_the_mean(arguments, result):
    x, y = result
    return not torch.allclose(2 * y.double(), (x[..., 0] * x[..., 1]).double().sum(1), atol=1e-5)


@adding_problem.claim("the same generator should give the same problem: all chance must come from it.", across=True)
def reproducible(arguments, results):
    return chance.reproducible(arguments, results)


@adding_problem.claim("another generator should give another problem.", across=True)
def heeds_the_generator(arguments, results):
    return chance.heeds_the_generator(arguments, results)


@adding_problem.claim("every call should go on with the generator where it stands; yours starts it anew.", across=True)
def goes_on(arguments, results):
    return all(chance.goes_on(arguments, [result[0][..., channel] for result in results]) for channel in (0, 1))


def _problem(values: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """(x, y) from values (batch, length) and two marked places (batch, 1)."""
    marks = torch.zeros_like(values).scatter(1, torch.cat([first, second], 1), 1.0)
    return torch.stack([values, marks], 2), (values * marks).sum(1)


def _drawn(batch: int, length: int, generator: torch.Generator | None, half: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    half = half or length // 2
    values = torch.rand(batch, length, generator=generator)
    first = torch.randint(half, (batch, 1), generator=generator)
    return values, first, torch.randint(min(half, length - 1), length, (batch, 1), generator=generator)


@adding_problem.mistake(
    "your two marks may fall anywhere. Now and then both hit the same place, and often both come late, so that the network "
    "need not remember for long. Draw the first from the first length // 2 steps, the second from the rest.",
    breaks="two_marks",
)
def marks_anywhere(batch, length, generator):
    values = torch.rand(batch, length, generator=generator)
    return _problem(values, *torch.randint(length, (2, batch, 1), generator=generator))


@adding_problem.mistake(
    "your two marks are two different places, but anywhere in the sequence. Often both come late, so that the network need "
    "not remember for long. Draw the first from the first length // 2 steps, the second from the rest.",
    breaks="one_in_each_half_of_an_even_length",
)
def two_places_anywhere(batch, length, generator):
    values = torch.rand(batch, length, generator=generator)
    order = torch.rand(batch, length, generator=generator).argsort(1)
    return _problem(values, order[:, :1], order[:, 1:2])


@adding_problem.mistake(
    "both your marks lie in the first half. One of them belongs to the second half: `torch.randint(low, high, …)` takes a "
    "lower end, too, and the upper end is never drawn.",
    breaks="two_marks",
)
def both_in_the_first_half(batch, length, generator):
    values, first, _ = _drawn(batch, length, generator)
    return _problem(values, first, torch.randint(length // 2, (batch, 1), generator=generator))


@adding_problem.mistake(
    "all rows are marked in the same two places. The network could learn the places by heart and would never need to read "
    "the marks. Draw a place for each row: size (batch, 1).",
    breaks="first_half_is_reached_to_its_end",
)
def same_places_for_all(batch, length, generator):
    values, first, second = _drawn(batch, length, generator)
    return _problem(values, first[:1].expand(batch, 1), second[:1].expand(batch, 1))


@adding_problem.mistake(
    "your second mark always follows half a sequence after the first. Then the network need only count, and of an odd "
    "number of steps the last is never marked. Draw both places, each for itself.",
    breaks="marks_are_not_tied",
)
def always_as_far_apart(batch, length, generator):
    values, first, _ = _drawn(batch, length, generator)
    return _problem(values, first, first + length // 2)


@adding_problem.mistake(
    "every row gets the marks of all the rows: `marks[:, places] = 1` sets these places in each of them. One place a row "
    "needs the row's number, too: `marks[torch.arange(batch), places] = 1`.",
    breaks="rows_differ",
)
def marks_for_everyone(batch, length, generator):
    values, first, second = _drawn(batch, length, generator)
    marks = torch.zeros_like(values)
    marks[:, torch.cat([first, second]).flatten()] = 1
    return torch.stack([values, marks], 2), (values * marks).sum(1)


@adding_problem.mistake(
    "the last place of a half is never marked. `torch.randint(low, high, …)` already stops before `high`: no −1 is needed.",
    breaks="first_half_is_reached_to_its_end",
)
def last_place_never(batch, length, generator):
    half = length // 2
    values = torch.rand(batch, length, generator=generator)
    first = torch.randint(max(half - 1, 1), (batch, 1), generator=generator)
    return _problem(values, first, torch.randint(half, max(length - 1, half + 1), (batch, 1), generator=generator))


@adding_problem.mistake(
    "the very last step is never marked. `torch.randint(low, high, …)` already stops before `high`: give it `length`, not "
    "`length - 1`.",
    breaks="last_step_is_reached",
)
def last_step_never(batch, length, generator):
    values, first, _ = _drawn(batch, length, generator)
    half = length // 2
    return _problem(values, first, torch.randint(half, max(length - 1, half + 1), (batch, 1), generator=generator))


@adding_problem.mistake(
    "the second half begins one step late: the place `length // 2` belongs to it, but is never marked. The first half ends "
    "before that place, the second begins with it.",
    breaks="second_half_is_reached_from_its_start",
)
def second_half_late(batch, length, generator):
    values, first, _ = _drawn(batch, length, generator)
    start = min(length // 2 + 1, length - 1)
    return _problem(values, first, torch.randint(start, length, (batch, 1), generator=generator))


@adding_problem.mistake(
    "for an odd length your first half is the longer one. `length // 2` rounds down: of seven steps the first half has "
    "three, the second four.",
    breaks="one_in_each_half",
)
def rounded_up(batch, length, generator):
    return _problem(*_drawn(batch, length, generator, half=(length + 1) // 2))


@adding_problem.mistake(
    "you add up all the values, marked or not. That needs no memory of the marks at all. Multiply the values by the marks "
    "before you sum.",
    breaks="y_is_not_the_whole_sum",
)
def sum_of_everything(batch, length, generator):
    x, _ = _problem(*_drawn(batch, length, generator))
    return x, x[..., 0].sum(1)


@adding_problem.mistake(
    "y is the mean of the two marked values; their sum is asked for. Every error would look four times smaller than those "
    "in the papers.",
    breaks="y_is_not_the_mean",
)
def mean_of_the_two(batch, length, generator):
    x, y = _problem(*_drawn(batch, length, generator))
    return x, y / 2


@adding_problem.mistake(
    "the two channels have changed places: the values belong to x[..., 0] and the marks to x[..., 1].",
    breaks="marks_are_zero_or_one",
)
def channels_exchanged(batch, length, generator):
    x, y = _problem(*_drawn(batch, length, generator))
    return x.flip(2), y


@adding_problem.mistake(
    "time comes first in your x. Here the batch does: (batch, length, 2). (`nn.LSTM` wants time first; the lesson turns it "
    "round where it needs to.)"
)
def time_first(batch, length, generator):
    x, y = _problem(*_drawn(batch, length, generator))
    return x.transpose(0, 1), y


@adding_problem.mistake(
    "y has a dimension too many: (batch, 1) instead of (batch,). Compared with forecasts of shape (batch,), it would be "
    "broadcast to a square, and the loss would be wrong without any error. Sum without `keepdim`.",
    breaks="y_is_the_marked_sum",
)
def y_as_a_column(batch, length, generator):
    x, y = _problem(*_drawn(batch, length, generator))
    return x, y.unsqueeze(1)


@adding_problem.mistake(
    "y is a single number: the sum over the whole batch. Each row has a problem of its own: sum along dimension 1 only.",
    breaks="y_has_rows",
)
def one_sum_for_all(batch, length, generator):
    x, y = _problem(*_drawn(batch, length, generator))
    return x, y.sum()


@adding_problem.mistake(
    "many of your values lie outside of [0, 1). Uniform numbers from there are asked for: `torch.rand`, not `torch.randn`, whose "
    "numbers follow a bell curve.",
    breaks="values_are_small",
)
def normal_values(batch, length, generator):
    _, first, second = _drawn(batch, length, generator)
    return _problem(torch.randn(batch, length, generator=generator), first, second)


@adding_problem.mistake(
    "your values lie between −1 and 1, as in the first paper on this problem. Here they are uniform in [0, 1), as in most "
    "papers since: `torch.rand` as it is.",
    breaks="marks_ignore_the_values",
)
def values_from_minus_one(batch, length, generator):
    values, first, second = _drawn(batch, length, generator)
    return _problem(2 * values - 1, first, second)


@adding_problem.mistake(
    "some of your numbers come from torch's global generator, so nobody can repeat your problem. Pass "
    "`generator=generator` to every call that draws.",
    breaks="reproducible",
)
def global_generator(batch, length, generator):
    return _problem(*_drawn(batch, length, None))


@adding_problem.mistake(
    "you seed a generator yourself, so every call gives the same problem. The network would learn one batch by heart. Use "
    "the generator that you are given as it is.",
    breaks="heeds_the_generator",
)
def always_the_same(batch, length, generator):
    return _problem(*_drawn(batch, length, generator.manual_seed(0)))


@adding_problem.mistake(
    "you draw from the generator's first seed (`initial_seed()`), not from the generator. It never moves on, so every call "
    "with it gives the same batch, and the network would learn that by heart. Pass the generator itself.",
    breaks="goes_on",
)
def from_the_first_seed(batch, length, generator):
    return _problem(*_drawn(batch, length, torch.Generator().manual_seed(generator.initial_seed())))


adding_problem.hints(
    "Draw three things: a value for every step, a place in the first half for every row, and a place in the second half "
    "for every row. Then write the marks, and add.",
    "`torch.rand` and `torch.randint(low, high, size)` take `generator=generator`; `high` itself is never drawn. For the "
    "marks begin with zeros and set the places, by `scatter` or by `marks[torch.arange(batch), places] = 1`.",
    "`first = torch.randint(0, half, (batch,), generator=generator)`, `second = torch.randint(half, length, …)`; "
    "then y is `(values * marks).sum(1)` and x is `torch.stack([values, marks], 2)`.",
)

# -- 2.5 -----------------------------------------------------------------------------------------------------------


@define(lesson="02", points=2, outputs="token")
def next_character(logits, temperature, generator):
    """Choose the next character by chance, with probabilities softmax(logits / temperature).

    logits: (batch, V), one row for each text that is being written. temperature: a float >= 0: below 1 sharpens the
    choice, above 1 evens it out, and 0 always takes the most probable. generator: where all chance comes from, on
    the device of the logits. Returns int64 (batch,).
    """
    if temperature == 0:
        return logits.argmax(1)
    probabilities = torch.softmax(logits / temperature, 1)
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(1)


ROWS = 3  # different distributions in a case, each repeated many times


def _texts(generator: torch.Generator, repeats: int, vocabulary: int) -> Tensor:
    """Logits (3 * repeats, vocabulary): three rows, over and over, with probabilities that are easy to tell apart."""
    ladder = torch.randperm(vocabulary, generator=generator).double() * 3.5 / (vocabulary - 1)
    rows = torch.stack([ladder.roll(place) for place in range(ROWS)])
    return (rows + torch.rand(ROWS, 1, generator=generator)).repeat(repeats, 1)


@next_character.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    def case(temperature: float, seed: int, logits: Tensor) -> dict:
        return dict(logits=logits, temperature=temperature, generator=Fixture("generator", seed))

    seed = int(torch.randint(2**31, (), generator=generator))
    yield edge("the temperature is 0", stated="Be careful at temperature 0", **case(0.0, seed, _texts(generator, 3, 7)))
    for temperature, vocabulary in ((1.0, 5), (3.0, 4), (0.4, 6)):
        yield case(temperature, seed, _texts(generator, 1200, vocabulary))
    logits = _texts(generator, 1200, 5)
    for again in (seed, seed, seed + 1):  # the same generator twice, then another one
        yield case(2.5, again, logits)
    yield case(2.5, seed, logits) | dict(generator=chance.used(seed))
    yield edge(
        "the logits are as large as 1000",
        stated="The logits may be as large as 1000",
        **case(0.5, seed, _texts(generator, 400, 5) + 1000),
    )
    yield edge(
        "one text is written", stated="the batch may be a single text", **case(1.5, seed, _texts(generator, 1, 6)[:1])
    )


@next_character.typical
def _(generator: torch.Generator) -> dict:
    return dict(logits=randn(generator, 64, 65), temperature=0.8, generator=Fixture("generator", 0))


def _shares(arguments: dict, token: Tensor) -> tuple[Tensor, Tensor, int]:
    """Observed shares (3, V), the logits (3, V) that they belong to, and the number of draws of each."""
    logits = arguments["logits"].double()
    n = len(logits) // ROWS
    drawn = torch.nn.functional.one_hot(token.reshape(n, ROWS), logits.shape[1])
    return drawn.double().mean(0), logits[:ROWS], n


def _fits(arguments: dict, token: Tensor) -> bool:
    """Whether the characters fit softmax(logits / temperature); True where there are too few.

    n · KL(shares || probabilities), summed over the rows, exceeds 3 d + 25 by chance with less than 2e-12, where d is
    rows · (V − 1), from 9 to 15 here: at most e^−s (e s / d)^d at s (Agrawal, 2020).
    """
    if len(token) < 100:
        return True
    shares, logits, n = _shares(arguments, token)
    probabilities = torch.softmax(logits / arguments["temperature"], 1)
    surprise = n * torch.xlogy(shares, shares / probabilities).sum().item()
    return surprise <= 3 * (shares.numel() - len(shares)) + 25


def _resembles(arguments: dict, token: Tensor, expected: Callable[[Tensor, float], Tensor]) -> bool:
    """Whether the characters come roughly with the probabilities `expected(logits, temperature)`."""
    if len(token) < 100:
        return True
    shares, logits, n = _shares(arguments, token)
    return chance.likely(shares, expected(logits, arguments["temperature"]), n)


@next_character.claim("every token should be the number of a character, from 0 to V − 1.")
def tokens_exist(arguments, token):
    return bool(((token >= 0) & (token < arguments["logits"].shape[1])).all())


@next_character.claim("at temperature 0 the most probable character should be taken, always.")
def greedy_at_zero(arguments, token):
    return arguments["temperature"] != 0 or torch.equal(token, arguments["logits"].argmax(1))


@next_character.claim("at temperature 1 the characters should come with probabilities softmax(logits); yours do not.")
def fits_at_one(arguments, token):
    return arguments["temperature"] != 1 or _fits(arguments, token)


@next_character.claim("the characters should come with probabilities softmax(logits / temperature); yours do not.")
def fits_at_other_temperatures(arguments, token):
    return arguments["temperature"] in (0, 1) or _fits(arguments, token)


@next_character.claim("the logits should make a difference; your choice is as even as that of a die.")
def logits_matter(arguments, token):
    return arguments["temperature"] != 1 or not _resembles(arguments, token, lambda z, t: torch.softmax(0 * z, 1))


@next_character.claim(
    "a larger logit should count as softmax says, not in proportion; yours are used as probabilities."
)
def logits_are_not_probabilities(arguments, token):
    return arguments["temperature"] != 1 or not _resembles(arguments, token, lambda z, t: z / z.sum(1, keepdim=True))


@next_character.claim("the probabilities should add up to 1 along a text's row; yours do so down the batch.")
def rows_are_texts(arguments, token):
    def down_the_batch(z, t):
        return torch.softmax(z, 0) / torch.softmax(z, 0).sum(1, keepdim=True)

    return arguments["temperature"] != 1 or not _resembles(arguments, token, down_the_batch)


@next_character.claim("the temperature should make a difference; your choice is the same at every temperature.")
def temperature_matters(arguments, token):
    spared = arguments["temperature"] <= 2 or len(token) < 100
    return spared or not _resembles(arguments, token, lambda z, t: torch.softmax(z, 1))


@next_character.claim("a higher temperature should even the choice out; yours sharpens it.")
def hotter_is_more_even(arguments, token):
    spared = arguments["temperature"] <= 2 or len(token) < 100
    return spared or not _resembles(arguments, token, lambda z, t: torch.softmax(z * t, 1))


@next_character.claim("above temperature 0 less probable characters should be chosen, too, now and then.")
def others_are_chosen(arguments, token):
    return arguments["temperature"] == 0 or len(token) < 100 or not torch.equal(token, arguments["logits"].argmax(1))


@next_character.claim("each text should draw for itself; yours all use the same random number.")
def texts_are_independent(arguments, token):
    if len(token) < 100:
        return True
    shares, _, n = _shares(arguments, token)
    drawn, half = token.reshape(n, ROWS), n // 2
    neighbours, far_apart = drawn[0::2][:half] == drawn[1::2][:half], drawn[:half] == drawn[-half:]
    spared = shares.amax(1) > 0.8  # a choice that is nearly certain tells nothing
    return all(bool((spared | (same.double().mean(0) < 1)).all()) for same in (neighbours, far_apart))


@next_character.claim("the same generator should give the same characters: all chance must come from it.", across=True)
def reproducible_text(arguments, results):
    return chance.reproducible(arguments, results)


@next_character.claim("another generator should give other characters.", across=True)
def heeds_its_generator(arguments, results):
    return chance.heeds_the_generator(arguments, results)


@next_character.claim("every call should go on with the generator where it stands; yours starts it anew.", across=True)
def goes_on_with_the_generator(arguments, results):
    return chance.goes_on(arguments, results)


def _draw(probabilities: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(1)


@next_character.mistake(
    "you multiply by the temperature. Then a high one makes the text timid and a low one wild, the wrong way round. Divide "
    "the logits by it: hot air mixes things up.",
    breaks="hotter_is_more_even",
)
def multiplied(logits, temperature, generator):
    return logits.argmax(1) if temperature == 0 else _draw(torch.softmax(logits * temperature, 1), generator)


@next_character.mistake(
    "the temperature has no effect: at 0.1 and at 10 you draw from the same probabilities. Divide the *logits*, before the "
    "softmax. (Probabilities divided by a number are only scaled, and `multinomial` scales them back.)",
    breaks="temperature_matters",
)
def without_effect(logits, temperature, generator):
    return logits.argmax(1) if temperature == 0 else _draw(torch.softmax(logits, 1), generator)


@next_character.mistake(
    "you always take the most probable character. That is right at temperature 0 only; a text written like this soon goes "
    "round in circles. Draw by chance, with `torch.multinomial`.",
    breaks="hotter_is_more_even",
)
def always_the_likeliest(logits, temperature, generator):
    return logits.argmax(1)


@next_character.mistake(
    "at temperature 0 you divide by zero, and what comes out is no number. As the temperature falls towards 0, all "
    "probability gathers at the largest logit: return `logits.argmax(1)` there."
)
def divided_by_zero(logits, temperature, generator):
    return _draw(torch.softmax(logits / temperature, 1), generator)


@next_character.mistake(
    "your softmax runs down the batch: each character is shared out among the texts. A text is a row; its characters are "
    "the columns, so the probabilities of a row must add up to 1: dimension 1.",
    breaks="rows_are_texts",
)
def softmax_over_the_batch(logits, temperature, generator):
    return logits.argmax(1) if temperature == 0 else _draw(torch.softmax(logits / temperature, 0), generator)


@next_character.mistake(
    "you hand the logits to `multinomial` as if they were probabilities. They are opinions on a logarithmic scale, and may "
    "be negative: make probabilities of them first, with `torch.softmax(…, 1)`.",
    breaks="logits_are_not_probabilities",
)
def without_softmax(logits, temperature, generator):
    return logits.argmax(1) if temperature == 0 else _draw(logits / temperature, generator)


@next_character.mistake(
    "every character is equally likely, or nearly so. The network's opinion is lost: turn the logits into probabilities "
    "with softmax (a sigmoid makes nearly the same of all large logits), and draw with those.",
    breaks="logits_matter",
)
def dice(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(1)
    return torch.randint(logits.shape[1], (len(logits),), generator=generator, device=logits.device)


@next_character.mistake(
    "right for ordinary logits, but exp overflows when they are as large as 1000, and inf/inf is no probability. "
    "`torch.softmax` subtracts each row's largest logit first."
)
def exponentials_overflow(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(1)
    powers = torch.exp(logits / temperature)
    return _draw(powers / powers.sum(1, keepdim=True), generator)


@next_character.mistake(
    "one random number serves all the texts, so texts with the same opinion get the same character. They should go their "
    "own ways: a draw for each row, as `torch.multinomial` makes it.",
    breaks="others_are_chosen",
)
def one_draw_for_all(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(1)
    steps = torch.softmax(logits / temperature, 1).cumsum(1)
    drawn = torch.rand((), generator=generator, dtype=logits.dtype, device=logits.device)
    return (steps < drawn).sum(1).clamp(max=logits.shape[1] - 1)


@next_character.mistake(
    "your result is a column: (batch, 1) instead of (batch,). `torch.multinomial(…, 1)` returns one column for its one "
    "draw; take it with `[:, 0]` or `.squeeze(1)`."
)
def a_column(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(1)
    return torch.multinomial(torch.softmax(logits / temperature, 1), 1, generator=generator)


@next_character.mistake(
    "you draw from torch's global generator, so nobody can repeat your text. Pass `generator=generator` to the call that "
    "draws.",
    breaks="reproducible_text",
)
def global_chance(logits, temperature, generator):
    return logits.argmax(1) if temperature == 0 else _draw(torch.softmax(logits / temperature, 1), None)


@next_character.mistake(
    "you seed the generator at every call. Each character of a text would be chosen by the same chance as the one before. "
    "Use the generator that you are given as it is.",
    breaks="heeds_its_generator",
)
def seeded_each_time(logits, temperature, generator):
    generator.manual_seed(0)
    return logits.argmax(1) if temperature == 0 else _draw(torch.softmax(logits / temperature, 1), generator)


@next_character.mistake(
    "you draw from the generator's first seed (`initial_seed()`), not from the generator. It never moves on, so each "
    "character of a text would be chosen by the same chance as the one before. Pass the generator itself.",
    breaks="goes_on_with_the_generator",
)
def from_its_first_seed(logits, temperature, generator):
    again = torch.Generator(generator.device).manual_seed(generator.initial_seed())
    return logits.argmax(1) if temperature == 0 else _draw(torch.softmax(logits / temperature, 1), again)


next_character.hints(
    "Logits are unscaled opinions; softmax makes probabilities of them. What does a division by 2 before the softmax do to "
    "the differences between them? And a division by 0.1?",
    "`torch.multinomial(probabilities, 1, generator=generator)` draws one column for each row. A temperature of 0 cannot be "
    "divided by: say what happens there in a line of its own.",
    "If temperature is 0 return `logits.argmax(1)`; else draw from `torch.softmax(logits / temperature, 1)` and take away "
    "the extra dimension with `.squeeze(1)`.",
)
