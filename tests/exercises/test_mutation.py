"""Every machine-made mutant of every reference is rejected, save those that are right answers too."""

import warnings
from collections.abc import Callable

import mutants
import pytest

from course_utils.exercises import names
from course_utils.exercises.catalogue import definition

CANCELS = "the ratio divides it away: the factor is common to every product"
SAME_LENGTH = "both have the same length"
NO_HISTORY = "it has none to lose"
SQUARED = "a square has no sign"
ON_THE_CPU = "the check's generators are on the CPU"
EITHER_SIGN = "noise is as likely with the other sign"
EXCHANGED = "exchanging two dimensions has no direction"
SQUARE = "the kernel is as high as it is wide"
SAME_SHAPE = "both have the same shape"
SAME_KIND = "both have the same dtype and device"
ADDED = "terms may be added in any order"
IN_SINGLE_PRECISION = "right to the seven digits of float32, which is said beside it"
CONSTANTS = "made without a graph"
ROOT_TWICE = "the root stands on both sides of the other covariance, so that its sign cancels"

# Changes that leave a right answer right, and why. An entry that no longer holds fails.
EQUIVALENT = {
    "softmax_cross_entropy_backward": {
        "target → logits": SAME_LENGTH,
        "target → logits (place 3)": SAME_LENGTH,
    },
    "flop_ratio": {
        "2 * m * n * batch_size → 2 * m * n / batch_size": CANCELS,
        "2 * m * n * batch_size → 2 * m * n": CANCELS,
        "2 * m * n * batch_size → -(2 * m * n * batch_size)": CANCELS,
        "2 * m * n * batch_size → -(2 * m * n) * batch_size": CANCELS,
        "2 * m * n → -(2 * m) * n": CANCELS,
        "2 * m → m": CANCELS,
        "2 * m → -2 * m": CANCELS,
        "2 → 3": CANCELS,
        "2 → 1": CANCELS,
        "(m, n) → (n, m)": "only the product of the two is used",
    },
    "rnn_backward": {
        "(grad_weight_ih, grad_weight_hh, grad_bias) → (grad_weight_hh, grad_weight_ih, grad_bias)": "all start at 0",
        "(grad_weight_ih, grad_weight_hh, grad_bias) → (grad_weight_ih, grad_bias, grad_weight_hh)": "all start at 0",
        "inputs → grad_hiddens": SAME_LENGTH,
        "hiddens[t + 1] ** 2 → (-hiddens[t + 1]) ** 2": SQUARED,
    },
    "redrawn_differences": {
        "for later in range(block) → for later in list(range(block))[::-1]": "a mean has no order",
    },
    "truncate": {"h → h.detach()": "detached twice is detached"},
    "clip_by_global_norm": {
        "for grad in grads → for grad in list(grads)[::-1]": "the order does not matter to the norm of all of them",
    },
    "open_forget_gate": {
        "len(bias) → len(bias) + 1": "rounded down, a quarter of it is the same",
        "2 * hidden → -(2 * hidden)": "the middle, counted from the end",
        "2 * hidden → -2 * hidden": "the middle, counted from the end",
    },
    "lstm_step_backward": {"shown ** 2 → (-shown) ** 2": SQUARED, "g ** 2 → (-g) ** 2": SQUARED},
    "coding_cost": {
        "for known, column in zip(train_symbols.T, symbols.T, strict=True): → for known, column in "
        "list(zip(train_symbols.T, symbols.T, strict=True))[::-1]:": ADDED,
        "zip(train_symbols.T, symbols.T, strict=True) → zip(train_symbols.T, symbols.T)": SAME_LENGTH,
        "True → False": SAME_LENGTH,
        "torch.bincount(known - known.min()).double() + 1 → -(torch.bincount(known - known.min()).double() + 1)": CANCELS,
    },
    "mutual_information": {
        "columns.unique(dim=0, return_counts=True)[1].double() → columns.unique(dim=0, return_counts=True)[1]": IN_SINGLE_PRECISION,
        "for sign, columns in ((1, a), (1, b), (-1, torch.stack([a, b], 1))): → for sign, columns in "
        "list(((1, a), (1, b), (-1, torch.stack([a, b], 1))))[::-1]:": ADDED,
        "((1, a), (1, b), (-1, torch.stack([a, b], 1))) → ((1, b), (1, a), (-1, torch.stack([a, b], 1)))": ADDED,
        "((1, a), (1, b), (-1, torch.stack([a, b], 1))) → ((1, a), (-1, torch.stack([a, b], 1)), (1, b))": ADDED,
    },
    "gaussian_nll": {
        "(x - mean) / sigma → -((x - mean) / sigma)": SQUARED,
        "(x - mean) / sigma → -(x - mean) / sigma": SQUARED,
        "x - mean → mean - x": SQUARED,
        "x → x.detach()": NO_HISTORY,
    },
    "reparameterise": {"noise → noise.detach()": NO_HISTORY},
    "negative_elbo": {"x → x.detach()": NO_HISTORY},
    "importance_bound": {"log_weights → log_weights.detach() (place 2)": "a length has no history"},
    "add_noise": {"x → noise": SAME_SHAPE},
    "predict_clean": {"x_t → noise": SAME_SHAPE},
    "flow_pair": {"start → end": SAME_SHAPE},
    "frechet_distance": {
        "vectors * values.clamp(min=0).sqrt() @ vectors.T → -(vectors * values.clamp(min=0).sqrt() @ vectors.T)": ROOT_TWICE,
        "vectors * values.clamp(min=0).sqrt() @ vectors.T → -(vectors * values.clamp(min=0).sqrt()) @ vectors.T": ROOT_TWICE,
        "vectors * values.clamp(min=0).sqrt() → -vectors * values.clamp(min=0).sqrt()": ROOT_TWICE,
        "mean_a - mean_b → mean_b - mean_a": SQUARED,
        "mean_a - mean_b → -(mean_a - mean_b)": SQUARED,
    },
    "precision_recall": {"real → fake": SAME_KIND},
    "stamp": {
        "(_, c_out, k, _) → (_, c_out, _, k)": SQUARE,
        "x → weight (place 2)": SAME_KIND,
        "for row in range(height): → for row in list(range(height))[::-1]:": "stamps add in any order",
        "for column in range(width): → for column in list(range(width))[::-1]:": "stamps add in any order",
    },
    "transposed_convolution": {
        "x → x.detach()": "a shape has no history",
        "x → weight (place 2)": SAME_KIND,
        "x → x.detach() (place 2)": "zeros have no history",
        "weight → weight.detach()": "a shape has no history",
        "2 → 3": SQUARE,
        "weight.flip(2, 3).transpose(0, 1) → weight.flip(2, 3).transpose(1, 0)": EXCHANGED,
        "weight.flip(2, 3) → weight.flip(3, 2)": "both are flipped, in either order",
    },
    "pca_reconstruct": {
        "train - mean → mean - train": SQUARED,
        "train - mean → -(train - mean)": SQUARED,
    },
    "corrupt": {
        "torch.randn(x.shape, generator=generator, device=generator.device) → "
        "torch.randn(x.shape, generator=generator)": ON_THE_CPU,
        "torch.rand(x.shape, generator=generator, device=generator.device) → "
        "torch.rand(x.shape, generator=generator)": ON_THE_CPU,
        "torch.randn(x.shape, generator=generator, device=generator.device).to(x) → "
        "torch.randn(x.shape, generator=generator, device=generator.device).to()": "x makes a float32 number its like",
        "generator → x (place 2)": ON_THE_CPU,
        "generator → x (place 4)": ON_THE_CPU,
        "torch.rand(x.shape, generator=generator, device=generator.device) >= missing → "
        "torch.rand(x.shape, generator=generator, device=generator.device) > missing": "a tie has no probability",
        "x + noise_std * noise → x - noise_std * noise": EITHER_SIGN,
        "noise_std * noise → -(noise_std * noise)": EITHER_SIGN,
        "noise_std * noise → -noise_std * noise": EITHER_SIGN,
        "kept.to(x) → kept.to()": "a truth counts as 0 or 1",
        "kept.to(x) → kept": "a truth counts as 0 or 1",
    },
    "denoising_loss": {
        "reconstruction - clean → clean - reconstruction": SQUARED,
        "reconstruction - clean → -(reconstruction - clean)": SQUARED,
        "clean → clean.detach()": NO_HISTORY,
        "clean → reconstruction (place 2)": SAME_LENGTH,
        "clean → noisy (place 2)": SAME_LENGTH,
        "clean → clean.detach() (place 2)": NO_HISTORY,
    },
    "anomaly_score": {
        "x - reconstruction → reconstruction - x": SQUARED,
        "x - reconstruction → -(x - reconstruction)": SQUARED,
    },
    "entropy_bits": {
        "column.unique(return_counts=True)[1].double() → column.unique(return_counts=True)[1]": IN_SINGLE_PRECISION,
        "for column in symbols.T: → for column in list(symbols.T)[::-1]:": "a sum has no order",
    },
    "discriminator_step": {
        "noise → noise.detach()": NO_HISTORY,
        "real → real.detach()": NO_HISTORY,
        "fake → fake.detach()": NO_HISTORY,
        "optimizer → discriminator": "both hold the same parameters",
        "loss → loss.detach() (place 2)": "a number has no history",
    },
    "dcgan_init": {
        "(nn.Conv2d, nn.ConvTranspose2d) → (nn.ConvTranspose2d, nn.Conv2d)": "either kind will do, in either order",
    },
    "attach_label": {"label → label.detach()": NO_HISTORY},
    "gradient_penalty": {
        "torch.rand(len(real), generator=generator, device=generator.device).to(real) → "
        "torch.rand(len(real), generator=generator, device=generator.device).to()": "the image gives its dtype to the mix",
        "torch.rand(len(real), generator=generator, device=generator.device) → "
        "torch.rand(len(real), generator=generator)": ON_THE_CPU,
        "generator → real (place 2)": ON_THE_CPU,
        "generator → fake (place 2)": ON_THE_CPU,
        "real → fake": SAME_LENGTH,
        "real → fake (place 2)": SAME_KIND,
        "real → fake (place 3)": "both have as many dimensions",
        "real → real.detach()": NO_HISTORY,
        "real → real.detach() (place 2)": NO_HISTORY,
        "real → real.detach() (place 3)": NO_HISTORY,
        "real → real.detach() (place 4)": NO_HISTORY,
        "share → share.detach()": NO_HISTORY,
        "share → share.detach() (place 2)": NO_HISTORY,
        "share → share.detach() (place 3)": NO_HISTORY,
        "fake → fake.detach()": NO_HISTORY,
        "(share * real + (1 - share) * fake).detach() → share * real + (1 - share) * fake": NO_HISTORY,
        "slope.flatten(1).norm(dim=1) - 1 → 1 - slope.flatten(1).norm(dim=1)": SQUARED,
        "slope.flatten(1).norm(dim=1) - 1 → -(slope.flatten(1).norm(dim=1) - 1)": SQUARED,
    },
    "power_iteration": {
        "for _ in range(steps): → for _ in list(range(steps))[::-1]:": "the steps are alike",
        "weight → weight.detach()": CONSTANTS,
        "weight → weight.detach() (place 2)": CONSTANTS,
        "u → u.detach()": CONSTANTS,
        "u → u.detach() (place 2)": CONSTANTS,
        "u → u.detach() (place 3)": CONSTANTS,
        "v → v.detach()": CONSTANTS,
        "v → v.detach() (place 2)": CONSTANTS,
        "0 → -1": "a vector has one dimension",
        "0 → -1 (place 2)": "a vector has one dimension",
        "u @ (weight @ v) → weight @ v @ u": "a dot product has no order",
    },
    "fade_in": {
        "F.interpolate(low, scale_factor=2, mode='nearest') → F.interpolate(low, scale_factor=2)": "it is the default",
    },
    "bernoulli_nll": {"x → x.detach()": NO_HISTORY},
    "causal_mask": {
        "kernel_size % 2 → -(kernel_size % 2)": "zero has no sign",
        "kernel_size % 2 → -kernel_size % 2": "turning the sign leaves a number even or odd",
        "('A', 'B') → ('B', 'A')": "it is one of the two, in either order",
    },
    "skew": {"x → x.detach()": "a shape has no history"},
    "unskew": {"y → y.detach()": "a shape has no history"},
    "complete": {
        "(~known).nonzero().tolist() → (~known).nonzero()": "a whole number in a tensor is an index too",
        "0 → -1 (place 2)": "there is one channel",
    },
    "rgb_mask": {
        "kernel_size % 2 → -(kernel_size % 2)": "zero has no sign",
        "kernel_size % 2 → -kernel_size % 2": "turning the sign leaves a number even or odd",
        "('A', 'B') → ('B', 'A')": "it is one of the two, in either order",
        "channels_in % 3 → -(channels_in % 3)": "zero has no sign",
        "channels_in % 3 → -channels_in % 3": "turning the sign leaves a multiple of 3 one",
        "channels_out % 3 → -(channels_out % 3)": "zero has no sign",
        "channels_out % 3 → -channels_out % 3": "turning the sign leaves a multiple of 3 one",
        "kernel_size // 2 → -kernel_size // 2": "the middle of an odd number, counted from the end",
        ":centre → :centre + 1 (place 2)": "the centre is written afterwards",
    },
    "keep_below": {
        "torch.arange(logits.shape[1], device=logits.device) → torch.arange(logits.shape[1])": "the check's tensors are on the CPU",
        "logits → above (place 2)": "both are on the same device",
    },
    "next_token_loss": {"tokens → tokens.detach()": NO_HISTORY},
    "causal_attention": {
        "q → k (place 2)": SAME_LENGTH,
        "q → v (place 2)": SAME_LENGTH,
        "q → q.detach() (place 2)": "a shape has no history",
        "scores → scores.detach()": "only their shape is used there",
        "future → future.detach()": NO_HISTORY,
    },
    "split_heads": {
        "x.unflatten(-1, (n_heads, -1)).transpose(1, 2) → x.unflatten(-1, (n_heads, -1)).transpose(2, 1)": EXCHANGED,
    },
    "merge_heads": {"y.transpose(1, 2) → y.transpose(2, 1)": EXCHANGED},
    "top_k_filter": {"min(k, logits.shape[-1]) → min(logits.shape[-1], k)": "the smaller of two, in either order"},
    "cached_attention": {
        "q → k (place 2)": SAME_LENGTH,
        "q → v (place 2)": SAME_LENGTH,
        "q → past_k (place 2)": SAME_LENGTH,
        "q → past_v (place 2)": SAME_LENGTH,
        "past_k → past_v (place 2)": SAME_LENGTH,
    },
    "rotate": {
        "torch.arange(a.shape[-1], dtype=x.dtype, device=x.device) → torch.arange(a.shape[-1], device=x.device)": "single "
        "precision is precise enough",
        "torch.arange(a.shape[-1], dtype=x.dtype, device=x.device) → torch.arange(a.shape[-1], dtype=x.dtype)": "all is on "
        "one device where there is no accelerator",
        "x → positions (place 2)": "whole numbers are divided in single precision, which is precise enough",
        "x → positions (place 3)": "positions lie on the same device",
        "-1 → 1 (place 3)": "positions have one dimension",
        "a → a.detach()": "a shape has no history",
        "x → x.detach() (place 2)": "a dtype has no history",
        "x → x.detach() (place 3)": "a device has no history",
        "x → x.detach() (place 4)": "a shape has no history",
        "positions → positions.detach()": NO_HISTORY,
        "i → i.detach()": NO_HISTORY,
        **{f"angle → angle.detach(){place}": NO_HISTORY for place in ("", " (place 2)", " (place 3)", " (place 4)")},
    },
    "cycle_loss": {
        "x_back - x → x - x_back": "an absolute value has no sign",
        "x_back - x → -(x_back - x)": "an absolute value has no sign",
        "x → x.detach()": "only what came back is asked for its gradient",
        "y_back - y → y - y_back": "an absolute value has no sign",
        "y_back - y → -(y_back - y)": "an absolute value has no sign",
        "y → y.detach()": "only what came back is asked for its gradient",
    },
    "reinforce_loss": {
        "rewards → rewards.detach()": "the difference is detached as a whole",
        "baseline → baseline.detach()": "the difference is detached as a whole",
    },
    "top_p_filter": {"before >= p → before > p": "no sum of random probabilities is exactly p"},
}


@pytest.mark.parametrize("name", names())
def test_every_mutant_is_rejected_or_known_to_be_right(name: str, record_property: Callable) -> None:
    made = mutants.mutants(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mutants do strange things
        alive = {mutant.change: mutant for mutant in made if mutants.survives(mutant)}
    known = EQUIVALENT.get(name, {})
    survived = {change: mutant for change, mutant in alive.items() if change not in known}
    counts = dict(killed=len(made) - len(alive), equivalent=len(alive) - len(survived), survived=len(survived))
    record_property("mutation", counts)

    diffs = "\n".join(f"{change}\n{mutant.diff}" for change, mutant in survived.items())
    assert not survived, f"{len(survived)} mutants of {name} pass for right:\n{diffs}"
    stale = known.keys() - alive.keys()
    assert not stale, f"listed as equivalent, but rejected or no longer made: {sorted(stale)}"


def test_the_list_of_equivalent_mutants_names_only_exercises() -> None:
    assert EQUIVALENT.keys() <= set(names())


@pytest.mark.parametrize("name", names())
def test_no_listed_mistake_is_a_right_answer_in_single_precision(name: str) -> None:
    """Which would be right, with a word of advice, if it were not listed."""
    listed = definition(name).mistakes
    right = [key for key, it in listed.items() if mutants.survives(mutants.Mutant(name, "", "", "", it.function))]
    assert right == []


def test_the_page_of_diagnoses_counts_what_there_is() -> None:
    """`tests/exercises/mutants.py --write EXERCISE …` renews the rows of exercises that were changed."""
    page = mutants.PAGE.read_text(encoding="utf-8")
    rows = mutants.read(page)
    assert mutants.page(rows) == page
    assert [*rows] == names()
    wrong = {name: len(mutants.mutants(name)) - len(EQUIVALENT.get(name, {})) for name in names()}
    assert {name: row.wrong for name, row in rows.items()} == wrong
    assert {name: row.listed for name, row in rows.items()} == {
        name: len(definition(name).mistakes) for name in names()
    }


def test_of_the_wrong_mutants_two_in_five_are_named() -> None:
    rows = mutants.read(mutants.PAGE.read_text(encoding="utf-8")).values()
    assert sum(row.named for row in rows) >= 0.4 * sum(row.wrong for row in rows)


@pytest.mark.parametrize(
    ("change", "exercise"),
    [
        ("grad_output.T → grad_output", "linear_backward"),
        ("grad_output.sum(0) → grad_output.mean(0)", "linear_backward"),
        ("grad_output.sum(0) → grad_output.sum()", "linear_backward"),
        ("x > 0 → x >= 0", "relu_backward"),
        ("probabilities[torch.arange(len(target)), target] -= 1 → nothing", "softmax_cross_entropy_backward"),
        ("torch.softmax(logits, 1) → torch.softmax(1, logits)", "softmax_cross_entropy_backward"),
        ("1 → 0", "softmax_cross_entropy_backward"),
        ("for m, n in pairwise(widths) → for m, n in list(pairwise(widths))[1:]", "flop_ratio"),
    ],
)
def test_the_mutant_maker_thinks_of(change: str, exercise: str) -> None:
    assert change in {mutant.change for mutant in mutants.mutants(exercise)}


def test_a_mutant_that_never_ends_counts_as_rejected() -> None:
    def flop_ratio(widths: list, batch_size: int, count_update: bool) -> float:
        while True:
            pass

    assert not mutants.survives(mutants.Mutant("flop_ratio", "", "", "", flop_ratio))


def test_a_mutant_that_changes_nothing_survives() -> None:
    assert mutants.survives(mutants.Mutant("flop_ratio", "", "", "", definition("flop_ratio").reference))
