"""Lesson 08: its networks see what came before and nothing else, their probabilities add up to 1, bad input is refused."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils import data, runtime
from course_utils.causality import before_in_order, sees
from course_utils.exercises import check
from course_utils.exercises.catalogue import definition
from course_utils.notebooks import find, lesson_code

ROOT = find.find_root()
WANTED = "contexts MaskedConv2d ResidualBlock PixelNet GatedLayer GatedPixelCNN price nll fit pixel_of"
SIZES = [(5, 7), (9, 9), (7, 12), (4, 4), (2, 3)]
NEAREST = ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-1, -2), (-1, 2), (-2, -1), (-2, 1))


def load(precision: str = "fp32", profile: str = "smoke") -> SimpleNamespace:
    """The lesson's definitions, with the session that its cells make; its exercises are their references."""
    session = runtime.Session(profile, torch.device("cpu"), 0, precision, torch.Generator().manual_seed(0))
    numbering = torch.zeros(1, 1, 3, 5)
    for bit, (row, col) in enumerate(NEAREST):
        numbering[0, 0, row + 2, col + 2] = 2**bit
    loaded = lesson_code.load("08", *WANTED.split(), session=session, device=session.device, numbering=numbering)
    loaded.causal_mask = definition("causal_mask").reference
    loaded.PixelCNN = partial(loaded.PixelNet, loaded.ResidualBlock)
    torch.manual_seed(0)
    return loaded


@pytest.fixture
def lesson() -> SimpleNamespace:
    return load()


@pytest.fixture(params=["PixelCNN", "GatedPixelCNN"])
def net(request: pytest.FixtureRequest, lesson: SimpleNamespace) -> nn.Module:
    """A small network of each kind that the lesson builds from convolutions, with random weights."""
    return lesson.PixelCNN(4, 3) if request.param == "PixelCNN" else lesson.GatedPixelCNN(4, [1, 2, 1])


def places(size: tuple[int, int]) -> list[tuple[int, int]]:
    return [(row, col) for row in range(size[0]) for col in range(size[1])]


def all_images(height: int, width: int) -> Tensor:
    """Every black-and-white image of this size: (2 ** (height * width), 1, height, width), float64."""
    bits = torch.arange(2 ** (height * width)).unsqueeze(1) >> torch.arange(height * width)
    return (bits & 1).double().view(-1, 1, height, width)


# -- causality -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_no_pixel_sees_itself_or_the_future(lesson: SimpleNamespace, net: nn.Module, size: tuple[int, int]) -> None:
    for place in places(size):
        assert not (sees(net, size, *place) & ~before_in_order(size, *place)).any()


@pytest.mark.parametrize("depth", [2, [2, 1]])
def test_no_logit_changes_when_a_later_pixel_does(lesson: SimpleNamespace, depth: int | list) -> None:
    kind = lesson.PixelCNN if isinstance(depth, int) else lesson.GatedPixelCNN
    model = kind(4, depth).double()
    x = torch.rand(2, 1, 6, 5, dtype=torch.float64)
    logits = model(x)
    assert logits.shape == (2, 1, 6, 5)
    for place in range(30):
        changed = x.clone().flatten(1)
        changed[:, place:] = torch.rand(2, 30 - place, dtype=torch.float64)
        again = model(changed.view_as(x))
        assert torch.equal(again.flatten(2)[:, :, : place + 1], logits.flatten(2)[:, :, : place + 1])


def test_the_first_pixel_sees_nothing(lesson: SimpleNamespace, net: nn.Module) -> None:
    assert not sees(net, (9, 9), 0, 0).any()


@pytest.mark.parametrize("size", SIZES)
def test_with_enough_layers_two_stacks_see_all_that_came_before(lesson: SimpleNamespace, size: tuple[int, int]) -> None:
    model = lesson.GatedPixelCNN(4, [1, 2, 4, 2])
    for place in places(size):
        assert torch.equal(sees(model, size, *place), before_in_order(size, *place))


@pytest.mark.parametrize("dilations", [[], [1], [1, 1, 1, 1], [1, 2, 4], [4, 1, 2]])
def test_the_reach_of_two_stacks_is_a_rectangle(lesson: SimpleNamespace, dilations: list[int]) -> None:
    row, col, reach = 11, 10, sum(dilations) + 3
    up, right = (torch.arange(n) for n in (20, 23))
    up, right = row - up.unsqueeze(1), right.unsqueeze(0) - col
    expected = (up <= reach) & (right.abs() <= reach) & before_in_order((20, 23), row, col)
    assert torch.equal(sees(lesson.GatedPixelCNN(6, dilations), (20, 23), row, col), expected)


@pytest.mark.parametrize("blocks", [0, 1, 3, 12])
def test_the_blind_spot_is_the_derived_wedge(lesson: SimpleNamespace, blocks: int) -> None:
    """m rows up, a PixelCNN sees at most m + 2 columns to the right, at any depth."""
    row, col, reach = 11, 7, blocks + 3
    up, right = (torch.arange(n) for n in (14, 23))
    up, right = row - up.unsqueeze(1), right.unsqueeze(0) - col
    rightmost = torch.where(up > 0, (up - 1).clamp(max=blocks) + 3, -1)
    expected = (up >= 0) & (up <= reach) & (right >= -reach) & (right <= rightmost)
    assert torch.equal(sees(lesson.PixelCNN(8, blocks), (14, 23), row, col), expected)


def test_no_depth_closes_the_blind_spot(lesson: SimpleNamespace) -> None:
    row, col, width = 9, 3, 16
    seen = sees(lesson.PixelCNN(8, 20), (12, width), row, col)
    blind = int((before_in_order((12, width), row, col) & ~seen).sum())
    assert blind == sum(max(0, width - col - m - 3) for m in range(1, row + 1)) > 0


def test_a_first_layer_with_mask_b_is_found_out(lesson: SimpleNamespace) -> None:
    assert not sees(lesson.PixelCNN(4, 1, kind="A"), (7, 7), 3, 3)[3, 3]
    assert sees(lesson.PixelCNN(4, 1, kind="B"), (7, 7), 3, 3)[3, 3]


# -- likelihood ----------------------------------------------------------------------------------------------------


def test_the_probabilities_of_all_images_add_up_to_1(lesson: SimpleNamespace, net: nn.Module) -> None:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(3)  # far from the even chances of a fresh network
    nats = lesson.nll(net.double(), all_images(4, 4))
    assert nats.exp().max() > 2 * 2**16  # some images are much less likely than others
    assert torch.exp(-nats).sum() == pytest.approx(1, abs=1e-12)


def test_tiny_networks_are_told_apart_by_adding_up(lesson: SimpleNamespace) -> None:
    nets = (lesson.PixelCNN(4, 1, kind=kind).double() for kind in "AB")
    honest, leaky = (torch.exp(-lesson.nll(net, all_images(3, 3))).sum() for net in nets)
    assert honest == pytest.approx(1, abs=1e-12)
    assert abs(leaky - 1) > 1e-3


def test_rounded_to_bf16_the_probabilities_still_add_up_to_1() -> None:
    lesson = load(precision="bf16")
    nats = lesson.nll(lesson.PixelCNN(4, 1), all_images(3, 3).float())
    assert nats.dtype == torch.float32
    assert torch.exp(-nats).sum() == pytest.approx(1, abs=1e-4)


def test_nll_is_the_sum_over_the_pixels_of_each_image_whatever_the_batch(
    lesson: SimpleNamespace, net: nn.Module
) -> None:
    x = torch.bernoulli(torch.full((230, 1, 5, 6), 0.4, dtype=torch.float64))
    net.double()
    logits = net(x)
    expected = -(x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)).flatten(1).sum(1)
    found = lesson.nll(net, x)
    assert found.dtype == torch.float64 and not found.requires_grad
    torch.testing.assert_close(found, expected)


def test_counting_is_causal_and_its_probabilities_add_up_to_1(lesson: SimpleNamespace) -> None:
    x = all_images(3, 3)
    table = torch.randn(1024, dtype=torch.float64)
    nats = definition("bernoulli_nll").reference(table[lesson.contexts(x)], x)
    assert torch.exp(-nats).sum() == pytest.approx(1, abs=1e-12)
    assert lesson.contexts(torch.ones(1, 1, 9, 9)).max() == 1023


def test_a_picture_is_drawn_from_the_whole_network_though_lower_rows_are_left_out(
    lesson: SimpleNamespace, net: nn.Module
) -> None:
    """Each pixel is the one that its uniform number asks for, given all before it, recomputed from the finished picture."""
    uniforms, known = torch.rand(3, 6, 5), torch.rand(6, 5) < 0.3
    image = (torch.rand(3, 1, 6, 5) > 0.5).float()
    drawn = definition("complete").reference(image, known, lesson.pixel_of(net, uniforms), torch.Generator())
    expected = (uniforms < torch.sigmoid(net(drawn)[:, 0])).float()
    assert torch.equal(drawn[:, 0][:, ~known], expected[:, ~known])
    assert torch.equal(drawn[..., known], image[..., known])


# -- masked convolutions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "kind"), [(1, "B"), (3, "A"), (3, "B"), (5, "A"), (7, "A")])
@pytest.mark.parametrize("size", SIZES)
def test_half_a_kernel_gives_what_the_whole_masked_one_gives(
    lesson: SimpleNamespace, k: int, kind: str, size: tuple[int, int]
) -> None:
    mask = lesson.causal_mask(k, kind, 3, 5)
    layer = lesson.MaskedConv2d(mask).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    whole = torch.randn(5, 3, k, k, dtype=torch.float64)  # what stands below the centre does not matter
    whole[:, :, : k // 2 + 1] = layer.weight.detach()
    expected = F.conv2d(x, whole * mask, layer.bias, padding=k // 2)
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda x: x * 0.5, "neither 0 nor 1: .*binarise"),
        (lambda x: x * 255, "divide them by 255"),
        (lambda x: x - 1, r"outside \[0, 1\]"),
        (lambda x: x.masked_fill(x > 0, math.nan), "NaN"),
        (lambda x: x.squeeze(1), "unsqueeze"),
        (lambda x: x.expand(-1, 3, -1, -1), "3 channels"),
        (lambda x: x[:0], "no images"),
        (lambda x: x.long(), "int64, not floats"),
    ],
)
def test_a_likelihood_is_refused_to_what_is_no_black_and_white_image(
    lesson: SimpleNamespace, net: nn.Module, spoil: Callable, words: str
) -> None:
    x = (torch.arange(2 * 6 * 7) % 3 == 0).float().view(2, 1, 6, 7)
    with pytest.raises(ValueError, match=words):
        lesson.nll(net, spoil(x))


# -- training ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [24, 32])
def test_gradients_in_bf16_are_those_in_float32(channels: int) -> None:
    """With a (1, 2) kernel that is dilated along its one row, too, oneDNN makes some of them wrong, or NaN, at 24 channels."""
    lesson = load()
    net = lesson.GatedPixelCNN(channels, [1, 2, 4, 8]).to(memory_format=torch.channels_last)
    x = torch.bernoulli(torch.full((8, 1, 28, 28), 0.2)).contiguous(memory_format=torch.channels_last)
    gradients = []
    for rounded in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=rounded):
            logits = net(x)
        loss = F.binary_cross_entropy_with_logits(logits.float(), x, reduction="sum")
        gradients.append(torch.autograd.grad(loss, list(net.parameters())))
    for exact, found in zip(*gradients, strict=True):
        assert (found - exact).norm() <= 0.05 * exact.norm()


def train(lesson: SimpleNamespace, steps: int = 30, seed: int = 0, checkpoint: Path | None = None) -> tuple:
    """A tiny network, trained on a few grey images: the history, the weights before and after."""
    torch.manual_seed(seed)
    net = lesson.PixelCNN(4, 1)
    images = torch.rand(40, 1, 5, 5, generator=torch.Generator().manual_seed(1)) ** 3
    start = [p.detach().clone() for p in net.parameters()]
    history = lesson.fit(net, images, steps=steps, title="tiny", checkpoint=checkpoint)
    return history, start, [p.detach().clone() for p in net.parameters()]


def test_the_same_seed_trains_the_same_weights_and_leaves_other_generators_alone() -> None:
    lesson = load()
    history, start, weights = train(lesson)
    torch.manual_seed(0)
    lesson.PixelCNN(4, 1)
    expected = torch.get_rng_state()
    again, start_again, weights_again = train(lesson)
    assert torch.equal(torch.get_rng_state(), expected)  # building the network drew from it, training did not
    assert history["loss"] == again["loss"] and len(history["loss"]) == 30
    assert all(map(torch.equal, start + weights, start_again + weights_again))
    assert not any(map(torch.equal, start, weights))
    assert history["loss"][-1] < history["loss"][0]


def test_the_learning_rate_climbs_and_falls_nearly_to_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    lesson = load()
    rates = []
    step = torch.optim.AdamW.step

    def noted(self: torch.optim.AdamW, *args: object, **kwargs: object) -> object:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    train(lesson, steps=100)
    assert rates[0] == pytest.approx(1e-2 / 5)
    assert rates.index(max(rates)) == 4 and max(rates) == pytest.approx(1e-2 * 0.96)
    assert rates[4:] == sorted(rates[4:], reverse=True) and rates[-1] == pytest.approx(1e-4)


def test_the_first_loss_is_the_mean_price_of_the_images_as_they_were_drawn(lesson: SimpleNamespace) -> None:
    net, images = lesson.PixelCNN(4, 1), torch.rand(6, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    drawn = data.binarise(images, torch.Generator().manual_seed(0))
    expected = lesson.nll(net, drawn).mean().item()
    history = lesson.fit(net, images, steps=1, title="one step", batch_size=6)
    # the batch holds all six images in an order of its own, so that other pixels are tossed: near, not equal
    assert history["loss"][0] == pytest.approx(expected, rel=0.05)


def test_a_label_is_one_more_input(lesson: SimpleNamespace) -> None:
    net = lesson.GatedPixelCNN(4, (1, 2), labels=3)
    x, zero, one = (torch.rand(2, 1, 5, 6) > 0.5).float(), torch.tensor([0, 0]), torch.tensor([1, 1])
    assert not torch.equal(net(x, zero), net(x, one))
    mixed = lesson.nll(net, x, torch.tensor([0, 1]))
    torch.testing.assert_close(mixed[1], lesson.nll(net, x, one)[1])
    nn.init.zeros_(net.told.weight)
    assert torch.equal(net(x, one), net(x))
    for label in range(3):  # whatever is told, the probabilities add up to 1
        nn.init.normal_(net.told.weight)
        told = torch.full((512,), label)
        assert torch.exp(-lesson.nll(net.double(), all_images(3, 3), told)).sum() == pytest.approx(1, abs=1e-12)


def test_a_label_that_says_everything_is_soon_heard(lesson: SimpleNamespace) -> None:
    """Black or white images, and the label says which: without it no net pays less than one bit on average."""
    net = lesson.GatedPixelCNN(8, (1, 2), labels=2)
    nn.init.zeros_(net.told.weight)
    label = torch.arange(2).repeat(16)
    images = label.float().view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    lesson.fit(net, images, label, steps=200, title="", rate=5e-3)
    assert lesson.nll(net, images).mean() >= math.log(2) - 1e-4
    assert lesson.nll(net, images, label).mean() < 0.1
    assert lesson.nll(net, images, 1 - label).mean() > 2


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_on_a_gpu_a_finished_training_is_not_done_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    monkeypatch.setattr(runtime, "_profile", profile)
    lesson = load(profile=profile)
    path = tmp_path / "tiny.pt"
    history, _, weights = train(lesson, checkpoint=path)
    assert path.exists() == (profile == "gpu")
    again, _, weights_again = train(lesson, checkpoint=path)
    assert ("was finished before" in capsys.readouterr().out) == (profile == "gpu")
    assert again["loss"] == history["loss"]
    assert all(map(torch.equal, weights, weights_again))


# -- the exercises -------------------------------------------------------------------------------------------------


def by_clamp(logits: Tensor, x: Tensor) -> Tensor:
    cost = logits.clamp(min=0) - logits * x + torch.log1p(torch.exp(-logits.abs()))
    return cost.sum(tuple(range(1, x.dim())))


def by_one_softplus(logits: Tensor, x: Tensor) -> Tensor:
    return F.softplus((1 - 2 * x) * logits).flatten(1).sum(1)


def by_the_distribution(logits: Tensor, x: Tensor) -> Tensor:
    return -torch.distributions.Bernoulli(logits=logits).log_prob(x).flatten(1).sum(1)


def mask_by_counting(kernel_size: int, kind: str, channels_in: int, channels_out: int) -> Tensor:
    if kernel_size % 2 == 0 or kind not in ("A", "B"):
        raise ValueError
    open_ones = kernel_size**2 // 2 + (kind == "B")
    mask = (torch.arange(kernel_size**2) < open_ones).float().view(kernel_size, kernel_size)
    return mask.expand(channels_out, channels_in, -1, -1)


def mask_by_closing(kernel_size: int, kind: str, channels_in: int, channels_out: int) -> Tensor:
    if kernel_size % 2 == 0 or kind not in ("A", "B"):
        raise ValueError
    mask, centre = torch.ones(channels_out, channels_in, kernel_size, kernel_size), kernel_size // 2
    mask[:, :, centre + 1 :] = 0
    mask[:, :, centre, centre + (kind == "B") :] = 0
    return mask


def gate_by_slices(features: Tensor) -> Tensor:
    half = features.shape[1] // 2
    return features[:, :half].tanh() * features[:, half:].sigmoid()


def gate_by_the_library(features: Tensor) -> Tensor:
    content, door = features.tensor_split(2, 1)
    return F.glu(torch.cat([content.tanh(), door], 1), 1)


def skew_by_padding(x: Tensor) -> Tensor:
    height = x.shape[2]
    return torch.stack([F.pad(x[:, :, row], (row, height - 1 - row)) for row in range(height)], 2)


def skew_by_a_loop(x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    y = x.new_zeros(batch, channels, height, width + height - 1)
    for row in range(height):
        y[:, :, row, row : row + width] = x[:, :, row]
    return y


def unskew_by_strides(y: Tensor, width: int) -> Tensor:
    batch, channels, row, column = y.stride()
    return y.as_strided((*y.shape[:3], width), (batch, channels, row + column, column))


def unskew_by_indices(y: Tensor, width: int) -> Tensor:
    rows = torch.arange(y.shape[2]).unsqueeze(1)
    return y[:, :, rows, rows + torch.arange(width)]


def complete_place_by_place(image: Tensor, known: Tensor, sample_pixel: Callable, generator: torch.Generator) -> Tensor:
    filled = image.masked_fill(~known, 0)
    for place in range(known.numel()):
        row, col = divmod(place, known.shape[1])
        if not known[row, col]:
            filled = filled.clone()
            filled[:, :, row, col] = sample_pixel(filled, row, col, generator).unsqueeze(1)
    return filled


def mask_by_places(kernel_size: int, kind: str, channels_in: int, channels_out: int) -> Tensor:
    if not kernel_size % 2 or kind not in {"A", "B"}:
        raise ValueError(f"no mask of kind {kind} for {kernel_size}")
    rows, columns = torch.meshgrid(torch.arange(kernel_size), torch.arange(kernel_size), indexing="ij")
    centre = kernel_size // 2
    open_ones = (rows < centre) | ((rows == centre) & (columns < centre + (kind == "B")))
    return open_ones.float().repeat(channels_out, channels_in, 1, 1)


def skew_by_rolling(x: Tensor) -> Tensor:
    wide = F.pad(x, (0, x.shape[2] - 1))
    return torch.stack([torch.roll(wide[:, :, row], row, dims=-1) for row in range(x.shape[2])], dim=2)


def unskew_by_gathering(y: Tensor, width: int) -> Tensor:
    places = torch.arange(width) + torch.arange(y.shape[2])[:, None]
    return y.gather(3, places.expand(*y.shape[:3], width))


def complete_from_a_product(image: Tensor, known: Tensor, sample_pixel: Callable, generator: torch.Generator) -> Tensor:
    completed = image * known
    for row, col in (~known).nonzero():
        completed[:, :, row, col] = sample_pixel(completed, row, col, generator)[:, None]
    return completed


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        (
            "bernoulli_nll",
            lambda logits, x: -torch.where(x > 0, F.logsigmoid(logits), F.logsigmoid(-logits)).flatten(1).sum(1),
        ),
        ("causal_mask", mask_by_places),
        (
            "gate",
            lambda features: (lambda c, d: (2 * torch.sigmoid(2 * c) - 1) / (1 + (-d).exp()))(*features.chunk(2, 1)),
        ),
        ("skew", skew_by_rolling),
        ("unskew", unskew_by_gathering),
        ("complete", complete_from_a_product),
        ("bernoulli_nll", by_clamp),
        ("bernoulli_nll", by_one_softplus),
        ("bernoulli_nll", by_the_distribution),
        ("bits_per_dimension", lambda nll, n_dims: nll * math.log2(math.e) / n_dims),
        ("causal_mask", mask_by_counting),
        ("causal_mask", mask_by_closing),
        ("gate", gate_by_slices),
        ("gate", gate_by_the_library),
        ("skew", skew_by_padding),
        ("skew", skew_by_a_loop),
        ("unskew", unskew_by_strides),
        ("unskew", unskew_by_indices),
        ("complete", complete_place_by_place),
    ],
)
def test_another_right_way_is_right(name: str, answer: Callable) -> None:
    for seed in range(3):
        outcome = check(name, answer, seed)
        assert outcome.status == "right", outcome.message


def mask_for_small_letters_too(kernel_size: int, kind: str, channels_in: int, channels_out: int) -> Tensor:
    return mask_by_closing(kernel_size, kind.upper(), channels_in, channels_out)


def mask_for_any_part_of_ab(kernel_size: int, kind: str, channels_in: int, channels_out: int) -> Tensor:
    if kind not in "AB":
        raise ValueError
    return mask_by_closing(kernel_size, kind if kind in ("A", "B") else "A", channels_in, channels_out)


@pytest.mark.parametrize("answer", [mask_for_small_letters_too, mask_for_any_part_of_ab])
def test_a_mask_for_a_mistyped_kind_is_refused(answer: Callable) -> None:
    for seed in range(3):
        assert check("causal_mask", answer, seed).status in ("nearly right", "wrong", "diagnosed")


def log_of_p_plus_a_constant(logits: Tensor, x: Tensor) -> Tensor:
    white = logits.sigmoid()
    return -(x * (white + 1e-8).log() + (1 - x) * (1 - white + 1e-8).log()).sum(tuple(range(1, x.dim())))


def mask_without_refusals(kernel_size: int, kind: str, channels_in: int, channels_out: int) -> Tensor:
    mask, centre = torch.zeros(channels_out, channels_in, kernel_size, kernel_size), kernel_size // 2
    mask[:, :, :centre] = 1
    mask[:, :, centre, :centre] = 1
    if kind != "A":
        mask[:, :, centre, centre] = 1
    return mask


def completed_in_the_given_image(
    image: Tensor, known: Tensor, sample_pixel: Callable, generator: torch.Generator
) -> Tensor:
    for row in range(known.shape[0]):
        for col in range(known.shape[1]):
            if not known[row, col]:
                image[:, 0, row, col] = sample_pixel(image, row, col, generator)
    return image


def drawn_and_then_covered(image: Tensor, known: Tensor, sample_pixel: Callable, generator: torch.Generator) -> Tensor:
    drawn = torch.zeros_like(image)
    for row in range(known.shape[0]):
        for col in range(known.shape[1]):
            drawn[:, 0, row, col] = sample_pixel(drawn, row, col, generator)
    return drawn * ~known + image * known


@pytest.mark.parametrize(
    ("name", "answer", "mistake"),
    [
        (
            "bernoulli_nll",
            lambda logits, x: F.binary_cross_entropy(logits.sigmoid().clamp(1e-7, 1 - 1e-7), x, reduction="none").sum(
                tuple(range(1, x.dim()))
            ),
            "p_kept_above_1e-07",
        ),
        ("bernoulli_nll", lambda logits, x: (F.softplus(logits) * (1 - x)).flatten(1).sum(1), "only_black"),
        ("gate", lambda features: features.chunk(2, 1)[0] * features.chunk(2, 1)[1], "nothing_squashed"),
        (
            "gate",
            lambda features: (
                features.tanh()[:, : features.shape[1] // 2] * features[:, features.shape[1] // 2 :].softmax(1)
            ),
            "doors_share",
        ),
        ("bernoulli_nll", log_of_p_plus_a_constant, "logarithm_of_p_plus_1e-08"),
        (
            "bernoulli_nll",
            lambda logits, x: F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x),
            "averaged_over_images",
        ),
        (
            "bernoulli_nll",
            lambda logits, x: F.binary_cross_entropy_with_logits(x, logits, reduction="none").flatten(1).sum(1),
            "arguments_exchanged",
        ),
        ("bits_per_dimension", lambda nll, n_dims: nll / n_dims * 1.4427, "rounded_to_1.4427"),
        ("bits_per_dimension", lambda nll, n_dims: nll / (0.6931 * n_dims), "rounded_to_0.6931"),
        ("causal_mask", mask_without_refusals, "nothing_refused_and_b_by_default"),
        ("complete", completed_in_the_given_image, "in_place_and_peeking"),
        ("complete", drawn_and_then_covered, "everything_drawn_then_covered"),
    ],
)
def test_the_usual_slips_are_told_by_name(name: str, answer: Callable, mistake: str) -> None:
    for seed in range(3):
        outcome = check(name, answer, seed)
        assert outcome.mistake == mistake, outcome.message
