"""The exercises of lesson 00: gradients by hand, and what they cost."""

from __future__ import annotations

from itertools import pairwise

import torch

from course_utils.exercises.define import AUTOGRAD, define, edge, randn

# -- a linear layer ----------------------------------------------------------------------------------------------


@define(lesson="00", points=3, outputs=("grad_x", "grad_weight", "grad_bias"), forbidden=AUTOGRAD)
def linear_backward(x, weight, grad_output):
    """Send a gradient back through y = x @ weight.T + bias.

    x: (N, in), weight: (out, in), grad_output: (N, out), the loss's derivative with respect to y.
    Returns (grad_x, grad_weight, grad_bias), shaped (N, in), (out, in) and (out,).
    """
    grad_x = grad_output @ weight
    grad_weight = grad_output.T @ x
    grad_bias = grad_output.sum(0)
    return grad_x, grad_weight, grad_bias


@linear_backward.cases
def _linear_cases(generator):
    for batch, inputs, outputs in ((4, 3, 5), (7, 2, 3), (2, 6, 4)):
        yield _linear_arguments(generator, batch, inputs, outputs)
    yield edge(
        "the batch has one row", stated="the batch may hold a single row", **_linear_arguments(generator, 1, 5, 3)
    )


@linear_backward.typical
def _linear_typical(generator):
    return _linear_arguments(generator, 128, 784, 64)


def _linear_arguments(generator, batch, inputs, outputs):
    return dict(
        x=randn(generator, batch, inputs),
        weight=randn(generator, outputs, inputs),
        grad_output=randn(generator, batch, outputs),
    )


@linear_backward.mistake(
    "your bias gradient is averaged over the batch. The bias is added to every row, so every row sends its own "
    "gradient back, and they add up. If the loss is a mean, its 1/N is already inside grad_output."
)
def averaged_bias(x, weight, grad_output):
    return grad_output @ weight, grad_output.T @ x, grad_output.mean(0)


@linear_backward.mistake(
    "you divide by the batch size. The 1/N of a mean loss belongs to the loss: it arrives inside grad_output, and "
    "a layer that divides again makes the step N times too small."
)
def averaged_twice(x, weight, grad_output):
    return grad_output @ weight, grad_output.T @ x / len(x), grad_output.mean(0)


@linear_backward.mistake(
    "grad_weight has the layout (in, out). A gradient always has the shape of what it belongs to, and weight is "
    "stored as (out, in)."
)
def weight_laid_out_as_in_out(x, weight, grad_output):
    return grad_output @ weight, x.T @ grad_output, grad_output.sum(0)


@linear_backward.mistake(
    "you sum over the batch before you multiply, so every row's gradient meets every other row's input. Each row "
    "must first be paired with its own input; the matrix product then does the sum."
)
def summed_before_pairing(x, weight, grad_output):
    return grad_output @ weight, torch.outer(grad_output.sum(0), x.sum(0)), grad_output.sum(0)


@linear_backward.mistake(
    "your bias gradient still has one row per example. One bias serves all rows, so their gradients must be added."
)
def bias_not_summed(x, weight, grad_output):
    return grad_output @ weight, grad_output.T @ x, grad_output


@linear_backward.mistake(
    "you sum the bias gradient over the outputs. Each output has a bias of its own; what must be added up are the rows."
)
def bias_summed_over_outputs(x, weight, grad_output):
    return grad_output @ weight, grad_output.T @ x, grad_output.sum(1)


@linear_backward.mistake(
    "only the last row of the batch counts in your weight and bias gradients. Add up the rows (or does your `return` "
    "stand inside the loop?)."
)
def last_row_only(x, weight, grad_output):
    return grad_output @ weight, torch.outer(grad_output[-1], x[-1]), grad_output[-1].clone()


linear_backward.hints(
    "Write down the three shapes you have and the three you need. Which products of the ones you have give those?",
    "For one row: y_o = Σ_i weight[o, i] · x_i + bias_o. What does changing x_i do to every y_o? And weight[o, i]?",
    "grad_x is a matrix product of grad_output with weight, grad_weight one of grad_output (transposed) with x; "
    "grad_bias is a sum of grad_output over one dimension.",
)


# -- ReLU --------------------------------------------------------------------------------------------------------


@define(lesson="00", points=1, outputs="grad_x", forbidden=AUTOGRAD)
def relu_backward(x, grad_output):
    """Send a gradient back through y = relu(x), element by element.

    x, grad_output: any shape, the same for both. Returns grad_x of that shape; at x = 0 the slope counts as 0.
    """
    return grad_output * (x > 0)


@relu_backward.cases
def _relu_cases(generator):
    for shape in ((5,), (3, 4), (2, 3, 4)):
        yield dict(x=randn(generator, *shape), grad_output=randn(generator, *shape))
    grid = torch.tensor([[-1.0, 0.0, 2.0], [0.0, 0.5, -0.0]], dtype=torch.float64)
    yield edge(
        "some inputs are exactly 0", stated="shut where `x` is exactly 0", x=grid, grad_output=randn(generator, 2, 3)
    )
    tiny = torch.tensor([[1e-30, -1e-30], [-1e-9, 1e-9], [2.0, -3.0]], dtype=torch.float64)
    yield edge(
        "some inputs are tiny but not 0",
        stated="open wherever `x` is positive, however small",
        x=tiny,
        grad_output=randn(generator, 3, 2),
    )


@relu_backward.typical
def _relu_typical(generator):
    return dict(x=randn(generator, 128, 64), grad_output=randn(generator, 128, 64))


@relu_backward.mistake(
    "you look at the sign of the gradient, not of the input. The gate was set on the way forward: what decides is "
    "whether x was positive then."
)
def gated_by_the_gradient(x, grad_output):
    return grad_output * (grad_output > 0)


@relu_backward.mistake(
    "you multiply by relu(x) itself. What passes the gradient on is the slope of relu at x, which is 0 or 1, not its value."
)
def multiplied_by_the_value(x, grad_output):
    return grad_output * x.clamp(min=0)


@relu_backward.mistake("you return the slopes and forget what came from above: the chain rule multiplies the two.")
def slopes_alone(x, grad_output):
    return (x > 0).to(x.dtype)


@relu_backward.mistake(
    "you let the gradient through where x is exactly 0. The convention here (and in torch) is a slope of 0 there."
)
def open_at_zero(x, grad_output):
    return grad_output * (x >= 0)


@relu_backward.mistake(
    "you apply relu to the gradient that comes back. relu belongs to the way forward; on the way back it only opens "
    "or closes, and a negative gradient passes an open gate unharmed."
)
def rectified_again(x, grad_output):
    return grad_output.clamp(min=0) * (x > 0)


@relu_backward.mistake(
    "you keep only the entries whose gate is open: indexing with `[x > 0]` picks them out into a flat vector. A gradient has "
    "the shape of what it belongs to, with a 0 wherever the gate is shut."
)
def open_entries_only(x, grad_output):
    return grad_output[x > 0]


@relu_backward.mistake(
    "a shut gate lets 1 % through: that is the slope of a leaky ReLU. The plain one has slope 0 left of 0, and nothing passes."
)
def leaking(x, grad_output):
    return torch.where(x > 0, grad_output, 0.01 * grad_output)


relu_backward.hints(
    "Draw relu. What is its slope left of 0, and what right of 0?",
    "The chain rule: grad_x = grad_output · slope. The slope is 0 or 1 and depends on x alone.",
    "A comparison gives a tensor of True and False, and multiplying by it works.",
)


# -- softmax and cross-entropy -----------------------------------------------------------------------------------


@define(lesson="00", points=2, outputs="grad_logits", forbidden=AUTOGRAD)
def softmax_cross_entropy_backward(logits, target):
    """The gradient of the mean cross-entropy with respect to the logits.

    logits: (N, classes), also as large as ±1000. target: (N,) int64, the true classes. The loss is the mean over N
    of -log softmax(logits)[target]. Returns grad_logits (N, classes).
    """
    probabilities = torch.softmax(logits, 1)
    probabilities[torch.arange(len(target)), target] -= 1
    return probabilities / len(target)


@softmax_cross_entropy_backward.cases
def _softmax_cases(generator):
    for batch, classes in ((4, 3), (6, 5), (3, 10)):
        yield _softmax_arguments(generator, batch, classes)
    yield edge("the batch has one row", stated="also of a batch of one row", **_softmax_arguments(generator, 1, 4))
    yield edge(
        "the logits are as large as ±1000",
        stated="possibly as large as ±1000",
        **_softmax_arguments(generator, 5, 7, scale=1000.0),
    )
    apart = _softmax_arguments(generator, 4, 6)
    apart["logits"] += torch.tensor([1000.0, -1000.0, 0.0, -900.0], dtype=torch.float64).unsqueeze(1)
    yield edge(
        "one row lies near 1000 and another near -1000", stated="with one row near 1000 and another near −1000", **apart
    )


@softmax_cross_entropy_backward.typical
def _softmax_typical(generator):
    return _softmax_arguments(generator, 128, 10)


def _softmax_arguments(generator, batch, classes, scale=0.0):
    logits = randn(generator, batch, classes)
    if scale:
        logits = logits.sign() * scale + logits
    return dict(logits=logits, target=torch.randint(classes, (batch,), generator=generator))


@softmax_cross_entropy_backward.mistake(
    "the sign is turned round. The loss falls when the true class's logit rises, so its gradient must be negative: "
    "predicted minus true, not true minus predicted."
)
def true_minus_predicted(logits, target):
    hot = torch.nn.functional.one_hot(target, logits.shape[1])
    return (hot - torch.softmax(logits, 1)) / len(target)


@softmax_cross_entropy_backward.mistake(
    "you leave out the division by the batch size: the loss is a mean over the N rows, so each row's gradient "
    "counts 1/N. Without it the step grows with the batch."
)
def not_averaged(logits, target):
    return torch.softmax(logits, 1) - torch.nn.functional.one_hot(target, logits.shape[1])


@softmax_cross_entropy_backward.mistake(
    "you return the probabilities without taking 1 away at the true class. Then every logit is pushed down, and "
    "nothing ever tells the network which class was right."
)
def target_forgotten(logits, target):
    return torch.softmax(logits, 1) / len(target)


@softmax_cross_entropy_backward.mistake(
    "your softmax runs over the batch instead of over the classes. Every row must sum to 1 by itself."
)
def softmax_over_the_batch(logits, target):
    hot = torch.nn.functional.one_hot(target, logits.shape[1])
    return (torch.softmax(logits, 0) - hot) / len(target)


@softmax_cross_entropy_backward.mistake(
    "right for small logits, but exp overflows when they are as large as 1000, and inf/inf is NaN. Subtract each row's "
    "largest logit first: softmax does not change, and no exponent is positive any more."
)
def exponentials_overflow(logits, target):
    powers = logits.exp()
    hot = torch.nn.functional.one_hot(target, logits.shape[1])
    return (powers / powers.sum(1, keepdim=True) - hot) / len(target)


@softmax_cross_entropy_backward.mistake(
    "you divide by the number of entries (rows times classes). The loss is a mean over the rows only; the classes of "
    "one row share one loss."
)
def averaged_over_classes_too(logits, target):
    hot = torch.nn.functional.one_hot(target, logits.shape[1])
    return (torch.softmax(logits, 1) - hot) / logits.numel()


@softmax_cross_entropy_backward.mistake(
    "you subtract one maximum for the whole batch. A row that lies far below it then has only exponentials that "
    "vanish, and 0/0 is NaN. Each row needs its own maximum."
)
def one_maximum_for_all(logits, target):
    powers = (logits - logits.max()).exp()
    hot = torch.nn.functional.one_hot(target, logits.shape[1])
    return (powers / powers.sum(1, keepdim=True) - hot) / len(target)


@softmax_cross_entropy_backward.mistake(
    "you take 1 away in every row at the targets of *all* rows. Row n has one true class, target[n]: index rows and "
    "classes together."
)
def every_target_in_every_row(logits, target):
    probabilities = torch.softmax(logits, 1)
    probabilities[:, target] -= 1
    return probabilities / len(target)


@softmax_cross_entropy_backward.mistake(
    "you take the true classes away from the *logarithms* of the probabilities. Those belong to the loss; differentiating "
    "log Σ exp gives the probabilities themselves, `torch.softmax`."
)
def from_log_probabilities(logits, target):
    hot = torch.nn.functional.one_hot(target, logits.shape[1])
    return (torch.log_softmax(logits, 1) - hot) / len(target)


@softmax_cross_entropy_backward.mistake(
    "you return the loss, one number. Asked for is its gradient: how it changes with each logit, a number for every entry "
    "of `logits`."
)
def the_loss_itself(logits, target):
    return torch.nn.functional.cross_entropy(logits, target)


@softmax_cross_entropy_backward.mistake(
    "you squash each logit by itself, with a sigmoid. The classes of a row compete for one probability, so its entries must "
    "sum to 1: softmax along dimension 1."
)
def sigmoid_for_softmax(logits, target):
    return (torch.sigmoid(logits) - torch.nn.functional.one_hot(target, logits.shape[1])) / len(target)


@softmax_cross_entropy_backward.mistake(
    "you divide by the number of classes. The loss is a mean over the rows of the batch."
)
def averaged_over_classes_only(logits, target):
    hot = torch.nn.functional.one_hot(target, logits.shape[1])
    return (torch.softmax(logits, 1) - hot) / logits.shape[1]


@softmax_cross_entropy_backward.mistake(
    "only the true class receives a gradient. The wrong ones must each be pushed down too, by their own probability."
)
def only_the_true_class(logits, target):
    hot = torch.nn.functional.one_hot(target, logits.shape[1])
    return (torch.softmax(logits, 1) - 1) * hot / len(target)


softmax_cross_entropy_backward.hints(
    "The text above derives the gradient for one row. It has a very short form: what the network predicts, compared "
    "with what is true.",
    "For one row it is softmax(logits) with 1 taken away at the true class. What does the mean over N rows add?",
    "`torch.softmax(logits, 1)` is already safe for ±1000; indexing with [torch.arange(N), target] reaches the true "
    "classes. Do not change `logits` itself.",
)


# -- what it costs -----------------------------------------------------------------------------------------------


@define(lesson="00", points=2, outputs="ratio", exact=True)
def flop_ratio(widths, batch_size, count_update):
    """FLOPs of the backward pass, and of the update if asked, for every FLOP of the forward pass.

    widths: list of int, the sizes of a dense net from input to output, without biases. Its input needs no gradient.
    batch_size: int. count_update: bool; plain SGD costs 2 FLOPs per weight. A product of a (B, m) by an (m, n) matrix
    costs 2·m·n·B FLOPs. Returns the ratio as a float.
    """
    products = [2 * m * n * batch_size for m, n in pairwise(widths)]
    backward = 2 * sum(products) - products[0]
    update = sum(products) / batch_size if count_update else 0
    return (backward + update) / sum(products)


@flop_ratio.cases
def _flop_cases(generator):
    for layers in (3, 4, 6):
        for count_update in (False, True):
            widths = torch.randint(3, 40, (layers + 1,), generator=generator).tolist()
            batch_size = int(torch.randint(2, 20, (), generator=generator))
            yield dict(widths=widths, batch_size=batch_size, count_update=count_update)
    widths = torch.randint(3, 40, (2,), generator=generator).tolist()
    yield edge(
        "the net has a single layer",
        stated="for a net of a single layer",
        widths=widths,
        batch_size=5,
        count_update=False,
    )
    yield edge(
        "the batch has one row", stated="a batch of one row", widths=[7, 5, 11, 4], batch_size=1, count_update=True
    )


def _total(widths):
    return sum(m * n for m, n in pairwise(widths))


@flop_ratio.mistake(
    "you count two products for every layer. The first layer needs only one: nobody asks for the gradient with "
    "respect to the data."
)
def gradient_of_the_data_counted(widths, batch_size, count_update):
    return 2.0 + (1 / batch_size if count_update else 0)


@flop_ratio.mistake(
    "you spare the last layer instead of the first. The one whose input needs no gradient is the one that touches the data."
)
def last_layer_spared(widths, batch_size, count_update):
    share = widths[-2] * widths[-1] / _total(widths)
    return 2 - share + (1 / batch_size if count_update else 0)


@flop_ratio.mistake(
    "you count the update once for every row of the batch. The weights are updated once a step, whatever the batch "
    "size: that is why large batches make it cheap."
)
def update_for_every_row(widths, batch_size, count_update):
    return 2 - widths[0] * widths[1] / _total(widths) + (1 if count_update else 0)


@flop_ratio.mistake(
    "you count the gradients of the weights only. Every layer but the first must also hand a gradient on to the layer "
    "below it, which is a second product of the same size."
)
def weights_only(widths, batch_size, count_update):
    return 1.0 + (1 / batch_size if count_update else 0)


@flop_ratio.mistake(
    "you return backward plus forward over forward, the cost of a whole step. The question is how much the backward pass "
    "costs for every FLOP of the forward pass alone."
)
def whole_step(widths, batch_size, count_update):
    return 3 - widths[0] * widths[1] / _total(widths) + (1 / batch_size if count_update else 0)


@flop_ratio.mistake("the update costs 2 FLOPs per weight (multiply by the learning rate, subtract); you count 1.")
def update_at_half_price(widths, batch_size, count_update):
    return 2 - widths[0] * widths[1] / _total(widths) + (0.5 / batch_size if count_update else 0)


@flop_ratio.mistake(
    "the update weighs twice too much: you count a matrix product as m·n·B, one FLOP for a multiplication *and* its addition, "
    "but the update as two FLOPs a weight. Count alike: a product costs 2·m·n·B."
)
def products_at_half_price(widths, batch_size, count_update):
    return 2 - widths[0] * widths[1] / _total(widths) + (2 / batch_size if count_update else 0)


@flop_ratio.mistake(
    "your fraction is upside down: forward over backward. How many FLOPs go backward for *each* FLOP forward? That is "
    "(backward + update) / forward, and close to 2."
)
def upside_down(widths, batch_size, count_update):
    return 1 / (2 - widths[0] * widths[1] / _total(widths) + (1 / batch_size if count_update else 0))


@flop_ratio.mistake(
    "you average over layers as if they were equally large. A layer counts by its FLOPs: add up all products backward, "
    "add up all forward, and divide once."
)
def mean_over_layers(widths, batch_size, count_update):
    return 2 - 1 / (len(widths) - 1) + (1 / batch_size if count_update else 0)


@flop_ratio.mistake("you leave the update out even when count_update is true: 2 FLOPs for every weight.")
def update_forgotten(widths, batch_size, count_update):
    return 2 - widths[0] * widths[1] / _total(widths)


@flop_ratio.mistake("you count the update even when count_update is false.")
def update_always(widths, batch_size, count_update):
    return 2 - widths[0] * widths[1] / _total(widths) + 1 / batch_size


@flop_ratio.mistake(
    "you leave the first layer's weights out of the update. Its input needs no gradient, but its weights learn like all "
    "others."
)
def first_layer_never_learns(widths, batch_size, count_update):
    share = widths[0] * widths[1] / _total(widths)
    return 2 - share + ((1 - share) / batch_size if count_update else 0)


flop_ratio.hints(
    "List the layers. For each, how many matrix products of the size of its forward product does the backward pass need?",
    "Weights: one product for every layer. Inputs: one for every layer except the first. Update: 2 FLOPs for each of "
    "the m·n weights, once, without the batch size.",
    "`zip(widths, widths[1:])` gives the (m, n) of each layer. Ratio = (2·forward − first layer + update) / forward.",
)
