"""Exercises of lesson 05: the two terms of the evidence lower bound, the trick that lets gradients through a sample, the
importance-weighted bound, and free bits."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.exercises.define import Case, define, edge, randn

# -- 5.1 -----------------------------------------------------------------------------------------------------------


@define(
    lesson="05",
    points=2,
    outputs="kl",
    gradients=("mu", "logvar"),
    forbidden=("torch.distributions.kl_divergence",),
)
def kl_to_standard_normal(mu, logvar):
    """KL(q || p) in nats, for q = N(mu, diag(exp(logvar))) and the standard normal p = N(0, 1): one number an image.

    mu, logvar: (batch, latent): the means of q and the logarithms of its variances.
    Returns (batch,): the sum over the latents.
    """
    return 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum(1)


def _codes(generator: torch.Generator, batch: int, latent: int) -> dict:
    return dict(mu=1.5 * randn(generator, batch, latent), logvar=1.2 * randn(generator, batch, latent) - 0.8)


@kl_to_standard_normal.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for batch, latent in ((5, 3), (2, 7), (7, 4), (3, 6)):
        yield _codes(generator, batch, latent)
    same, narrow, wide = _codes(generator, 3, 5), _codes(generator, 4, 3), _codes(generator, 2, 4)
    zeros = torch.zeros_like(same["mu"])
    yield edge(
        "q is the standard normal itself", stated="where $q$ is the standard normal itself", mu=zeros, logvar=zeros
    )
    yield edge(
        "q is very narrow, with log-variances near −30",
        stated="near −30, where $q$ is very narrow",
        **(narrow | dict(logvar=narrow["logvar"] - 30)),
    )
    yield edge(
        "q is very wide, with log-variances near 12",
        stated="near 12, where it is very wide",
        **(wide | dict(logvar=wide["logvar"] + 12)),
    )
    yield edge("the batch holds one image", stated="The batch may hold one image", **_codes(generator, 1, 4))
    yield edge("there is one latent", stated="there may be one latent", **_codes(generator, 4, 1))


@kl_to_standard_normal.typical
def _(generator: torch.Generator) -> dict:
    return _codes(generator, 256, 40)


def _kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """Each latent's KL (batch, latent)."""
    return 0.5 * (mu.square() + logvar.exp() - logvar - 1)


@kl_to_standard_normal.mistake(
    "you average over the latents. Nats add up over independent latents, and the bound needs their sum: averaged, the "
    "KL would weigh 1/latent of what the mathematics says, and the numbers could not be compared with anybody's."
)
def averaged_over_latents(mu, logvar):
    return _kl(mu, logvar).mean(1)


@kl_to_standard_normal.mistake(
    "you sum over the batch and keep the latents apart. Each image has a KL of its own: sum over dimension 1, the latents."
)
def summed_over_the_batch(mu, logvar):
    return _kl(mu, logvar).sum(0)


@kl_to_standard_normal.mistake(
    "you return one number, the mean over the batch. Here one number for each image is asked for, (batch,); whoever calls "
    "this can average later."
)
def one_number_for_all(mu, logvar):
    return _kl(mu, logvar).sum(1).mean()


@kl_to_standard_normal.mistake(
    "`logvar` is taken for the logarithm of the standard deviation: you square exp(logvar). It is the logarithm of the "
    "*variance*: σ² = exp(logvar), and log σ² is `logvar` itself."
)
def logarithm_of_the_deviation(mu, logvar):
    return _kl(mu, 2 * logvar).sum(1)


@kl_to_standard_normal.mistake(
    "the standard deviation stands where the variance belongs: exp(logvar / 2) is σ, and the formula has σ² = exp(logvar)."
)
def deviation_for_variance(mu, logvar):
    return 0.5 * (mu.square() + torch.exp(0.5 * logvar) - logvar - 1).sum(1)


@kl_to_standard_normal.mistake(
    "log σ² stands where log σ belongs. KL = ½ (μ² + σ² − 1) − log σ, and log σ = ½ `logvar`: the ½ stands before log σ², too."
)
def log_variance_for_log_deviation(mu, logvar):
    return (0.5 * (mu.square() + logvar.exp() - 1) - logvar).sum(1)


@kl_to_standard_normal.mistake(
    "exactly twice too much: the factor ½ is missing. It comes from the ½ in the normal density's exponent and from "
    "log σ = ½ log σ²."
)
def without_one_half(mu, logvar):
    return 2 * _kl(mu, logvar).sum(1)


@kl_to_standard_normal.mistake(
    "the sign is wrong: a KL is never negative. Many texts write −KL = ½ Σ (1 + log σ² − μ² − σ²), because it is "
    "subtracted in the bound; what is asked for here is the KL itself."
)
def negative(mu, logvar):
    return -_kl(mu, logvar).sum(1)


@kl_to_standard_normal.mistake(
    "the −1 is missing. Where q is the standard normal itself (μ = 0, σ = 1) the KL must be 0; yours is half the number "
    "of latents."
)
def without_minus_one(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() - logvar).sum(1)


@kl_to_standard_normal.mistake(
    "log σ² has the wrong sign. With a plus, a q that shrinks to a point would cost nothing, or even earn nats; yet it "
    "says more and more about z, which must cost more and more."
)
def narrow_for_free(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() + logvar - 1).sum(1)


@kl_to_standard_normal.mistake(
    "μ is not squared. A mean of −2 is as far from the prior as a mean of +2, and must cost as much."
)
def mean_not_squared(mu, logvar):
    return 0.5 * (mu + logvar.exp() - logvar - 1).sum(1)


@kl_to_standard_normal.mistake(
    "you measure the other way round: KL(p || q), which divides by the variance of q. The bound needs KL(q || p), the mean "
    "under q. The two are not the same: a KL is not a distance."
)
def the_other_way_round(mu, logvar):
    return 0.5 * ((1 + mu.square()) / logvar.exp() + logvar - 1).sum(1)


kl_to_standard_normal.hints(
    "Each latent has its own little KL, between a normal of mean μ and variance σ² and the standard normal. The formula "
    "stands in the text above. Nats of independent latents add up.",
    "You are given log σ², so σ² is `logvar.exp()`, and log σ² is `logvar`: no logarithm is needed.",
    "½ (μ² + σ² − log σ² − 1), summed over dimension 1.",
)

# -- 5.2 -----------------------------------------------------------------------------------------------------------


@define(lesson="05", points=1, outputs="z", gradients=("mu", "logvar"))
def reparameterise(mu, logvar, noise):
    """A sample of q = N(mu, diag(exp(logvar))), written so that gradients reach mu and logvar.

    mu, logvar: (batch, latent): means and logarithms of the variances.
    noise: (batch, latent), or (samples, batch, latent) for several samples an image; drawn from N(0, 1).
    Returns z, of noise's shape.
    """
    return mu + torch.exp(0.5 * logvar) * noise


@reparameterise.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for batch, latent in ((4, 3), (2, 5), (6, 2)):
        yield _codes(generator, batch, latent) | dict(noise=randn(generator, batch, latent))
    yield _codes(generator, 3, 4) | dict(noise=randn(generator, 5, 3, 4))
    narrow = _codes(generator, 3, 2)
    yield edge(
        "q is very narrow, with log-variances near −30",
        stated="log-variances may be near −30, where $q$ is very narrow",
        **(narrow | dict(logvar=narrow["logvar"] - 30)),
        noise=randn(generator, 3, 2),
    )
    yield edge(
        "the batch holds one image",
        stated="The batch may hold one image",
        **_codes(generator, 1, 4),
        noise=randn(generator, 1, 4),
    )


@reparameterise.typical
def _(generator: torch.Generator) -> dict:
    return _codes(generator, 256, 40) | dict(noise=randn(generator, 256, 40))


@reparameterise.mistake(
    "you multiply the noise with the variance, exp(logvar). A normal variable is scaled by its standard deviation: "
    "σ = exp(logvar / 2)."
)
def noise_times_variance(mu, logvar, noise):
    return mu + logvar.exp() * noise


@reparameterise.mistake(
    "you multiply the noise with `logvar` itself, as if it were the standard deviation. It can be negative, a standard "
    "deviation cannot: σ = exp(logvar / 2)."
)
def noise_times_logarithm(mu, logvar, noise):
    return mu + logvar * noise


@reparameterise.mistake(
    "the ½ stands outside the exponential: half of the variance. The square root of exp(a) is exp(a / 2), with the ½ inside."
)
def half_the_variance(mu, logvar, noise):
    return mu + 0.5 * logvar.exp() * noise


@reparameterise.mistake(
    "the mean is scaled as well: σ (μ + noise). Scale the noise first, then move it: μ + σ · noise."
)
def moved_then_scaled(mu, logvar, noise):
    return torch.exp(0.5 * logvar) * (mu + noise)


@reparameterise.mistake(
    "the mean is missing: your samples all lie around 0, whatever the image. Add `mu` to the scaled noise."
)
def without_mean(mu, logvar, noise):
    return torch.exp(0.5 * logvar) * noise


@reparameterise.mistake(
    "the noise is not scaled: every q would be as wide as the prior, and `logvar` would have no say and no gradient. "
    "Multiply the noise with σ = exp(logvar / 2)."
)
def unscaled_noise(mu, logvar, noise):
    return mu + noise + 0 * logvar


@reparameterise.mistake(
    "there is no noise in it: you return the mean. A code without noise can hide as much as it likes, and the model is "
    "lesson 03's autoencoder again."
)
def mean_alone(mu, logvar, noise):
    return mu + 0 * noise


@reparameterise.mistake(
    "you subtract the scaled noise. The samples have the right distribution, but whoever passes in the noise wants to "
    "know which sample comes out: μ + σ · noise."
)
def noise_subtracted(mu, logvar, noise):
    return mu - torch.exp(0.5 * logvar) * noise


@reparameterise.mistake(
    "you divide by σ: exp(−logvar / 2). The narrower q is, the farther your samples fly; it should be the other way round."
)
def divided_by_the_deviation(mu, logvar, noise):
    return mu + torch.exp(-0.5 * logvar) * noise


@reparameterise.mistake(
    "you draw noise of your own and leave `noise` unused. Then nobody can repeat your sample, or average over the same "
    "noise twice. Take the noise that you are given."
)
def noise_of_its_own(mu, logvar, noise):
    return mu + torch.exp(0.5 * logvar) * torch.randn_like(noise)


@reparameterise.mistake(
    "you draw noise of your own, of mu's shape, and leave `noise` unused. Then nobody can repeat your sample, and there is one "
    "for each image where several were asked for. Take the noise that you are given."
)
def noise_like_the_mean(mu, logvar, noise):
    return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)


@reparameterise.mistake(
    "the sample is right, but its spread is cut from the graph, so the encoder never learns how sure it may be. No "
    "`detach` and no `no_grad` here: the gradient with respect to `logvar` is the point of the trick."
)
def spread_without_gradient(mu, logvar, noise):
    return mu + torch.exp(0.5 * logvar.detach()) * noise + 0 * logvar


reparameterise.hints(
    "A normal variable of any mean and width is a standard one, scaled and moved. All the chance is in `noise`; what you "
    "do with it can be differentiated.",
    "Scaled by what? By the standard deviation σ. You have log σ², and σ = exp(½ log σ²).",
    "`mu + torch.exp(0.5 * logvar) * noise`",
)

# -- 5.3 -----------------------------------------------------------------------------------------------------------


@define(lesson="05", points=3, outputs="loss", gradients=("logits", "mu", "logvar"))
def negative_elbo(logits, x, mu, logvar, beta):
    """Reconstruction + beta * KL: minus the evidence lower bound of black-and-white images, where beta is 1.

    logits: (batch, ...): the decoder's answer; each pixel is white with probability sigmoid(logit). May be large.
    x: (batch, ...), the images that were encoded, in [0, 1]. mu, logvar: (batch, latent). beta: float.
    Returns a scalar in nats an image: summed over pixels and over latents, averaged over the batch.
    """
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)
    kl = 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum(1)
    return (reconstruction + beta * kl).mean()


def _decoded(generator: torch.Generator, batch: int, latent: int, *pixels: int) -> dict:
    logits = 2 * randn(generator, batch, *pixels)
    x = torch.randint(0, 2, logits.shape, generator=generator).double()
    return dict(logits=logits, x=x) | _codes(generator, batch, latent)


@negative_elbo.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    yield _decoded(generator, 3, 5, 7) | dict(beta=1.0)
    yield _decoded(generator, 5, 3, 8) | dict(beta=4.0)
    yield _decoded(generator, 2, 6, 1, 4, 3) | dict(beta=0.25)
    yield _decoded(generator, 4, 2, 9) | dict(beta=2.5)
    grey, loud = _decoded(generator, 3, 4, 6), _decoded(generator, 3, 2, 7)
    loud["logits"] = loud["logits"].sign() * (150 + 750 * torch.rand(3, 7, generator=generator, dtype=torch.float64))
    yield edge(
        "the images are grey",
        stated="The images may be grey",
        **(grey | dict(x=torch.sigmoid(grey["logits"].flip(0)))),
        beta=1.75,
    )
    yield edge("beta is 0", stated=r"$\beta$ may be 0", **_decoded(generator, 4, 3, 5), beta=0.0)
    yield edge("the logits are in the hundreds", stated="a logit may be in the hundreds", **loud, beta=1.25)
    yield edge(
        "the batch holds one image", stated="the batch may hold one image", **_decoded(generator, 1, 3, 6), beta=0.625
    )


@negative_elbo.typical
def _(generator: torch.Generator) -> dict:
    return _decoded(generator, 256, 40, 784) | dict(beta=1.0)


def _pixels(logits: Tensor, x: Tensor) -> Tensor:
    """Each image's reconstruction loss (batch,)."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


@negative_elbo.mistake(
    "the reconstruction is averaged over the pixels, as torch does unless told otherwise. Then the KL weighs hundreds of "
    "times too much beside it, the model ignores its latents, and the sum is not a bound on anything. Sum over pixels."
)
def averaged_over_pixels(logits, x, mu, logvar, beta):
    return F.binary_cross_entropy_with_logits(logits, x) + beta * _kl(mu, logvar).sum(1).mean()


@negative_elbo.mistake(
    "the KL is averaged over the latents. Both terms must be summed over their dimensions, pixels and latents, and "
    "averaged over the batch alone; else their sum is not a bound on log p(x)."
)
def kl_averaged_over_latents(logits, x, mu, logvar, beta):
    return _pixels(logits, x).mean() + beta * _kl(mu, logvar).mean()


@negative_elbo.mistake(
    "you average over everything, pixels and latents too. Sum over pixels and over latents, average over the batch alone: "
    "a pixel and a latent do not weigh the same."
)
def averaged_over_everything(logits, x, mu, logvar, beta):
    return F.binary_cross_entropy_with_logits(logits, x) + beta * _kl(mu, logvar).mean()


@negative_elbo.mistake(
    "you sum over the batch. Then the loss, and with it every gradient, grows with the batch size: average over the images."
)
def summed_over_the_batch_too(logits, x, mu, logvar, beta):
    return (_pixels(logits, x) + beta * _kl(mu, logvar).sum(1)).sum()


@negative_elbo.mistake(
    "the KL is summed over the batch, and the reconstruction is averaged over it. Then the KL weighs more the larger the batch "
    "is, as if beta grew with it. Sum each image's KL over its latents, dimension 1; average both terms over the images."
)
def kl_summed_over_the_batch(logits, x, mu, logvar, beta):
    return _pixels(logits, x).mean() + beta * _kl(mu, logvar).sum()


@negative_elbo.mistake(
    "the reconstruction is summed over the batch (`reduction='sum'`), and the KL is averaged over it. Then the KL weighs less "
    "the larger the batch is. Sum over the pixels of each image; average both terms over the images."
)
def reconstruction_summed_over_the_batch(logits, x, mu, logvar, beta):
    return _pixels(logits, x).sum() + beta * _kl(mu, logvar).sum(1).mean()


@negative_elbo.mistake(
    "beta stands at the wrong term: it weighs the KL, not the reconstruction. Yours does the opposite of what is asked: a "
    "large beta would make the model care for pixels alone."
)
def beta_on_the_reconstruction(logits, x, mu, logvar, beta):
    return (beta * _pixels(logits, x) + _kl(mu, logvar).sum(1)).mean()


@negative_elbo.mistake(
    "beta multiplies both terms. That only scales the loss; the balance between the two, which beta is for, stays as it "
    "was. It belongs to the KL alone."
)
def beta_on_both(logits, x, mu, logvar, beta):
    return beta * (_pixels(logits, x) + _kl(mu, logvar).sum(1)).mean()


@negative_elbo.mistake("beta is not used: multiply the KL with it.")
def without_beta(logits, x, mu, logvar, beta):
    return (_pixels(logits, x) + _kl(mu, logvar).sum(1)).mean()


@negative_elbo.mistake(
    "the KL is subtracted. In the bound it is, but this is *minus* the bound, to be minimised: reconstruction plus KL. "
    "As it stands, training would reward codes for leaving the prior."
)
def kl_subtracted(logits, x, mu, logvar, beta):
    return (_pixels(logits, x) - beta * _kl(mu, logvar).sum(1)).mean()


@negative_elbo.mistake(
    "you return the bound itself. An optimiser minimises, so it needs *minus* the bound: turn the sign."
)
def the_bound_itself(logits, x, mu, logvar, beta):
    return -(_pixels(logits, x) + beta * _kl(mu, logvar).sum(1)).mean()


@negative_elbo.mistake("the KL lacks its factor ½. Check it: for μ = 1 and σ = 1 a latent's KL is ½.")
def kl_without_one_half(logits, x, mu, logvar, beta):
    return (_pixels(logits, x) + 2 * beta * _kl(mu, logvar).sum(1)).mean()


@negative_elbo.mistake(
    "in the KL log σ² stands where log σ belongs. KL = ½ (μ² + σ² − 1) − log σ, and log σ = ½ `logvar`: the ½ stands before "
    "log σ², too."
)
def kl_with_log_variance_for_log_deviation(logits, x, mu, logvar, beta):
    kl = 0.5 * (mu.square() + logvar.exp() - 1) - logvar
    return (_pixels(logits, x) + beta * kl.sum(1)).mean()


@negative_elbo.mistake(
    "in the KL `logvar` is taken for the logarithm of the standard deviation. It is that of the variance: σ² = exp(logvar)."
)
def kl_of_squared_variance(logits, x, mu, logvar, beta):
    return (_pixels(logits, x) + beta * _kl(mu, 2 * logvar).sum(1)).mean()


@negative_elbo.mistake(
    "the sigmoid is applied twice: `…_with_logits` applies it for you. Then no pixel could ever be darker than "
    "sigmoid(0) = ½. Pass the logits as they are."
)
def sigmoid_twice(logits, x, mu, logvar, beta):
    return (_pixels(torch.sigmoid(logits), x) + beta * _kl(mu, logvar).sum(1)).mean()


@negative_elbo.mistake(
    "you measure the squared error. That is the loss of a model whose pixels are normal around the decoder's answer; here "
    "a pixel is white or black, and its loss is −log of the probability that the model gave to what it is."
)
def squared_error(logits, x, mu, logvar, beta):
    errors = (torch.sigmoid(logits) - x).square().flatten(1).sum(1)
    return (errors + beta * _kl(mu, logvar).sum(1)).mean()


@negative_elbo.mistake(
    "only the white pixels count: a black one, x = 0, that the model believes to be white costs nothing. The loss of a "
    "pixel has two parts: −x log p − (1 − x) log(1 − p)."
)
def white_pixels_only(logits, x, mu, logvar, beta):
    return ((x * F.softplus(-logits)).flatten(1).sum(1) + beta * _kl(mu, logvar).sum(1)).mean()


@negative_elbo.mistake(
    "right for ordinary logits, but you take the sigmoid first and its logarithm then. For a logit in the hundreds the "
    "sigmoid is exactly 0 or 1, and torch caps the logarithm at −100: wrong losses, and no gradient where it matters "
    "most. `binary_cross_entropy_with_logits` never leaves the logits."
)
def capped_logarithm(logits, x, mu, logvar, beta):
    pixels = F.binary_cross_entropy(torch.sigmoid(logits), x, reduction="none").flatten(1).sum(1)
    return (pixels + beta * _kl(mu, logvar).sum(1)).mean()


@negative_elbo.mistake(
    "you add 1e-8 inside the logarithm, log(p + 1e-8), against the logarithm of 0. That changes every loss a little, and caps "
    "that of a pixel at 18.4 nats: for a logit in the hundreds that is wrong by hundreds of nats, and its gradient vanishes. "
    "`binary_cross_entropy_with_logits` needs no such guard."
)
def guarded_logarithm(logits, x, mu, logvar, beta):
    p = torch.sigmoid(logits)
    pixels = -(x * torch.log(p + 1e-8) + (1 - x) * torch.log(1 - p + 1e-8)).flatten(1).sum(1)
    return (pixels + beta * _kl(mu, logvar).sum(1)).mean()


@negative_elbo.mistake(
    "right for ordinary logits, but you write out log σ(a) or log(1 + exp(a)): for logits in the hundreds that is the "
    "logarithm of 0, or of infinity. `F.softplus` and `binary_cross_entropy_with_logits` know how to avoid it."
)
def overflowing_softplus(logits, x, mu, logvar, beta):
    pixels = (torch.log(1 + logits.exp()) - x * logits).flatten(1).sum(1)
    return (pixels + beta * _kl(mu, logvar).sum(1)).mean()


@negative_elbo.mistake(
    "the KL is missing. What is left is lesson 03's autoencoder with noise: nothing keeps the codes where the prior is."
)
def without_kl(logits, x, mu, logvar, beta):
    return _pixels(logits, x).mean() + 0 * (mu.sum() + logvar.sum())


negative_elbo.hints(
    "Two numbers for each image: how many nats the decoder needs for the pixels, and how many q is away from the prior. "
    "Weigh the second with beta, add, and average over the images at the very end.",
    "`F.binary_cross_entropy_with_logits(logits, x, reduction='none')` gives a loss for each pixel, in the images' shape; "
    "`.flatten(1).sum(1)` makes it one number an image.",
    "The KL is that of exercise 5.1, written out once more; then `(reconstruction + beta * kl).mean()`.",
)

# -- 5.4 -----------------------------------------------------------------------------------------------------------


@define(lesson="05", points=2, outputs="bound", gradients=("log_weights",))
def importance_bound(log_weights):
    """The logarithm of the mean of the weights: the importance-weighted lower bound of log p(x), for each image.

    log_weights: (K, N), any size: log p(x, z_k) - log q(z_k | x) of K samples for each of N images, in nats.
    Returns (N,), in nats.
    """
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))


@importance_bound.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for samples, n in ((5, 3), (2, 6), (7, 2), (3, 4)):
        yield dict(log_weights=3 * randn(generator, samples, n) - 4)
    yield edge("there is one sample", stated="there may be one sample only", log_weights=2 * randn(generator, 1, 5))
    yield edge("there is one image", stated="one sample only, or one image", log_weights=2 * randn(generator, 6, 1))
    yield edge("the log-weights are near −1000", stated="near −1000", log_weights=2 * randn(generator, 4, 3) - 1000)
    yield edge(
        "the log-weights are near +1000", stated="they can be near +1000", log_weights=2 * randn(generator, 3, 5) + 1000
    )
    apart = 2 * randn(generator, 5, 4) + torch.tensor([0.0, -1000.0, -300.0, 1000.0], dtype=torch.float64)
    apart[[0, 2]] -= 400
    yield edge(
        "the log-weights of images, or of samples, lie hundreds of nats apart",
        stated="may lie hundreds of nats apart",
        log_weights=apart,
    )


@importance_bound.typical
def _(generator: torch.Generator) -> dict:
    return dict(log_weights=5 * randn(generator, 500, 100) - 90)


@importance_bound.mistake(
    "you take the mean of the logarithms. That is the ordinary bound, averaged over K samples: more samples make it more "
    "exact, but not tighter. Asked for is the logarithm of the mean."
)
def mean_of_logarithms(log_weights):
    return log_weights.mean(0)


@importance_bound.mistake(
    "you sum and do not divide: log K is missing, and with enough samples your “bound” would rise above any likelihood. "
    "The mean is the sum divided by K, so subtract log K."
)
def without_log_k(log_weights):
    return torch.logsumexp(log_weights, 0)


@importance_bound.mistake(
    "you divide the logarithm of the sum by K. The division belongs inside, where the weights are: log(sum / K) = "
    "log(sum) − log K."
)
def divided_outside(log_weights):
    return torch.logsumexp(log_weights, 0) / len(log_weights)


@importance_bound.mistake(
    "log K has the wrong sign: you multiply the sum with K. Dividing inside the logarithm is subtracting: − log K."
)
def log_k_added(log_weights):
    return torch.logsumexp(log_weights, 0) + math.log(len(log_weights))


@importance_bound.mistake(
    "you average over the images. Dimension 0 counts the samples, K, and dimension 1 the images, N: each image has a "
    "bound of its own."
)
def over_the_images(log_weights):
    return torch.logsumexp(log_weights, 1) - math.log(log_weights.shape[1])


@importance_bound.mistake(
    "log of the wrong number: you divide by the number of images, N, and not by the number of samples, K."
)
def divided_by_n(log_weights):
    return torch.logsumexp(log_weights, 0) - math.log(log_weights.shape[1])


@importance_bound.mistake(
    "you average the weights of all images together and take one logarithm. Each image has a likelihood of its own; keep "
    "dimension 1."
)
def one_bound_for_all(log_weights):
    return torch.logsumexp(log_weights.flatten(), 0) - math.log(log_weights.numel())


@importance_bound.mistake(
    "right for moderate weights, but exp(−1000) is 0 and exp(1000) is infinite in any precision of torch, and log-weights can "
    "be as large as that. Take the largest out of the exponential first, or use `torch.logsumexp`."
)
def overflowing(log_weights):
    return log_weights.exp().mean(0).log()


@importance_bound.mistake(
    "you return the mean weight without its logarithm. A bound in nats is the logarithm; and the weight itself is soon too "
    "small for a computer: exp(−1000) is 0 in any precision of torch."
)
def without_logarithm(log_weights):
    return log_weights.exp().mean(0)


@importance_bound.mistake(
    "you take the best sample alone. The others count too, and the maximum of K samples is no bound: it lacks the "
    "division by K."
)
def best_sample(log_weights):
    return log_weights.amax(0)


@importance_bound.mistake(
    "you return minus the bound. The negative log-likelihood is what one reports, but asked for here is the bound itself."
)
def turned_round(log_weights):
    return math.log(len(log_weights)) - torch.logsumexp(log_weights, 0)


@importance_bound.mistake(
    "right where all weights are alike, but you take one largest log-weight out for all images. Beside an image with much "
    "larger weights those of another all become exp(−hundreds) = 0. Each image needs its own largest: `amax(0)`."
)
def one_largest_for_all(log_weights):
    largest = log_weights.max()
    return largest + (log_weights - largest).exp().mean(0).log()


importance_bound.hints(
    "The weights are given by their logarithms. You want the logarithm of the weights' mean over the K samples, for each "
    "image; but you cannot leave the logarithms: exp(−1000) is 0.",
    "log of a mean = log of a sum, minus log K. For the first there is a function that takes the largest entry out before "
    "it exponentiates.",
    "`torch.logsumexp(log_weights, 0) - math.log(len(log_weights))`",
)

# -- 5.5 -----------------------------------------------------------------------------------------------------------


@define(lesson="05", points=2, outputs="cost", gradients=("kl_per_latent",))
def free_bits(kl_per_latent, floor):
    """The KL as it is charged when the first `floor` nats of each latent are free.

    kl_per_latent: (batch, latent), each image's KL of each latent, in nats. floor: nats, a float of at least 0.
    Returns a scalar: a latent's mean over the batch, but at least `floor`, summed over the latents.
    """
    return kl_per_latent.mean(0).clamp(min=floor).sum()


def _kls(generator: torch.Generator, batch: int, latent: int) -> Tensor:
    """KLs with latents that are used, more or less, and some that are not."""
    used = torch.linspace(0.02, 3.0, latent, dtype=torch.float64)[torch.randperm(latent, generator=generator)]
    return used * randn(generator, batch, latent).square()


@free_bits.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for batch, latent, floor in ((5, 3, 0.5), (3, 7, 0.75), (7, 4, 0.3125), (4, 6, 1.125)):
        yield dict(kl_per_latent=_kls(generator, batch, latent), floor=floor)
    yield edge("the floor is 0", stated="the floor may be 0", kl_per_latent=_kls(generator, 4, 3), floor=0.0)
    yield edge(
        "every latent is below the floor",
        stated="Every latent may lie below the floor",
        kl_per_latent=_kls(generator, 3, 5),
        floor=100.0,
    )
    yield edge(
        "every latent is above the floor",
        stated="or every one above",
        kl_per_latent=_kls(generator, 5, 4) + 2,
        floor=0.25,
    )
    yield edge(
        "the batch holds one image",
        stated="the batch may hold one image",
        kl_per_latent=_kls(generator, 1, 5),
        floor=0.625,
    )


@free_bits.typical
def _(generator: torch.Generator) -> dict:
    return dict(kl_per_latent=_kls(generator, 256, 40), floor=0.25)


@free_bits.mistake(
    "the floor is applied to each image before averaging. Then an image that needs less than the floor is lifted to it, "
    "even in a latent that is used a lot on average. First the batch mean of each latent, then the floor."
)
def floor_for_each_image(kl_per_latent, floor):
    return kl_per_latent.clamp(min=floor).mean(0).sum()


@free_bits.mistake(
    "the floor is applied to the sum over all latents. Then one busy latent pays for all the others, which may collapse "
    "unnoticed. Each latent has a floor of its own: first the floor, then the sum."
)
def floor_on_the_sum(kl_per_latent, floor):
    return kl_per_latent.mean(0).sum().clamp(min=floor)


@free_bits.mistake(
    "you compare the sum over all latents with latent × floor. Then one busy latent pays for all the others, which may "
    "collapse unnoticed. Compare latent by latent, then sum."
)
def one_purse_for_all(kl_per_latent, floor):
    return kl_per_latent.mean(0).sum().clamp(min=floor * kl_per_latent.shape[1])


@free_bits.mistake(
    "the floor is applied to each image's sum over the latents. Each latent has a floor of its own, for its mean over the "
    "batch: average over the batch, apply the floor, then sum."
)
def floor_on_each_images_sum(kl_per_latent, floor):
    return kl_per_latent.sum(1).clamp(min=floor).mean()


@free_bits.mistake(
    "you cut from above: min instead of max. As it stands a latent that is used *more* than the floor gets no gradient, "
    "and one that collapses is still pushed down."
)
def ceiling(kl_per_latent, floor):
    return kl_per_latent.mean(0).clamp(max=floor).sum()


@free_bits.mistake(
    "the floor is added to every latent. A constant has no gradient, so nothing is free: take the larger of the two."
)
def floor_added(kl_per_latent, floor):
    return (kl_per_latent.mean(0) + floor).sum()


@free_bits.mistake(
    "you charge what exceeds the floor, max(0, KL − floor). The gradient is the same, but not the number: with a floor "
    "the cost of a latent is never below it, and the sum with the reconstruction stays above the true loss."
)
def excess_alone(kl_per_latent, floor):
    return (kl_per_latent.mean(0) - floor).clamp(min=0).sum()


@free_bits.mistake("the latents are averaged. Nats add up over latents: sum them, after the floor.")
def averaged_in_the_end(kl_per_latent, floor):
    return kl_per_latent.mean(0).clamp(min=floor).mean()


@free_bits.mistake(
    "you sum over the batch where its mean is asked for: a large batch would lift every latent over the floor."
)
def summed_over_images(kl_per_latent, floor):
    return kl_per_latent.sum(0).clamp(min=floor).sum()


@free_bits.mistake(
    "the two dimensions have changed places: you average over the latents and apply the floor to the images. Dimension 0 "
    "is the batch: average over it."
)
def dimensions_exchanged(kl_per_latent, floor):
    return kl_per_latent.mean(1).clamp(min=floor).sum()


@free_bits.mistake(
    "latents below the floor are left out: they cost nothing, where they should cost the floor. The gradient is the "
    "same, but the cost jumps as a latent crosses the floor."
)
def left_out_below(kl_per_latent, floor):
    kl = kl_per_latent.mean(0)
    return torch.where(kl > floor, kl, 0).sum()


@free_bits.mistake(
    "no floor is applied: this is the ordinary KL, and a latent that has nothing to say yet is pushed to nothing."
)
def nothing_free(kl_per_latent, floor):
    return kl_per_latent.mean(0).sum()


free_bits.hints(
    "Three things, and their order is all that matters: an average over the batch, a floor, a sum over the latents.",
    "The floor asks: is this *latent* used, on average? So it comes after the average and before the sum.",
    "`.mean(0)`, then `.clamp(min=floor)`, then `.sum()`.",
)
