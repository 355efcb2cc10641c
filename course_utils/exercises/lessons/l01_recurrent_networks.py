"""Exercises of lesson 01: recurrent networks and backpropagation through time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from course_utils.exercises.define import AUTOGRAD, Case, define, edge, randn

# -- 1.1 -----------------------------------------------------------------------------------------------------------


@define(
    lesson="01",
    points=2,
    outputs="h_next",
    gradients=("x", "h", "weight_ih", "weight_hh", "bias"),
    forbidden=("nn.RNN", "nn.RNNCell", "torch.rnn_tanh", "torch.rnn_tanh_cell"),
)
def rnn_step(x, h, weight_ih, weight_hh, bias):
    """One step of a recurrent network: what comes in now, and what was there before, become the new state.

    x: (batch, in). h: (batch, hidden). weight_ih: (hidden, in). weight_hh: (hidden, hidden). bias: (hidden,).
    Returns h_next, (batch, hidden).
    """
    return torch.tanh(x @ weight_ih.T + h @ weight_hh.T + bias)


def _step(generator: torch.Generator, batch: int, inputs: int, hidden: int) -> dict:
    return dict(
        x=randn(generator, batch, inputs),
        h=torch.tanh(randn(generator, batch, hidden)),
        weight_ih=randn(generator, hidden, inputs) / inputs**0.5,
        weight_hh=randn(generator, hidden, hidden) / hidden**0.5,
        bias=randn(generator, hidden) * 0.5,
    )


@rnn_step.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for batch, inputs, hidden in ((4, 3, 5), (2, 6, 3), (7, 2, 4), (3, 5, 2)):
        step = _step(generator, batch, inputs, hidden)
        yield step | dict(x=3 * step["x"])  # loud enough to push some units to their limits
    start = _step(generator, 5, 3, 4)
    yield edge(
        "the state is still zero, at the first step",
        stated="where the state is still zero",
        **(start | dict(h=torch.zeros_like(start["h"]))),
    )
    yield edge("the batch holds one sequence", stated="a batch of one sequence", **_step(generator, 1, 3, 4))
    yield edge(
        "there is one input and one hidden unit",
        stated="a single input and a single hidden unit",
        **_step(generator, 3, 1, 1),
    )


@rnn_step.typical
def _(generator: torch.Generator) -> dict:
    return _step(generator, 128, 3, 32)


@rnn_step.mistake(
    "you multiply the state by `weight_hh` without transposing it. The matrix is square, so no shape complains, but "
    "every connection now runs backwards: what unit 3 should send to unit 5 goes from 5 to 3. Row i of a weight "
    "matrix holds what unit i listens to."
)
def backward_wires(x, h, weight_ih, weight_hh, bias):
    return torch.tanh(x @ weight_ih.T + h @ weight_hh + bias)


@rnn_step.mistake(
    "the new state is not squashed. Without tanh the whole unrolled network is one linear map, however many steps it "
    "takes, and nothing keeps the state from growing at each of them."
)
def unsquashed(x, h, weight_ih, weight_hh, bias):
    return x @ weight_ih.T + h @ weight_hh.T + bias


@rnn_step.mistake(
    "the old state has no say: your new state depends on the present input alone. That is an ordinary layer, and "
    "the network remembers nothing. The feedback term is missing."
)
def amnesia(x, h, weight_ih, weight_hh, bias):
    return torch.tanh(x @ weight_ih.T + bias)


@rnn_step.mistake(
    "the bias is missing. Then a silent input and an empty state always give an empty state, and no unit can have a "
    "level of its own to rest at."
)
def without_bias(x, h, weight_ih, weight_hh, bias):
    return torch.tanh(x @ weight_ih.T + h @ weight_hh.T)


@rnn_step.mistake(
    "you squash the input's part only and add the old state's part outside tanh. The state can then leave the interval "
    "from −1 to 1 and grow from step to step. Add everything first; squash the sum."
)
def feedback_outside(x, h, weight_ih, weight_hh, bias):
    return torch.tanh(x @ weight_ih.T + bias) + h @ weight_hh.T


@rnn_step.mistake(
    "the bias is added after tanh, so a state can lie beyond ±1. Inside the sum the bias decides how hard a unit must be "
    "pushed before it answers; outside it only lifts the answer. Nothing may be added after the squashing."
)
def bias_outside(x, h, weight_ih, weight_hh, bias):
    return torch.tanh(x @ weight_ih.T + h @ weight_hh.T) + bias


@rnn_step.mistake(
    "you squash each message by itself and add up afterwards, with the bias on top: a state can then lie far beyond ±1. "
    "A unit hears one sum of three things, what comes in now, what was there before, and its bias. Squash that sum."
)
def squashed_before_adding(x, h, weight_ih, weight_hh, bias):
    return torch.tanh(x @ weight_ih.T) + torch.tanh(h @ weight_hh.T) + bias


@rnn_step.mistake(
    "input and old state each go through a tanh of their own. Two answers between −1 and 1 add up to anything between "
    "−2 and 2. A unit first weighs its messages against each other, then it answers: one tanh, around the sum of all."
)
def two_squashings(x, h, weight_ih, weight_hh, bias):
    return torch.tanh(x @ weight_ih.T + bias) + torch.tanh(h @ weight_hh.T)


@rnn_step.mistake(
    "the bias counts twice. The library's `nn.RNN` keeps two biases, one beside each matrix, although only their sum "
    "matters; here there is one, and it enters the sum once."
)
def bias_twice(x, h, weight_ih, weight_hh, bias):
    return torch.tanh(x @ weight_ih.T + h @ weight_hh.T + 2 * bias)


@rnn_step.mistake(
    "you add the new state to the old one; it is to replace it. The sum can leave the interval from −1 to 1 and pile up "
    "from step to step. What a unit keeps of the old state already comes in through `weight_hh`."
)
def piled_up(x, h, weight_ih, weight_hh, bias):
    return h + torch.tanh(x @ weight_ih.T + h @ weight_hh.T + bias)


@rnn_step.mistake(
    "you squash with the logistic sigmoid; tanh is asked for. A sigmoid's state is never negative, and its slope is at most "
    "1/4 where tanh's is at most 1: whatever `weight_hh` does to the gradient, the squashing divides it by four or more at "
    "every step."
)
def sigmoid_state(x, h, weight_ih, weight_hh, bias):
    return torch.sigmoid(x @ weight_ih.T + h @ weight_hh.T + bias)


@rnn_step.mistake(
    "you squash with relu; tanh is asked for. Nothing bounds a relu from above, so a state can grow from step to step "
    "without end, and a unit can never answer with a negative number."
)
def relu_state(x, h, weight_ih, weight_hh, bias):
    return torch.relu(x @ weight_ih.T + h @ weight_hh.T + bias)


@rnn_step.mistake(
    "you squash the old state once more before it enters. It is a tanh already: h is what the last step returned, and "
    "`weight_hh` multiplies it as it is."
)
def old_state_squashed_again(x, h, weight_ih, weight_hh, bias):
    return torch.tanh(x @ weight_ih.T + torch.tanh(h) @ weight_hh.T + bias)


rnn_step.hints(
    "Two messages arrive at every hidden unit: one from the input, one from the old state. What happens to them "
    "before the squashing?",
    "Each message is a matrix product. `x` is (batch, in) and `weight_ih` is (hidden, in): one of them must be "
    "transposed to give (batch, hidden). The square matrix wants the same treatment, although nothing would complain.",
    "Add three things, `x @ weight_ih.T`, the same with `h` and `weight_hh`, and `bias`; return `torch.tanh` of the "
    "sum.",
)

# -- 1.2 -----------------------------------------------------------------------------------------------------------


@define(lesson="01", points=1, outputs=("inputs", "targets"))
def make_windows(series, window, horizon):
    """Cut a series into all the questions it can ask: `window` values in a row, and the `horizon` that follow.

    series: (T,). Returns (inputs (N, window), targets (N, horizon)), oldest value first, with
    N = T - window - horizon + 1, one row for every place where a window can start.
    Raises ValueError if N < 1.
    """
    n = len(series) - window - horizon + 1
    if n < 1:
        raise ValueError(f"a series of {len(series)} is too short for windows of {window} and {horizon} to follow")
    inputs = torch.stack([series[i : i + window] for i in range(n)])
    targets = torch.stack([series[i + window : i + window + horizon] for i in range(n)])
    return inputs, targets


@make_windows.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for length, window, horizon in ((17, 4, 2), (12, 5, 3), (15, 2, 6), (23, 7, 4)):
        yield dict(series=randn(generator, length), window=window, horizon=horizon)
    yield edge(
        "one step ahead is asked for",
        stated="a horizon of one value is a column of width 1",
        series=randn(generator, 11),
        window=4,
        horizon=1,
    )
    yield edge(
        "the window holds one value",
        stated="a window or a horizon of one value",
        series=randn(generator, 9),
        window=1,
        horizon=3,
    )
    yield edge(
        "the series is just long enough for one window",
        stated="If it just fits there is one row",
        series=randn(generator, 8),
        window=5,
        horizon=3,
    )
    yield edge(
        "the series is one value too short",
        stated="or by one value only",
        series=randn(generator, 7),
        window=5,
        horizon=3,
    )
    yield edge(
        "the series is far too short",
        stated="the series is far too short",
        series=randn(generator, 4),
        window=5,
        horizon=3,
    )


@make_windows.typical
def _(generator: torch.Generator) -> dict:
    return dict(series=randn(generator, 480), window=12, horizon=12)


@make_windows.mistake(
    "the last window is missing. The place after the last possible start is T − window − horizon + 1: count it with a "
    "series that is just long enough for one."
)
def last_one_lost(series, window, horizon):
    n = len(series) - window - horizon
    if n < 1:
        raise ValueError("too short")
    pieces = series.unfold(0, window + horizon, 1)[:-1]
    return pieces[:, :window], pieces[:, window:]


@make_windows.mistake(
    "your first target is the last value of the window. The network can then copy its answer from its own input, the "
    "error looks wonderful, and nothing was forecast. The targets begin one step after the window ends."
)
def answer_in_the_question(series, window, horizon):
    pieces = _pieces(series, window, horizon)
    return pieces[:, :window], pieces[:, window - 1 : -1]


@make_windows.mistake(
    "you keep only the value that lies `horizon` steps ahead. All the steps on the way there are asked for too, one "
    "column each."
)
def only_the_farthest(series, window, horizon):
    pieces = _pieces(series, window, horizon)
    return pieces[:, :window], pieces[:, -1:]


@make_windows.mistake(
    "your windows stand side by side, each beginning where the one before ended. They should overlap: a new window "
    "begins at every step, and a short record yields many times more examples."
)
def side_by_side(series, window, horizon):
    pieces = _pieces(series, window, horizon)[::window]
    return pieces[:, :window], pieces[:, window:]


@make_windows.mistake(
    "your windows begin `horizon` steps apart. That suits a test in which every value is forecast once; to learn from, "
    "every place where a window fits is an example, and you keep only one in `horizon` of them. A new window begins at "
    "every step."
)
def a_horizon_apart(series, window, horizon):
    pieces = _pieces(series, window, horizon)[::horizon]
    return pieces[:, :window], pieces[:, window:]


@make_windows.mistake(
    "your windows begin window + horizon steps apart, so that no value is ever used twice. Overlap is welcome: what is "
    "asked for in one example may be shown in another. A new window begins at every step, and a short record yields "
    "many times more examples."
)
def nothing_used_twice(series, window, horizon):
    pieces = _pieces(series, window, horizon)[:: window + horizon]
    return pieces[:, :window], pieces[:, window:]


@make_windows.mistake(
    "one value lies between each question and its answer, and is in neither. A slice stops before its end: the place "
    "where the window's slice ends is already the first that the window has not seen, and the answer begins there. "
    "(For the same reason you have one row too few.)"
)
def gap_before_the_answer(series, window, horizon):
    pieces = _pieces(series, window, 1 + horizon)
    return pieces[:, :window], pieces[:, window + 1 :]


@make_windows.mistake(
    "your targets begin where the windows begin, so the network is asked for values that it was just shown. It learns "
    "to copy, the error looks wonderful, and no future is in it. The targets begin where the window ends."
)
def question_for_an_answer(series, window, horizon):
    pieces = _pieces(series, window, horizon)
    return pieces[:, :window], pieces[:, :horizon]


@make_windows.mistake(
    "a series that is too short gives you empty tensors. Nothing fails here, and everything fails later: a mean over "
    "no windows is NaN. Raise a ValueError that says how long the series is."
)
def silent_when_short(series, window, horizon):
    if len(series) < window + horizon:
        return series.new_zeros(0, window), series.new_zeros(0, horizon)
    pieces = _pieces(series, window, horizon)
    return pieces[:, :window], pieces[:, window:]


@make_windows.mistake(
    "time runs backwards in your windows: the newest value comes first. A recurrent network reads from the left, so it "
    "would meet the newest month first and have the longest way to carry it."
)
def newest_first(series, window, horizon):
    pieces = _pieces(series, window, horizon)
    return pieces[:, :window].flip(1), pieces[:, window:]


def _pieces(series: Tensor, window: int, horizon: int) -> Tensor:
    if len(series) < window + horizon:
        raise ValueError("too short")
    return series.unfold(0, window + horizon, 1)


make_windows.hints(
    "Lay a ruler of length window + horizon on the series and push it along by one place at a time. In how many "
    "places does it fit?",
    "Row i of the inputs begins at place i and holds `window` values; row i of the targets begins where the inputs "
    "end. Count the rows first, and raise the error if there are none.",
    "`torch.stack([series[i : i + window] for i in range(n)])` makes the inputs; the targets are the slices from "
    "i + window to i + window + horizon.",
)

# -- 1.3 -----------------------------------------------------------------------------------------------------------


@define(lesson="01", points=3, outputs=("grad_weight_ih", "grad_weight_hh", "grad_bias"), forbidden=AUTOGRAD)
def rnn_backward(inputs, hiddens, grad_hiddens, weight_hh):
    """Backpropagation through time: walk the unrolled network from its last step to its first.

    inputs: (T, batch, in). hiddens: (T + 1, batch, hidden), hiddens[0] is the start and hiddens[t + 1] the state
    after inputs[t]. grad_hiddens: (T, batch, hidden), grad_hiddens[t] is the loss's direct gradient with respect
    to hiddens[t + 1]. weight_hh: (hidden, hidden).
    Returns the gradients (grad_weight_ih (hidden, in), grad_weight_hh (hidden, hidden), grad_bias (hidden,)).
    """
    grad_weight_ih, grad_weight_hh, grad_bias = 0.0, 0.0, 0.0
    from_the_future = 0.0
    for t in reversed(range(len(inputs))):
        grad_h = grad_hiddens[t] + from_the_future
        grad_sum = grad_h * (1 - hiddens[t + 1] ** 2)  # through tanh: (batch, hidden)
        grad_weight_ih = grad_weight_ih + grad_sum.T @ inputs[t]
        grad_weight_hh = grad_weight_hh + grad_sum.T @ hiddens[t]
        grad_bias = grad_bias + grad_sum.sum(0)
        from_the_future = grad_sum @ weight_hh
    return grad_weight_ih, grad_weight_hh, grad_bias


def _unrolled(generator: torch.Generator, steps: int, batch: int, inputs: int, hidden: int) -> dict:
    x = randn(generator, steps, batch, inputs)
    weight_hh = randn(generator, hidden, hidden) / hidden**0.5
    pushes = x @ randn(generator, inputs, hidden) / inputs**0.5 + randn(generator, hidden) * 0.3
    h = torch.tanh(randn(generator, batch, hidden))
    hiddens = [h]
    for push in pushes:
        h = torch.tanh(push + h @ weight_hh.T)
        hiddens.append(h)
    grad_hiddens = randn(generator, steps, batch, hidden)
    return dict(inputs=x, hiddens=torch.stack(hiddens), grad_hiddens=grad_hiddens, weight_hh=weight_hh)


@rnn_backward.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for steps, batch, inputs, hidden in ((6, 4, 3, 5), (3, 2, 5, 4), (8, 3, 4, 2), (5, 7, 2, 3)):
        yield _unrolled(generator, steps, batch, inputs, hidden)
    large = _unrolled(generator, 7, 3, 4, 5)
    yield large | dict(grad_hiddens=100 * large["grad_hiddens"])  # what flows back is not clipped
    yield edge("there is a single time step", stated="A single time step", **_unrolled(generator, 1, 3, 2, 4))
    yield edge("the batch holds one sequence", stated="a batch of one sequence", **_unrolled(generator, 4, 1, 3, 5))


@rnn_backward.typical
def _(generator: torch.Generator) -> dict:
    return _unrolled(generator, 12, 64, 3, 16)


def _backward(
    arguments: tuple[Tensor, Tensor, Tensor, Tensor],
    order: range | None = None,
    start: Tensor | float = 0.0,
    slope: Callable = lambda h: 1 - h**2,
    squash: Callable = lambda direct, carried, slope: (direct + carried) * slope,
    send: Callable = lambda at_state, at_sum, weight_hh: at_sum @ weight_hh,
    slope_at: int = 1,
    paired_with: int = 0,
    counted: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The reference with one thing wrong; the named mistakes below choose which.

    `order` of the steps, what is carried at the `start`, tanh's `slope` at a state, how gradients `squash` through it,
    what a step will `send` back; the states t + `slope_at` and t + `paired_with` that are used; how many of the first steps are `counted`.
    """
    inputs, hiddens, grad_hiddens, weight_hh = arguments
    steps, carried = range(len(inputs)), start
    at_sums = torch.zeros_like(grad_hiddens)
    for t in steps[::-1] if order is None else order:
        at_state = grad_hiddens[t] + carried
        at_sums[t] = squash(grad_hiddens[t], carried, slope(hiddens[t + slope_at]))
        carried = send(at_state, at_sums[t], weight_hh)
    paired = hiddens[[t + paired_with for t in steps]]
    at_sums, inputs, paired = at_sums[:counted], inputs[:counted], paired[:counted]
    to_ih, to_hh = torch.einsum("tbh,tbi->hi", at_sums, inputs), torch.einsum("tbh,tbk->hk", at_sums, paired)
    return to_ih, to_hh, at_sums.sum((0, 1))


@rnn_backward.mistake(
    "nothing travels back in time: each step hears only its own loss. But hiddens[t] also shapes every later state, "
    "and their losses must be charged to it. Carry what flows back through `weight_hh` to the step before."
)
def no_future(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward((inputs, hiddens, grad_hiddens, weight_hh), send=lambda at_state, at_sum, weight_hh: 0.0)


@rnn_backward.mistake(
    "you take tanh's slope at the state before the step. The squashing produced hiddens[t + 1], so its slope there is "
    "1 − hiddens[t + 1]²; the list of states is one longer than the list of inputs, and that is where one slips."
)
def slope_one_early(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward((inputs, hiddens, grad_hiddens, weight_hh), slope_at=0)


@rnn_backward.mistake(
    "the gradient passes tanh as if it were not there. Going back through a squashing multiplies by its slope, "
    "1 − (state)², which is nearly zero where a unit is saturated."
)
def no_squashing(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward((inputs, hiddens, grad_hiddens, weight_hh), squash=lambda direct, carried, slope: direct + carried)


@rnn_backward.mistake(
    "the gradient goes back through `weight_hh` the wrong way round. Forwards the rows are (state) · weight_hhᵀ; "
    "backwards they meet the matrix itself. A square matrix hides this slip from every check of shapes."
)
def wrong_way_round(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward(
        (inputs, hiddens, grad_hiddens, weight_hh), send=lambda at_state, at_sum, weight_hh: at_sum @ weight_hh.T
    )


@rnn_backward.mistake(
    "for `grad_weight_hh` you pair each step with the state it produced. The matrix was multiplied by the state that "
    "the step *received*, hiddens[t]; a weight's gradient is always (what came back) × (what went in)."
)
def paired_with_the_result(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward((inputs, hiddens, grad_hiddens, weight_hh), paired_with=1)


@rnn_backward.mistake(
    "you walk from the first step to the last. A gradient flows against time: before you can treat step t you must "
    "know what step t + 1 sends back."
)
def with_the_clock(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward((inputs, hiddens, grad_hiddens, weight_hh), order=range(len(inputs)))


@rnn_backward.mistake(
    "what you send back skips tanh's slope at the step it comes from: you pass on the gradient of the state. But the step "
    "before reaches that state only through the sum inside tanh. Pass on the gradient of the sum, after the slope."
)
def before_the_slope(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward(
        (inputs, hiddens, grad_hiddens, weight_hh), send=lambda at_state, at_sum, weight_hh: at_state @ weight_hh
    )


@rnn_backward.mistake(
    "what comes back from the later steps passes tanh, but the loss's own gradient at this step goes past it. Both arrive "
    "at the state, and the state came out of tanh: add the two first, then multiply their sum by the slope."
)
def own_loss_unsquashed(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward(
        (inputs, hiddens, grad_hiddens, weight_hh), squash=lambda direct, carried, slope: direct + carried * slope
    )


@rnn_backward.mistake(
    "the loss's own gradient passes tanh, but what comes back from the later steps goes past it. Both arrive at the "
    "state, outside tanh: add the two first, then multiply their sum by the slope. As it is, nothing damps the message "
    "on its way back."
)
def future_unsquashed(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward(
        (inputs, hiddens, grad_hiddens, weight_hh), squash=lambda direct, carried, slope: direct * slope + carried
    )


@rnn_backward.mistake(
    "what flows back never passes `weight_hh`. A state reaches the next step through that matrix, which mixes all units, "
    "and the gradient must go back through it; otherwise unit 3 is charged for what unit 3 did later, and not for what "
    "it told the others."
)
def past_the_matrix(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward((inputs, hiddens, grad_hiddens, weight_hh), send=lambda at_state, at_sum, weight_hh: at_sum)


@rnn_backward.mistake(
    "each step overwrites the gradient that the one before it had found: you walk back to the start, so only the first "
    "step's share is left. All steps use the same weights, and every one of them adds its share."
)
def overwritten(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward((inputs, hiddens, grad_hiddens, weight_hh), counted=1)


@rnn_backward.mistake(
    "your walk stops one step too early: there are T steps, and t = 0 is one of them. A range leaves out its end, also "
    "when it counts down."
)
def first_step_left_out(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward((inputs, hiddens, grad_hiddens, weight_hh), order=range(len(inputs) - 1, 0, -1))


@rnn_backward.mistake(
    "your walk begins one step too early in time: there are T steps, numbered from 0 to T − 1, and you leave out the last. "
    "Its loss is never heard, not even by the steps before."
)
def last_step_left_out(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward((inputs, hiddens, grad_hiddens, weight_hh), order=range(len(inputs) - 2, -1, -1))


@rnn_backward.mistake(
    "the last direct gradient counts twice: you start the walk with it, and the last step adds it once more. Nothing "
    "comes back from beyond the end; start with zero."
)
def last_loss_twice(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward((inputs, hiddens, grad_hiddens, weight_hh), start=grad_hiddens[-1])


@rnn_backward.mistake(
    "you start the walk with the last direct gradient and send it through `weight_hh`, as if a step came after the last. "
    "There it counts a second time. Nothing comes back from beyond the end; start with zero."
)
def a_step_beyond_the_end(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward((inputs, hiddens, grad_hiddens, weight_hh), start=grad_hiddens[-1] @ weight_hh)


@rnn_backward.mistake(
    "only the last loss is heard. Here every state has a loss of its own: at each step grad_hiddens[t] joins what comes "
    "back from later. (Only in a network that answers once, at the end, are all but the last of them zero.)"
)
def last_loss_only(inputs, hiddens, grad_hiddens, weight_hh):
    heard = torch.zeros_like(grad_hiddens)
    heard[-1] = grad_hiddens[-1]
    return _backward((inputs, hiddens, heard, weight_hh))


@rnn_backward.mistake(
    "you have exchanged the two states of a step: you take the slope at the one it received, and pair `grad_weight_hh` "
    "with the one it produced. Step t received hiddens[t] and produced hiddens[t + 1]; tanh's slope belongs to what came "
    "out, a weight's gradient to what went in."
)
def states_exchanged(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward((inputs, hiddens, grad_hiddens, weight_hh), slope_at=0, paired_with=1)


@rnn_backward.mistake(
    "for `grad_weight_hh` you pair each step with hiddens[t − 1]. In formulas that is the state before, but this list "
    "begins with the start, so everything stands one place later: count which state inputs[t] meets. (At t = 0 Python "
    "quietly takes the last state of all.)"
)
def paired_one_early(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward((inputs, hiddens, grad_hiddens, weight_hh), paired_with=-1)


@rnn_backward.mistake(
    "both your states are one place too early: you read hiddens[t] as the state after inputs[t], and hiddens[t − 1] as "
    "the one before (at t = 0 Python quietly takes the last state of all). The list begins with the start, before any "
    "input: count on from there."
)
def states_one_early(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward((inputs, hiddens, grad_hiddens, weight_hh), slope_at=0, paired_with=-1)


@rnn_backward.mistake(
    "you apply tanh once more before you take the slope. hiddens[t + 1] is what came out of tanh, so the slope is "
    "1 − hiddens[t + 1]² as it stands; 1 − tanh(·)² would want the sum that went in."
)
def tanh_of_a_state(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward((inputs, hiddens, grad_hiddens, weight_hh), slope=lambda h: 1 - torch.tanh(h) ** 2)


@rnn_backward.mistake(
    "h · (1 − h) is the slope of the logistic sigmoid. The squashing here is tanh, whose slope is 1 − h²."
)
def slope_of_a_sigmoid(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward((inputs, hiddens, grad_hiddens, weight_hh), slope=lambda h: h * (1 - h))


@rnn_backward.mistake(
    "the state is not squared: tanh's slope is 1 − h². Yours is 0 at a state of 1 but 2 at a state of −1, where the unit "
    "is just as saturated."
)
def slope_not_squared(inputs, hiddens, grad_hiddens, weight_hh):
    return _backward((inputs, hiddens, grad_hiddens, weight_hh), slope=lambda h: 1 - h)


rnn_backward.hints(
    "Draw the unrolled network for T = 2. Every state has two readers: the loss at its own step, and the next step. "
    "So its gradient is a sum of two things.",
    "Go from the last step to the first. At each: add the direct gradient and what the later step sent back; multiply "
    "by tanh's slope 1 − hiddens[t + 1]²; that is the gradient of the sum inside tanh. From it, everything else "
    "follows as in lesson 00: it times what went in for each weight, summed over the batch.",
    "With `grad_sum` (batch, hidden) at step t: add `grad_sum.T @ inputs[t]`, `grad_sum.T @ hiddens[t]` and "
    "`grad_sum.sum(0)` to the three gradients, and pass `grad_sum @ weight_hh` on to step t − 1.",
)

# -- 1.4 -----------------------------------------------------------------------------------------------------------


@define(lesson="01", points=1, outputs="carried", gradients=("h",))
def truncate(h):
    """Carry a state over to the next chunk of a sequence: the same numbers, without their history.

    h: (batch, hidden), part of a graph. Returns (batch, hidden), equal to h, through which no gradient flows to h.
    """
    return h.detach()


@truncate.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for batch, hidden in ((4, 3), (2, 5), (6, 7)):
        yield dict(h=randn(generator, batch, hidden))
    yield edge("the batch holds one sequence", stated="also for a batch of one sequence", h=randn(generator, 1, 4))


@truncate.typical
def _(generator: torch.Generator) -> dict:
    return dict(h=randn(generator, 64, 32))


@truncate.mistake(
    "the numbers are right, but their history is still attached: the backward pass would walk on through every earlier "
    "chunk, and torch would complain that it has already freed them. A copy keeps its history too; cut it. `detach()` "
    "returns a new tensor; use what it returns."
)
def history_kept(h):
    return h.clone()


@truncate.mistake(
    "you cut the memory together with the graph: the next chunk starts from zeros and knows nothing of what came "
    "before. Truncation forgets how the state was made, not what it is."
)
def memory_lost(h):
    return torch.zeros_like(h)


@truncate.mistake(
    "you cut the very tensor that you were given. The present chunk's loss may still need its path through it; leave "
    "the argument as it is, and return a tensor without history."
)
def cut_in_place(h):
    return h.detach_()


@truncate.mistake(
    "you keep only the last row. The first dimension of the state is the batch, not time: every sequence in the batch "
    "has its own state, and all of them must be carried over."
)
def last_row_only(h):
    return h[-1:].detach()


@truncate.mistake(
    "you keep only the last row: `h[-1]` is the state of the last sequence in the batch, and a vector where a matrix is "
    "asked for. The first dimension is the batch, not time; all its rows must be carried over."
)
def last_row_as_vector(h):
    return h[-1].detach()


@truncate.mistake(
    "`h[-1]` is the last row, with its history. The first dimension of the state is the batch, not time, so the other "
    "sequences lose their memory; and the graph, which should end here, still hangs on it. Keep all rows, cut the graph."
)
def last_row_with_history(h):
    return h[-1]


truncate.hints(
    "Two things hang on a tensor: its numbers, and the record of how they were made. You want the first without the "
    "second.",
    "Copying does not help: a copy records that it was copied. Torch has one method that returns the same numbers "
    "outside the graph. Its name is the opposite of 'attach'.",
    "`h.detach()`; not `h.detach_()`, which would change the argument.",
)

# -- 1.5 -----------------------------------------------------------------------------------------------------------


@define(lesson="01", points=2, outputs=("clipped", "norm"))
def clip_by_global_norm(grads, max_norm):
    """Shorten a gradient that is too long, and keep its direction.

    grads: a list of tensors of any shapes, seen as one long vector. max_norm: > 0.
    Returns (clipped, norm): a list of tensors whose common norm is at most max_norm (never scaled up), and
    the norm before clipping, a tensor of shape (). The arguments stay as they are; zero gradients stay zero.
    """
    norm = torch.cat([grad.flatten() for grad in grads]).norm()
    scale = (max_norm / norm).clamp(max=1.0)
    return [grad * scale for grad in grads], norm


def _grads(generator: torch.Generator, *shapes: tuple[int, ...], norm: float) -> list[Tensor]:
    grads = [randn(generator, *shape) for shape in shapes]
    scale = norm / torch.cat([grad.flatten() for grad in grads]).norm()
    return [grad * scale for grad in grads]


@clip_by_global_norm.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    # Long ones have norms in the thousands: then torch's own `max_norm / (norm + 1e-6)` is right as well, in float64 too.
    yield dict(grads=_grads(generator, (3, 2), (4, 4), (5,), norm=7e3), max_norm=1.5)
    yield dict(grads=_grads(generator, (2, 5), (3,), norm=2600.0), max_norm=2e3)
    yield dict(grads=_grads(generator, (4,), (2, 3), (3, 2), (1, 4), norm=4e5), max_norm=0.25)
    yield dict(grads=_grads(generator, (3, 4), (2,), norm=0.75), max_norm=2.0**-14)  # so does a limit this small
    yield edge(
        "the gradient is short enough already",
        stated="never to lengthen a gradient that is short enough already",
        grads=_grads(generator, (3, 4), (2,), norm=1.75),
        max_norm=2.5,
    )
    yield edge(
        "every gradient is zero",
        stated="all gradients are exactly zero",
        grads=[torch.zeros(3, 2), torch.zeros(4)],
        max_norm=1.5,
    )
    yield edge(
        "the list holds one tensor",
        stated="it may hold one tensor only",
        grads=_grads(generator, (2, 6), norm=5e3),
        max_norm=3.0,
    )
    yield edge(
        "one tensor is a single number",
        stated="a tensor may be a single number",
        grads=_grads(generator, (3, 3), (), norm=4e3),
        max_norm=0.5,
    )


@clip_by_global_norm.typical
def _(generator: torch.Generator) -> dict:
    return dict(grads=_grads(generator, (32, 3), (32, 32), (32,), norm=5.0), max_norm=1.0)


def _entries(grads: list[Tensor]) -> Tensor:
    return torch.cat([grad.flatten() for grad in grads])


def _norm(grads: list[Tensor]) -> Tensor:
    return _entries(grads).norm()


def _norms(grads: list[Tensor]) -> Tensor:
    return torch.stack([grad.norm() for grad in grads])


def _shortened(grads: list[Tensor], max_norm: float, norm: Tensor) -> tuple[list[Tensor], Tensor]:
    return [grad * (max_norm / norm).clamp(max=1.0) for grad in grads], norm


@clip_by_global_norm.mistake(
    "you clip every tensor by its own norm. Then the long ones shrink and the short ones do not, the step points "
    "somewhere else, and the common norm may still exceed the limit. One norm, over all of them; one factor for all."
)
def one_by_one(grads, max_norm):
    return [grad * (max_norm / grad.norm()).clamp(max=1.0) for grad in grads], _norm(grads)


@clip_by_global_norm.mistake(
    "you bring every gradient to the length max_norm, short ones too. Near a minimum the gradients become small so "
    "that the steps become small; blown up, they would jump over it forever (and a zero gradient becomes NaN). "
    "Shorten only."
)
def always_to_the_limit(grads, max_norm):
    norm = _norm(grads)
    return [grad * (max_norm / norm) for grad in grads], norm


@clip_by_global_norm.mistake(
    "you clip every entry on its own. That bends the direction of the step towards a diagonal; here the whole "
    "vector is shortened by one factor, so that it still points downhill."
)
def entry_by_entry(grads, max_norm):
    return [grad.clamp(-max_norm, max_norm) for grad in grads], _norm(grads)


@clip_by_global_norm.mistake(
    "the norm you return is the one after clipping. It can never exceed the limit, so it would hide every explosion "
    "from you. Return the norm before."
)
def norm_afterwards(grads, max_norm):
    clipped, _ = _shortened(grads, max_norm, _norm(grads))
    return clipped, _norm(clipped)


@clip_by_global_norm.mistake(
    "the constant in your denominator is not small: 1 beside the norm makes every clipped gradient shorter than the limit. "
    "It is not needed either: a norm of zero never asks for shortening. (torch's own `clip_grad_norm_` adds 1e-6.)"
)
def one_in_the_denominator(grads, max_norm):
    clipped, _ = _shortened(grads, max_norm, _norm(grads) + 1)
    return clipped, _norm(grads)


@clip_by_global_norm.mistake(
    "you add up the norms of the tensors. Lengths at right angles add by their squares, as in Pythagoras: your sum is "
    "too long, so you clip gradients that are short enough."
)
def norms_added(grads, max_norm):
    return _shortened(grads, max_norm, _norms(grads).sum())


@clip_by_global_norm.mistake(
    "you forgot the square root: you compare the squared norm with the limit. A gradient of length 10 then counts as "
    "100 and is cut ten times too short, and one of length 0.5 counts as 0.25 and passes a limit of 0.3."
)
def without_the_root(grads, max_norm):
    return _shortened(grads, max_norm, _norm(grads).square())


@clip_by_global_norm.mistake(
    "your norm is that of the longest tensor alone. The whole vector is longer than any of its parts, so you clip too "
    "late and too little. The common norm is meant: the root of the sum of all squares, over all tensors."
)
def longest_tensor(grads, max_norm):
    return _shortened(grads, max_norm, _norms(grads).max())


@clip_by_global_norm.mistake(
    "you add up absolute values: that is the L1 norm, the way along the streets. The straight way is meant, the L2 norm: "
    "the root of the sum of all squares. Yours is too long, so you clip gradients that are short enough."
)
def along_the_streets(grads, max_norm):
    return _shortened(grads, max_norm, _entries(grads).abs().sum())


@clip_by_global_norm.mistake(
    "under your root stands the mean of the squares, not their sum: the typical size of an entry, not the length of the "
    "vector. It is √(number of entries) times too short, so the more weights a network has, the later you clip. "
    "The L2 norm is meant."
)
def mean_under_the_root(grads, max_norm):
    return _shortened(grads, max_norm, _entries(grads).square().mean().sqrt())


@clip_by_global_norm.mistake(
    "you average the squares within each tensor before you add them up: an entry of a large matrix then counts less than "
    "one of a small. In a length all entries count alike; the L2 norm is the root of the sum of all squares."
)
def mean_in_each_tensor(grads, max_norm):
    return _shortened(grads, max_norm, torch.stack([grad.square().mean() for grad in grads]).sum().sqrt())


@clip_by_global_norm.mistake(
    "you average the squared norms of the tensors; they should be added. The same vector, cut into more pieces, would "
    "count as shorter. The common norm is the root of the sum of all squares, over all tensors."
)
def mean_over_tensors(grads, max_norm):
    return _shortened(grads, max_norm, _norms(grads).square().mean().sqrt())


@clip_by_global_norm.mistake(
    "short gradients are lengthened, and long ones are not touched: of 1 and max_norm / norm you take the larger, where "
    "the smaller is meant. A factor that may only shorten is never above 1."
)
def short_ones_lengthened(grads, max_norm):
    norm = _norm(grads)
    return [grad * (max_norm / norm).clamp(min=1.0) for grad in grads], norm


@clip_by_global_norm.mistake(
    "a gradient that is too long comes out with length 1, whatever the limit: dividing by the norm takes away all its "
    "length. The limit must come in too, for max_norm is how long it may stay."
)
def shortened_to_one(grads, max_norm):
    norm = _norm(grads)
    return [grad / norm if norm > max_norm else grad for grad in grads], norm


@clip_by_global_norm.mistake(
    "the numbers are right, but you changed the gradients that you were given. Whoever called you may still want to "
    "see how large they were: return new tensors (`grad * scale`, not `grad *= scale`)."
)
def clipped_in_place(grads, max_norm):
    norm = _norm(grads)
    if norm > max_norm:
        for grad in grads:
            grad.mul_(max_norm / norm)
    return grads, norm


clip_by_global_norm.hints(
    "Imagine all the tensors laid end to end as one long vector. How long is it, and by what factor must it shrink?",
    "The length is the square root of the sum of all squares, over all tensors. The factor is max_norm / norm where "
    "the norm is above the limit, and 1 elsewhere. What does your formula do when the norm is 0?",
    "`norm = torch.cat([grad.flatten() for grad in grads]).norm()`, then `scale = (max_norm / norm).clamp(max=1.0)`: "
    "for a norm of 0 the quotient is infinite, and the clamp turns it into 1.",
)
