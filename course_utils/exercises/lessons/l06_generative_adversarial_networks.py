"""Exercises of lesson 06: the two players' losses, the best discriminator, one step of it, modes, and first weights."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.boxed.fixtures import Fixture
from course_utils.exercises.define import Case, define, edge, randn
from course_utils.exercises.lessons import chance

CONSTANTS = (1e-6, 1e-7, 1e-8, 1e-10, 1e-12)  # what people add to a probability before they take its logarithm

# -- 6.1 -----------------------------------------------------------------------------------------------------------


@define(lesson="06", points=1, outputs="loss", gradients=("real_logits", "fake_logits"))
def discriminator_loss(real_logits, fake_logits):
    """The discriminator's loss in nats: the mean binary cross-entropy of real ones, plus that of fake ones.

    real_logits, fake_logits: logits of "this is real", any shape; sigmoid(logit) is the probability D.
    Returns a scalar, the mean of −log D over the real ones plus the mean of −log(1 − D) over the fake ones. It is finite
    and right for logits as large as ±300.
    """
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


@discriminator_loss.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape in ((5,), (4, 1), (2, 3)):
        yield dict(real_logits=2 * randn(generator, *shape) + 1, fake_logits=2 * randn(generator, *shape) - 1)
    unequal = dict(real_logits=2 * randn(generator, 7) + 1, fake_logits=2 * randn(generator, 3) - 1)
    yield edge(
        "real and fake ones are not equally many", stated="real and fake ones need not be equally many", **unequal
    )
    far = 300 * torch.tensor([1.0, -1.0, 1.0, 0.9], dtype=torch.float64)
    yield edge(
        "the logits are as large as ±300",
        stated="right for logits as large as ±300",
        real_logits=far + randn(generator, 4),
        fake_logits=far.flip(0),
    )


@discriminator_loss.typical
def _(generator: torch.Generator) -> dict:
    return dict(real_logits=randn(generator, 128), fake_logits=randn(generator, 128))


@discriminator_loss.mistake(
    "exactly half of it: you average the two halves. They are added here, so that a discriminator which knows nothing "
    "(D = ½ everywhere) has the loss 2 log 2 = 1.386."
)
def halves_averaged(real_logits, fake_logits):
    return 0.5 * (F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean())


@discriminator_loss.mistake(
    "you put real and fake ones into one heap and average over all of it. Then the larger group has more to say; each half "
    "has a mean of its own, and the two means are added."
)
def one_heap(real_logits, fake_logits):
    return torch.cat([F.softplus(-real_logits).flatten(), F.softplus(fake_logits).flatten()]).mean()


@discriminator_loss.mistake(
    "the labels are exchanged: you reward the discriminator for calling real ones fake. Real ones have the label 1 and cost "
    "−log D; fake ones have the label 0 and cost −log(1 − D)."
)
def labels_exchanged(real_logits, fake_logits):
    return F.softplus(real_logits).mean() + F.softplus(-fake_logits).mean()


@discriminator_loss.mistake(
    "both halves have the label 1. The discriminator would learn to call everything real; the fake ones have the label 0 "
    "and cost −log(1 − D)."
)
def everything_is_real(real_logits, fake_logits):
    return F.softplus(-real_logits).mean() + F.softplus(-fake_logits).mean()


@discriminator_loss.mistake("only the real ones count. Without the other half, calling everything real costs nothing.")
def no_fakes(real_logits, fake_logits):
    return F.softplus(-real_logits).mean()


@discriminator_loss.mistake("only the fake ones count. Without the other half, calling everything fake costs nothing.")
def no_reals(real_logits, fake_logits):
    return F.softplus(fake_logits).mean()


@discriminator_loss.mistake(
    "this is the value that the discriminator *maximises*, log D + log(1 − D). A loss is minimised: turn the sign around."
)
def maximised(real_logits, fake_logits):
    return -(F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean())


@discriminator_loss.mistake(
    "right for tame logits, infinite for large ones: `sigmoid` rounds to exactly 0 or 1, of which a logarithm is then taken, "
    "and `exp` overflows. Stay with the logits: −log σ(x) = softplus(−x), or use `F.binary_cross_entropy_with_logits`."
)
def through_the_probability(real_logits, fake_logits):
    real, fake = torch.sigmoid(real_logits), torch.sigmoid(fake_logits)
    return -torch.log(real).mean() - torch.log(1 - fake).mean()


@discriminator_loss.mistake(
    "right for tame logits, but `F.binary_cross_entropy` works on probabilities, which round to 0 and 1, and then cuts the "
    "logarithm off at −100: a logit of 300 costs 300, not 100, and its gradient must not vanish. Use "
    "`F.binary_cross_entropy_with_logits`."
)
def cut_off_at_one_hundred(real_logits, fake_logits):
    real, fake = torch.sigmoid(real_logits), torch.sigmoid(fake_logits)
    return F.binary_cross_entropy(real, torch.ones_like(real)) + F.binary_cross_entropy(fake, torch.zeros_like(fake))


def _constant_in_the_discriminator(constant: float) -> None:
    """The mistake of writing log(D + constant), so that log 0 does not occur."""

    def wrong(real_logits, fake_logits):
        real, fake = torch.sigmoid(real_logits), torch.sigmoid(fake_logits)
        return -torch.log(real + constant).mean() - torch.log(1 - fake + constant).mean()

    wrong.__name__ = f"logarithm_of_d_plus_{constant:.0e}"
    discriminator_loss.mistake(
        f"you add {constant:.0e} to the probability before you take its logarithm. That keeps the loss finite, but changes "
        f"every value a little, and no logit costs more than −log {constant:.0e} = {-math.log(constant):.1f}, where one of "
        "300 on the wrong side should cost 300 and pull with full gradient. Stay with the logits: −log σ(x) = softplus(−x)."
    )(wrong)


for _constant in CONSTANTS:
    _constant_in_the_discriminator(_constant)


def _discriminator_kept_inside(constant: float) -> None:
    """The mistake of cutting D off at a constant from 0 and 1, so that log 0 does not occur."""

    def kept_above(real_logits, fake_logits):
        real, fake = (torch.sigmoid(logits).clamp(constant, 1 - constant) for logits in (real_logits, fake_logits))
        return -torch.log(real).mean() - torch.log(1 - fake).mean()

    kept_above.__name__ = f"d_kept_above_{constant:.0e}"
    discriminator_loss.mistake(
        f"right for tame logits, but you keep the probability above {constant:.0e}: no logit costs more than −log "
        f"{constant:.0e} = {-math.log(constant):.1f}, where one of 300 on the wrong side should cost 300 and pull with full "
        "gradient. Stay with the logits: −log σ(x) = softplus(−x)."
    )(kept_above)


for _constant in (1e-6, 1e-7):  # nearer to 1 there is no number in single precision
    _discriminator_kept_inside(_constant)


@discriminator_loss.mistake(
    "you sum over the batch. A mean over each half makes the loss, and with it the learning rate that suits, independent of "
    "the batch size."
)
def summed(real_logits, fake_logits):
    return F.softplus(-real_logits).sum() + F.softplus(fake_logits).sum()


@discriminator_loss.mistake(
    "these are squared errors of the logits, as in the least-squares GAN. Binary cross-entropy is asked for: −log D and "
    "−log(1 − D)."
)
def least_squares(real_logits, fake_logits):
    return (real_logits - 1).square().mean() + fake_logits.square().mean()


@discriminator_loss.mistake(
    "`F.binary_cross_entropy_with_logits` applies the sigmoid itself; you give it probabilities instead of logits, so the "
    "sigmoid is applied twice."
)
def sigmoid_twice(real_logits, fake_logits):
    real, fake = torch.sigmoid(real_logits), torch.sigmoid(fake_logits)
    return F.softplus(-real).mean() + F.softplus(fake).mean()


@discriminator_loss.mistake(
    "the real ones have the label 0.9 instead of 1. Smoothing this label is a known remedy (Salimans et al. 2016), but not "
    "the loss that is asked for: −log D for real ones."
)
def smoothed(real_logits, fake_logits):
    return discriminator_loss(real_logits, fake_logits) + 0.1 * real_logits.mean()


@discriminator_loss.mistake(
    "logits and labels have changed places: `F.binary_cross_entropy_with_logits` takes the logits first, and the ones or zeros "
    "as its target."
)
def labels_first(real_logits, fake_logits):
    cross_entropy = F.binary_cross_entropy_with_logits
    real = cross_entropy(torch.ones_like(real_logits), real_logits)
    return real + cross_entropy(torch.zeros_like(fake_logits), fake_logits)


@discriminator_loss.mistake(
    "you use the logits themselves, as a Wasserstein critic's scores (lesson 07). Here the loss is −log D and −log(1 − D), with "
    "D = σ(logit)."
)
def raw_logits(real_logits, fake_logits):
    return fake_logits.mean() - real_logits.mean()


@discriminator_loss.mistake(
    "you take the logarithm of the mean probability. Each image has a loss of its own, −log D or −log(1 − D); the mean comes "
    "last."
)
def logarithms_of_means(real_logits, fake_logits):
    return -torch.log(torch.sigmoid(real_logits).mean()) - torch.log(1 - torch.sigmoid(fake_logits).mean())


discriminator_loss.hints(
    "Two sums with two labels: the real ones should be called 1, the fake ones 0. Each is a mean of its own.",
    "−log σ(x) = log(1 + e^(−x)) = softplus(−x). And 1 − σ(x) = σ(−x), so −log(1 − σ(x)) = softplus(x). Softplus never "
    "overflows.",
    "F.softplus(−real).mean() + F.softplus(fake).mean(), or twice `F.binary_cross_entropy_with_logits`, with ones and zeros.",
)

# -- 6.2 -----------------------------------------------------------------------------------------------------------


@define(lesson="06", points=1, outputs="d")
def best_discriminator(p_data, p_generator):
    """The discriminator that no other beats, where both densities are known.

    p_data, p_generator: the two densities at the same points, any shape, positive.
    Returns D of the same shape: the probability that a point is real, if real and fake ones are equally many.
    """
    return p_data / (p_data + p_generator)


@best_discriminator.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape in ((6,), (3, 4), (5, 1), (2, 3, 2)):
        yield dict(p_data=randn(generator, *shape).exp(), p_generator=randn(generator, *shape).exp())
    p_data, p_generator = (6 * randn(generator, 2, 7).abs()).exp()
    yield dict(p_data=p_data, p_generator=p_generator)  # one is larger than the other by far
    tiny = 1e-20 * randn(generator, 5).exp()
    yield edge("both densities are tiny", stated="may be tiny", p_data=tiny, p_generator=tiny.flip(0) * 3)


@best_discriminator.typical
def _(generator: torch.Generator) -> dict:
    return dict(p_data=randn(generator, 400).exp(), p_generator=randn(generator, 400).exp())


@best_discriminator.mistake(
    "this is the ratio of the densities, which runs from 0 to infinity. D is a probability: divide by the sum of both."
)
def ratio(p_data, p_generator):
    return p_data / p_generator


@best_discriminator.mistake(
    "this is the probability of being *fake*. D says how likely a point is real: the data's density stands on top."
)
def probability_of_fake(p_data, p_generator):
    return p_generator / (p_data + p_generator)


@best_discriminator.mistake(
    "this is the logit, log p_data − log p_generator. D is its sigmoid, p_data / (p_data + p_generator)."
)
def logit(p_data, p_generator):
    return p_data.log() - p_generator.log()


@best_discriminator.mistake(
    "you take the sigmoid of the densities' difference. The logit of the best D is the difference of their *logarithms*."
)
def sigmoid_of_difference(p_data, p_generator):
    return torch.sigmoid(p_data - p_generator)


@best_discriminator.mistake(
    "you decide hard, 1 or 0. The best D says how sure it can be: where both densities are equal, it says ½."
)
def hard_decision(p_data, p_generator):
    return (p_data > p_generator).to(p_data)


@best_discriminator.mistake(
    "you average the two densities. The value divides by that mixture's two halves: D = p_data / (p_data + p_generator)."
)
def mixture(p_data, p_generator):
    return 0.5 * (p_data + p_generator)


@best_discriminator.mistake(
    "twice too large: you divide by the *mean* of the two densities. D would reach 2, and a probability ends at 1."
)
def by_the_mean(p_data, p_generator):
    return 2 * p_data / (p_data + p_generator)


@best_discriminator.mistake(
    "you normalise the densities over the points first. They are densities already, and D looks at each point by itself."
)
def normalised_over_points(p_data, p_generator):
    p, q = p_data / p_data.sum(), p_generator / p_generator.sum()
    return p / (p + q)


def _constant_in_the_denominator(constant: float) -> None:
    """The mistake of adding a constant, so that nothing is divided by 0."""

    def wrong(p_data, p_generator):
        return p_data / (p_data + p_generator + constant)

    wrong.__name__ = f"denominator_plus_{constant:.0e}"
    best_discriminator.mistake(
        f"the {constant:.0e} that you add to the denominator is not small where both densities are: there your D falls to 0. "
        "The densities are positive; nothing needs to be added."
    )(wrong)


for _constant in CONSTANTS:
    _constant_in_the_denominator(_constant)


best_discriminator.hints(
    "Fix one point x. The value contributes p_data(x) log D + p_generator(x) log(1 − D). Which D makes this largest?",
    "Set the derivative to zero: p_data / D = p_generator / (1 − D).",
    "D = p_data / (p_data + p_generator).",
)

# -- 6.3 -----------------------------------------------------------------------------------------------------------


@define(lesson="06", points=1, outputs="loss", gradients=("fake_logits",))
def generator_loss(fake_logits):
    """The generator's non-saturating loss in nats: the mean of −log D over the fakes.

    fake_logits: the discriminator's logits of "this is real" for the generator's images, any shape.
    Returns a scalar. It is finite and right for logits as large as ±300.
    """
    return F.softplus(-fake_logits).mean()


@generator_loss.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape in ((5,), (4, 1), (7,), (2, 3)):
        yield dict(fake_logits=2 * randn(generator, *shape) - 1)
    far = 300 * torch.tensor([1.0, -1.0, -0.8, 0.9], dtype=torch.float64)
    yield edge(
        "the logits are as large as ±300",
        stated="right for logits as large as ±300",
        fake_logits=far + randn(generator, 4),
    )


@generator_loss.typical
def _(generator: torch.Generator) -> dict:
    return dict(fake_logits=randn(generator, 128))


@generator_loss.mistake(
    "this is the saturating loss, log(1 − D). Its gradient vanishes just where the generator needs it, when D sees through "
    "every fake. The non-saturating loss is −log D."
)
def saturating(fake_logits):
    return -F.softplus(fake_logits).mean()


@generator_loss.mistake(
    "this is the saturating loss of the minimax game, log(1 − D), and infinite for large logits besides, where D rounds to 1. Its "
    "gradient vanishes just where the generator needs it, when D sees through every fake. The non-saturating loss is −log D, "
    "and safe as softplus(−logit)."
)
def saturating_through_the_probability(fake_logits):
    return torch.log(1 - torch.sigmoid(fake_logits)).mean()


@generator_loss.mistake(
    "the logarithm is missing: you average −D. Its gradient, −D(1 − D), vanishes when D sees through every fake; that of "
    "−log D does not."
)
def logarithm_missing(fake_logits):
    return -torch.sigmoid(fake_logits).mean()


@generator_loss.mistake(
    "`F.binary_cross_entropy_with_logits` applies the sigmoid itself; you give it probabilities, so the sigmoid is applied "
    "twice."
)
def sigmoid_applied_twice(fake_logits):
    return F.softplus(-torch.sigmoid(fake_logits)).mean()


def _constant_in_the_generator(constant: float) -> None:
    """The mistakes of writing log(D + constant), or log(1 − D + constant), so that log 0 does not occur."""

    def wrong(fake_logits):
        return -torch.log(torch.sigmoid(fake_logits) + constant).mean()

    def saturating(fake_logits):
        return torch.log(1 - torch.sigmoid(fake_logits) + constant).mean()

    wrong.__name__ = f"logarithm_of_d_plus_{constant:.0e}"
    generator_loss.mistake(
        f"you add {constant:.0e} to the probability before you take its logarithm. That keeps the loss finite, but changes "
        f"every value a little, and no fake costs more than −log {constant:.0e} = {-math.log(constant):.1f}: one at a logit "
        "of −300 should cost 300 and pull with full gradient. Stay with the logits: −log σ(x) = softplus(−x)."
    )(wrong)
    saturating.__name__ = f"saturating_plus_{constant:.0e}"
    generator_loss.mistake(
        "this is the saturating loss of the minimax game, log(1 − D). Its gradient vanishes just where the generator needs "
        "it, when D sees through every fake. The non-saturating loss is −log D. (And the "
        f"{constant:.0e} that you add keeps it finite, but cuts it off; softplus needs no constant.)"
    )(saturating)


for _constant in CONSTANTS:
    _constant_in_the_generator(_constant)


def _fakes_kept_above(constant: float) -> None:
    """The mistake of cutting D off at a constant, so that log 0 does not occur."""

    def kept_above(fake_logits):
        return -torch.log(torch.sigmoid(fake_logits).clamp(min=constant)).mean()

    kept_above.__name__ = f"d_kept_above_{constant:.0e}"
    generator_loss.mistake(
        f"right for tame logits, but you keep the probability above {constant:.0e}: no fake costs more than −log {constant:.0e} "
        f"= {-math.log(constant):.1f}, where one at a logit of −300 should cost 300 and pull with full gradient. Stay with the "
        "logits: −log σ(x) = softplus(−x)."
    )(kept_above)


for _constant in CONSTANTS[:3]:  # smaller ones do what log(D + constant) does
    _fakes_kept_above(_constant)


@generator_loss.mistake(
    "this is the discriminator's half, −log(1 − D): it would train the generator to be found out. The generator wants its "
    "fakes to be called real, so the label is 1."
)
def wants_to_be_found_out(fake_logits):
    return F.softplus(fake_logits).mean()


@generator_loss.mistake("the sign is wrong: log D is what the generator maximises. A loss is minimised: −log D.")
def maximised_by_the_generator(fake_logits):
    return -F.softplus(-fake_logits).mean()


@generator_loss.mistake(
    "you use the logits themselves, as a Wasserstein critic's scores (lesson 07). Here the loss is −log D, with D = σ(logit)."
)
def raw_scores(fake_logits):
    return -fake_logits.mean()


@generator_loss.mistake("you sum over the batch. The mean makes the loss independent of the batch size.")
def summed_fakes(fake_logits):
    return F.softplus(-fake_logits).sum()


@generator_loss.mistake(
    "you take the logarithm of the mean probability. Each fake has a loss of its own, −log D; the mean comes last."
)
def logarithm_of_the_mean(fake_logits):
    return -torch.log(torch.sigmoid(fake_logits).mean())


@generator_loss.mistake(
    "right for tame logits, infinite far below 0: there `sigmoid(x)` rounds to 0, of which a logarithm is then taken, and "
    "`exp(-x)` overflows. Stay with the logits: −log σ(x) = softplus(−x)."
)
def through_the_probability_of_fakes(fake_logits):
    return -torch.log(torch.sigmoid(fake_logits)).mean()


@generator_loss.mistake(
    "right for tame logits, but `F.binary_cross_entropy` cuts the logarithm off at −100, and the gradient with it. Use "
    "`F.binary_cross_entropy_with_logits`."
)
def fakes_cut_off_at_one_hundred(fake_logits):
    fake = torch.sigmoid(fake_logits)
    return F.binary_cross_entropy(fake, torch.ones_like(fake))


@generator_loss.mistake(
    "the logarithm is missing: you average 1 − D. Its gradient, −D(1 − D), vanishes when D sees through every fake; that of "
    "−log D does not."
)
def one_minus_d(fake_logits):
    return (1 - torch.sigmoid(fake_logits)).mean()


@generator_loss.mistake("you take the loss of the mean logit. Each fake has a loss of its own; the mean comes last.")
def loss_of_the_mean(fake_logits):
    return F.softplus(-fake_logits.mean())


@generator_loss.mistake(
    "this is the squared error of the logits, as in the least-squares GAN. Cross-entropy is asked for: −log D."
)
def least_squares_of_fakes(fake_logits):
    return (fake_logits - 1).square().mean()


generator_loss.hints(
    "The generator wants the discriminator to say 1. What does that cost, as a cross-entropy, when it says D?",
    "−log D with D = σ(x) is log(1 + e^(−x)), which torch calls softplus(−x).",
    "F.softplus(−fake_logits).mean()",
)

# -- 6.4 -----------------------------------------------------------------------------------------------------------


@define(lesson="06", points=3, outputs="loss", updates=("discriminator",), exact=True)
def discriminator_step(discriminator, generator_net, real, noise, optimizer):
    """The discriminator's turn: one update by `discriminator_loss`; the generator is not touched.

    discriminator: a network, images (batch, ...) -> logits (batch,). generator_net: a network, noise -> images.
    real: a batch of real images. noise: a batch of the generator's inputs. optimizer: that of the discriminator.
    Real and fake images go through the discriminator in separate passes, the fake ones without a graph to the generator.
    Gradients of earlier steps do not count.
    Returns the loss before the update, as a plain number.
    """
    with torch.no_grad():
        fake = generator_net(noise)
    loss = discriminator_loss(discriminator(real), discriminator(fake))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def _players(generator: torch.Generator, kind: str, batch: int, pixels: int, latent: int, norm: bool) -> dict:
    seed = int(torch.randint(2**31, (), generator=generator))
    sizes, stale = ("sizes", (pixels, 5, 1)), ("stale", True)
    return dict(
        discriminator=Fixture("network", seed, (sizes, ("batch_norm", norm), stale)),
        generator_net=Fixture("network", seed + 1, (("sizes", (latent, 6, pixels)),)),
        real=randn(generator, batch, pixels) + 1,
        noise=randn(generator, batch, latent),
        optimizer=Fixture(kind, of="discriminator"),
    )


@discriminator_step.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for kind, batch, pixels, latent in (("sgd", 6, 4, 2), ("adam", 5, 3, 2), ("sgd", 4, 2, 3)):
        yield _players(generator, kind, batch, pixels, latent, norm=False)
    for kind, batch in (("sgd", 6), ("adam", 7)):
        normed = _players(generator, kind, batch, 4, 3, norm=True)
        yield edge(
            "the discriminator uses batch normalisation", stated="either network may use batch normalisation", **normed
        )
    touched = _players(generator, "sgd", 5, 3, 4, norm=False)
    yield touched | dict(
        generator_net=replace(touched["generator_net"], options=(("sizes", (4, 6, 3)), ("stale", True)))
    )
    normed = _players(generator, "sgd", 7, 3, 3, norm=False)
    layer = Fixture("layer", 0, (("name", "BatchNorm1d"), ("arguments", (3,))))
    yield edge(
        "the generator uses batch normalisation",
        stated="either network may use batch normalisation",
        **(normed | dict(generator_net=layer)),
    )


@discriminator_step.typical
def _(generator: torch.Generator) -> dict:
    return _players(generator, "adam", 128, 784, 64, norm=True)


def _update(loss: Tensor, optimizer: torch.optim.Optimizer) -> float:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@discriminator_step.mistake(
    "the discriminator is trained as it should be, but the loss flows back into the generator and leaves gradients there, "
    "which its own turn would have to clear. Cut the graph: make the fakes under `torch.no_grad()`, or `.detach()` them."
)
def graph_to_the_generator(discriminator, generator_net, real, noise, optimizer):
    return _update(discriminator_loss(discriminator(real), discriminator(generator_net(noise))), optimizer)


@discriminator_step.mistake(
    "gradients of the step before are still there and are added to the new ones. Call `optimizer.zero_grad()` before "
    "`backward()`."
)
def old_gradients_kept(discriminator, generator_net, real, noise, optimizer):
    loss = discriminator_loss(discriminator(real), discriminator(generator_net(noise).detach()))
    loss.backward()
    optimizer.step()
    return loss.item()


@discriminator_step.mistake(
    "the discriminator's weights are as they were. Either `optimizer.step()` is missing, or the gradients are cleared "
    "between `backward()` and `step()`, or never arrive: compute the loss outside of `no_grad`, from logits that keep "
    "their graph."
)
def nothing_learned(discriminator, generator_net, real, noise, optimizer):
    loss = discriminator_loss(discriminator(real), discriminator(generator_net(noise).detach()))
    return loss.item()


@discriminator_step.mistake(
    "right without batch normalisation, wrong with it: you send real and fake images through the discriminator in one "
    "batch, so that each is normalised by the mean and variance of the mixture. Two batches, two passes."
)
def one_pass(discriminator, generator_net, real, noise, optimizer):
    logits = discriminator(torch.cat([real, generator_net(noise).detach()]))
    return _update(discriminator_loss(logits[: len(real)], logits[len(real) :]), optimizer)


@discriminator_step.mistake(
    "you lay real and fake images in one heap: one pass through the discriminator, in which batch normalisation would mix "
    "them, and one mean over all labels, which is half of `discriminator_loss`. Two passes, and the two means are added."
)
def one_pass_one_mean(discriminator, generator_net, real, noise, optimizer):
    logits = discriminator(torch.cat([real, generator_net(noise).detach()]))
    labels = (torch.arange(len(logits), device=logits.device) < len(real)).to(logits)
    return _update(F.binary_cross_entropy_with_logits(logits, labels), optimizer)


@discriminator_step.mistake(
    "the gradients of the generator are gone: you clear them. In the discriminator's turn nothing of the generator is "
    "touched, neither its weights nor their gradients. Where a graph leads to it, cut that (`torch.no_grad()`, `.detach()`), "
    "instead of clearing up behind it."
)
def generator_cleared(discriminator, generator_net, real, noise, optimizer):
    generator_net.zero_grad()
    return _update(discriminator_loss(discriminator(real), discriminator(generator_net(noise).detach())), optimizer)


@discriminator_step.mistake(
    "you make the fakes in evaluation mode. Batch normalisation then takes its running statistics instead of those of the "
    "batch, so that the discriminator learns from other images than it will be shown in the generator's turn. Leave the mode "
    "as it is: without a graph is enough."
)
def fakes_in_evaluation_mode(discriminator, generator_net, real, noise, optimizer):
    training = generator_net.training
    generator_net.eval()
    fake = generator_net(noise).detach()
    generator_net.train(training)
    return _update(discriminator_loss(discriminator(real), discriminator(fake)), optimizer)


@discriminator_step.mistake(
    "the update is right, but you return the loss *after* it, computed anew. The loss before the update costs nothing "
    "more, and is what the discriminator said in this turn."
)
def loss_after_the_update(discriminator, generator_net, real, noise, optimizer):
    fake = generator_net(noise).detach()
    _update(discriminator_loss(discriminator(real), discriminator(fake)), optimizer)
    return discriminator_loss(discriminator(real), discriminator(fake)).item()


@discriminator_step.mistake(
    "real and fake change places: the discriminator learns to call the generator's images real. `discriminator_loss` takes "
    "the real ones' logits first."
)
def real_and_fake_exchanged(discriminator, generator_net, real, noise, optimizer):
    return _update(discriminator_loss(discriminator(generator_net(noise).detach()), discriminator(real)), optimizer)


@discriminator_step.mistake(
    "this is the generator's loss, which rewards fakes that are called real. It is the discriminator's turn: "
    "`discriminator_loss`, with real and fake ones."
)
def the_generators_loss(discriminator, generator_net, real, noise, optimizer):
    return _update(generator_loss(discriminator(generator_net(noise).detach())), optimizer)


@discriminator_step.mistake(
    "you climb: the loss grows. The optimiser goes downhill by itself, so call `backward()` on the loss, not on its negative."
)
def uphill(discriminator, generator_net, real, noise, optimizer):
    return -_update(-discriminator_loss(discriminator(real), discriminator(generator_net(noise).detach())), optimizer)


@discriminator_step.mistake(
    "the real and the fake half take a step each. One turn is one step on the sum of both: after the first step the "
    "discriminator is another one."
)
def a_step_for_each_half(discriminator, generator_net, real, noise, optimizer):
    first = _update(F.softplus(-discriminator(real)).mean(), optimizer)
    return first + _update(F.softplus(discriminator(generator_net(noise).detach())).mean(), optimizer)


@discriminator_step.mistake(
    "you halve the loss. `discriminator_loss` adds the two halves; half of it also halves every step of plain gradient "
    "descent."
)
def loss_halved(discriminator, generator_net, real, noise, optimizer):
    fake = generator_net(noise).detach()
    return _update(0.5 * discriminator_loss(discriminator(real), discriminator(fake)), optimizer)


discriminator_step.hints(
    "Five lines: make the fakes, score both batches, clear the old gradients, go backward, step. Which of them must not "
    "leave a trace at the generator?",
    "`with torch.no_grad(): fake = generator_net(noise)`, then `loss = discriminator_loss(discriminator(real), "
    "discriminator(fake))`.",
    "Then optimizer.zero_grad(), loss.backward(), optimizer.step(), return loss.item().",
)

# -- 6.5 -----------------------------------------------------------------------------------------------------------


@define(lesson="06", points=2, outputs="covered")
def modes_covered(samples, centres, radius, at_least):
    """How many modes the samples cover.

    samples: (N, d) points. centres: (modes, d), the middle of each mode. A sample belongs to its nearest centre, if the
    Euclidean distance to it is at most `radius`; otherwise to none. A mode is covered when at least `at_least` samples
    belong to it.
    Returns the number of covered modes, an int.
    """
    distances, nearest = torch.cdist(samples, centres).min(1)
    counts = torch.bincount(nearest[distances <= radius])
    return int((counts >= at_least).sum())


def _clouds(generator: torch.Generator, counts: tuple[int, ...], d: int, spread: float) -> dict:
    """Around each of the centres so many samples, most within a radius of 1, and the sizes to count them by."""
    centres = 2.5 * randn(generator, len(counts), d)
    samples = torch.cat([c + spread * randn(generator, n, d) for c, n in zip(centres, counts, strict=True)])
    order = torch.randperm(len(samples), generator=generator)
    return dict(samples=samples[order], centres=centres, radius=1.0, at_least=4)


def _heaps(generator: torch.Generator, centres: tuple, places: tuple, radius: float = 1.0) -> dict:
    """Five samples in a heap at each of these places, all of it moved somewhere else."""
    middles, somewhere = torch.tensor(centres, dtype=torch.float64), randn(generator, len(centres[0]))
    samples = torch.tensor(places, dtype=torch.float64).repeat(5, 1)
    samples = samples + 0.01 * randn(generator, *samples.shape)
    return dict(samples=samples + somewhere, centres=middles + somewhere, radius=radius, at_least=4)


@modes_covered.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for counts, d in (((4, 9, 1, 3, 6), 2), ((3, 4, 2, 12, 5, 4, 0), 2), ((7, 4, 4, 2), 3), ((5, 30, 3, 8), 2)):
        yield _clouds(generator, counts, d, 0.2)
    for spread in (0.7, 1.0):
        yield _clouds(generator, (6, 12, 4, 9, 8, 7), 2, spread)
    yield _clouds(generator, (9, 20, 4), 3, 0.5) | dict(radius=0.6, at_least=2)
    yield _heaps(generator, ((0, 0, 0), (0, 0, 9), (0, 0, 9.8)), ((0, 0, 0.5), (0, 0, 9.3), (0, 0, 10.3)))
    overlapping = _heaps(generator, ((0, 0), (1.4, 0), (2.1, 0)), ((0, 0.2), (0.8, 0.1), (2.3, 0.3)))
    yield overlapping  # two of the heaps lie within the radius of two centres
    yield overlapping | dict(centres=overlapping["centres"].flip(0))
    yield _heaps(generator, ((2.95, 0), (2, 2)), ((0, 0),), radius=2.9)  # nearest is another one by |x| + |y|
    apart = torch.tensor([[0.0, 0.0], [20.0, 0.0], [0.0, 30.0]], dtype=torch.float64)
    on_the_edge = torch.tensor([[3.0, 4.0], [-4.0, 3.0], [20.0, 5.0], [20.0, 0.0]], dtype=torch.float64)
    yield edge(
        "samples lie exactly at the radius",
        stated="at most `radius`",
        samples=on_the_edge,
        centres=apart,
        radius=5.0,
        at_least=2,
    )
    yield edge(
        "no sample is near a centre",
        stated="a centre without samples must not make the count stumble",
        samples=on_the_edge + 100,
        centres=apart,
        radius=5.0,
        at_least=1,
    )


@modes_covered.typical
def _(generator: torch.Generator) -> dict:
    return _clouds(generator, (125,) * 8, 2, 0.3)


def _belonging(samples: Tensor, centres: Tensor, radius: float) -> Tensor:
    """How many samples belong to each centre."""
    distances, nearest = torch.cdist(samples, centres).min(1)
    return torch.bincount(nearest[distances <= radius], minlength=len(centres))


@modes_covered.mistake(
    "a sample that lies within the radius of two centres counts for both. It belongs to the nearest one only."
)
def counted_for_every_centre(samples, centres, radius, at_least):
    return int(((torch.cdist(samples, centres) <= radius).sum(0) >= at_least).sum())


@modes_covered.mistake(
    "the radius is not looked at: every sample counts for its nearest centre, however far away it is. A sample between the "
    "modes belongs to none."
)
def radius_forgotten(samples, centres, radius, at_least):
    return modes_covered.reference(samples, centres, float("inf"), at_least)


@modes_covered.mistake("one sample near a mode is enough for you. A mode is covered by `at_least` samples or more.")
def one_is_enough(samples, centres, radius, at_least):
    return modes_covered.reference(samples, centres, radius, 1)


@modes_covered.mistake("`>` where `>=` belongs: exactly `at_least` samples are enough.")
def more_than_at_least(samples, centres, radius, at_least):
    return modes_covered.reference(samples, centres, radius, at_least + 1)


@modes_covered.mistake("right, but a sample exactly at the radius belongs to its centre too: `<=`, not `<`.")
def strictly_within(samples, centres, radius, at_least):
    distances, nearest = torch.cdist(samples, centres).min(1)
    counts = torch.bincount(nearest[distances < radius], minlength=len(centres))
    return int((counts >= at_least).sum())


@modes_covered.mistake(
    "you compare the *squared* distance with the radius. Take the root, or square the radius: only for a radius of 1 are "
    "both the same."
)
def squared_distance(samples, centres, radius, at_least):
    return modes_covered.reference(samples, centres, radius**0.5, at_least)


@modes_covered.mistake(
    "you measure each coordinate by itself, so that a mode is a square. The distance is Euclidean: the root of the sum of "
    "the squares."
)
def square_modes(samples, centres, radius, at_least):
    distances, nearest = torch.cdist(samples, centres, p=float("inf")).min(1)
    counts = torch.bincount(nearest[distances <= radius], minlength=len(centres))
    return int((counts >= at_least).sum())


@modes_covered.mistake(
    "you add up the absolute differences of the coordinates. The distance is Euclidean: the root of the sum of the squares."
)
def city_blocks(samples, centres, radius, at_least):
    distances, nearest = torch.cdist(samples, centres, p=1).min(1)
    counts = torch.bincount(nearest[distances <= radius], minlength=len(centres))
    return int((counts >= at_least).sum())


@modes_covered.mistake(
    "a sample goes to the first centre in whose radius it lies. Where two of them overlap, it belongs to the nearer one."
)
def first_within_the_radius(samples, centres, radius, at_least):
    near = torch.cdist(samples, centres) <= radius
    first = near & (near.cumsum(1) == 1)
    return int((first.sum(0) >= at_least).sum())


@modes_covered.mistake(
    "you count samples, not modes: how many lie near a centre says nothing about how many centres have some."
)
def samples_counted(samples, centres, radius, at_least):
    return int(_belonging(samples, centres, radius).sum())


@modes_covered.mistake("you return the share of the modes. Their number is asked for, an int.")
def share_of_the_modes(samples, centres, radius, at_least):
    return float((_belonging(samples, centres, radius) >= at_least).double().mean())


modes_covered.hints(
    "First, for each sample: which centre is nearest, and how far is it? `torch.cdist(samples, centres)` gives all "
    "distances, (N, modes).",
    "`.min(1)` gives both the distance and the index. Keep the indices of the samples within the radius, and count how "
    "often each occurs: `torch.bincount`.",
    "int((counts >= at_least).sum())",
)

# -- 6.6 -----------------------------------------------------------------------------------------------------------

SPREAD = 0.02  # the standard deviation of DCGAN's first weights


@define(lesson="06", points=2, outputs="nothing", updates=("module",))
def dcgan_init(module, generator):
    """Give one layer DCGAN's first weights, in place: write it for use through `network.apply(...)`.

    module: any layer. Of an nn.Conv2d or nn.ConvTranspose2d, the weights become normal with mean 0 and standard deviation
    0.02; of an nn.BatchNorm2d, the scales (its `weight`) become normal with mean 1 and standard deviation 0.02. Biases of
    these layers become 0, where there are any. Every other layer stays as it is.
    generator: a torch.Generator, from which all numbers are drawn.
    Returns nothing.
    """
    with torch.no_grad():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.weight.normal_(0.0, 0.02, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.normal_(1.0, 0.02, generator=generator)
        else:
            return
        if module.bias is not None:
            module.bias.zero_()


@dcgan_init.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    seed = int(torch.randint(2**31, (), generator=generator))

    def case(name: str, *arguments: Any, again: int = 0, drawn_by: Fixture | None = None, **named: Any) -> dict:
        options = (("name", name), ("arguments", arguments), *named.items())
        drawn_by = drawn_by or Fixture("generator", seed + again)
        return dict(module=Fixture("layer", seed, options), generator=drawn_by)

    # The first one is tried on an accelerator too. A generator of the CPU cannot fill weights there, and need not:
    # layers get their first weights before they move.
    yield edge(
        "the layer has no weights (LeakyReLU)", stated="Every other layer stays as it is", **case("LeakyReLU", 0.2)
    )
    for again in (0, 0, 1):
        yield case("Conv2d", 24, 20, 4, again=again)
    yield case("Conv2d", 24, 20, 4, drawn_by=chance.used(seed))
    yield case("ConvTranspose2d", 20, 24, 4)
    yield case("ConvTranspose2d", 30, 24, (3, 4))
    for _ in range(2):
        yield case("BatchNorm2d", 4000)
    yield edge("a convolution has no bias", stated="where there are any", **case("Conv2d", 24, 20, 4, bias=False))
    yield edge(
        "the layer is an nn.Linear, which stays as it is",
        stated="Every other layer stays as it is",
        **case("Linear", 7, 5),
    )


@dcgan_init.typical
def _(generator: torch.Generator) -> dict:
    options = (("name", "ConvTranspose2d"), ("arguments", (64, 32, 4)))
    return dict(module=Fixture("layer", 0, options), generator=Fixture("generator", 0))


def _kind(arguments: dict[str, Any]) -> str:
    return dict(arguments["module"].options)["name"]


def _deviations(arguments: dict[str, Any], result: dict[str, Any], *kinds: str) -> Tensor | None:
    """How far the weights of such a layer lie from the mean that is asked for; None of other layers."""
    if _kind(arguments) not in kinds or "module.weight" not in result:
        return None
    return result["module.weight"].double().flatten() - float(_kind(arguments) == "BatchNorm2d")


def _as_drawn(deviations: Tensor | None, spread: float = SPREAD) -> bool:
    """Whether the weights are normal around their mean, with this standard deviation."""
    return deviations is None or chance.distributed(torch.special.ndtr(deviations / spread))


@dcgan_init.claim("every weight should be drawn by itself; many of yours are equal.")
def each_is_drawn(arguments, result):
    deviations = _deviations(arguments, result, "Conv2d", "ConvTranspose2d")
    return deviations is None or len(deviations.unique()) > 0.9 * len(deviations)


@dcgan_init.claim("the weights should be normal, not uniform.")
def not_uniform(arguments, result):
    deviations = _deviations(arguments, result, "Conv2d", "ConvTranspose2d")
    if deviations is None:
        return True
    lowest, highest = deviations.aminmax()
    return not chance.distributed((deviations - lowest) / (highest - lowest))


@dcgan_init.claim("the weights should be normal with both its tails: yours are cut off.")
def tails(arguments, result):
    deviations = _deviations(arguments, result, "Conv2d", "ConvTranspose2d")
    if deviations is None or not deviations.any():
        return True
    return deviations.abs().max() > 2.5 * deviations.std()  # of 7680 normal ones, 95 are larger


@dcgan_init.claim("the weights of an `nn.Conv2d` should be normal, with mean 0 and standard deviation 0.02.")
def convolutions(arguments, result):
    return _as_drawn(_deviations(arguments, result, "Conv2d"))


@dcgan_init.claim("the weights of an `nn.ConvTranspose2d` should be normal, with mean 0 and standard deviation 0.02.")
def transposed_convolutions(arguments, result):
    return _as_drawn(_deviations(arguments, result, "ConvTranspose2d"))


@dcgan_init.claim("the scales of an `nn.BatchNorm2d` should be normal, with mean 1 and standard deviation 0.02.")
def scales(arguments, result):
    return _as_drawn(_deviations(arguments, result, "BatchNorm2d"))


@dcgan_init.claim("the scales of an `nn.BatchNorm2d` should not be all alike.")
def scales_differ(arguments, result):
    deviations = _deviations(arguments, result, "BatchNorm2d")
    return deviations is None or bool((deviations != deviations[0]).any())


@dcgan_init.claim(
    "the scales of an `nn.BatchNorm2d` should lie around 1: around 0 they would all but switch the layer off."
)
def scales_lie_around_one(arguments, result):
    deviations = _deviations(arguments, result, "BatchNorm2d")
    return deviations is None or not _as_drawn(deviations + 1)


@dcgan_init.claim("0.02 is the standard deviation, not the variance: no root should be taken of it.")
def not_the_variance(arguments, result):
    deviations = _deviations(arguments, result, "Conv2d", "ConvTranspose2d")
    return deviations is None or not _as_drawn(deviations, SPREAD**0.5)


@dcgan_init.claim("0.02 is the standard deviation; it should not be squared.")
def not_squared(arguments, result):
    deviations = _deviations(arguments, result, "Conv2d", "ConvTranspose2d")
    return deviations is None or not _as_drawn(deviations, SPREAD**2)


@dcgan_init.claim("convolutions should not keep the weights that they came with.")
def convolutions_change(arguments, result):
    return _kind(arguments) not in ("Conv2d", "ConvTranspose2d") or not _kept(arguments, result, "weight")


@dcgan_init.claim("the biases of convolutions should become 0.")
def biases_of_convolutions(arguments, result):
    return _kind(arguments) not in ("Conv2d", "ConvTranspose2d") or _zero(result)


@dcgan_init.claim("the biases of batch normalisations should become 0.")
def biases_of_batch_norms(arguments, result):
    return _kind(arguments) != "BatchNorm2d" or _zero(result)


@dcgan_init.claim(
    "the layer should go on learning: its parameters still want gradients, and it stays in training mode."
)
def goes_on_learning(arguments, result):
    return result["module.requires_grad"] and result["module.training"]


@dcgan_init.claim("every layer but (transposed) convolutions and batch normalisations should stay as it is.")
def others_stay(arguments, result):
    return _kind(arguments) != "Linear" or all(_kept(arguments, result, name) for name in ("weight", "bias"))


@dcgan_init.claim("the same generator should give the same weights: all chance must come from it.", across=True)
def reproducible(arguments, results):
    return chance.reproducible(arguments, results)


@dcgan_init.claim("another generator should give other weights.", across=True)
def heeds_the_generator(arguments, results):
    return chance.heeds_the_generator(arguments, results)


@dcgan_init.claim("every layer should go on with the generator where it stands; yours starts it anew.", across=True)
def goes_on(arguments, results):
    return chance.goes_on(arguments, results)


def _zero(result: dict[str, Any]) -> bool:
    return "module.bias" not in result or bool((result["module.bias"] == 0).all())


def _kept(arguments: dict[str, Any], result: dict[str, Any], name: str) -> bool:
    return torch.equal(_before(arguments["module"])[name], result[f"module.{name}"])


@functools.lru_cache(100)
def _before(module: Fixture) -> dict[str, Tensor]:
    """What the layer held before the call."""
    return module.build().state_dict()


CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


@torch.no_grad()
def _initialised(module: Any, generator: torch.Generator, kinds: Any, spread: float = SPREAD) -> None:
    """The right weights, for layers of these kinds, or with another spread."""
    if isinstance(module, kinds):
        module.weight.normal_(float(isinstance(module, nn.BatchNorm2d)), spread, generator=generator)
        if module.bias is not None:
            module.bias.zero_()


@dcgan_init.mistake(
    "transposed convolutions are forgotten: `nn.ConvTranspose2d` is not an `nn.Conv2d`, so `isinstance` must name both. A "
    "generator consists of little else.",
    breaks="convolutions_change",
)
def transposed_forgotten(module, generator):
    _initialised(module, generator, (nn.Conv2d, nn.BatchNorm2d))


@dcgan_init.mistake(
    "batch normalisation is forgotten: its scales become normal around 1, its biases 0.", breaks="biases_of_batch_norms"
)
def batch_norm_forgotten(module, generator):
    _initialised(module, generator, CONVOLUTIONS)


@dcgan_init.mistake(
    "the scales of batch normalisation lie around 0 like weights. They multiply what was normalised to a spread of 1, so "
    "the signal would all but vanish: they belong around 1.",
    breaks="scales_lie_around_one",
)
def scales_around_zero(module, generator):
    _initialised(module, generator, CONVOLUTIONS)
    if isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 0.0, SPREAD, generator=generator)
        nn.init.zeros_(module.bias)


@dcgan_init.mistake(
    "the scales of batch normalisation are all exactly 1. Here they are drawn, too: around 1, spread 0.02.",
    breaks="scales_differ",
)
def scales_all_one(module, generator):
    _initialised(module, generator, CONVOLUTIONS)
    if isinstance(module, nn.BatchNorm2d):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)


@dcgan_init.mistake(
    "the spread is √0.02 = 0.14: you take 0.02 for the variance. `normal_` and `torch.randn(...) * s` want the standard "
    "deviation, which is 0.02 itself.",
    breaks="not_the_variance",
)
def variance(module, generator):
    _initialised(module, generator, (*CONVOLUTIONS, nn.BatchNorm2d), SPREAD**0.5)


@dcgan_init.mistake(
    "the spread is 0.02² = 0.0004: 0.02 is the standard deviation already, and is not squared.", breaks="not_squared"
)
def squared_spread(module, generator):
    _initialised(module, generator, (*CONVOLUTIONS, nn.BatchNorm2d), SPREAD**2)


@dcgan_init.mistake(
    "the biases do not become 0. DCGAN starts them all there, those of batch normalisation too: `module.bias.zero_()`.",
    breaks="biases_of_convolutions",
)
def biases_kept(module, generator):
    bias = None if getattr(module, "bias", None) is None else module.bias.detach().clone()
    _initialised(module, generator, (*CONVOLUTIONS, nn.BatchNorm2d))
    if bias is not None:
        module.bias.data.copy_(bias)


@dcgan_init.mistake(
    "you draw from torch's global generator. Draw from the one that you are given: `weight.normal_(0.0, 0.02, "
    "generator=generator)`; then the same seed gives the same network.",
    breaks="reproducible",
)
def global_generator(module, generator):
    _initialised(module, torch.default_generator, (*CONVOLUTIONS, nn.BatchNorm2d))


@dcgan_init.mistake(
    "the weights are the same whatever generator comes. Either you start it anew for each layer (`manual_seed`), so that layers "
    "of one shape get the same weights, or you do not draw from it at all. Use it as it comes.",
    breaks="heeds_the_generator",
)
def seeded_anew(module, generator):
    _initialised(module, generator.manual_seed(0), (*CONVOLUTIONS, nn.BatchNorm2d))


@dcgan_init.mistake(
    "the weights are uniform. A normal distribution is asked for: `weight.normal_(0.0, 0.02, ...)`.",
    breaks="not_uniform",
)
def uniform_weights(module, generator):
    _initialised(module, generator, nn.BatchNorm2d)
    if isinstance(module, CONVOLUTIONS):
        nn.init.uniform_(module.weight, -SPREAD * 3**0.5, SPREAD * 3**0.5, generator=generator)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


@dcgan_init.mistake(
    "the weights are cut off at two standard deviations. A normal distribution has tails, and nothing is cut off here: "
    "`weight.normal_(0.0, 0.02, ...)`, not `trunc_normal_` or a clamp.",
    breaks="tails",
)
def truncated(module, generator):
    _initialised(module, generator, nn.BatchNorm2d)
    if isinstance(module, CONVOLUTIONS):
        nn.init.trunc_normal_(module.weight, 0.0, SPREAD, -2 * SPREAD, 2 * SPREAD, generator=generator)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


@dcgan_init.mistake(
    "you change an `nn.Linear` as well. Here only (transposed) convolutions and batch normalisations get new weights.",
    breaks="others_stay",
)
def linear_too(module, generator):
    _initialised(module, generator, (*CONVOLUTIONS, nn.BatchNorm2d, nn.Linear))


@dcgan_init.mistake(
    "the layer comes back as it was. Tensor methods change it in place only if their name ends in an underscore, as "
    "`weight.normal_(...)`; and a new tensor bound to a local name is forgotten at the end of the function.",
    breaks="convolutions_change",
)
def nothing_changed(module, generator):
    torch.randn(3, generator=generator)


dcgan_init.hints(
    "`network.apply(f)` calls f on every layer, activations included. So first ask what you have been given: "
    "`isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))`.",
    "`module.weight.normal_(mean, spread, generator=generator)` under `torch.no_grad()`, or `nn.init.normal_`. A bias may be "
    "None.",
    "Convolutions around 0, scales of batch normalisation around 1, both with spread 0.02; then biases that are not None: "
    "`.zero_()`.",
)
