"""Exercises of lesson 07: labels, critics and their penalty, hinge and relativistic losses, spectral norms, growth."""

# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from course_utils.boxed.fixtures import Fixture
from course_utils.exercises.agree import close
from course_utils.exercises.define import GRADIENT, Case, define, edge, randn
from course_utils.exercises.lessons import chance

# -- 7.1 -----------------------------------------------------------------------------------------------------------


@define(lesson="07", points=1, outputs="joined", gradients=("noise",), exact=True)
def attach_label(noise, label, n_classes):
    """Tell the generator which class is wanted: each row of noise, followed by its label in one-hot form.

    noise: (N, d). label: (N,) whole numbers from 0 to n_classes − 1.
    Returns (N, d + n_classes), of the noise's dtype: the noise first.
    """
    return torch.cat([noise, F.one_hot(label, n_classes)], 1)


def _orders(generator: torch.Generator, batch: int, d: int, n_classes: int, highest: int) -> dict:
    label = torch.randint(highest + 1, (batch,), generator=generator)
    label[0] = highest
    return dict(noise=randn(generator, batch, d), label=label, n_classes=n_classes)


@attach_label.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for batch, d, n_classes in ((6, 3, 4), (5, 2, 10), (7, 4, 3)):
        yield _orders(generator, batch, d, n_classes, n_classes - 1)
    yield edge(
        "nobody asks for the last classes", stated="a batch may happen to hold no 9", **_orders(generator, 5, 3, 6, 3)
    )


@attach_label.typical
def _(generator: torch.Generator) -> dict:
    return _orders(generator, 128, 64, 10, 9)


@attach_label.mistake("the label comes first and the noise after it. The generator's weights expect the noise first.")
def label_first(noise, label, n_classes):
    return torch.cat([F.one_hot(label, n_classes).to(noise), noise], 1)


@attach_label.mistake(
    "you append the label as one number. Then 9 would be nine times as much as 1; classes have no order: give each a "
    "column of its own, 1 for the class that is wanted and 0 for the others."
)
def as_a_number(noise, label, n_classes):
    return torch.cat([noise, label.unsqueeze(1).to(noise)], 1)


@attach_label.mistake(
    "you let `F.one_hot` guess the number of classes from the largest label in the batch. A batch without the last class "
    "would come out narrower: pass `n_classes`."
)
def width_guessed(noise, label, n_classes):
    return torch.cat([noise, F.one_hot(label).to(noise)], 1)


@attach_label.mistake(
    "you count the classes from 1, so that every 1 stands one column too far left. Class 0 has column 0."
)
def counted_from_one(noise, label, n_classes):
    return torch.cat([noise, F.one_hot((label - 1) % n_classes, n_classes).to(noise)], 1)


@attach_label.mistake("the noise is missing: with the label alone, every 7 would be the same 7.")
def noise_forgotten(noise, label, n_classes):
    return F.one_hot(label, n_classes).to(noise)


@attach_label.mistake("every row gets the label of the first one. Each image has an order of its own.")
def one_label_for_all(noise, label, n_classes):
    return torch.cat([noise, F.one_hot(label[:1].expand(len(noise)), n_classes).to(noise)], 1)


@attach_label.mistake("this is the opposite of one-hot: 0 where the class is wanted and 1 everywhere else.")
def one_cold(noise, label, n_classes):
    return torch.cat([noise, 1 - F.one_hot(label, n_classes).to(noise)], 1)


attach_label.hints(
    "One-hot: a row of n_classes zeros with a single 1 in the column of the class. Which function of torch.nn.functional "
    "makes it?",
    "`F.one_hot(label, n_classes)` gives integers, (N, n_classes); `torch.cat` turns them into the noise's dtype.",
    "torch.cat([noise, F.one_hot(label, n_classes)], 1)",
)

# -- 7.2 -----------------------------------------------------------------------------------------------------------


@define(lesson="07", points=1, outputs="loss", gradients=("real_scores", "fake_scores"))
def critic_loss(real_scores, fake_scores):
    """What a Wasserstein critic minimises: its negative estimate of the distance.

    real_scores, fake_scores: the critic's scores, any shape, any real numbers: the higher, the more real.
    Returns a scalar, the mean score of the fake ones minus the mean score of the real ones.
    """
    return fake_scores.mean() - real_scores.mean()


@critic_loss.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape in ((5,), (4, 1), (2, 3)):
        yield dict(real_scores=3 * randn(generator, *shape) + 4, fake_scores=3 * randn(generator, *shape) - 2)
    unequal = dict(real_scores=3 * randn(generator, 7) + 4, fake_scores=3 * randn(generator, 3) - 2)
    yield edge("real and fake ones are not equally many", stated="The two batches need not be equally large", **unequal)
    yield edge(
        "fake ones score higher",
        stated="fake ones may score higher than real ones",
        real_scores=randn(generator, 4) - 5,
        fake_scores=randn(generator, 4) + 5,
    )


@critic_loss.typical
def _(generator: torch.Generator) -> dict:
    return dict(real_scores=randn(generator, 128), fake_scores=randn(generator, 128))


@critic_loss.mistake(
    "this is the distance itself, real minus fake: the critic wants it large. A loss is minimised: fake minus real."
)
def distance_itself(real_scores, fake_scores):
    return real_scores.mean() - fake_scores.mean()


@critic_loss.mistake(
    "the two means are added. Then the critic would push all scores down, and never tell real from fake."
)
def both_pushed_down(real_scores, fake_scores):
    return fake_scores.mean() + real_scores.mean()


@critic_loss.mistake(
    "this is the discriminator's loss of lesson 06. A critic's scores are no logits: they go into the loss as they are, "
    "without sigmoid, logarithm or softplus."
)
def cross_entropy(real_scores, fake_scores):
    return F.softplus(-real_scores).mean() + F.softplus(fake_scores).mean()


@critic_loss.mistake(
    "you squash the scores with a sigmoid first. Scores may be any number; squashed, their gradient would vanish where "
    "real and fake are easily told apart, which is what the Wasserstein distance is there to avoid."
)
def squashed(real_scores, fake_scores):
    return torch.sigmoid(fake_scores).mean() - torch.sigmoid(real_scores).mean()


@critic_loss.mistake("you sum over the batch. The Wasserstein distance is a difference of means.")
def sums(real_scores, fake_scores):
    return fake_scores.sum() - real_scores.sum()


@critic_loss.mistake("only the fake ones count. Without the real ones the critic would just push all scores down.")
def only_fakes(real_scores, fake_scores):
    return fake_scores.mean()


@critic_loss.mistake("only the real ones count. Without the fake ones the critic would just push all scores up.")
def only_reals(real_scores, fake_scores):
    return -real_scores.mean()


@critic_loss.mistake(
    "you take the absolute value. The sign matters: where fake ones score higher than real ones, the loss is positive and "
    "the critic has to turn around."
)
def absolute(real_scores, fake_scores):
    return -(real_scores.mean() - fake_scores.mean()).abs()


critic_loss.hints(
    "The critic estimates the distance as mean(real) − mean(fake), and wants this estimate as large as it can be.",
    "A loss is minimised, so turn the sign around.",
    "fake_scores.mean() − real_scores.mean()",
)

# -- 7.3 -----------------------------------------------------------------------------------------------------------


@define(lesson="07", points=3, outputs="penalty", gradients=("critic",))
def gradient_penalty(critic, real, fake, generator):
    """How far the critic's slope is from 1 between real and fake images (WGAN-GP, without its factor lambda).

    critic: images (N, ...) -> scores (N,). real, fake: (N, ...), equal in shape. generator: a torch.Generator.
    For each image a share is drawn evenly from [0, 1), and real and fake image are mixed by it: one share for all pixels
    of an image, another for each image. The slope is the gradient of an image's score with respect to its pixels; its
    norm is Euclidean, over all dimensions but the first.
    Returns a scalar, the mean over the batch of (norm − 1)². It can be differentiated with respect to the critic's
    parameters, and leaves no gradients on them.
    """
    share = torch.rand(len(real), generator=generator, device=generator.device).to(real)
    share = share.view(-1, *[1] * (real.dim() - 1))  # (N, 1, 1, 1) for images
    mix = (share * real + (1 - share) * fake).detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(mix).sum(), mix, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


@gradient_penalty.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    seed = int(torch.randint(2**31, (), generator=generator))

    def case(batch: int, *shape: int) -> dict:
        critic = Fixture("critic", seed, (("shape", shape), ("scale", 2.0), ("remembers", 4 * batch)))
        real, fake = randn(generator, batch, *shape), randn(generator, batch, *shape) + 1
        return dict(critic=critic, real=real, fake=fake, generator=Fixture("generator", seed))

    first = case(5, 1, 2, 3)
    yield first
    yield dict(first)
    yield first | dict(generator=Fixture("generator", seed + 1))
    yield first | dict(generator=chance.used(seed))
    yield case(4, 3, 2, 2)
    yield case(3, 2, 1, 4)
    yield case(1100, 1, 1, 3)
    yield edge("the samples are points, (N, d), instead of images", stated="for points of shape (N, d)", **case(6, 3))
    yield edge("the batch holds one image", stated="for a single image", **case(1, 1, 3, 2))


@gradient_penalty.typical
def _(generator: torch.Generator) -> dict:
    critic = Fixture("critic", 0, (("shape", (1, 28, 28)), ("hidden", 128)))
    images = [randn(generator, 64, 1, 28, 28) for _ in range(2)]
    return dict(critic=critic, real=images[0], fake=images[1], generator=Fixture("generator", 0))


_MIXES: Any = WeakTensorKeyDictionary()  # all that the critic was asked about -> the mixes among it


def _mixes(arguments: dict[str, Any], result: dict[str, Any]) -> Tensor:
    """The images that count among those that the critic was asked about, (N, ...): one for each pair of images.

    The critic may be asked as often as one likes. What is asked twice counts once, and what is asked about real or fake
    images themselves does not count, unless nothing else was asked.
    """
    seen = result["critic.seen"]
    if seen not in _MIXES:
        asked = seen[max(len(seen) - int(result["critic.asked"]), 0) :]
        places = {image: place for place, image in reversed(list(enumerate(_as_bytes(asked))))}
        ends = {*_as_bytes(arguments["real"]), *_as_bytes(arguments["fake"])}
        others = {image: place for image, place in places.items() if image not in ends}
        _MIXES[seen] = asked[sorted((others or places).values())[-len(arguments["real"]) :]]
    return _MIXES[seen]


def _as_bytes(images: Tensor) -> list[bytes]:
    return [image.tobytes() for image in images.detach().cpu().numpy()]


def _shares(arguments: dict[str, Any], result: dict[str, Any]) -> Tensor:
    """The share of the real image in each pixel of the mixes, (N, pixels)."""
    real, fake = arguments["real"].double().flatten(1), arguments["fake"].double().flatten(1)
    return (_mixes(arguments, result).double().flatten(1) - fake) / (real - fake)


def _apart(arguments: dict[str, Any]) -> Tensor:
    """The pixels, (N, pixels), in which real and fake differ enough for their shares to be known."""
    return (arguments["real"] - arguments["fake"]).flatten(1).abs() > 0.1


def _share_of_each(arguments: dict[str, Any], result: dict[str, Any]) -> Tensor:
    """One share for each image, (N,): that of the pixel in which real and fake differ most."""
    gaps = (arguments["real"] - arguments["fake"]).flatten(1).abs()
    return _shares(arguments, result).gather(1, gaps.argmax(1, keepdim=True)).squeeze(1)


_KNOWN: Any = WeakTensorKeyDictionary()  # the mixes -> the critic's slopes there, and the critic


@torch.enable_grad()
def _slopes(arguments: dict[str, Any], result: dict[str, Any]) -> tuple[Tensor, Any]:
    """The critic's gradients at the mixes, with their graph, and the critic."""
    mixes = _mixes(arguments, result)
    if mixes not in _KNOWN:
        critic, mix = _built(arguments["critic"]), mixes.clone().requires_grad_()
        _KNOWN[mixes] = torch.autograd.grad(critic(mix).sum(), mix, create_graph=True)[0], critic
    return _KNOWN[mixes]


@functools.lru_cache(100)
def _built(critic: Fixture) -> Any:
    return critic.build()


def _norms(slopes: Tensor) -> Tensor:
    return slopes.flatten(1).norm(dim=1)


def _right(slopes: Tensor) -> Tensor:
    """The penalty of a batch of slopes (N, ...)."""
    return (_norms(slopes) - 1).square().mean()


def _is(formula: Callable[[Tensor], Tensor], arguments: dict[str, Any], result: dict[str, Any]) -> bool:
    """Whether the penalty is what this formula makes of the slopes at the mixes."""
    return close(result["penalty"], formula(_slopes(arguments, result)[0]).detach())


@gradient_penalty.claim("the critic should be asked about one mix for each pair of images, of their shape.")
def asked_about_mixes(arguments, result):
    return _mixes(arguments, result).shape == arguments["real"].shape


@gradient_penalty.claim("the images that the critic is asked about should lie between the real and the fake ones.")
def between(arguments, result):
    shares = _shares(arguments, result)[_apart(arguments)]
    return bool(((shares > -1e-4) & (shares < 1 + 1e-4)).all())


@gradient_penalty.claim("all pixels of an image should be mixed by the same share.")
def one_share_for_an_image(arguments, result):
    gaps = (_shares(arguments, result) - _share_of_each(arguments, result).unsqueeze(1))[_apart(arguments)]
    return bool((gaps.abs() < 1e-3).all())


@gradient_penalty.claim("every image should have a share of its own; yours all have the same.")
def shares_differ(arguments, result):
    shares = _share_of_each(arguments, result)
    return len(shares) == 1 or bool(((shares - shares[0]).abs() > 1e-6).any())


@gradient_penalty.claim("the shares should be drawn evenly from [0, 1).")
def shares_are_uniform(arguments, result):
    shares = _share_of_each(arguments, result)
    return len(shares) < 1000 or chance.distributed(shares.clamp(0, 1))


@gradient_penalty.claim("the slope is wanted between real and fake images, not at the real ones.", across=True)
def not_at_the_real_ones(arguments, results):
    return not all(torch.equal(a["real"], _mixes(a, r)) for a, r in zip(arguments, results, strict=True))


@gradient_penalty.claim("the slope is wanted between real and fake images, not at the fake ones.", across=True)
def not_at_the_fakes(arguments, results):
    return not all(torch.equal(a["fake"], _mixes(a, r)) for a, r in zip(arguments, results, strict=True))


@gradient_penalty.claim(
    "the penalty differs from the mean of (norm − 1)² over the batch, at the mixes that the critic was asked about."
)
def value(arguments, result):
    return _is(_right, arguments, result)


@gradient_penalty.claim("the penalty should be differentiable with respect to the critic's parameters, and rightly so.")
@torch.enable_grad()
def differentiable(arguments, result):
    slopes, critic = _slopes(arguments, result)
    names = [name for name, _ in critic.named_parameters() if name != "last.bias"]  # which no slope depends on
    penalty = _right(slopes)
    expected = torch.autograd.grad(penalty, [critic.get_parameter(name) for name in names], retain_graph=True)
    expected = torch.cat([gradient.flatten() for gradient in expected]).double()
    found = torch.cat([result[f"{GRADIENT}critic.{name}"].flatten() for name in names]).double()
    factor = (found @ expected) / (expected @ expected)  # the random projection by which the check differentiates
    return bool((found - factor * expected).norm() <= 1e-3 * found.norm()) and bool(found.norm() > 0)


@gradient_penalty.claim("no gradients should be left on the critic's parameters: its own step comes later.")
def nothing_left(arguments, result):
    return all(not gradient.any() for name, gradient in result.items() if name.endswith(".grad"))


def _drawn(real: Tensor, generator: torch.Generator) -> Tensor:
    """The right shares, one for each image, (N, 1, ...)."""
    share = torch.rand(len(real), generator=generator, device=generator.device).to(real)
    return share.view(-1, *[1] * (real.dim() - 1))


def _penalty(critic: Any, real: Tensor, fake: Tensor, share: Tensor | float, formula: Any = _right) -> Tensor:
    """The penalty of these shares, by this formula."""
    mix = (share * real + (1 - share) * fake).detach().requires_grad_()
    return formula(torch.autograd.grad(critic(mix).sum(), mix, create_graph=True)[0])


def _wrong_formula(key: str, formula: Callable[[Tensor], Tensor], claim: str, sentence: str) -> None:
    """A wrong way from the slopes to the penalty: the mistake, and the claim that it does not explain all penalties."""

    def explains_not_all(arguments: list[dict], results: list[dict]) -> bool:
        return not all(_is(formula, a, r) for a, r in zip(arguments, results, strict=True))

    def wrong(critic, real, fake, generator):
        return _penalty(critic, real, fake, _drawn(real, generator), formula)

    explains_not_all.__name__, wrong.__name__ = f"not {key}", key
    gradient_penalty.claim(claim, across=True)(explains_not_all)
    gradient_penalty.mistake(sentence, breaks=explains_not_all.__name__)(wrong)


_wrong_formula(
    "norm_over_the_batch",
    lambda g: (g.norm() - 1).square(),
    "the norm should be taken for each image, not over the whole batch.",
    "you take one norm over the whole batch. Each image has a slope of its own, so a norm of its own: "
    "`slope.flatten(1).norm(dim=1)`, (N,).",
)
_wrong_formula(
    "norm_over_one_dimension",
    lambda g: (g.norm(dim=1) - 1).square().mean(),
    "the norm should run over all dimensions but the first, not over one of them.",
    "your norm runs over dimension 1 only. For images these are the channels; the slope of an image has a component for "
    "every pixel, so flatten first: `slope.flatten(1).norm(dim=1)`.",
)
_wrong_formula(
    "norm_of_each_pixel",
    lambda g: (g.flatten(1).norm(dim=0) - 1).square().mean(),
    "the norm should be taken for each image, not for each pixel over the batch.",
    "your norm runs over dimension 0, the batch: one for each pixel. Each image has a slope of its own, whose components "
    "are its pixels: `slope.flatten(1).norm(dim=1)`, (N,).",
)
_wrong_formula(
    "squared_norm",
    lambda g: (_norms(g).square() - 1).square().mean(),
    "the norm should be a root of a sum of squares; yours is the sum.",
    "the root is missing: you compare the *squared* norm with 1. The penalty is (norm − 1)², with the norm itself.",
)
_wrong_formula(
    "not_squared",
    lambda g: (_norms(g) - 1).mean(),
    "the distance of the norm from 1 should be squared.",
    "the distance from 1 is not squared. Then norms far below 1 would even be rewarded; (norm − 1)² punishes both sides.",
)
_wrong_formula(
    "absolute_distance",
    lambda g: (_norms(g) - 1).abs().mean(),
    "the distance of the norm from 1 should be squared, not made positive.",
    "you take the absolute distance from 1. Gulrajani et al. square it: (norm − 1)².",
)
_wrong_formula(
    "one_sided",
    lambda g: (_norms(g) - 1).clamp(min=0).square().mean(),
    "norms below 1 should be punished like those above.",
    "only norms above 1 are punished. That one-sided penalty is a known variant, but here norms below 1 count as well: "
    "(norm − 1)², without a clamp.",
)
_wrong_formula(
    "towards_zero",
    lambda g: _norms(g).square().mean(),
    "the norm should be drawn towards 1, not towards 0.",
    "you punish the norm itself, which draws it towards 0 (the R1 penalty does so, at real images). Here it is drawn "
    "towards 1: subtract 1 before you square.",
)
_wrong_formula(
    "with_lambda",
    lambda g: 10 * _right(g),
    "the factor lambda should not be part of the penalty.",
    "ten times too much: the factor λ = 10 is in it already. It is left to the caller, who adds λ · penalty to the loss.",
)
_wrong_formula(
    "summed_over_the_batch",
    lambda g: (_norms(g) - 1).square().sum(),
    "the penalty should be a mean over the batch, not a sum.",
    "you sum over the batch. The mean is asked for, so that λ does not depend on the batch size.",
)
_wrong_formula(
    "mean_before_the_square",
    lambda g: (_norms(g).mean() - 1).square(),
    "each image's norm should be compared with 1, not their mean.",
    "you compare the *mean* norm with 1. Half the images at norm 0 and half at 2 would then cost nothing: square each "
    "image's (norm − 1) first, and average last.",
)
_wrong_formula(
    "slope_of_the_mean",
    lambda g: _right(g / len(g)),
    "the slope should be that of each image's own score, not of the mean score.",
    "you differentiate the *mean* score, so that every slope is N times too small. Each image's own score is meant: "
    "differentiate the sum; the other images' scores do not depend on this image.",
)


def _drawn_from(results: list[dict[str, Any]]) -> list[Any]:
    """What the generator decides: the mixes and the penalty."""
    return [(result["critic.seen"], result["penalty"]) for result in results]


@gradient_penalty.claim("the same generator should give the same penalty: all chance must come from it.", across=True)
def reproducible(arguments, results):
    return chance.reproducible(arguments, _drawn_from(results))


@gradient_penalty.claim("another generator should give other mixes.", across=True)
def heeds_the_generator(arguments, results):
    return chance.heeds_the_generator(arguments, _drawn_from(results))


@gradient_penalty.claim(
    "every call should go on with the generator where it stands; yours starts it anew.", across=True
)
def goes_on(arguments, results):
    return chance.goes_on(arguments, _drawn_from(results))


@gradient_penalty.mistake(
    "the value is right, but nothing can be learned from it: the slope has no graph. Pass `create_graph=True` to "
    "`torch.autograd.grad`, so that the penalty can be differentiated once more.",
    breaks="differentiable",
)
def graph_forgotten(critic, real, fake, generator):
    return _penalty(critic, real, fake, _drawn(real, generator)).detach()


@gradient_penalty.mistake(
    "`backward()` leaves gradients on the critic's parameters, which are added to those of its own step. Use "
    "`torch.autograd.grad(scores.sum(), mix, create_graph=True)`, which returns the slope and touches nothing else.",
    breaks="nothing_left",
)
def backward_used(critic, real, fake, generator):
    share = _drawn(real, generator)
    mix = (share * real + (1 - share) * fake).detach().requires_grad_()
    parameters = list(critic.parameters())
    slope, *gradients = torch.autograd.grad(critic(mix).sum(), [mix, *parameters], create_graph=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.detach()
    return _right(slope)


@gradient_penalty.mistake(
    "two things are wrong with `backward()` here: the slope that it leaves in `mix.grad` has no graph, so that nothing can be "
    "learned from the penalty, and it leaves gradients on the critic's parameters too, which are added to those of its own "
    "step. Use `torch.autograd.grad(scores.sum(), mix, create_graph=True)`.",
    breaks="nothing_left",
)
def backward_without_graph(critic, real, fake, generator):
    return backward_used(critic, real, fake, generator).detach()


@gradient_penalty.mistake(
    "one share is drawn for the whole batch. Each image needs one of its own: N numbers.", breaks="shares_differ"
)
def one_share_for_the_batch(critic, real, fake, generator):
    share = torch.rand(1, generator=generator, device=generator.device).to(real)
    return _penalty(critic, real, fake, share.view(-1, *[1] * (real.dim() - 1)))


@gradient_penalty.mistake(
    "every pixel gets a share of its own, so that the mixes lie in a box instead of on the line between the two images. "
    "Draw N shares, and give them the shape (N, 1, 1, 1).",
    breaks="one_share_for_an_image",
)
def a_share_for_every_pixel(critic, real, fake, generator):
    return _penalty(critic, real, fake, torch.rand(real.shape, generator=generator, device=generator.device).to(real))


@gradient_penalty.mistake(
    "`rand_like` makes a share for every pixel, so that the mixes lie in a box instead of on the line between the two images, "
    "and it takes no generator but torch's global one. Draw N shares from yours, `torch.rand(N, generator=generator)`, and give "
    "them the shape (N, 1, 1, 1).",
    breaks="one_share_for_an_image",
)
def shares_like_the_images(critic, real, fake, generator):
    return _penalty(critic, real, fake, torch.rand_like(real))


@gradient_penalty.mistake(
    "many of your shares lie outside of [0, 1], so that the mixes do not lie between the two images. They are drawn evenly from "
    "there: by `torch.rand`, not by `randn`.",
    breaks="between",
)
def normal_shares(critic, real, fake, generator):
    share = torch.randn(len(real), generator=generator, device=generator.device).to(real)
    return _penalty(critic, real, fake, share.view(-1, *[1] * (real.dim() - 1)))


@gradient_penalty.mistake(
    "you take the slope at the real images. It is wanted all the way between real and fake ones: at a mix of the two.",
    breaks="not_at_the_real_ones",
)
def slope_at_the_real_ones(critic, real, fake, generator):
    return _penalty(critic, real, real, 1.0)


@gradient_penalty.mistake(
    "you take the slope at the fakes. It is wanted all the way between real and fake images: at a mix of the two.",
    breaks="not_at_the_fakes",
)
def slope_at_the_fakes(critic, real, fake, generator):
    return _penalty(critic, fake, fake, 1.0)


@gradient_penalty.mistake(
    "you mix by a share that never changes, such as half and half. It is drawn anew for each image, evenly from [0, 1).",
    breaks="heeds_the_generator",
)
def half_and_half(critic, real, fake, generator):
    return _penalty(critic, real, fake, 0.5)


@gradient_penalty.mistake(
    "you draw from torch's global generator. Pass yours: `torch.rand(N, generator=generator)`.", breaks="reproducible"
)
def global_generator(critic, real, fake, generator):
    return _penalty(critic, real, fake, _drawn(real, torch.default_generator))


gradient_penalty.hints(
    "Four steps: shares, mixes, slope, norm. The shares need a shape that multiplies images: (N, 1, 1, 1), or for any "
    "number of dimensions `share.view(-1, *[1] * (real.dim() - 1))`.",
    "The mix must want a gradient: `mix = (...).detach().requires_grad_()`. Then `(slope,) = "
    "torch.autograd.grad(critic(mix).sum(), mix, create_graph=True)`. The sum is a trick: each score depends on its own "
    "image only, so one gradient holds them all.",
    "((slope.flatten(1).norm(dim=1) − 1) ** 2).mean()",
)

# -- 7.4 -----------------------------------------------------------------------------------------------------------


@define(lesson="07", points=1, outputs=("d_loss", "g_loss"), gradients=("real_scores", "fake_scores"))
def hinge_losses(real_scores, fake_scores):
    """The hinge losses of both players: the discriminator wants a margin of 1, the generator just higher scores.

    real_scores, fake_scores: the discriminator's scores, any shape, any real numbers: the higher, the more real.
    Returns (d_loss, g_loss), two scalars: the discriminator pays for each real score by how far it lies below 1, and for
    each fake score by how far it lies above −1; the mean over the real ones and the mean over the fake ones are added. The
    generator's loss is the negative mean of the fake scores.
    """
    d_loss = F.relu(1 - real_scores).mean() + F.relu(1 + fake_scores).mean()
    return d_loss, -fake_scores.mean()


@hinge_losses.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape in ((9,), (8, 1), (3, 4)):
        yield dict(real_scores=1.5 * randn(generator, *shape) + 0.5, fake_scores=1.5 * randn(generator, *shape) - 0.5)
    unequal = dict(real_scores=1.5 * randn(generator, 11) + 0.5, fake_scores=1.5 * randn(generator, 7) - 0.5)
    yield edge(
        "real and fake ones are not equally many", stated="Real and fake ones need not be equally many", **unequal
    )
    outside = randn(generator, 5).abs() + 1.1
    yield edge(
        "every score is beyond its margin",
        stated="charges only for what is missing",
        real_scores=outside,
        fake_scores=-outside.flip(0),
    )
    yield dict(real_scores=-outside, fake_scores=outside.flip(0))


@hinge_losses.typical
def _(generator: torch.Generator) -> dict:
    return dict(real_scores=randn(generator, 128), fake_scores=randn(generator, 128))


def _hinges(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    return F.relu(1 - real_scores).mean() + F.relu(1 + fake_scores).mean()


@hinge_losses.mistake(
    "the discriminator's signs are exchanged: you punish real scores above −1 and fake ones below 1. Real ones should lie "
    "above 1, fake ones below −1."
)
def sides_exchanged(real_scores, fake_scores):
    return F.relu(1 + real_scores).mean() + F.relu(1 - fake_scores).mean(), -fake_scores.mean()


@hinge_losses.mistake(
    "there is no margin: you stop at 0. The discriminator should be sure by 1 on either side, relu(1 − real) and "
    "relu(1 + fake)."
)
def no_margin(real_scores, fake_scores):
    return F.relu(-real_scores).mean() + F.relu(fake_scores).mean(), -fake_scores.mean()


@hinge_losses.mistake(
    "there is no hinge: without relu, a score far beyond its margin still pays back, and scores grow without end. Cut off "
    "at 0: relu(1 − real), relu(1 + fake)."
)
def no_hinge(real_scores, fake_scores):
    return (1 - real_scores).mean() + (1 + fake_scores).mean(), -fake_scores.mean()


@hinge_losses.mistake(
    "the real scores have no hinge: with −real.mean() a score far above 1 still pays back, and grows without end. Charge only "
    "what is missing: relu(1 − real), as for the fake ones relu(1 + fake)."
)
def real_scores_without_hinge(real_scores, fake_scores):
    return -real_scores.mean() + F.relu(1 + fake_scores).mean(), -fake_scores.mean()


@hinge_losses.mistake(
    "the fake scores have no hinge: with fake.mean() a score far below −1 still pays back, and falls without end. Charge only "
    "what is too much: relu(1 + fake), as for the real ones relu(1 − real)."
)
def fake_scores_without_hinge(real_scores, fake_scores):
    return F.relu(1 - real_scores).mean() + fake_scores.mean(), -fake_scores.mean()


@hinge_losses.mistake(
    "these are the losses of a Wasserstein critic: without hinges, a score far beyond its margin still pays back, and "
    "scores grow without end. Charge only what is missing: relu(1 − real), relu(1 + fake)."
)
def losses_of_a_critic(real_scores, fake_scores):
    return fake_scores.mean() - real_scores.mean(), -fake_scores.mean()


@hinge_losses.mistake(
    "you cut off the mean instead of each score. A score beyond its margin would pay for one that is not: relu first, then "
    "the mean."
)
def mean_cut_off(real_scores, fake_scores):
    return F.relu(1 - real_scores.mean()) + F.relu(1 + fake_scores.mean()), -fake_scores.mean()


@hinge_losses.mistake(
    "the generator has a hinge, too. Then it learns nothing from fakes that score above 1; its loss is plainly the negative "
    "mean of the fake scores."
)
def generator_with_hinge(real_scores, fake_scores):
    return _hinges(real_scores, fake_scores), F.relu(1 - fake_scores).mean()


@hinge_losses.mistake(
    "the generator's sign is wrong: minimising the mean score of the fakes makes them worse and worse."
)
def generator_makes_it_worse(real_scores, fake_scores):
    return _hinges(real_scores, fake_scores), fake_scores.mean()


@hinge_losses.mistake(
    "the generator's loss is made of the *real* scores. They do not depend on the generator, so that nothing reaches it: it "
    "is the fakes that should score higher, −fake.mean()."
)
def generator_sees_only_real_ones(real_scores, fake_scores):
    return _hinges(real_scores, fake_scores), -real_scores.mean()


@hinge_losses.mistake(
    "the discriminator wants real *and* fake scores above 1: the sign inside the second hinge is that of the first. Fake ones "
    "belong below −1: relu(1 + fake)."
)
def both_wanted_above_one(real_scores, fake_scores):
    return F.relu(1 - real_scores).mean() + F.relu(1 - fake_scores).mean(), -fake_scores.mean()


@hinge_losses.mistake(
    "the discriminator pays for scores *beyond* their margin, and nothing for those that fall short of it. What is inside the "
    "hinges has the wrong sign: relu(1 − real), relu(1 + fake)."
)
def beyond_the_margin(real_scores, fake_scores):
    return F.relu(real_scores - 1).mean() + F.relu(-1 - fake_scores).mean(), -fake_scores.mean()


@hinge_losses.mistake("you sum over the batch. Both losses are means, so that they do not depend on the batch size.")
def summed_hinges(real_scores, fake_scores):
    return F.relu(1 - real_scores).sum() + F.relu(1 + fake_scores).sum(), -fake_scores.sum()


@hinge_losses.mistake("the discriminator's two halves are averaged. They are added here.")
def hinges_averaged(real_scores, fake_scores):
    return 0.5 * _hinges(real_scores, fake_scores), -fake_scores.mean()


@hinge_losses.mistake(
    "the generator's loss holds the real scores as well. They do not depend on the generator; only the fake ones count."
)
def generator_sees_real_ones(real_scores, fake_scores):
    return _hinges(real_scores, fake_scores), real_scores.mean() - fake_scores.mean()


@hinge_losses.mistake(
    "the hinges are squared. Beyond its margin a score costs nothing, before it as much as it is short of it."
)
def squared_hinges(real_scores, fake_scores):
    d_loss = F.relu(1 - real_scores).square().mean() + F.relu(1 + fake_scores).square().mean()
    return d_loss, -fake_scores.mean()


@hinge_losses.mistake(
    "this is a cross-entropy, as in lesson 06. A hinge is a straight line that is cut off: relu(1 − real) and relu(1 + fake) for "
    "the discriminator, and for the generator plainly −fake.mean()."
)
def cross_entropies(real_scores, fake_scores):
    return F.softplus(-real_scores).mean() + F.softplus(fake_scores).mean(), F.softplus(-fake_scores).mean()


hinge_losses.hints(
    "A real score of 0.3 is 0.7 short of its margin; one of 1.5 costs nothing. Which function is 0 below 0, and the number "
    "itself above?",
    "F.relu(1 − real_scores) for the real ones. For the fake ones the margin lies at −1: F.relu(1 + fake_scores).",
    "(F.relu(1 − real).mean() + F.relu(1 + fake).mean(), −fake.mean())",
)

# -- 7.5 -----------------------------------------------------------------------------------------------------------


@define(lesson="07", points=2, outputs=("sigma", "u"), gradients=("weight",))
def power_iteration(weight, u, steps):
    """Estimate the largest singular value of a matrix: by how much it stretches a vector at most.

    weight: (out, in). u: (out,), where to start, of any length. steps: how many steps, at least 1.
    Each step first makes v (in,) from u, v = Wᵀu, and scales it to length 1, then makes u from v, u = W v, and scales it
    to length 1. In the end, sigma = u · (W v).
    Returns (sigma, u): a scalar, and the last u (out,) of length 1. The steps count as constants (make them under
    `torch.no_grad()`): only through the W in u · (W v) does sigma depend on the weight.
    """
    with torch.no_grad():
        for _ in range(steps):
            v = F.normalize(weight.T @ u, dim=0)
            u = F.normalize(weight @ v, dim=0)
    return u @ (weight @ v), u


@power_iteration.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for out, inputs, steps in ((4, 6, 1), (5, 3, 2), (3, 7, 3), (6, 4, 5)):
        yield dict(weight=randn(generator, out, inputs), u=2 * randn(generator, out), steps=steps)
    yield edge(
        "there are 60 steps",
        stated="there may be 60 of them",
        weight=2 * randn(generator, 5, 4),
        u=randn(generator, 5),
        steps=60,
    )


@power_iteration.typical
def _(generator: torch.Generator) -> dict:
    return dict(weight=randn(generator, 64, 512), u=randn(generator, 64), steps=1)


def _iterated(weight: Tensor, u: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """The last v and u, without a graph."""
    with torch.no_grad():
        v = F.normalize(weight.T @ u, dim=0)
        u = F.normalize(weight @ v, dim=0)
    return (v, u) if steps <= 1 else _iterated(weight, u, steps - 1)


@power_iteration.mistake(
    "you make one step, whatever `steps` says: there is no loop, or v is made before it and stays as it is. Repeat both "
    "halves of a step, v from u and u from v, so many times."
)
def one_step_only(weight, u, steps):
    v, u = _iterated(weight, u, 1)
    return u @ (weight @ v), u


@power_iteration.mistake("you make a step too many. `range(steps)` makes exactly so many.")
def one_step_more(weight, u, steps):
    v, u = _iterated(weight, u, steps + 1)
    return u @ (weight @ v), u


@power_iteration.mistake(
    "the graph goes through the steps: make u and v under `torch.no_grad()`. Where they have converged nothing changes, but "
    "the memory and the time of the backward pass grow with every step."
)
def graph_through_the_steps(weight, u, steps):
    v = weight.T @ u
    for _ in range(steps):
        v = F.normalize(weight.T @ u, dim=0)
        u = F.normalize(weight @ v, dim=0)
    return u @ (weight @ v), u


@power_iteration.mistake(
    "the last u has not the length 1: it is W v as it comes, so that u · (W v) is the *square* of sigma. Scale both vectors "
    "in every step."
)
def u_not_scaled(weight, u, steps):
    v, _ = _iterated(weight, u, steps)
    with torch.no_grad():
        u = weight @ v
    return u @ (weight @ v), u


@power_iteration.mistake(
    "right for a few steps: you scale to length 1 after the last one only. Until then every step makes the vectors longer, by "
    "up to sigma², and after many steps they overflow. Scale both in every step."
)
def scaled_at_the_end(weight, u, steps):
    with torch.no_grad():
        v = weight.T @ u
        for _ in range(steps):
            v = weight.T @ u
            u = weight @ v
        v, u = F.normalize(v, dim=0), F.normalize(u, dim=0)
    return u @ (weight @ v), u


@power_iteration.mistake(
    "v is made once more, from the last u. In sigma = u · (W v) stands the v from which the last u was made; yours is half a "
    "step ahead of it. (A step makes v first, and then u.)"
)
def v_made_once_more(weight, u, steps):
    _, u = _iterated(weight, u, steps)
    with torch.no_grad():
        v = F.normalize(weight.T @ u, dim=0)
    return u @ (weight @ v), u


@power_iteration.mistake("you return v, (in,). The next call starts from u, (out,).")
def v_returned(weight, u, steps):
    v, u = _iterated(weight, u, steps)
    return u @ (weight @ v), v


@power_iteration.mistake(
    "this is the square of sigma: W stretches by sigma, and Wᵀ once more. In the end multiply by W only: u · (W v)."
)
def squared_sigma(weight, u, steps):
    v, u = _iterated(weight, u, steps)
    return (u @ (weight @ v)).square(), u


@power_iteration.mistake(
    "this is the Frobenius norm, the root of the sum of all squared weights: it counts every direction, and the spectral "
    "norm only the one that is stretched most. sigma = u · (W v)."
)
def frobenius(weight, u, steps):
    return weight.norm(), _iterated(weight, u, steps)[1]


@power_iteration.mistake(
    "this is the exact spectral norm, from a full decomposition: right in the limit, and much more expensive. Return what "
    "so many steps give, u · (W v)."
)
def exact(weight, u, steps):
    return torch.linalg.matrix_norm(weight, 2), _iterated(weight, u, steps)[1]


@power_iteration.mistake(
    "sigma is cut from the graph: no gradient arrives at the weight. The steps belong under `no_grad`, the last product, "
    "u · (W v), does not."
)
def sigma_without_graph(weight, u, steps):
    v, u = _iterated(weight, u, steps)
    return (u @ (weight @ v)).detach(), u


@power_iteration.mistake(
    "you start from a vector of your own. The `u` that you are given comes from the call before, so that one step in each "
    "training step is enough: begin with it."
)
def start_of_its_own(weight, u, steps):
    v, u = _iterated(weight, torch.randn_like(u), steps)
    return u @ (weight @ v), u


power_iteration.hints(
    "u and v push one another towards the direction that the matrix stretches most. Which of the two does Wᵀ make, and how "
    "long is it before you scale it?",
    "`F.normalize(x, dim=0)` scales a vector to length 1. In the loop: v = normalize(Wᵀ u), then u = normalize(W v), under "
    "`torch.no_grad()`.",
    "After the loop, outside of `no_grad`: return u @ (weight @ v), u.",
)

# -- 7.6 -----------------------------------------------------------------------------------------------------------


@define(lesson="07", points=2, outputs=("d_loss", "g_loss"), gradients=("real_logits", "fake_logits"))
def relativistic_losses(real_logits, fake_logits):
    """The relativistic losses of both players: each pair of a real and a fake image is compared.

    real_logits, fake_logits: the discriminator's logits, equal in shape: the first real one is paired with the first fake
    one, and so on.
    Returns (d_loss, g_loss), two scalars in nats: the mean over the pairs of softplus(−(real − fake)), and that of
    softplus(−(fake − real)). Both are finite and right for logits as large as ±300.
    """
    gap = real_logits - fake_logits
    return F.softplus(-gap).mean(), F.softplus(gap).mean()


@relativistic_losses.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape in ((6,), (4, 1), (2, 3)):
        yield dict(real_logits=2 * randn(generator, *shape) + 0.5, fake_logits=2 * randn(generator, *shape) - 0.5)
    yield edge(
        "there is one pair",
        stated="one pair",
        real_logits=randn(generator, 1) + 1,
        fake_logits=randn(generator, 1) - 1,
    )
    far = 300 * torch.tensor([1.0, -1.0, 1.0, 0.9], dtype=torch.float64)
    yield edge(
        "the logits are as large as ±300",
        stated="right for logits as large as ±300",
        real_logits=far + randn(generator, 4),
        fake_logits=far.flip(0) - 2,
    )


@relativistic_losses.typical
def _(generator: torch.Generator) -> dict:
    return dict(real_logits=randn(generator, 128), fake_logits=randn(generator, 128))


def _softplus_of_gap(gap: Tensor) -> tuple[Tensor, Tensor]:
    return F.softplus(-gap).mean(), F.softplus(gap).mean()


@relativistic_losses.mistake(
    "the two losses are exchanged: the discriminator wants real above fake, and pays softplus(−(real − fake))."
)
def losses_exchanged(real_logits, fake_logits):
    return _softplus_of_gap(fake_logits - real_logits)


@relativistic_losses.mistake(
    "both players have the same loss. They want the opposite: the generator pays softplus(−(fake − real))."
)
def same_loss_for_both(real_logits, fake_logits):
    d_loss = F.softplus(fake_logits - real_logits).mean()
    return d_loss, d_loss


@relativistic_losses.mistake(
    "the generator's loss is minus the discriminator's. That is the saturating game of lesson 06: where the fakes are easily "
    "told, its gradient vanishes. The generator pays softplus(−(fake − real))."
)
def saturating(real_logits, fake_logits):
    d_loss = F.softplus(fake_logits - real_logits).mean()
    return d_loss, -d_loss


@relativistic_losses.mistake(
    "these are the losses of lesson 06, where each image is judged for itself. Here only the difference of a pair counts."
)
def judged_alone(real_logits, fake_logits):
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean(), F.softplus(-fake_logits).mean()


@relativistic_losses.mistake(
    "every real logit is compared with every fake one. Each belongs to one partner, the fake one at its own place."
)
def every_pair(real_logits, fake_logits):
    return _softplus_of_gap(real_logits.flatten().unsqueeze(1) - fake_logits.flatten())


@relativistic_losses.mistake(
    "you compare with the *mean* of the other side. That is the relativistic *average* game, a sister of this one; here each "
    "real logit is compared with one fake logit."
)
def with_the_average(real_logits, fake_logits):
    d_loss = F.softplus(fake_logits.mean() - real_logits).mean() + F.softplus(fake_logits - real_logits.mean()).mean()
    g_loss = F.softplus(real_logits.mean() - fake_logits).mean() + F.softplus(real_logits - fake_logits.mean()).mean()
    return d_loss, g_loss


@relativistic_losses.mistake(
    "you compare the two means, a single gap. Softplus bends, so that the mean has to come last: one gap for each pair."
)
def gap_of_means(real_logits, fake_logits):
    return _softplus_of_gap(real_logits.mean() - fake_logits.mean())


@relativistic_losses.mistake(
    "softplus is missing: the plain difference is the Wasserstein critic's loss, which pays without end for a growing gap."
)
def no_softplus(real_logits, fake_logits):
    gap = (real_logits - fake_logits).mean()
    return -gap, gap


@relativistic_losses.mistake(
    "right for tame logits, infinite for large ones: `sigmoid` rounds to 0, of which a logarithm is then taken, and `exp` "
    "overflows. −log σ(x) = softplus(−x), and `F.softplus` does neither."
)
def through_the_sigmoid(real_logits, fake_logits):
    gap = real_logits - fake_logits
    return -torch.log(torch.sigmoid(gap)).mean(), -torch.log(torch.sigmoid(-gap)).mean()


@relativistic_losses.mistake(
    "you sum over the pairs. Both losses are means, so that they do not depend on the batch size."
)
def summed_pairs(real_logits, fake_logits):
    gap = real_logits - fake_logits
    return F.softplus(-gap).sum(), F.softplus(gap).sum()


@relativistic_losses.mistake(
    "the real logits are cut from the generator's loss. Nothing has to be cut here: what each player may change, the loop says."
)
def real_ones_cut(real_logits, fake_logits):
    return F.softplus(fake_logits - real_logits).mean(), F.softplus(real_logits.detach() - fake_logits).mean()


@relativistic_losses.mistake(
    "the fake logits are cut from the discriminator's loss. Nothing has to be cut here: what each player may change, the loop says."
)
def fakes_cut(real_logits, fake_logits):
    return F.softplus(fake_logits.detach() - real_logits).mean(), F.softplus(real_logits - fake_logits).mean()


@relativistic_losses.mistake(
    "each player's loss is cut from the other side's logits. Nothing has to be cut here: what each player may change, the loop "
    "says."
)
def both_cut(real_logits, fake_logits):
    d_loss = F.softplus(fake_logits.detach() - real_logits).mean()
    return d_loss, F.softplus(real_logits.detach() - fake_logits).mean()


@relativistic_losses.mistake(
    "each logit is compared with the *mean* of the other side. Here each real logit is compared with one fake logit, its partner."
)
def with_one_average(real_logits, fake_logits):
    d_loss = F.softplus(fake_logits.mean() - real_logits).mean()
    return d_loss, F.softplus(real_logits.mean() - fake_logits).mean()


@relativistic_losses.mistake(
    "these are hinges with a margin of 1. Softplus is asked for: it bends smoothly, and has no margin."
)
def hinges_of_gaps(real_logits, fake_logits):
    gap = real_logits - fake_logits
    return F.relu(1 - gap).mean(), F.relu(1 + gap).mean()


@relativistic_losses.mistake(
    "both players pay for both sides. The discriminator pays softplus(−(real − fake)) alone, the generator softplus(−(fake − real))."
)
def both_sides(real_logits, fake_logits):
    both = sum(_softplus_of_gap(real_logits - fake_logits))
    return both, both


def _constant_in_the_logarithm(constant: float) -> None:
    """The mistake of writing log(sigmoid + constant), so that log 0 does not occur."""

    def wrong(real_logits, fake_logits):
        gap = real_logits - fake_logits
        return tuple(-torch.log(torch.sigmoid(it) + constant).mean() for it in (gap, -gap))

    wrong.__name__ = f"logarithm_of_sigmoid_plus_{constant:.0e}"
    relativistic_losses.mistake(
        f"you add {constant:.0e} to the sigmoid before you take its logarithm. That keeps the losses finite, but changes every "
        f"value a little, and no pair costs more than −log {constant:.0e} = {-math.log(constant):.1f}, where a gap of 300 on the "
        "wrong side should cost 300 and pull with full gradient. −log σ(x) = softplus(−x) needs no constant."
    )(wrong)


for _constant in (1e-6, 1e-7, 1e-8, 1e-10, 1e-12):
    _constant_in_the_logarithm(_constant)


relativistic_losses.hints(
    "Make the gap of each pair first: how much more real does the real one look than its fake partner?",
    "−log σ(gap) = softplus(−gap) is what the discriminator pays. The generator wants the same with the gap turned around.",
    "gap = real − fake; return F.softplus(−gap).mean(), F.softplus(gap).mean()",
)

# -- 7.7 -----------------------------------------------------------------------------------------------------------


@define(lesson="07", points=1, outputs="image", gradients=("low", "high"))
def fade_in(low, high, alpha):
    """Let a new, finer layer in by degrees: a mix of the coarse image, enlarged, and the fine one.

    low: (N, C, H, W), the image of the old layers. high: (N, C, 2H, 2W), that of the new ones. alpha: from 0 (the old
    image alone) to 1 (the new one alone).
    Returns (N, C, 2H, 2W). Each pixel of `low` becomes a square of 2 × 2 equal ones.
    """
    return (1 - alpha) * F.interpolate(low, scale_factor=2, mode="nearest") + alpha * high


def _growing(generator: torch.Generator, shape: tuple[int, int, int, int], alpha: float) -> dict:
    n, c, h, w = shape
    return dict(low=randn(generator, *shape), high=randn(generator, n, c, 2 * h, 2 * w), alpha=alpha)


@fade_in.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape, alpha in (((2, 3, 4, 5), 0.3), ((3, 1, 2, 4), 0.8), ((1, 2, 5, 3), 0.1), ((4, 2, 3, 2), 0.65)):
        yield _growing(generator, shape, alpha)
    yield edge(
        "alpha is 0",
        stated="at α = 0 nothing changes but the number of pixels",
        **_growing(generator, (2, 1, 3, 4), 0.0),
    )
    yield edge("alpha is 1", stated="which of the two is left at α = 1", **_growing(generator, (2, 1, 3, 4), 1.0))


@fade_in.typical
def _(generator: torch.Generator) -> dict:
    return _growing(generator, (64, 1, 14, 14), 0.5)


def _enlarged(low: Tensor) -> Tensor:
    return F.interpolate(low, scale_factor=2, mode="nearest")


@fade_in.mistake("alpha is turned around: at 0 the old image should stand alone, at 1 the new one.")
def turned_around(low, high, alpha):
    return alpha * _enlarged(low) + (1 - alpha) * high


@fade_in.mistake(
    "the old image stays at full strength: you add alpha times the new one to it. Let it go as the new one comes, "
    "(1 − alpha) · old + alpha · new, or the sum grows too bright."
)
def old_one_stays(low, high, alpha):
    return _enlarged(low) + alpha * high


@fade_in.mistake(
    "the new image comes at full strength at once: the layer that makes it has learnt nothing yet. It is blended in, times "
    "alpha."
)
def new_one_at_full_strength(low, high, alpha):
    return (1 - alpha) * _enlarged(low) + high


@fade_in.mistake(
    "you enlarge smoothly (bilinear). Nearest-neighbour is asked for: each coarse pixel becomes a 2 × 2 square."
)
def enlarged_smoothly(low, high, alpha):
    return (1 - alpha) * F.interpolate(low, scale_factor=2, mode="bilinear") + alpha * high


@fade_in.mistake(
    "`repeat` lays four copies of the coarse image side by side. Each *pixel* must become a 2 × 2 square: "
    "`repeat_interleave` along both dimensions, or `F.interpolate(low, scale_factor=2)`."
)
def tiled(low, high, alpha):
    return (1 - alpha) * low.repeat(1, 1, 2, 2) + alpha * high


@fade_in.mistake("both images weigh ½, whatever alpha is.")
def half_of_each(low, high, alpha):
    return 0.5 * (_enlarged(low) + high)


@fade_in.mistake("only the new image is left, times alpha; the enlarged old one, times 1 − alpha, belongs to it.")
def old_one_forgotten(low, high, alpha):
    return alpha * high


@fade_in.mistake(
    "the coarse image is spread out with zeros between its pixels, a grid of dots. Every pixel must fill a 2 × 2 square."
)
def with_holes(low, high, alpha):
    spread = torch.zeros_like(high)
    spread[:, :, ::2, ::2] = low
    return (1 - alpha) * spread + alpha * high


fade_in.hints(
    "First bring the coarse image to the size of the fine one, then mix the two.",
    "`F.interpolate(low, scale_factor=2, mode='nearest')` doubles height and width.",
    "(1 − alpha) · enlarged + alpha · high",
)
