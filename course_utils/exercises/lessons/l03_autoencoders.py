"""Exercises of lesson 03: principal components, noise and its removal, strangeness, and the bits of a code."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from course_utils.boxed.fixtures import Fixture
from course_utils.exercises.define import Case, define, edge, randn
from course_utils.exercises.lessons import chance

# -- 3.1 -----------------------------------------------------------------------------------------------------------


@define(lesson="03", points=2, outputs="x_hat", forbidden=("sklearn.decomposition.PCA", "torch.pca_lowrank"))
def pca_reconstruct(train, x, k):
    """Compress rows to k numbers each and back, by the principal components of the training rows.

    train: (M, D), the only rows from which the mean and the components may be learned. x: (N, D), the rows to
    compress. k: how many components to keep, 0 <= k <= D; with none, only the mean is left.
    Returns x_hat (N, D).
    """
    mean = train.mean(0)
    centred = train - mean
    directions = torch.linalg.eigh(centred.T @ centred).eigenvectors  # (D, D), in columns; the principal ones are last
    components = directions.flip(1)[:, :k]  # (D, k)
    return mean + (x - mean) @ components @ components.T


def _rows(generator: torch.Generator, m: int, n: int, d: int, k: int) -> dict:
    """Rows with clearly unequal variances along rotated directions, around a mean that is not zero."""
    rotation = torch.linalg.qr(randn(generator, d, d))[0]
    spread = 3.0 * 0.6 ** torch.arange(d, dtype=torch.float64)
    shift = 2 * randn(generator, d)
    train = randn(generator, m, d) * spread @ rotation.T + shift
    x = randn(generator, n, d) * spread @ rotation.T * 1.5 + shift + 0.5 * randn(generator, d)  # a little elsewhere
    return dict(train=train, x=x, k=k)


@pca_reconstruct.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for m, n, d, k in ((40, 7, 6, 2), (30, 12, 5, 3), (50, 6, 8, 1), (35, 9, 7, 4), (45, 5, 9, 3)):
        yield _rows(generator, m, n, d, k)
    yield edge("all components are kept", stated="(then all components are kept)", **_rows(generator, 30, 4, 5, 5))
    yield edge("no component is kept", stated="(then only the mean is left)", **_rows(generator, 30, 4, 5, 0))
    yield edge("there is one row to compress", stated="for a single row in `x`", **_rows(generator, 40, 1, 6, 2))


@pca_reconstruct.typical
def _(generator: torch.Generator) -> dict:
    train = torch.rand(1000, 784, generator=generator, dtype=torch.float64)
    return dict(train=train, x=torch.rand(100, 784, generator=generator, dtype=torch.float64), k=32)


def _components(rows: Tensor, k: int) -> Tensor:
    """The first k principal directions (D, k) of rows whose mean is taken for zero."""
    return torch.linalg.svd(rows, full_matrices=False).Vh[:k].T


def _there_and_back(rows: Tensor, components: Tensor) -> Tensor:
    return rows @ components @ components.T


@pca_reconstruct.mistake(
    "you never subtract the mean. Then the first component is spent on pointing from zero to the middle of the data, and "
    "only k − 1 are left to describe how images differ. Subtract the training mean first, and add it again at the end."
)
def not_centred(train, x, k):
    return _there_and_back(x, _components(train, k))


@pca_reconstruct.mistake(
    "you centre, and project, but do not come all the way back: the mean is missing from the result. What you subtracted "
    "before the projection must be added after it."
)
def mean_not_added(train, x, k):
    mean = train.mean(0)
    return _there_and_back(x - mean, _components(train - mean, k))


@pca_reconstruct.mistake(
    "the components come from `x`, the rows to compress. A compressor that looks at the test images before it is built is "
    "tested on its training data: its error will look too good. Everything that is learned comes from `train` alone."
)
def components_from_x(train, x, k):
    mean = train.mean(0)
    return mean + _there_and_back(x - mean, _components(x - x.mean(0), k))


@pca_reconstruct.mistake(
    "mean and components come from `x`, the rows to compress, and `train` is not used at all. Then the compressor is "
    "tested on the very rows it learned from, and its error will look too good. Learn both from `train`."
)
def everything_from_x(train, x, k):
    mean = x.mean(0)
    return mean + _there_and_back(x - mean, _components(x - mean, k))


@pca_reconstruct.mistake(
    "`x` is centred with its own mean. The receiver of your k numbers does not know it; and a single row would be exactly "
    "its own mean. Subtract the mean of `train`, and add the same mean again."
)
def mean_of_x(train, x, k):
    mean = x.mean(0)
    return mean + _there_and_back(x - mean, _components(train - train.mean(0), k))


@pca_reconstruct.mistake(
    "you learn from `train` and `x` together. The rows to compress must not have a say in the components: learn the mean "
    "and the directions from `train` alone."
)
def learned_from_both(train, x, k):
    everything = torch.cat([train, x])
    mean = everything.mean(0)
    return mean + _there_and_back(x - mean, _components(everything - mean, k))


@pca_reconstruct.mistake(
    "you keep the k directions in which the data vary *least*. `torch.linalg.eigh` sorts its eigenvalues from small to "
    "large, so the principal components are its last columns, not the first."
)
def least_components(train, x, k):
    mean = train.mean(0)
    directions = torch.linalg.eigh((train - mean).T @ (train - mean)).eigenvectors
    return mean + _there_and_back(x - mean, directions[:, :k])


@pca_reconstruct.mistake(
    "you take the last k columns of `eigh` with `[:, -k:]`. That is right until k is 0: `[:, -0:]` means all of them, and "
    "nothing is compressed. Count from the front: `[:, D - k:]`, or turn the order round first, with `.flip(1)[:, :k]`."
)
def minus_zero(train, x, k):
    mean = train.mean(0)
    directions = torch.linalg.eigh((train - mean).T @ (train - mean)).eigenvectors
    return mean + _there_and_back(x - mean, directions[:, -k:])


@pca_reconstruct.mistake(
    "you mix up rows and columns of the directions. `eigh` has one eigenvector in each *column*; the `Vh` of `svd` has one "
    "in each *row*. No shape complains, since the matrix is square, but the directions are nonsense."
)
def rows_for_columns(train, x, k):
    mean = train.mean(0)
    return mean + _there_and_back(x - mean, torch.linalg.svd(train - mean, full_matrices=False).Vh[:, :k])


@pca_reconstruct.mistake(
    "you take the first k *rows* of the matrix of eigenvectors. `eigh` has one eigenvector in each *column*; a row holds one "
    "entry of all of them. No shape complains, since the matrix is square."
)
def rows_of_the_eigenvectors(train, x, k):
    mean = train.mean(0)
    directions = torch.linalg.eigh((train - mean).T @ (train - mean)).eigenvectors
    return mean + _there_and_back(x - mean, directions.flip(1)[:k].T)


@pca_reconstruct.mistake(
    "you turn the wrong order round: `flip(0)` reverses the rows, that is the entries *of* each eigenvector, and leaves the "
    "least important direction first. The eigenvectors are the columns: `flip(1)`."
)
def entries_reversed(train, x, k):
    mean = train.mean(0)
    directions = torch.linalg.eigh((train - mean).T @ (train - mean)).eigenvectors
    return mean + _there_and_back(x - mean, directions.flip(0)[:, :k])


@pca_reconstruct.mistake(
    "`x` is centred, but the directions are those of training rows that are not: the first of them then points from zero to "
    "the middle of the data, not to where the data vary. Subtract the mean from `train`, too, before you look for them."
)
def directions_of_uncentred_rows(train, x, k):
    mean = train.mean(0)
    return mean + _there_and_back(x - mean, _components(train, k))


@pca_reconstruct.mistake(
    "you return the k numbers of each row, its code. The exercise asks for the way back, too: multiply by the components "
    "once more, and add the mean."
)
def only_the_code(train, x, k):
    mean = train.mean(0)
    return (x - mean) @ _components(train - mean, k)


@pca_reconstruct.mistake(
    "you divide by the standard deviation of each column. That is another method, PCA of the correlations: it makes a pixel "
    "that hardly ever changes as important as one that always does. Here only the mean is subtracted."
)
def standardised(train, x, k):
    mean, spread = train.mean(0), train.std(0)
    return mean + spread * _there_and_back((x - mean) / spread, _components((train - mean) / spread, k))


@pca_reconstruct.mistake(
    "you centre with one number, the mean over all rows and columns. Each column has a mean of its own: `train.mean(0)`, "
    "of shape (D,)."
)
def one_mean_for_all(train, x, k):
    return train.mean() + _there_and_back(x - train.mean(), _components(train - train.mean(), k))


pca_reconstruct.hints(
    "Three steps: learn a mean and k directions from `train`; project `x` minus that mean onto the directions; come back.",
    "The directions are the rows of `Vh` in `torch.linalg.svd(train - mean, full_matrices=False)`, or the eigenvectors "
    "(columns) of the matrix `(train - mean).T @ (train - mean)`, which `torch.linalg.eigh` sorts from small to large; the "
    "second way is much faster for many rows.",
    "With the components in the columns of a matrix C, (D, k), the code of x is `(x - mean) @ C`, and the way back is "
    "`code @ C.T + mean`.",
)

# -- 3.2 -----------------------------------------------------------------------------------------------------------


@define(lesson="03", points=2, outputs="x_noisy")
def corrupt(x, noise_std, missing, generator):
    """Spoil images in two ways: Gaussian noise on every pixel, then pixels that are missing.

    x: images of any shape (N, …), values in [0, 1]. noise_std: the noise's standard deviation; the sum is cut off at
    0 and 1. missing: the probability with which each pixel is then set to 0, independently of all others.
    generator: where all chance comes from, on the CPU or on the device of x. Returns x_noisy, like x.
    """
    noise = torch.randn(x.shape, generator=generator, device=generator.device).to(x)
    kept = torch.rand(x.shape, generator=generator, device=generator.device) >= missing
    return (x + noise_std * noise).clamp(0, 1) * kept.to(x)


def _grey(generator: torch.Generator, *shape: int) -> Tensor:
    """Pixels from 0.4 to 0.6: noise of up to `LITTLE` does not reach 0 or 1."""
    return 0.4 + 0.2 * torch.rand(shape, generator=generator, dtype=torch.float64)


LITTLE = 0.05


@corrupt.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    grey = _grey(generator, 100, 1, 10, 11)
    ends = (torch.rand(90, 1, 8, 9, generator=generator) < 0.5).double()
    rows = _grey(generator, 120, 60)
    seed = int(torch.randint(2**31, (), generator=generator))

    def case(x: Tensor, noise_std: float, missing: float, drawn_by: Fixture) -> dict:
        return dict(x=x, noise_std=noise_std, missing=missing, generator=drawn_by)

    fresh, other = Fixture("generator", seed), Fixture("generator", seed + 1)
    for drawn_by in (fresh, fresh, other, chance.used(seed)):
        yield case(grey, LITTLE, 0.25, drawn_by)
    yield case(ends, 0.3, 0.15, other)
    yield case(rows, 0.03, 0.4, other)
    yield edge("nothing is missing", stated="for `missing = 0`", **case(grey, LITTLE, 0.0, fresh))
    yield edge("there is no noise", stated="for `noise_std = 0`", **case(rows, 0.0, 0.4, fresh))
    yield edge("there is neither noise nor anything missing", stated="for both", **case(ends, 0.0, 0.0, fresh))
    yield edge("every pixel is missing", stated="where every pixel is missing", **case(rows, LITTLE, 1.0, fresh))


@corrupt.typical
def _(generator: torch.Generator) -> dict:
    images = torch.rand(256, 1, 28, 28, generator=generator, dtype=torch.float64)
    return dict(x=images, noise_std=0.5, missing=0.25, generator=Fixture("generator", 0))


def _missing(arguments: dict, result: Tensor) -> Tensor | None:
    """Which pixels are 0 where none can be by noise alone (N, D), or None where that cannot be told."""
    if arguments["noise_std"] > LITTLE or bool((arguments["x"] < 0.4).any()):
        return None
    return (result == 0).flatten(1)


def _neighbours(x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The pixels of even places and their next neighbours, along each dimension that has more than one place."""
    for d in range(x.dim()):
        pairs = x.shape[d] // 2
        if pairs:
            even = 2 * torch.arange(pairs, device=x.device)
            yield x.index_select(d, even), x.index_select(d, even + 1)


def _noise(arguments: dict, result: Tensor) -> Tensor | None:
    """The noise of the pixels that are there, in units of `noise_std` (n,), or None where it cannot be told."""
    if not 0 < arguments["noise_std"] <= LITTLE or arguments["missing"] == 1 or bool((arguments["x"] < 0.4).any()):
        return None
    return ((result - arguments["x"]) / arguments["noise_std"]).double()[result != 0]


def _bell(values: Tensor) -> bool:
    """Whether the values look like draws from the standard normal distribution."""
    return len(values) > 0 and chance.distributed(torch.special.ndtr(values))


@corrupt.claim("no pixel should be below 0: after the noise, cut off at 0 and 1.")
def nothing_below_zero(arguments, result):
    return bool((result >= 0).all())


@corrupt.claim("no pixel should be above 1: after the noise, cut off at 0 and 1.")
def nothing_above_one(arguments, result):
    return bool((result <= 1).all())


@corrupt.claim("without noise and with nothing missing, the images should be as they were.")
def untouched(arguments, result):
    return arguments["noise_std"] > 0 or arguments["missing"] > 0 or torch.equal(result, arguments["x"])


@corrupt.claim("without noise, a pixel that is not missing should be as it was.")
def survivors_are_untouched(arguments, result):
    there = result != 0
    return arguments["noise_std"] > 0 or torch.allclose(result[there], arguments["x"][there])


@corrupt.claim("every image should lose pixels of its own; yours all lose the same ones.")
def images_lose_their_own(arguments, result):
    gone = _missing(arguments, result)
    return gone is None or arguments["missing"] in (0, 1) or bool((gone != gone[0]).any())


@corrupt.claim("pixels should be lost one by one; yours are lost by whole images, rows or columns.")
def pixels_are_lost_one_by_one(arguments, result):
    gone = _missing(arguments, result)
    if gone is None or arguments["missing"] in (0, 1):
        return True
    whole = gone.reshape(arguments["x"].shape)
    return all(bool((whole != whole.narrow(d, 0, 1)).any()) for d in range(whole.dim()) if whole.shape[d] > 1)


@corrupt.claim("no image should be lost as a whole; some of yours are.")
def no_image_is_lost(arguments, result):
    gone, p = _missing(arguments, result), arguments["missing"]  # by chance less than 1e-60 of images of two dimensions
    return gone is None or p in (0, 1) or arguments["x"].dim() < 3 or not bool(gone.all(1).any())


@corrupt.claim("no two images should lose the same pixels; some of yours do.")
def no_two_images_lose_the_same(arguments, result):
    gone = _missing(arguments, result)  # two of them do by chance with less than 1e-13
    return gone is None or arguments["missing"] in (0, 1) or len(gone.unique(dim=0)) == len(gone)


@corrupt.claim("whether a pixel is lost should tell nothing about its neighbours; yours are lost together.")
def neighbours_are_lost_apart(arguments, result):
    gone, p = _missing(arguments, result), arguments["missing"]
    if gone is None or p in (0, 1):
        return True
    middle = (p**2 + (1 - p) ** 2 + 1) / 2  # between the share of neighbours that go alike by chance, and all of them
    return all(
        (one == other).double().mean() < middle for one, other in _neighbours(gone.reshape(arguments["x"].shape))
    )


@corrupt.claim("each pixel should be missing, exactly 0, with probability `missing`; the share of yours is another.")
def the_share_is_right(arguments, result):
    gone, p = _missing(arguments, result), arguments["missing"]
    return gone is None or chance.likely(gone.double().mean(), torch.tensor(p, device=gone.device), gone.numel())


@corrupt.claim("`missing` is the probability of losing a pixel, not of keeping it.")
def the_share_is_not_kept(arguments, result):
    gone, p = _missing(arguments, result), arguments["missing"]
    if gone is None or not 0 < p < 0.5:
        return True
    return not chance.likely(gone.double().mean(), torch.tensor(1 - p, device=gone.device), gone.numel())


@corrupt.claim("how many pixels an image loses should be a matter of chance, too; yours all lose equally many.")
def the_number_varies(arguments, result):
    gone = _missing(arguments, result)
    return gone is None or arguments["missing"] in (0, 1) or bool((gone.sum(1) != gone[0].sum()).any())


@corrupt.claim("the noise should have the mean 0.")
def noise_has_no_mean(arguments, result):
    noise = _noise(arguments, result)
    return noise is None or abs(noise.mean().item()) <= 7 / max(len(noise), 1) ** 0.5


@corrupt.claim("the noise should have the standard deviation `noise_std`.")
def noise_has_its_spread(arguments, result):
    noise = _noise(arguments, result)  # the error of a standard deviation is sqrt(1 / 2n), and this seven times as much
    return noise is None or abs(noise.square().mean().sqrt().item() - 1) <= 7 / max(2 * len(noise), 1) ** 0.5


@corrupt.claim(
    "`noise_std` is a standard deviation, not a variance: it should not be squared, and no root of it taken."
)
def spread_is_no_variance(arguments, result):
    noise, std = _noise(arguments, result), arguments["noise_std"]
    return noise is None or not (_bell(noise * std**0.5) or _bell(noise / std))


@corrupt.claim("the noise should be Gaussian: a bell, with values beyond one standard deviation in a third of cases.")
def noise_is_gaussian(arguments, result):
    noise = _noise(arguments, result)
    return noise is None or _bell(noise)


@corrupt.claim(
    "Gaussian noise has no sharp end: one value in 140 lies beyond 2.7 standard deviations; none of yours does."
)
def noise_has_tails(arguments, result):
    noise = _noise(arguments, result)  # of 4000 values none does with 1e-12
    return noise is None or len(noise) < 4000 or bool((noise.abs() > 2.7).any())


@corrupt.claim("black pixels should get noise, too: half of them become brighter.")
def black_pixels_get_noise(arguments, result):
    there, p = result[arguments["x"] == 0], arguments["missing"]
    if arguments["noise_std"] == 0 or not len(there):
        return True
    return chance.likely((there > 0).double().mean(), torch.tensor((1 - p) / 2, device=there.device), len(there))


@corrupt.claim("white pixels should get noise, too: half of them stay at 1, where the sum is cut off.")
def white_pixels_get_noise(arguments, result):
    there, p = result[arguments["x"] == 1], arguments["missing"]
    if arguments["noise_std"] == 0 or not len(there):
        return True
    return chance.likely((there > 1 - 1e-6).double().mean(), torch.tensor((1 - p) / 2, device=there.device), len(there))


def _noise_alone(arguments: dict, result: Tensor) -> Tensor | None:
    """The noise of every pixel, in the images' shape, or None where some are missing or cut off."""
    if arguments["missing"] > 0 or not 0 < arguments["noise_std"] <= LITTLE:
        return None
    return result - arguments["x"]


@corrupt.claim("every pixel of every image should get noise of its own; yours is shared.")
def noise_is_drawn_one_by_one(arguments, result):
    noise = _noise_alone(arguments, result)
    return noise is None or all(
        bool(((noise - noise.narrow(d, 0, 1)).abs() > 1e-5).any()) for d in range(noise.dim()) if noise.shape[d] > 1
    )


@corrupt.claim("every image should get noise of its own; yours all get the same.")
def images_get_other_noise(arguments, result):
    noise = _noise_alone(arguments, result)
    return noise is None or len(noise) == 1 or not torch.allclose(noise, noise[:1].expand_as(noise), atol=1e-6)


@corrupt.claim(
    "the noise of a pixel should tell nothing about that of its neighbours or of other images; yours is shared."
)
def noise_is_independent(arguments, result):
    if arguments["missing"] > 0 or not 0 < arguments["noise_std"] <= LITTLE:
        return True
    noise = ((result - arguments["x"]) / arguments["noise_std"]).double()
    alike = [(one * other).mean().abs() for one, other in _neighbours(noise)]
    rows = torch.nn.functional.normalize(noise.flatten(1), dim=1)
    alike.append((rows @ rows.T).fill_diagonal_(0).abs().max())  # beyond 0.8 by chance with less than 1e-30
    return max(alike).item() < 0.8


@corrupt.claim("the same generator should spoil in the same way: all chance must come from it.", across=True)
def reproducible(arguments, results):
    return chance.reproducible(arguments, results)


@corrupt.claim("another generator should spoil in another way.", across=True)
def heeds_the_generator(arguments, results):
    return chance.heeds_the_generator(arguments, results)


@corrupt.claim("every call should go on with the generator where it stands; yours starts it anew.", across=True)
def goes_on(arguments, results):
    return chance.goes_on(arguments, results) and chance.goes_on(arguments, [result == 0 for result in results])


def _normal(x: Tensor, generator: torch.Generator | None, *shape: int) -> Tensor:
    device = generator.device if generator else "cpu"
    return torch.randn(shape or x.shape, generator=generator, device=device).to(x)


def _stays(x: Tensor, missing: float, generator: torch.Generator | None, *shape: int) -> Tensor:
    """1 for pixels that stay, 0 for those that are lost, like x."""
    device = generator.device if generator else "cpu"
    return (torch.rand(shape or x.shape, generator=generator, device=device) >= missing).to(x)


@corrupt.mistake(
    "the noisy pixels are not cut off: some are below 0, some above 1. A camera cannot record such values, and the network "
    "could tell from them where noise was added. Clamp the sum to [0, 1].",
    breaks="nothing_below_zero",
)
def not_clamped(x, noise_std, missing, generator):
    return (x + noise_std * _normal(x, generator)) * _stays(x, missing, generator)


@corrupt.mistake(
    "the noisy pixels are cut off at 1 but not cut off at 0: some are negative, darker than black. Clamp the sum to [0, 1], at both "
    "ends.",
    breaks="nothing_below_zero",
)
def negative_pixels(x, noise_std, missing, generator):
    return (x + noise_std * _normal(x, generator)).clamp(-1, 1) * _stays(x, missing, generator)


@corrupt.mistake(
    "you let pixels go missing first and add the noise afterwards. Then a missing pixel is not 0 but noise. The order is: "
    "noise, cut off, then missing.",
    breaks="the_share_is_right",
)
def missing_before_noise(x, noise_std, missing, generator):
    noise = _normal(x, generator)
    return (x * _stays(x, missing, generator) + noise_std * noise).clamp(0, 1)


@corrupt.mistake(
    "you *keep* a pixel with probability `missing`. At 0.25 three quarters of the image would be gone. A pixel is lost where "
    "a uniform number is below `missing`, and stays where it is not.",
    breaks="untouched",
)
def kept_for_missing(x, noise_std, missing, generator):
    noise = _normal(x, generator)
    return (x + noise_std * noise).clamp(0, 1) * (1 - _stays(x, missing, generator))


@corrupt.mistake(
    "the pixels that remain are scaled up by 1 / (1 − missing), as dropout does inside a network. Here nothing is to be made "
    "up for: a pixel that is not missing has its own value.",
    breaks="survivors_are_untouched",
)
def scaled_like_dropout(x, noise_std, missing, generator):
    noise = _normal(x, generator)
    kept = _stays(x, missing, generator) / max(1 - missing, 1e-12)
    return ((x + noise_std * noise).clamp(0, 1) * kept).clamp(0, 1)


@corrupt.mistake(
    "the pixels that remain are scaled up by 1 / (1 − missing), as dropout does inside a network, and some are above 1 now. "
    "Here nothing is to be made up for: a pixel that is not missing has its own value.",
    breaks="nothing_above_one",
)
def scaled_beyond_one(x, noise_std, missing, generator):
    noise = _normal(x, generator)
    return (x + noise_std * noise).clamp(0, 1) * (_stays(x, missing, generator) / max(1 - missing, 1e-12))


@corrupt.mistake(
    "your noise is uniform, between 0 and `noise_std`: it only ever brightens, and is never large. Gaussian noise has the "
    "mean 0 and no sharp end: `torch.randn`, with an n.",
    breaks="noise_is_independent",
)
def uniform_noise(x, noise_std, missing, generator):
    noise = torch.rand(x.shape, generator=generator, device=generator.device).to(x)
    return (x + noise_std * noise).clamp(0, 1) * _stays(x, missing, generator)


@corrupt.mistake(
    "you treat `noise_std` as a variance, or square it. It is the standard deviation: multiply a standard normal number by "
    "it, as it is.",
    breaks="spread_is_no_variance",
)
def std_squared(x, noise_std, missing, generator):
    noise = _normal(x, generator)
    return (x + noise_std**2 * noise).clamp(0, 1) * _stays(x, missing, generator)


@corrupt.mistake(
    "you add no noise at all, or hardly any: the pixels that are not missing are as they were. Add `noise_std` times "
    "standard normal numbers before you cut off.",
    breaks="images_get_other_noise",
)
def no_noise(x, noise_std, missing, generator):
    _normal(x, generator)
    return x.clamp(0, 1) * _stays(x, missing, generator)


@corrupt.mistake(
    "no pixel goes missing. After the noise, set each pixel to 0 with probability `missing`: draw a uniform number for it, "
    "and compare.",
    breaks="images_lose_their_own",
)
def nothing_goes_missing(x, noise_std, missing, generator):
    return (x + noise_std * _normal(x, generator)).clamp(0, 1)


@corrupt.mistake(
    "you multiply the pixels by the noise instead of adding it: black stays black. This noise is added to every pixel, "
    "however dark.",
    breaks="noise_has_tails",
)
def multiplied_noise(x, noise_std, missing, generator):
    noise = _normal(x, generator)
    return (x * (1 + noise_std * noise)).clamp(0, 1) * _stays(x, missing, generator)


@corrupt.mistake(
    "all images lose the same pixels. The network would learn these places by heart. Draw for every pixel of every image: "
    "`torch.rand(x.shape, …)`.",
    breaks="images_lose_their_own",
)
def same_pixels_for_all(x, noise_std, missing, generator):
    noise = _normal(x, generator)
    return (x + noise_std * noise).clamp(0, 1) * _stays(x, missing, generator, *x.shape[1:])


@corrupt.mistake(
    "you lose whole images: one random number decides for all pixels of an image. Draw one for each pixel: "
    "`torch.rand(x.shape, …)`.",
    breaks="no_image_is_lost",
)
def whole_images_lost(x, noise_std, missing, generator):
    noise = _normal(x, generator)
    return (x + noise_std * noise).clamp(0, 1) * _stays(x, missing, generator, len(x), *[1] * (x.dim() - 1))


@corrupt.mistake(
    "all images get the same noise. A network could learn it and subtract it. Draw for every pixel of every image: "
    "`torch.randn(x.shape, …)`.",
    breaks="images_get_other_noise",
)
def same_noise_for_all(x, noise_std, missing, generator):
    noise = _normal(x, generator, *x.shape[1:])
    return (x + noise_std * noise).clamp(0, 1) * _stays(x, missing, generator)


@corrupt.mistake(
    "one random number is the noise of a whole image: it becomes a little brighter or darker, and nothing else. Draw for "
    "every pixel: `torch.randn(x.shape, …)`.",
    breaks="noise_is_drawn_one_by_one",
)
def one_number_an_image(x, noise_std, missing, generator):
    noise = _normal(x, generator, len(x), *[1] * (x.dim() - 1))
    return (x + noise_std * noise).clamp(0, 1) * _stays(x, missing, generator)


@corrupt.mistake(
    "every image loses exactly the same number of pixels. Each pixel is to be lost independently, so the number varies: "
    "compare a uniform number for every pixel with `missing`.",
    breaks="the_number_varies",
)
def a_fixed_number(x, noise_std, missing, generator):
    noise = _normal(x, generator).flatten(1)
    order = torch.rand(noise.shape, generator=generator, device=generator.device).to(x.device).argsort(1).argsort(1)
    kept = (order >= round(missing * noise.shape[1])).to(x)
    return ((x.flatten(1) + noise_std * noise).clamp(0, 1) * kept).reshape(x.shape)


@corrupt.mistake(
    "a missing pixel becomes white (1) instead of black (0). Multiply by 0 where it is missing, or use `torch.where`.",
    breaks="survivors_are_untouched",
)
def missing_is_white(x, noise_std, missing, generator):
    noise = _normal(x, generator)
    return torch.where(_stays(x, missing, generator) > 0, (x + noise_std * noise).clamp(0, 1), torch.ones_like(x))


@corrupt.mistake(
    "you draw from torch's global generator, so nobody can repeat your spoilt images. Pass `generator=generator` to both "
    "draws. (`randn_like`, `rand_like` and `dropout` cannot be given one.)",
    breaks="reproducible",
)
def global_chance(x, noise_std, missing, generator):
    return (x + noise_std * _normal(x, None)).clamp(0, 1) * _stays(x, missing, None)


@corrupt.mistake(
    "you seed the generator at every call. Every batch would be spoilt by the same noise, and the network could learn it. "
    "Use the generator that you are given as it is.",
    breaks="heeds_the_generator",
)
def seeded_each_time(x, noise_std, missing, generator):
    generator.manual_seed(0)
    return (x + noise_std * _normal(x, generator)).clamp(0, 1) * _stays(x, missing, generator)


@corrupt.mistake(
    "you draw from the generator's first seed (`initial_seed()`), not from the generator. It never moves on, so every "
    "batch would be spoilt by the same noise. Pass the generator itself.",
    breaks="goes_on",
)
def from_its_first_seed(x, noise_std, missing, generator):
    again = torch.Generator(generator.device).manual_seed(generator.initial_seed())
    return (x + noise_std * _normal(x, again)).clamp(0, 1) * _stays(x, missing, again)


corrupt.hints(
    "Two kinds of chance, one after the other: a normal number for every pixel, which is added; then a uniform number for "
    "every pixel, which decides whether it is lost.",
    "`torch.randn(x.shape, generator=generator)` and `torch.rand(x.shape, generator=generator)` give one number to each "
    "pixel; `.clamp(0, 1)` cuts off; a comparison with `missing` gives a mask.",
    "First `(x + noise_std * noise).clamp(0, 1)`; then multiply by the mask `uniform >= missing`, made into a tensor like x "
    "by `.to(x)`.",
)

# -- 3.3 -----------------------------------------------------------------------------------------------------------


@define(lesson="03", points=1, outputs="loss", gradients=("reconstruction",))
def denoising_loss(reconstruction, clean, noisy):
    """How far a denoiser's answer is from what it should be: squared error, per image.

    reconstruction: (N, …), what the network made of `noisy`. clean: (N, …), the images before they were spoilt.
    noisy: (N, …), the network's input. Returns a scalar: summed over the pixels of an image, averaged over images.
    """
    return (reconstruction - clean).square().sum() / len(clean)


def _images(generator: torch.Generator, *shape: int) -> dict:
    clean = torch.rand(shape, generator=generator, dtype=torch.float64)
    noisy = (clean + 0.3 * randn(generator, *shape)).clamp(0, 1)
    return dict(reconstruction=torch.rand(shape, generator=generator, dtype=torch.float64), clean=clean, noisy=noisy)


@denoising_loss.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape in ((5, 1, 4, 6), (3, 1, 7, 2), (4, 1, 5, 3), (6, 1, 3, 5), (7, 1, 2, 4)):
        yield _images(generator, *shape)
    yield edge("the images are rows of pixels", stated="as rows of pixels", **_images(generator, 4, 9))
    yield edge("the images have three channels", stated="with one channel or three", **_images(generator, 2, 3, 4, 5))
    yield edge("there is one image", stated="N may be 1", **_images(generator, 1, 1, 3, 4))


@denoising_loss.typical
def _(generator: torch.Generator) -> dict:
    return _images(generator, 256, 1, 28, 28)


@denoising_loss.mistake(
    "you compare with the noisy image. Then the best network is the one that gives its input back, noise and all: it would "
    "be paid for keeping the noise. The target is the clean image."
)
def noisy_is_the_target(reconstruction, clean, noisy):
    return (reconstruction - noisy).square().flatten(1).sum(1).mean()


@denoising_loss.mistake(
    "you take the noise, noisy − clean, for the target. There are denoisers that predict the noise, but this one answers "
    "with an image: compare it with the clean one."
)
def noise_is_the_target(reconstruction, clean, noisy):
    return (reconstruction - (noisy - clean)).square().flatten(1).sum(1).mean()


@denoising_loss.mistake(
    "you average over the pixels as well (as `mse_loss` does). The loss is then a number per pixel, hundreds of times smaller, "
    "and cannot be compared with a sum of squares per image: sum over the pixels, average over the images."
)
def averaged_over_pixels(reconstruction, clean, noisy):
    return (reconstruction - clean).square().mean()


@denoising_loss.mistake(
    "two things: you compare with the noisy image, so that the network is paid for keeping the noise, and you average over "
    "the pixels, as `mse_loss` does. The target is the clean image; sum over its pixels, average over the images."
)
def noisy_and_averaged(reconstruction, clean, noisy):
    return (reconstruction - noisy).square().mean()


@denoising_loss.mistake(
    "you measure the cross-entropy of pixels that are black or white by chance. Here pixels are shades of grey, and the loss "
    "is the squared error: the square of the difference, summed over the pixels."
)
def cross_entropy(reconstruction, clean, noisy):
    return torch.nn.functional.binary_cross_entropy(reconstruction, clean, reduction="sum") / len(clean)


@denoising_loss.mistake(
    "you sum over the images as well. Then twice the batch means twice the gradient, and a learning rate that fits one batch "
    "size is wrong for another. Average over the batch."
)
def summed_over_the_batch(reconstruction, clean, noisy):
    return (reconstruction - clean).square().sum()


@denoising_loss.mistake(
    "you sum over the images and average over the pixels: the wrong way round. Sum over the pixels of an image, average over "
    "the images of the batch."
)
def the_wrong_way_round(reconstruction, clean, noisy):
    return (reconstruction - clean).square().flatten(1).mean(1).sum()


@denoising_loss.mistake(
    "you take the absolute error. It is asked to be squared: then the best answer is the *mean* of all clean images that fit "
    "the noisy one, not their median."
)
def absolute_error(reconstruction, clean, noisy):
    return (reconstruction - clean).abs().flatten(1).sum(1).mean()


@denoising_loss.mistake(
    "you take the root of each image's error. The square is wanted as it is: it goes with PSNR, and its gradient is not "
    "infinite where the answer is perfect."
)
def root_taken(reconstruction, clean, noisy):
    return (reconstruction - clean).square().flatten(1).sum(1).sqrt().mean()


@denoising_loss.mistake(
    "you halve the error. That ½ is a habit from derivations; here the plain sum of squares is asked for, so that losses can "
    "be compared."
)
def halved(reconstruction, clean, noisy):
    return 0.5 * (reconstruction - clean).square().flatten(1).sum(1).mean()


@denoising_loss.mistake(
    "you add the distance to the noisy image to the distance to the clean one. The first part pays the network for keeping "
    "the noise. `noisy` is its input and has no place in its loss."
)
def both_targets(reconstruction, clean, noisy):
    return ((reconstruction - clean).square() + (reconstruction - noisy).square()).flatten(1).sum(1).mean()


denoising_loss.hints(
    "Three images, and two of them matter. Which one would you like the network to answer with?",
    "Square the difference to the clean image. `.flatten(1)` makes one row of each image, `.sum(1)` its total error.",
    "`(reconstruction - clean).square().flatten(1).sum(1).mean()`: sum over pixels, then mean over images.",
)

# -- 3.4 -----------------------------------------------------------------------------------------------------------


@define(lesson="03", points=1, outputs="score")
def anomaly_score(x, reconstruction):
    """How strange each image is to an autoencoder: the squared error of its reconstruction, summed over all pixels.

    x: (N, …), the images. reconstruction: (N, …), what the autoencoder gives back for them.
    Returns (N,): higher means stranger.
    """
    return (x - reconstruction).square().flatten(1).sum(1)


def _pair(generator: torch.Generator, *shape: int) -> dict:
    x, reconstruction = (torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return dict(x=x, reconstruction=reconstruction)


@anomaly_score.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for shape in ((5, 1, 4, 6), (3, 1, 7, 2), (4, 1, 5, 3), (6, 1, 3, 5), (7, 1, 2, 4)):
        yield _pair(generator, *shape)
    yield edge("the images are rows of pixels", stated="as rows of pixels", **_pair(generator, 4, 9))
    yield edge("the images have three channels", stated="with one channel or three", **_pair(generator, 2, 3, 4, 5))
    yield edge("there is one image", stated="N may be 1", **_pair(generator, 1, 1, 3, 4))


@anomaly_score.typical
def _(generator: torch.Generator) -> dict:
    return _pair(generator, 1000, 1, 28, 28)


@anomaly_score.mistake(
    "you average over the pixels. The order of the images is the same, but the exercise asks for the sum: one unit for all "
    "errors in this lesson, squares per image."
)
def averaged(x, reconstruction):
    return (x - reconstruction).square().flatten(1).mean(1)


@anomaly_score.mistake(
    "you return one number for all images. Each image has a score of its own: flatten each to a row with `.flatten(1)`, and "
    "sum along dimension 1 only."
)
def one_for_all(x, reconstruction):
    return (x - reconstruction).square().sum()


@anomaly_score.mistake(
    "you return the mean score of the batch. Each image has a score of its own: sum along its pixels, and leave the first "
    "dimension alone."
)
def mean_of_the_batch(x, reconstruction):
    return (x - reconstruction).square().flatten(1).sum(1).mean()


@anomaly_score.mistake(
    "you take the length of the difference, the root of the summed squares. The order of the images is the same; the unit is "
    "not. Leave the root away."
)
def with_root(x, reconstruction):
    return (x - reconstruction).flatten(1).norm(dim=1)


@anomaly_score.mistake(
    "you sum absolute differences. Squares make one badly missed stroke count more than many small errors along the edges, "
    "and they are what the autoencoder was trained to keep small."
)
def absolute(x, reconstruction):
    return (x - reconstruction).abs().flatten(1).sum(1)


@anomaly_score.mistake(
    "you sum the differences without squaring them. Too bright here and too dark there cancel, and a strange image may score "
    "0. Square first."
)
def differences_cancel(x, reconstruction):
    return (x - reconstruction).flatten(1).sum(1)


@anomaly_score.mistake(
    "your score has the wrong sign: it is largest for the most ordinary image. Higher is to mean stranger."
)
def ordinary_scores_high(x, reconstruction):
    return -(x - reconstruction).square().flatten(1).sum(1)


@anomaly_score.mistake(
    "you take the largest error of a single pixel. One grain of dirt would make an image strange. Sum over all pixels."
)
def worst_pixel(x, reconstruction):
    return (x - reconstruction).square().flatten(1).amax(1)


@anomaly_score.mistake(
    "you sum over the last dimension only, so there are many numbers left for each image. `.flatten(1)` first makes one row "
    "of all its pixels."
)
def one_dimension_only(x, reconstruction):
    return (x - reconstruction).square().sum(-1)


anomaly_score.hints(
    "An autoencoder that has never seen such an image gives it back badly. How badly, in one number for each image?",
    "`.flatten(1)` turns (N, 1, 28, 28) into (N, 784), and leaves (N, 784) as it is.",
    "`(x - reconstruction).square().flatten(1).sum(1)`.",
)

# -- 3.5 -----------------------------------------------------------------------------------------------------------


@define(lesson="03", points=2, outputs="bits")
def entropy_bits(symbols):
    """The empirical entropy of whole-number codes, in bits per vector, when each dimension has a table of its own.

    symbols: int64 (N, d), N codes of d numbers, which may be negative. In each dimension the probability of a symbol
    is its share of the N rows; the entropies of the d dimensions are added. Returns a scalar.
    """
    total = 0.0
    for column in symbols.T:
        share = column.unique(return_counts=True)[1].double() / len(symbols)
        total = total - (share * share.log2()).sum()
    return total


def _codes(generator: torch.Generator, n: int, d: int, spread: float) -> Tensor:
    """Rounded numbers, of another spread and another middle in each dimension; dimensions go along with each other."""
    common, own = randn(generator, n, 1), randn(generator, n, d)
    wide = spread * (0.5 + torch.rand(d, generator=generator, dtype=torch.float64))
    middle = (6 * torch.rand(d, generator=generator, dtype=torch.float64)).round() - 3
    return ((common + own) * wide + middle).round().long()


@entropy_bits.cases
def _(generator: torch.Generator) -> Iterator[dict | Case]:
    for n, d, spread in ((60, 3, 1.0), (45, 5, 2.0), (80, 4, 0.6), (50, 2, 1.5), (70, 6, 0.8)):
        yield dict(symbols=_codes(generator, n, d, spread))
    gaps = 4 * _codes(generator, 50, 3, 1.0)
    yield edge(
        "some numbers between the symbols never occur", stated="Be careful with symbols that never occur", symbols=gaps
    )
    same = _codes(generator, 40, 3, 1.0)
    same[:, 1] = 2
    yield edge(
        "a dimension always has the same symbol",
        stated="A place that always has the same symbol costs nothing",
        symbols=same,
    )
    yield edge("there is one dimension", stated="there may be one place only", symbols=_codes(generator, 55, 1, 1.0))


@entropy_bits.typical
def _(generator: torch.Generator) -> dict:
    return dict(symbols=_codes(generator, 10_000, 32, 4.0))


def _shares(column: Tensor) -> Tensor:
    return column.unique(return_counts=True)[1].double() / len(column)


def _entropy(share: Tensor) -> Tensor:
    return -(share * share.log2()).sum()


@entropy_bits.mistake(
    "your result is in nats: the logarithm is natural. Bits are counted with the logarithm to base 2, `torch.log2`: one bit "
    "is the answer to one yes-or-no question."
)
def in_nats(symbols):
    return -torch.stack([(s * s.log()).sum() for s in map(_shares, symbols.T)]).sum()


@entropy_bits.mistake(
    "you count whole vectors as symbols. Almost every vector occurs once, so your result is close to log2 N, whatever the "
    "codes are like. Make a table for each dimension, and add their entropies."
)
def joint_entropy(symbols):
    return _entropy(symbols.unique(dim=0, return_counts=True)[1].double() / len(symbols))


@entropy_bits.mistake(
    "you make one table for all dimensions together. Dimensions with a narrow spread then pay for those with a wide one. "
    "Each dimension has a table of its own; the d entropies are added."
)
def one_table(symbols):
    return symbols.shape[1] * _entropy(_shares(symbols.flatten()))


@entropy_bits.mistake(
    "you make one table for all dimensions together, and count the bits of a single symbol. Each dimension has a table of "
    "its own, and a vector costs the sum of the d entropies."
)
def one_symbol_of_one_table(symbols):
    return _entropy(_shares(symbols.flatten()))


@entropy_bits.mistake(
    "you average over the dimensions: bits per symbol. A vector has d symbols, and all of them must be stored: add."
)
def bits_per_symbol(symbols):
    return torch.stack([_entropy(s) for s in map(_shares, symbols.T)]).mean()


@entropy_bits.mistake("you add up the bits of all N vectors. The entropy is a mean already: bits per vector.")
def bits_of_all(symbols):
    return len(symbols) * torch.stack([_entropy(s) for s in map(_shares, symbols.T)]).sum()


@entropy_bits.mistake(
    "you take log2 of the number of different symbols. That is what a table without probabilities costs: all symbols equally "
    "long. The entropy counts frequent symbols as short."
)
def equally_long(symbols):
    return torch.stack([torch.tensor(float(len(s)), dtype=torch.float64).log2() for s in map(_shares, symbols.T)]).sum()


@entropy_bits.mistake(
    "you take log2 of the range from the smallest to the largest symbol. That is what plain whole numbers cost. The entropy "
    "counts how often each symbol occurs, and gives frequent ones fewer bits."
)
def plain_numbers(symbols):
    return (symbols.amax(0) - symbols.amin(0) + 1).double().log2().sum()


@entropy_bits.mistake(
    "you forget to weight the logarithms: −log2 of each share counts as often as that symbol occurs. Multiply by the share "
    "before you sum."
)
def unweighted(symbols):
    return -torch.stack([s.log2().sum() for s in map(_shares, symbols.T)]).sum()


@entropy_bits.mistake(
    "a symbol that never occurs gives you 0 · log 0, which is no number. It occurs in no code and costs nothing: leave out "
    "the empty places of the table, or use `unique(return_counts=True)`, which has none."
)
def empty_places(symbols):
    tables = [torch.bincount(column - column.min()).double() / len(column) for column in symbols.T]
    return -torch.stack([(s * s.log2()).sum() for s in tables]).sum()


@entropy_bits.mistake(
    "you count along the rows: the symbols of one vector. A table belongs to a dimension and is counted over the N vectors: "
    "take the columns, `symbols.T`."
)
def along_rows(symbols):
    return torch.stack([_entropy(s) for s in map(_shares, symbols)]).sum()


entropy_bits.hints(
    "How many bits does a symbol cost that occurs in half of the cases? And one that occurs in an eighth? The entropy is the "
    "mean of that.",
    "Take the columns one by one. `column.unique(return_counts=True)` gives the symbols and how often each occurs, "
    "whatever their sign; only what occurs is in it.",
    "For each column: `share = counts.double() / N`, and add `-(share * share.log2()).sum()` to the total.",
)
