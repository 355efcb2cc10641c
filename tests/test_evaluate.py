"""Measures agree with closed forms."""

import math
import sys
from collections.abc import Callable

import pytest
import torch

from course_utils import evaluate


def normal(n: int, spread: float, seed: int) -> torch.Tensor:
    return spread * torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_values_are_listed_with_the_digits_asked_for() -> None:
    assert evaluate.listed([0.823, torch.tensor(0.835), 12], 2) == "0.82  0.83  12.00"
    assert evaluate.listed(iter([0.6, -1.4])) == "1  -1"


def test_accuracy_counts_the_largest_entries() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 3.0, 2.0]])
    assert evaluate.accuracy(logits, torch.tensor([0, 2, 2])) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "logits, labels",
    [(torch.ones(3), torch.ones(3)), (torch.ones(3, 2), torch.ones(2)), (torch.ones(0, 2), torch.ones(0))],
)
def test_accuracy_refuses_shapes_that_do_not_fit(logits: torch.Tensor, labels: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"need logits \(N, classes\) and labels \(N,\), got"):
        evaluate.accuracy(logits, labels)


def test_rmse_of_a_shift_is_the_shift() -> None:
    x = normal(50, 1.0, 0)
    assert evaluate.rmse(x - 0.3, x) == pytest.approx(0.3)
    assert evaluate.rmse(torch.tensor([3.0, 4.0]), torch.zeros(2)) == pytest.approx(math.sqrt(12.5))


def test_rmse_refuses_shapes_that_would_broadcast() -> None:
    with pytest.raises(ValueError, match=r"\(5, 1\) and target \(5,\) must be equal in shape"):
        evaluate.rmse(torch.zeros(5, 1), torch.zeros(5))


def test_psnr_of_a_known_error_is_its_size_in_decibels() -> None:
    clean = torch.full((3, 1, 4, 4), 0.5)
    for error, decibels in ((0.1, 20.0), (0.01, 40.0), (1.0, 0.0)):
        assert evaluate.psnr(clean + error, clean) == pytest.approx(decibels, abs=1e-4)
        assert evaluate.psnr(clean - error, clean) == pytest.approx(decibels, abs=1e-4)
    assert evaluate.psnr(clean, clean.clone()) == math.inf


def test_psnr_averages_the_error_and_not_the_decibels() -> None:
    clean = torch.zeros(2, 28, 28, dtype=torch.float64)
    two = torch.stack([torch.full((28, 28), 0.3), torch.full((28, 28), 0.1)]).double()  # mean squared error 0.05
    assert evaluate.psnr(two, clean) == pytest.approx(10 * math.log10(1 / 0.05))
    noisy = clean + normal(2 * 784, 0.2, 0).view(2, 28, 28)
    assert evaluate.psnr(noisy, clean) == pytest.approx(-20 * math.log10(0.2), abs=0.5)
    assert evaluate.psnr(two.bfloat16(), clean.bfloat16()) == pytest.approx(10 * math.log10(1 / 0.05), abs=0.05)


def test_psnr_refuses_shapes_that_would_broadcast() -> None:
    with pytest.raises(ValueError, match=r"\(5, 1, 28, 28\) and target \(5, 28, 28\) must be equal in shape"):
        evaluate.psnr(torch.zeros(5, 1, 28, 28), torch.zeros(5, 28, 28))


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    normal_scores, strange = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 3.0])
    assert evaluate.auroc(normal_scores, strange) == pytest.approx((3 + 1.5) / 6)  # 1.0 ties with 1.0
    assert evaluate.auroc(strange, normal_scores) == pytest.approx(1.5 / 6)
    assert evaluate.auroc(normal_scores, normal_scores + 5) == 1.0
    assert evaluate.auroc(torch.ones(4), torch.ones(2)) == 0.5


def test_auroc_of_shifted_normal_scores_is_the_closed_form() -> None:
    a, b = normal(20_000, 1.0, 0), normal(5_000, 1.0, 1) + 1.0
    closed_form = 0.5 * (1 + math.erf(1.0 / 2))  # P(b > a): their difference is N(1, 2)
    assert evaluate.auroc(a, b) == pytest.approx(closed_form, abs=0.015)
    assert evaluate.auroc(a.exp().float(), b.exp().float()) == pytest.approx(evaluate.auroc(a, b), abs=1e-5)


@pytest.mark.parametrize(
    "normal_scores, strange, name",
    [
        (torch.ones(0), torch.ones(3), r"the normal scores must be finite numbers \(N,\), N >= 1, not \(0,\)"),
        (torch.ones(3), torch.ones(0), r"the strange scores .* not \(0,\)"),
        (torch.tensor([0.0, math.nan, math.inf]), torch.ones(3), "the normal scores .* with 2 that are not finite"),
        (torch.ones(3), torch.ones(3, 1), r"the strange scores .* not \(3, 1\)"),
    ],
)
def test_scores_that_cannot_be_ranked_are_refused(
    normal_scores: torch.Tensor, strange: torch.Tensor, name: str
) -> None:
    with pytest.raises(ValueError, match=name):
        evaluate.auroc(normal_scores, strange)


def test_the_interval_covers_a_known_difference_about_95_times_in_100() -> None:
    covered = 0
    for seed in range(200):
        a, b = normal(150, 1.0, 2 * seed), normal(150, 1.3, 2 * seed + 1)
        low, high = evaluate.paired_bootstrap(a, b, resamples=400, seed=seed)
        covered += low <= 1.0 - 1.3 <= high
    assert 178 <= covered <= 199  # 3.9 standard deviations below 190, of 200


def test_the_interval_is_as_wide_as_theory_says() -> None:
    # rmse of n normal errors has variance sigma^2 / 2n, so the gap's is the sum of both
    n, a, b = 4000, 1.0, 1.5
    low, high = evaluate.paired_bootstrap(normal(n, a, 1), normal(n, b, 2), resamples=2000)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt((a * a + b * b) / (2 * n)), rel=0.08)


def test_pairing_removes_what_both_forecasts_share() -> None:
    shared = normal(300, 1.0, 0)
    paired = evaluate.paired_bootstrap(1.1 * shared, shared, resamples=1000)
    apart = evaluate.paired_bootstrap(1.1 * normal(300, 1.0, 1), shared, resamples=1000)
    assert paired[0] > 0
    assert paired[1] - paired[0] < 0.2 * (apart[1] - apart[0])


def test_blocks_widen_the_interval_of_errors_that_resemble_their_neighbours() -> None:
    # Averages over 12 neighbours: the variance of a mean of squares grows by about 2/3 * 12
    slow = normal(3011, 1.0, 3).unfold(0, 12, 1).mean(1)
    fresh = normal(3000, float(slow.std()), 4)
    narrow, wide = (evaluate.paired_bootstrap(slow, fresh, resamples=1000, block=block) for block in (1, 60))
    assert wide[1] - wide[0] > 1.6 * (narrow[1] - narrow[0])


def test_equal_forecasts_differ_by_nothing() -> None:
    errors = normal(40, 1.0, 0)
    assert evaluate.paired_bootstrap(errors, errors.clone(), resamples=100, block=7) == (0.0, 0.0)


def test_one_block_leaves_nothing_to_chance() -> None:
    a, b = normal(40, 1.0, 0), normal(40, 2.0, 1)
    gap = a.square().mean().sqrt() - b.square().mean().sqrt()
    assert evaluate.paired_bootstrap(a, b, resamples=50, block=40) == pytest.approx((gap.item(), gap.item()))


def test_the_same_seed_gives_the_same_interval() -> None:
    a, b = normal(40, 1.0, 0), normal(40, 2.0, 1)
    first, again, other = (evaluate.paired_bootstrap(a, b, resamples=200, seed=seed) for seed in (3, 3, 4))
    assert first == again != other


def test_many_errors_and_resamples_do_not_need_much_memory() -> None:
    resource = pytest.importorskip("resource")  # not on Windows
    unit = 1e9 if sys.platform == "darwin" else 1e6
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    evaluate.paired_bootstrap(normal(5_000, 1.0, 0), normal(5_000, 1.1, 1))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit - before < 0.4  # GB; all at once would take 1.6


@pytest.mark.parametrize("block", [0, 11])
def test_a_block_that_cannot_be_is_refused(block: int) -> None:
    with pytest.raises(ValueError, match=f"between 1 and the 10 errors, not {block}"):
        evaluate.paired_bootstrap(torch.ones(10), torch.ones(10), block=block)


@pytest.mark.parametrize("shape", [(9,), (10, 1)])
def test_unequal_error_series_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="need two error series"):
        evaluate.paired_bootstrap(torch.ones(10), torch.ones(shape))


# --- text -------------------------------------------------------------------------------------------------------


def table_model(size: int, seed: int = 0) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
    """A bigram model: its table of log p(next | token), (size, size) float64, and what it computes."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(size, size, generator=generator, dtype=torch.float64).log_softmax(1)
    return table, lambda tokens: table[tokens]


def some_tokens(n: int, size: int = 5) -> torch.Tensor:
    return torch.randint(size, (n,), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("n, window, batch_size", [(2, 1, 1), (10, 3, 2), (10, 9, 1), (10, 50, 4), (130, 16, 3)])
def test_the_text_loss_of_a_bigram_model_is_the_mean_over_all_pairs(n: int, window: int, batch_size: int) -> None:
    table, model = table_model(5)
    tokens = some_tokens(n)
    closed_form = -table[tokens[:-1], tokens[1:]].mean().item()
    assert evaluate.text_loss(model, tokens, window, batch_size=batch_size) == pytest.approx(closed_form, rel=1e-12)


@pytest.mark.parametrize("n", [12, 13, 14, 15, 16, 40])
@pytest.mark.parametrize("warm_up", [0, 1, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_each_target_counts_once_with_the_context_that_it_should_have(n: int, warm_up: int, batch_size: int) -> None:
    """The tokens are the numbers 0, 1, ...: an input tells which targets it counts for."""
    window, seen = 6, []

    def model(inputs: torch.Tensor) -> torch.Tensor:
        assert inputs.shape[0] <= batch_size and inputs.shape[1] <= window and not torch.is_grad_enabled()
        assert (inputs.diff(dim=1) == 1).all()
        seen.append(inputs)
        return torch.zeros(*inputs.shape, n)

    loss = evaluate.text_loss(model, torch.arange(n), window, warm_up, batch_size)
    assert loss == pytest.approx(math.log(n))
    counted = [(row[i].item() + 1, i + 1) for inputs in seen for row in inputs for i in range(warm_up, len(row))]
    assert [target for target, _ in counted] == list(range(warm_up + 1, n))
    assert all(warm_up < context <= window for _, context in counted)


def test_a_warm_up_leaves_out_the_cold_start() -> None:
    """A model that is wrong by one nat more at each window's first two places, by hand: windows 0-3, 2-5, ..."""

    def model(tokens: torch.Tensor) -> torch.Tensor:
        probability = torch.full(tokens.shape, math.exp(-0.5))
        probability[:, :2] = math.exp(-1.5)
        return torch.stack([probability, 1 - probability], dim=-1).log()

    zeros = torch.zeros(11, dtype=torch.int64)
    assert evaluate.text_loss(model, zeros, 4) == pytest.approx((6 * 1.5 + 4 * 0.5) / 10)  # windows of 4, 4 and 2
    assert evaluate.text_loss(model, zeros, 4, warm_up=2) == pytest.approx(0.5)
    assert evaluate.text_loss(model, zeros, 4, warm_up=1) == pytest.approx((3 * 1.5 + 6 * 0.5) / 9)  # targets 2-4, ...


def test_a_loss_in_half_precision_is_computed_in_single() -> None:
    table, _ = table_model(5)
    tokens = some_tokens(500)
    rounded = table.bfloat16()
    exact = -rounded.double().log_softmax(1)[tokens[:-1], tokens[1:]].mean().item()
    assert evaluate.text_loss(lambda inputs: rounded[inputs], tokens, 10) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(
    "changes",
    [{"window": 0}, {"window": 4, "warm_up": 4}, {"warm_up": -1}, {"batch_size": 0}],
)
def test_impossible_windows_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="need window >= 1, batch_size >= 1 and 0 <= warm_up < window, not window ="):
        evaluate.text_loss(table_model(5)[1], some_tokens(20), **{"window": 8, **changes})


@pytest.mark.parametrize("tokens", [some_tokens(4), torch.zeros(2, 9).long(), torch.zeros(20)])
def test_unsuitable_tokens_are_refused(tokens: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"need at least warm_up \+ 2 = 5 tokens \(N,\) int64, not"):
        evaluate.text_loss(table_model(5)[1], tokens, 8, warm_up=3)


def test_logits_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"gave \(2, 5\) for tokens \(2, 8\): need \(B, T, V\)"):
        evaluate.text_loss(lambda inputs: torch.zeros(len(inputs), 5), some_tokens(17), 8)


def test_repeated_ngrams_are_the_share_of_those_that_occurred_before() -> None:
    assert evaluate.repeated_ngrams("abcdef", 2) == 0
    assert evaluate.repeated_ngrams("abab", 2) == pytest.approx(1 / 3)  # ab, ba, ab
    assert evaluate.repeated_ngrams("aaaaa", 1) == pytest.approx(4 / 5)
    assert evaluate.repeated_ngrams("ab" * 500, 10) == pytest.approx(1 - 2 / 991)
    assert evaluate.repeated_ngrams("abc", 3) == 0


@pytest.mark.parametrize("text, n", [("abc", 4), ("abc", 0), ("", 1)])
def test_ngrams_that_the_text_does_not_have_are_refused(text: str, n: int) -> None:
    with pytest.raises(ValueError, match=f"n must lie between 1 and the text's {len(text)} characters, not {n}"):
        evaluate.repeated_ngrams(text, n)


# --- sets of features -------------------------------------------------------------------------------------------


def points(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_moments(n: int, mean: torch.Tensor, root: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Rows (n, d) whose sample mean is `mean` (d,) and whose sample covariance is root @ root.T, up to rounding."""
    centred = points(n, root.shape[1], seed)
    white = torch.linalg.qr(centred - centred.mean(0)).Q * math.sqrt(n - 1)
    return mean + white @ root.T


def test_known_words_are_the_share_that_the_source_has_too() -> None:
    assert evaluate.known_words(["cut to be, or cu", "t nut: to cu"], "To be or not to be? to cut") == 4 / 5
    with pytest.raises(ValueError, match="none of the texts has three words"):
        evaluate.known_words(["to be", "not"], "to be")


@pytest.mark.parametrize(
    ("text", "source", "copy"),
    [("xxthe dogyy", "see the dog run", "the dog"), ("abc", "xyz", ""), ("abcabd", "abd", "abd"), ("", "abc", "")],
)
def test_the_longest_copy_is_the_longest_piece_in_common(text: str, source: str, copy: str) -> None:
    assert evaluate.longest_copy(text, source) == copy


def test_the_frechet_distance_of_gaussians_with_independent_features_is_the_closed_form() -> None:
    spread_a, spread_b = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([3.0, 2.0, 1.0]).double()
    mean_a, mean_b = torch.tensor([0.0, 1.0, -2.0]).double(), torch.tensor([1.0, 1.0, 2.0]).double()
    a, b = with_moments(40, mean_a, spread_a.diag(), 0), with_moments(70, mean_b, spread_b.diag(), 1)
    closed_form = (mean_a - mean_b).square().sum() + (spread_a - spread_b).square().sum()
    assert evaluate.frechet_distance(a, b) == pytest.approx(closed_form.item(), rel=1e-12)


@pytest.mark.filterwarnings("ignore:Matrix is singular")
@pytest.mark.parametrize("d", [1, 2, 9])
@pytest.mark.parametrize("rank", [1, 9])
def test_the_frechet_distance_agrees_with_the_square_root_of_a_matrix(d: int, rank: int) -> None:
    from scipy.linalg import sqrtm

    root_a, root_b = points(d, d, 2), points(d, d, 3)
    root_a[:, rank:] = 0  # covariances of this rank at the most
    mean_a, mean_b = points(2, d, 4)
    a, b = with_moments(50, mean_a, root_a, 0), with_moments(30, mean_b, root_b, 1)
    covariance_a, covariance_b = root_a @ root_a.T, root_b @ root_b.T
    shared = torch.from_numpy(sqrtm((covariance_a @ covariance_b).numpy()).real)
    expected = (mean_a - mean_b).square().sum() + (covariance_a + covariance_b - 2 * shared).trace()
    assert evaluate.frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-6)  # sqrtm's error, when singular


def test_singular_covariances_are_no_special_case() -> None:
    line = torch.linspace(-1, 1, 5, dtype=torch.float64).unsqueeze(1)
    spread = line.std().item()
    direction = torch.tensor([[3.0, 4.0, 0.0]], dtype=torch.float64)
    across = torch.tensor([[-4.0, 3.0, 0.0]], dtype=torch.float64)
    assert evaluate.frechet_distance(line @ direction, 3 * line @ direction) == pytest.approx((2 * 5 * spread) ** 2)
    assert evaluate.frechet_distance(line @ direction, line @ across) == pytest.approx(2 * (5 * spread) ** 2)
    assert evaluate.frechet_distance(torch.zeros(4, 3), torch.ones(2, 3)) == 3.0  # two points, without any spread


def test_fewer_rows_than_features_will_do() -> None:
    a, b = points(5, 30, 0), points(4, 30, 1)
    turned = torch.linalg.qr(torch.cat([a, b]).T).Q  # an orthonormal basis of the 9 directions that matter
    assert evaluate.frechet_distance(a, b) == pytest.approx(evaluate.frechet_distance(a @ turned, b @ turned), rel=1e-9)


def test_the_frechet_distance_is_symmetric_and_zero_for_equal_sets() -> None:
    a, b = points(200, 12, 0) @ points(12, 12, 1), points(300, 12, 2) + 1
    assert evaluate.frechet_distance(a, b) == pytest.approx(evaluate.frechet_distance(b, a), rel=1e-12)
    for x in (a, 1e6 * a, a[:3], a.float(), a.bfloat16()):
        scale = x.double().var(0).sum().item()
        assert 0 <= evaluate.frechet_distance(x, x.flip(0)) <= 1e-11 * scale


def test_the_frechet_distance_does_not_feel_a_rotation_and_grows_with_the_square_of_the_unit() -> None:
    a, b = points(200, 12, 0) @ points(12, 12, 1), points(300, 12, 2) + 1
    turn, shift = torch.linalg.qr(points(12, 12, 3)).Q, 1000 * points(1, 12, 4)
    expected = evaluate.frechet_distance(a, b)
    assert evaluate.frechet_distance(a @ turn + shift, b @ turn + shift) == pytest.approx(expected, rel=1e-8)
    assert evaluate.frechet_distance(3 * a, 3 * b) == pytest.approx(9 * expected, rel=1e-12)


@pytest.mark.parametrize(
    "a, b, message",
    [
        (
            torch.zeros(1, 3),
            torch.zeros(9, 3),
            r"features_a must have shape \(N, d\) with at least 2 rows, not \(1, 3\)",
        ),
        (torch.zeros(9, 3), torch.zeros(9), r"features_b must have shape .* not \(9,\)"),
        (torch.zeros(9, 3), torch.zeros(9, 4), "must have the same features, not 3 and 4 of them"),
        (torch.zeros(9, 3), torch.zeros(9, 0), r"features_b must have shape .* not \(9, 0\)"),
        (
            torch.tensor([[0.0, math.nan], [0.0, 1.0], [math.inf, 1.0]]),
            torch.zeros(9, 2),
            "2 of the 3 rows of features_a",
        ),
    ],
)
def test_features_that_have_no_frechet_distance_are_refused(a: torch.Tensor, b: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate.frechet_distance(a, b)


def test_precision_and_recall_of_a_case_worked_by_hand() -> None:
    real, fake = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([[3.5], [10.0], [10.25]])
    # With one neighbour the real balls reach 1 far; those of the fakes 6.5, 0.25 and 0.25
    assert evaluate.precision_recall(real, fake, neighbours=1) == pytest.approx((1 / 3, 1.0))
    assert evaluate.precision_recall(fake, real, neighbours=1) == pytest.approx((1.0, 1 / 3))
    # With two they reach 2, 1, 1, 2; and 6.75, 6.5, 6.75: 10 - 6.5 lies beyond all real ones, 10.25 - 6.75 too
    assert evaluate.precision_recall(real, fake, neighbours=2) == pytest.approx((1 / 3, 1.0))


@pytest.mark.parametrize("n, m, neighbours", [(30, 20, 3), (40, 60, 1), (4, 7, 3), (501, 1003, 3)])
def test_precision_and_recall_are_what_their_definition_says(n: int, m: int, neighbours: int) -> None:
    real, fake = points(n, 4, 0), 0.8 * points(m, 4, 1) + 0.5

    def share_among(inside: torch.Tensor, points: torch.Tensor) -> float:
        own = (inside[:, None] - inside).norm(dim=2).sort(1).values[:, neighbours]
        distances = (points[:, None] - inside).norm(dim=2)
        return (distances <= own).any(1).double().mean().item()

    expected = share_among(real, fake), share_among(fake, real)
    assert evaluate.precision_recall(real, fake, neighbours) == pytest.approx(expected, abs=1e-12)


def test_equal_sets_have_precision_and_recall_one_and_disjoint_ones_zero() -> None:
    x = points(300, 6)
    assert evaluate.precision_recall(x, x.flip(0)) == (1.0, 1.0)
    assert evaluate.precision_recall(x, x + 100) == (0.0, 0.0)
    assert evaluate.precision_recall(x.float(), x.float()) == (1.0, 1.0)


def test_half_of_the_kinds_halves_recall_and_half_of_the_nonsense_halves_precision() -> None:
    here, there, nowhere = points(800, 3, 0), points(800, 3, 1) + 50, points(400, 3, 2) - 50
    real, again = torch.cat([here[:400], there[:400]]), torch.cat([here[400:], there[400:]])
    full = evaluate.precision_recall(real, again)
    one_kind = evaluate.precision_recall(real, here[400:])
    nonsense = evaluate.precision_recall(real, torch.cat([here[400:], nowhere]))
    assert min(full) > 0.9
    assert one_kind == pytest.approx((full[0], full[1] / 2), abs=0.05)
    assert nonsense == pytest.approx((full[0] / 2, full[1] / 2), abs=0.05)


def test_a_collapsed_set_covers_the_one_point_that_it_repeats() -> None:
    real = points(200, 5)
    assert evaluate.precision_recall(real, real[:1].expand(200, -1)) == (1.0, 1 / 200)


@pytest.mark.parametrize(
    "real, fake, neighbours, message",
    [
        (points(3, 2), points(9, 2), 3, r"real must have shape \(N, d\) with at least 4 rows, not \(3, 2\)"),
        (points(9, 2), points(2, 2), 2, "fake must have shape .* at least 3 rows"),
        (points(9, 2), points(9, 3), 3, "the same features, not 2 and 3"),
        (points(9, 2), points(9, 2) / 0, 3, "9 of the 9 rows of fake hold values that are not finite"),
        (points(9, 2), points(9, 2), 0, "neighbours must be at least 1, not 0"),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(
    real: torch.Tensor, fake: torch.Tensor, neighbours: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate.precision_recall(real, fake, neighbours)


@pytest.mark.parametrize("n, m", [(1, 1), (7, 5), (3, 900), (1001, 40)])
@pytest.mark.parametrize("offset", [0, 1000])
def test_the_nearest_agrees_with_all_distances(n: int, m: int, offset: float) -> None:
    queries, references = points(n, 24, 0) + offset, points(m, 24, 1) + offset
    all_distances = torch.cdist(queries, references, compute_mode="donot_use_mm_for_euclid_dist")
    distances, indices = evaluate.nearest(queries.view(n, 2, 3, 4), references.view(m, 2, 3, 4))
    assert torch.equal(indices, all_distances.argmin(1)) and indices.dtype == torch.int64
    assert torch.allclose(distances, all_distances.amin(1), rtol=1e-12, atol=0) and distances.dtype == torch.float64
    single, _ = evaluate.nearest(queries.float(), references)
    assert single.dtype == torch.float32 and torch.allclose(single.double(), distances, rtol=1e-3)


def test_a_copy_is_found_at_distance_zero_and_one_pixel_counts() -> None:
    images = points(50, 784, 0).view(50, 1, 28, 28).float()
    queries = images[[7, 31]].clone()
    queries[1, 0, 5, 5] += 0.25
    distances, indices = evaluate.nearest(queries, images)
    assert indices.tolist() == [7, 31] and distances[0] == 0
    assert distances[1].item() == pytest.approx(0.25, rel=1e-5)


@pytest.mark.parametrize(
    "queries, references, message",
    [
        (torch.zeros(3, 1, 4, 4), torch.zeros(9, 4, 4), r"\(3, 1, 4, 4\) and references \(9, 4, 4\) must be"),
        (torch.zeros(3), torch.zeros(9), "must be"),
        (torch.zeros(3, 2), torch.zeros(0, 2), "references must have shape .* at least 1 row"),
        (torch.zeros(3, 2), torch.full((5, 2), math.inf), "5 of the 5 rows of references"),
    ],
)
def test_neighbours_that_cannot_be_sought_are_refused(
    queries: torch.Tensor, references: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate.nearest(queries, references)


def test_draws_like_rows_have_their_mean_and_covariance() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(400, 3, generator=generator) @ torch.tensor([[1.0, 2, 0], [0, 1, 0], [0, 0, 0]]) + 5  # singular
    drawn = evaluate.draw_like(rows, 50_000, generator)
    assert drawn.shape == (50_000, 3) and drawn.dtype == rows.dtype
    torch.testing.assert_close(drawn.mean(0), rows.mean(0), rtol=0.01, atol=0.05)
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(rows.T), rtol=0.05, atol=0.05)
    again = [evaluate.draw_like(rows, 5, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*again)


def test_one_row_has_no_covariance() -> None:
    with pytest.raises(ValueError, match="at least two rows"):
        evaluate.draw_like(torch.zeros(1, 3), 5, torch.Generator())


def test_the_energy_distance_is_zero_for_equal_sets_and_grows_with_a_shift() -> None:
    points = torch.stack([normal(500, 1.0, 1), normal(500, 1.0, 2)], 1)
    assert evaluate.energy_distance(points, points) == pytest.approx(0, abs=1e-12)
    near, far = (evaluate.energy_distance(points, points + shift) for shift in (0.1, 0.5))
    assert 0 < near < far


def test_the_energy_distance_on_a_line_is_twice_the_squared_gap_of_the_cumulative_curves() -> None:
    """In one dimension it is 2 ∫ (F − G)²: for one point at 0 and one at 3 that is 6."""
    assert evaluate.energy_distance(torch.zeros(1, 1), torch.full((1, 1), 3.0)) == pytest.approx(6)


def test_the_energy_distance_needs_points_of_one_width() -> None:
    with pytest.raises(ValueError, match="same features"):
        evaluate.energy_distance(torch.zeros(3, 2), torch.zeros(3, 1))
