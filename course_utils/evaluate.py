"""Measures: how good is a prediction, and is one better than another?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

_CHUNK = 500  # rows whose distances to all others are held in memory at once


def listed(values: Iterable[float | Tensor], digits: int = 0) -> str:
    """All values of a comparison, one for each seed say, in one string for a table: "0.82  0.83  0.83"."""
    return "  ".join(f"{value:.{digits}f}" for value in values)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of the rows of `logits` (N, classes) whose largest entry stands at `labels` (N,). Between 0 and 1.

    Raises ValueError when the shapes do not fit or there is nothing to count.
    """
    if logits.dim() != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(f"need logits (N, classes) and labels (N,), got {tuple(logits.shape)}, {tuple(labels.shape)}")
    return (logits.argmax(1) == labels).cpu().double().mean().item()


def rmse(prediction: Tensor, target: Tensor) -> float:
    """Root of the mean squared error, in the unit of the data. Raises ValueError when the shapes differ."""
    if prediction.shape != target.shape or not target.numel():
        raise ValueError(
            f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} must be equal in shape"
        )
    return (prediction.cpu().double() - target.cpu().double()).square().mean().sqrt().item()


def psnr(reconstruction: Tensor, clean: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, for a peak of 1: 10 log10(1 / mean squared error), infinite for equal images.

    The error is averaged over all images and pixels first. Raises ValueError when the shapes differ.
    """
    error = rmse(reconstruction, clean)
    return math.inf if error == 0 else -20 * math.log10(error)


def auroc(normal: Tensor, strange: Tensor) -> float:
    """Area under the ROC curve of two groups of scores (N,), (M,), where higher means stranger. Between 0 and 1.

    It is the probability that a strange one scores higher than a normal one, ties counting half: 0.5 is guessing.
    Raises ValueError when a group is empty, has another shape, or holds a score that is not finite.
    """
    for name, scores in (("normal", normal), ("strange", strange)):
        if scores.dim() != 1 or not len(scores) or not scores.isfinite().all():
            raise ValueError(
                f"the {name} scores must be finite numbers (N,), N >= 1, not {tuple(scores.shape)} with "
                f"{int((~scores.isfinite()).sum())} that are not finite"
            )
    from sklearn.metrics import roc_auc_score

    scores = torch.cat([normal, strange]).detach().cpu().double()
    is_strange = torch.arange(len(scores)) >= len(normal)
    return float(roc_auc_score(is_strange.numpy(), scores.numpy()))


def paired_bootstrap(
    errors_a: Tensor, errors_b: Tensor, resamples: int = 10_000, seed: int = 0, block: int = 1
) -> tuple[float, float]:
    """95 % interval of rmse(a) - rmse(b) for two forecasts of the same targets: below 0 means that a is better.

    `errors_a` and `errors_b` (N,) are the forecasts' errors. Both are resampled together, in blocks of `block`
    neighbours (Künsch, "The jackknife and the bootstrap for general stationary observations", 1989), because the
    errors of neighbouring months resemble one another. Raises ValueError for unequal lengths or a bad block.
    """
    if errors_a.shape != errors_b.shape or errors_a.dim() != 1:
        raise ValueError(f"need two error series (N,), got {tuple(errors_a.shape)} and {tuple(errors_b.shape)}")
    n = len(errors_a)
    if not 1 <= block <= n:
        raise ValueError(f"block must lie between 1 and the {n} errors, not {block}")
    generator = torch.Generator().manual_seed(seed)
    squares_a, squares_b = errors_a.cpu().double().square(), errors_b.cpu().double().square()
    gaps, at_once = [], max(1, 500_000 // n)  # half a million entries at a time: tens of megabytes
    for done in range(0, resamples, at_once):
        count = min(at_once, resamples - done)
        starts = torch.randint(0, n - block + 1, (count, -(-n // block)), generator=generator)
        index = (starts.unsqueeze(-1) + torch.arange(block)).flatten(1)[:, :n]  # (some resamples, N)
        gaps.append(squares_a[index].mean(1).sqrt() - squares_b[index].mean(1).sqrt())
    low, high = torch.quantile(torch.cat(gaps), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


@torch.no_grad()
def text_loss(
    logits_of: Callable[[Tensor], Tensor], tokens: Tensor, window: int, warm_up: int = 0, batch_size: int = 64
) -> float:
    """Mean loss of a model of text, in nats per token, over consecutive windows of `window` inputs.

    `logits_of` maps tokens (B, T) int64 to logits (B, T, V) for each next token; it gets `batch_size` windows at once.
    With warm_up = 0 the windows do not overlap, the last one may be shorter, and each of the N - 1 targets in `tokens`
    (N,) counts once, however short its context. With warm_up = k the windows overlap by k inputs, and each target with
    more than k inputs of context counts once: N - 1 - k of them. The sum is in float64. Put the model into `eval` mode
    and `tokens` on its device first. Raises ValueError for unsuitable sizes or shapes.
    """
    if not (window >= 1 and 0 <= warm_up < window and batch_size >= 1):
        raise ValueError(
            f"need window >= 1, batch_size >= 1 and 0 <= warm_up < window, not window = {window}, "
            f"batch_size = {batch_size}, warm_up = {warm_up}"
        )
    if tokens.dim() != 1 or tokens.dtype != torch.int64 or len(tokens) < warm_up + 2:
        raise ValueError(
            f"need at least warm_up + 2 = {warm_up + 2} tokens (N,) int64, not {tuple(tokens.shape)} {tokens.dtype}"
        )
    total = 0.0
    for inputs, targets in _text_windows(tokens, window, warm_up, batch_size):
        logits = logits_of(inputs)
        if logits.dim() != 3 or logits.shape[:2] != inputs.shape:
            raise ValueError(f"logits_of gave {tuple(logits.shape)} for tokens {tuple(inputs.shape)}: need (B, T, V)")
        counted = logits[:, warm_up:].flatten(0, 1)
        counted = counted if counted.dtype == torch.float64 else counted.float()
        losses = F.cross_entropy(counted, targets[:, warm_up:].flatten().to(logits.device), reduction="none")
        total += losses.cpu().double().sum().item()
    return total / (len(tokens) - 1 - warm_up)


def _text_windows(tokens: Tensor, window: int, warm_up: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs (B, T) and their next tokens (B, T): the full windows in batches, then what is left, if it counts."""
    stride = window - warm_up
    full = max(0, (len(tokens) - 1 - warm_up) // stride)
    if full:
        windows = tokens[: (full - 1) * stride + window + 1].unfold(0, window + 1, stride)
        for batch in windows.split(batch_size):
            yield batch[:, :-1].contiguous(), batch[:, 1:]
    rest = tokens[full * stride :].unsqueeze(0)
    if rest.shape[1] > warm_up + 1:
        yield rest[:, :-1], rest[:, 1:]


def repeated_ngrams(text: str, n: int) -> float:
    """Share of the n-grams (runs of n characters) of `text` that occurred in it before: 0 when no two are equal.

    Raises ValueError when n < 1 or the text is shorter than n characters.
    """
    if not 1 <= n <= len(text):
        raise ValueError(f"n must lie between 1 and the text's {len(text)} characters, not {n}")
    count = len(text) - n + 1
    return 1 - len({text[i : i + n] for i in range(count)}) / count


def known_words(texts: Iterable[str], source: str) -> float:
    """Share of the words (runs of letters) of some texts that are words of `source`; without each text's first and last, which
    may be cut. Raises ValueError where no text has three words."""
    words = [word for text in texts for word in _words(text)[1:-1]]
    if not words:
        raise ValueError("none of the texts has three words: write longer ones")
    known = set(_words(source))
    return sum(word in known for word in words) / len(words)


def _words(text: str) -> list[str]:
    return "".join(letter if letter.isalpha() else " " for letter in text).split()


def longest_copy(text: str, source: str) -> str:
    """The longest piece of `text` that stands in `source`, character for character; the first of several. "" if there is none."""
    best, begin = "", 0
    for end in range(1, len(text) + 1):
        while text[begin:end] not in source:
            begin += 1
        if end - begin > len(best):
            best = text[begin:end]
    return best


def frechet_distance(features_a: Tensor, features_b: Tensor) -> float:
    """Squared Fréchet distance of the Gaussians with the means and covariances of two sets of features (N, d), (M, d).

    |mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), in the features' squared unit, in float64; covariances are
    divided by N - 1. With centred features X_a = Q_a R_a (and so for b), the last trace is the sum of the singular values
    of R_a R_b^T / sqrt((N - 1)(M - 1)): no covariance is formed or inverted, and singular ones are no special case.
    Few samples bias it upwards: compare sets of equal size. Raises ValueError for fewer than two rows, unequal widths
    or values that are not finite.
    Source: Dowson and Landau, "The Fréchet distance between multivariate normal distributions", 1982; for images:
    Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017.
    """
    a, b = _features("features_a", features_a, 2), _features("features_b", features_b, 2)
    _same_width(a, b)
    root_a, root_b = (torch.linalg.qr((x - x.mean(0)) / math.sqrt(len(x) - 1), mode="r").R for x in (a, b))
    shared = torch.linalg.svdvals(root_a @ root_b.T).sum()
    distance = (a.mean(0) - b.mean(0)).square().sum() + root_a.square().sum() + root_b.square().sum() - 2 * shared
    return max(0.0, distance.item())  # below zero by rounding only


def precision_recall(real: Tensor, fake: Tensor, neighbours: int = 3) -> tuple[float, float]:
    """Share of the fakes (M, d) that lie among the real (N, d), and of the real that lie among the fakes: in [0, 1].

    A point lies among the points of a set if it is within one of their balls; each ball reaches to its centre's
    `neighbours`-th nearest neighbour in its own set. Precision falls when fakes look wrong, recall when kinds of images
    are missing. Both depend on N and M, and take (N^2 + M^2 + N M) d steps. Raises ValueError for sets of fewer than
    `neighbours` + 1 rows, unequal widths or values that are not finite.
    Source: Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", 2019 (k = 3).
    """
    if neighbours < 1:
        raise ValueError(f"neighbours must be at least 1, not {neighbours}")
    real, fake = _features("real", real, neighbours + 1), _features("fake", fake, neighbours + 1)
    _same_width(real, fake)
    real_radii, fake_radii = _radii(real, neighbours), _radii(fake, neighbours)
    among_real, among_fake = torch.zeros(len(fake), dtype=torch.bool), torch.zeros(len(real), dtype=torch.bool)
    for rows, distances in _distances(fake, real):
        among_real[rows] = (distances <= real_radii).any(1)
        among_fake |= (distances <= fake_radii[rows, None]).any(0)
    return among_real.double().mean().item(), among_fake.double().mean().item()


def nearest(queries: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """The Euclidean distance (N,) of each query (N, ...) to the nearest reference (M, ...), and its index (N,) int64.

    The distance runs over all dimensions but the first. Both results lie on the CPU; distances are float32, or float64
    where both sets are, and exact: a copy is at distance 0. Raises ValueError when a set is empty or holds values that
    are not finite, or when the shapes differ behind the first dimension.
    """
    if queries.dim() < 2 or queries.shape[1:] != references.shape[1:]:
        raise ValueError(
            f"queries {tuple(queries.shape)} and references {tuple(references.shape)} must be (N, ...) and (M, ...) with "
            "equal shapes behind the first dimension"
        )
    dtype = torch.float64 if queries.dtype == references.dtype == torch.float64 else torch.float32
    queries = _features("queries", queries.flatten(1), 1, dtype)
    references = _features("references", references.flatten(1), 1, dtype)
    centre = references.mean(0)
    centred, distances, indices = references - centre, [], []
    for chunk in queries.split(_CHUNK):
        rough = torch.cdist(chunk - centre, centred)  # by matrix products: fast, and rounded
        few = rough.topk(min(8, len(references)), largest=False).indices
        exact = torch.linalg.vector_norm(references[few] - chunk.unsqueeze(1), dim=2)  # (chunk, 8)
        best = exact.argmin(1, keepdim=True)
        distances.append(exact.gather(1, best).squeeze(1))
        indices.append(few.gather(1, best).squeeze(1))
    return torch.cat(distances), torch.cat(indices)


def _features(name: str, x: Tensor, least: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Rows (N, d) on the CPU in `dtype`, for N >= least; else a ValueError that says what is wrong with them."""
    if x.dim() != 2 or len(x) < least or not x.shape[1]:
        raise ValueError(f"{name} must have shape (N, d) with at least {least} rows, not {tuple(x.shape)}")
    x = x.detach().cpu().to(dtype)
    strange = int((~x.isfinite()).any(1).sum())
    if strange:
        raise ValueError(
            f"{strange} of the {len(x)} rows of {name} hold values that are not finite: where do they arise?"
        )
    return x


def _same_width(a: Tensor, b: Tensor) -> None:
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"both sets must have the same features, not {a.shape[1]} and {b.shape[1]} of them")


def _distances(a: Tensor, b: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """The Euclidean distances (chunk, M) of the rows of a (N, d) from those of b (M, d), and which rows; 0 for equal ones."""
    for start in range(0, len(a), _CHUNK):
        rows = slice(start, start + _CHUNK)
        yield rows, torch.cdist(a[rows], b, compute_mode="donot_use_mm_for_euclid_dist")


def _radii(x: Tensor, neighbours: int) -> Tensor:
    """The distance (N,) of each row of x (N, d) from its `neighbours`-th nearest among the others."""
    return torch.cat([d.topk(neighbours + 1, largest=False).values[:, -1] for _, d in _distances(x, x)])


def energy_distance(a: Tensor, b: Tensor) -> float:
    """2 E|X − Y| − E|X − X'| − E|Y − Y'| for two sets of points (N, d), (M, d): 0 for equal distributions only.

    In the points' unit; the pairs of a point with itself count, so that a set has no distance from itself, and two samples
    of one distribution have a little, by chance. Source: Székely and Rizzo, "Energy statistics", 2013.
    Raises ValueError when a set is empty or holds values that are not finite, or when the widths differ.
    """
    a, b = _features("a", a, 1), _features("b", b, 1)
    _same_width(a, b)
    within = torch.cdist(a, a).mean() + torch.cdist(b, b).mean()
    return (2 * torch.cdist(a, b).mean() - within).item()


@torch.no_grad()
def draw_like(rows: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """`n` draws (n, d) from the normal distribution with the mean and covariance of `rows` (N, d), on their device.

    All chance comes from `generator`, on the CPU or on that device. Raises ValueError for fewer than two rows.
    """
    if rows.dim() != 2 or len(rows) < 2:
        raise ValueError(f"a covariance needs at least two rows (N, d), not {tuple(rows.shape)}")
    exact = rows.cpu().double()  # not every device has float64
    variances, directions = torch.linalg.eigh(torch.cov(exact.T).reshape(rows.shape[1], rows.shape[1]))
    standard = torch.randn(n, rows.shape[1], generator=generator, device=generator.device).cpu().double()
    return (exact.mean(0) + (standard * variances.clamp(min=0).sqrt()) @ directions.T).to(rows)
