"""Detour 08a: kept rows draw the same pixels, its network is lesson 08's, files are read back, colours have an order."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cached_sampler
import pytest
import torch
from torch import Tensor

from course_utils import runtime
from course_utils.exercises import check
from course_utils.exercises.catalogue import definition
from course_utils.notebooks import lesson_code

SIZES = [(7, 11), (11, 4), (5, 5), (9, 16), (1, 3)]
COLOUR = ("MaskedConv2d", "blind_mask", "ColourPixelCNN", "colour_prices", "colour_nll", "paint")


@pytest.fixture
def lesson() -> SimpleNamespace:
    session = runtime.Session("smoke", torch.device("cpu"), 0, "fp32", torch.Generator().manual_seed(0))
    wanted = (*cached_sampler.CODE, *COLOUR, "levels_nll", "begin_with", "tables", "compress", "decompress")
    return lesson_code.load("08a", *wanted, session=session, device=session.device)


def net_of(lesson: SimpleNamespace, outputs: int = 1, dilations: tuple[int, ...] = (1, 2, 4)) -> Any:
    """A net in float64 with random weights, biases included, whose logits differ from place to place."""
    torch.manual_seed(0)
    net = lesson.GatedPixelCNN(5, dilations, outputs).double()
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(3)
    return net


def task(size: tuple[int, int], outputs: int = 1, batch: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Images (N, 1, H, W) of the net's levels, a third of whose pixels are known, that mask, and uniform numbers."""
    generator = torch.Generator().manual_seed(1)
    last = max(outputs, 2) - 1
    image = torch.randint(0, last + 1, (batch, 1, *size), generator=generator).double() / last
    known = torch.rand(size, generator=generator) < 1 / 3
    return image, known, torch.rand(batch, *size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("outputs", [1, 256, 4])
def test_both_samplers_draw_the_same_pixels(lesson: SimpleNamespace, size: tuple[int, int], outputs: int) -> None:
    net, (image, known, uniforms) = net_of(lesson, outputs), task(size, outputs)
    slow = lesson.draw_slowly(net, image, known, lesson.toss(uniforms))
    cached, logits = lesson.draw(net, image, known, lesson.toss(uniforms))
    assert torch.equal(slow, cached)
    assert logits.shape == (3, outputs, *size)
    torch.testing.assert_close(logits, net(cached), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dilations", [(), (1,), (3,), (8, 1, 2), (16,)])
def test_any_dilations_will_do_even_beyond_the_image(lesson: SimpleNamespace, dilations: tuple[int, ...]) -> None:
    net, (image, known, uniforms) = net_of(lesson, 1, dilations), task((9, 8))
    slow = lesson.draw_slowly(net, image, known, lesson.toss(uniforms))
    cached, logits = lesson.draw(net, image, known, lesson.toss(uniforms))
    assert torch.equal(slow, cached)
    torch.testing.assert_close(logits, net(cached), rtol=0, atol=1e-12)


def test_in_single_precision_the_logits_agree_to_five_digits(lesson: SimpleNamespace) -> None:
    net, (image, known, uniforms) = net_of(lesson).float(), task((28, 28), batch=8)
    cached, logits = lesson.draw(net, image.float(), known, lesson.toss(uniforms.float()))
    assert logits.dtype == torch.float32
    assert cached_sampler.largest_difference(net, cached, logits) < 1e-5


def test_the_samplers_agree_at_another_temperature(lesson: SimpleNamespace) -> None:
    net, (image, known, uniforms) = net_of(lesson), task((6, 7))
    half = lesson.GatedPixelCNN(5, (1, 2, 4)).double()
    half.load_state_dict(net.state_dict())
    with torch.no_grad():
        half.head[-1].weight.mul_(2)
        half.head[-1].bias.mul_(2)
    colder, logits = lesson.draw(net, image, known, lesson.toss(uniforms, 0.5))
    assert torch.equal(colder, lesson.draw(half, image, known, lesson.toss(uniforms))[0])
    torch.testing.assert_close(logits, net(colder), rtol=0, atol=1e-12)  # before division by the temperature


def test_known_pixels_stay_and_the_callers_image_too(lesson: SimpleNamespace) -> None:
    net, (image, known, uniforms) = net_of(lesson), task((7, 6))
    before = image.clone()
    cached, _ = lesson.draw(net, image, known, lesson.toss(uniforms))
    assert torch.equal(cached[:, :, known], image[:, :, known])
    assert torch.equal(image, before)
    everything, logits = lesson.draw(net, image, torch.ones(7, 6, dtype=torch.bool), lesson.toss(uniforms))
    assert torch.equal(everything, image)
    torch.testing.assert_close(logits, net(image), rtol=0, atol=1e-12)


def test_what_is_given_below_does_not_change_what_is_drawn_above(lesson: SimpleNamespace) -> None:
    net, (image, _, uniforms) = net_of(lesson), task((8, 8))
    lower = (torch.arange(8) >= 4).unsqueeze(1).expand(8, 8)
    one, _ = lesson.draw(net, image, lower, lesson.toss(uniforms))
    other, _ = lesson.draw(net, 1 - image, lower, lesson.toss(uniforms))
    assert torch.equal(one[:, :, :4], other[:, :, :4])
    assert not torch.equal(one[:, :, 4:], other[:, :, 4:])


def test_the_net_learns_on_after_sampling(lesson: SimpleNamespace) -> None:
    """What the sampler returns is no inference tensor, and new weights count at once."""
    net, (image, known, uniforms) = net_of(lesson), task((5, 6))
    cached, logits = lesson.draw(net, image, known, lesson.toss(uniforms))
    net(cached).sum().backward()
    with torch.no_grad():
        net.head[-1].bias.add_(1)
    everything = torch.ones(5, 6, dtype=torch.bool)
    _, shifted = lesson.draw(net, cached, everything, lesson.toss(uniforms))
    torch.testing.assert_close(shifted, logits + 1, rtol=0, atol=1e-12)


def test_a_mask_of_another_size_is_refused(lesson: SimpleNamespace) -> None:
    net, (image, known, uniforms) = net_of(lesson), task((6, 7))
    with pytest.raises(ValueError, match=r"known has the shape \(6, 6\), not that of the images, \(6, 7\)"):
        lesson.draw(net, image, known[:, :-1], lesson.toss(uniforms))


@pytest.mark.parametrize("outputs", [1, 5])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_pixels_are_chosen_as_often_as_they_are_likely(
    lesson: SimpleNamespace, outputs: int, temperature: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, outputs, generator=generator, dtype=torch.float64)
    uniforms = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000  # evenly spread: no chance in the counts
    drawn = lesson.toss(uniforms.view(-1, 1, 1), temperature)(logits.expand(100_000, outputs), 0, 0)
    probabilities = torch.softmax(logits[0] / temperature, 0)
    if outputs == 1:
        white = torch.sigmoid(logits[0, 0] / temperature)
        probabilities = torch.stack([1 - white, white])
    levels = (drawn * (len(probabilities) - 1)).round().long()
    counted = torch.bincount(levels, minlength=len(probabilities)) / 100_000
    torch.testing.assert_close(counted.double(), probabilities, rtol=0, atol=2e-5)


def test_the_largest_uniform_number_still_gives_a_level(lesson: SimpleNamespace) -> None:
    uniforms = torch.full((1000,), 1 - 1e-12, dtype=torch.float64)  # above some sums of probabilities in float32
    logits = 3 * torch.randn(1000, 256, generator=torch.Generator().manual_seed(0))
    drawn = lesson.toss(uniforms.view(-1, 1, 1))(logits, 0, 0)
    assert ((drawn >= 0) & (drawn <= 1)).all()


def test_grey_images_are_priced_by_256_levels(lesson: SimpleNamespace) -> None:
    """levels_nll is exact: a net that says the same everywhere pays a table's price; and what cannot be priced is refused."""
    levels_nll = lesson.levels_nll
    net = lesson.GatedPixelCNN(4, (1,), 256)
    with torch.no_grad():
        net.head[-1].weight.zero_()
    levels = torch.randint(0, 256, (3, 1, 5, 6), generator=torch.Generator().manual_seed(0))
    prices = -torch.log_softmax(net.head[-1].bias, 0)[levels].sum((1, 2, 3))
    torch.testing.assert_close(levels_nll(net, levels / 255), prices)
    for images in (levels.float(), levels / 255 - 0.1):
        with pytest.raises(ValueError):
            levels_nll(net, images)
    with pytest.raises(ValueError, match="the net gives 1 logits per pixel"):
        levels_nll(lesson.GatedPixelCNN(4, (1,)), levels / 255)


def test_the_network_is_lesson_08s(lesson: SimpleNamespace) -> None:
    other = lesson_code.load("08", "GatedLayer", "GatedPixelCNN")
    theirs, ours = other.GatedPixelCNN(6, (1, 2, 4)), lesson.GatedPixelCNN(6, (1, 2, 4))
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 1, 9, 7)
    assert torch.equal(ours(x), theirs(x))


# -- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(5, 6), (1, 4)])
def test_a_digit_is_read_back_and_its_file_is_as_long_as_its_price(
    lesson: SimpleNamespace, size: tuple[int, int]
) -> None:
    net = net_of(lesson, outputs=256).float()
    images = torch.randint(0, 256, (3, 1, *size), generator=torch.Generator().manual_seed(0)).float() / 255
    files = lesson.compress(net, images)
    assert torch.equal(lesson.decompress(net, files, *size), images)
    price = lesson.levels_nll(net, images) / math.log(2)
    for bits, promised in zip(files, price.tolist(), strict=True):
        assert promised - 1 < len(bits) < 1.01 * promised + 4


def test_a_table_has_room_for_every_level(lesson: SimpleNamespace) -> None:
    (counts,) = lesson.tables(torch.cat([torch.full((1, 1), 1000.0), torch.zeros(1, 255)], 1))
    assert min(counts) == 1 and counts[0] == 2**20 + 1 and len(counts) == 256


# -- colour --------------------------------------------------------------------------------------------------------


def sees_of_its_own(net: Any) -> list[list[bool]]:
    """Which colours of its own pixel each colour sees, (3, 3), and nothing that comes later, which is looked at, too."""
    x = torch.randn(16, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    seen = []
    for colour in range(3):
        (slope,) = torch.autograd.grad(net(x)[:, colour, :, 2, 3].sum(), x)
        arrived = slope.ne(0).any(0)  # (3, 5, 6)
        later = arrived.flatten(1)[:, 2 * 6 + 4 :]
        assert not later.any() and arrived[:, 2, 2].all() and arrived[:, 1, 3].all()
        seen.append(arrived[:, 2, 3].tolist())
    return seen


@pytest.mark.parametrize("blind", [False, True])
def test_colours_see_earlier_ones_unless_they_are_blind(lesson: SimpleNamespace, blind: bool) -> None:
    torch.manual_seed(0)
    mask_of = lesson.blind_mask if blind else definition("rgb_mask").reference
    net = lesson.ColourPixelCNN(mask_of, 6, 2, levels=3).double()
    assert torch.tensor(sees_of_its_own(net)).equal(torch.ones(3, 3).tril(-1).bool() & (not blind))


@pytest.mark.parametrize("blind", [False, True])
def test_the_probabilities_of_all_coloured_images_add_up_to_1(lesson: SimpleNamespace, blind: bool) -> None:
    torch.manual_seed(1)
    mask_of = lesson.blind_mask if blind else definition("rgb_mask").reference
    net = lesson.ColourPixelCNN(mask_of, 3, 1, levels=3).double()
    every = torch.cartesian_prod(*[torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)] * 6).view(-1, 3, 2, 1)
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(3)
        assert torch.exp(-lesson.colour_nll(net, every)).sum() == pytest.approx(1, abs=1e-12)


def test_prices_of_the_colours_add_up_and_begin_with_those_of_a_table(lesson: SimpleNamespace) -> None:
    net = lesson.ColourPixelCNN(definition("rgb_mask").reference, 6, 1, levels=4)
    levels = torch.randint(0, 4, (5, 3, 3, 2), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(lesson.colour_prices(net, levels / 3).sum(1), lesson.colour_nll(net, levels / 3))
    palette = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.1, 0.1]])
    lesson.begin_with(palette, net.head[-1])
    for colour in range(3):
        expected = -palette[colour].log()[levels[:, colour]].sum((1, 2))
        torch.testing.assert_close(lesson.colour_prices(net, levels / 3)[:, colour], expected)


def test_a_painted_picture_is_drawn_from_the_whole_network(lesson: SimpleNamespace) -> None:
    """Each number is the one that its uniform number asks for, given all before it, recomputed from the finished picture."""
    torch.manual_seed(0)
    net = lesson.ColourPixelCNN(definition("rgb_mask").reference, 6, 1, levels=4)
    picture = lesson.paint(net, 2, 5, torch.Generator().manual_seed(3))
    u = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(3))
    sums = net(picture).softmax(2).cumsum(2)
    wanted = (sums <= u.unsqueeze(2)).sum(2).clamp(max=3) / 3
    assert (picture == wanted).double().mean() > 0.99


def mask_by_comparing(kernel_size: int, kind: str, channels_in: int, channels_out: int) -> Tensor:
    if kernel_size % 2 != 1 or kind not in ("A", "B") or channels_in % 3 or channels_out % 3:
        raise ValueError
    mask, k = torch.ones(channels_out, channels_in, kernel_size, kernel_size), kernel_size // 2
    mask[:, :, k + 1 :] = 0
    mask[:, :, k, k + 1 :] = 0
    for to in range(channels_out):
        for of in range(channels_in):
            before, own = (
                of * 3 // channels_in < to * 3 // channels_out,
                of * 3 // channels_in == to * 3 // channels_out,
            )
            mask[to, of, k, k] = float(before or (own and kind == "B"))
    return mask


def mask_with_this_centre(centre: Callable[[str, int, int], Tensor]) -> Callable:
    """An answer that is right beside the centre, which is made of the kind and of how many channels see and are seen."""

    def answer(kernel_size: int, kind: str, channels_in: int, channels_out: int) -> Tensor:
        if kernel_size % 2 == 0 or kind not in ("A", "B") or channels_in % 3 or channels_out % 3:
            raise ValueError("no such mask")
        middle = kernel_size**2 // 2
        mask = (torch.arange(kernel_size**2) < middle).float().repeat(channels_out, channels_in, 1)
        mask[..., middle] = centre(kind, channels_out, channels_in)
        return mask.unflatten(-1, (kernel_size, kernel_size))

    return answer


def table(kind: str) -> Tensor:
    return torch.tril(torch.ones(3, 3), diagonal=-1 if kind == "A" else 0)


def by_numbered_groups(kind: str, to: int, of: int) -> Tensor:
    seeing, seen = torch.arange(to).unsqueeze(1) // (to // 3), torch.arange(of) // (of // 3)
    return seen < seeing if kind == "A" else seen <= seeing


@pytest.mark.parametrize(
    "answer",
    [
        mask_by_comparing,
        mask_with_this_centre(by_numbered_groups),
        mask_with_this_centre(lambda kind, to, of: torch.kron(table(kind), torch.ones(to // 3, of // 3))),
    ],
)
def test_another_right_way_is_right(answer: Callable) -> None:
    for seed in range(2):
        outcome = check("rgb_mask", answer, seed)
        assert outcome.status == "right", outcome.message


@pytest.mark.parametrize(
    ("centre", "mistake"),
    [
        (lambda kind, to, of: torch.ones(to, of).tril(-1 if kind == "A" else 0), "triangle_of_channels"),
        (lambda kind, to, of: table(kind).repeat(to // 3, of // 3), "interleaved"),
        (lambda kind, to, of: torch.kron(table(kind).mT.contiguous(), torch.ones(to // 3, of // 3)), "order_reversed"),
        (lambda kind, to, of: torch.kron(table(kind).triu(-1), torch.ones(to // 3, of // 3)), "only_the_group_before"),
        (
            lambda kind, to, of: torch.kron(torch.eye(3), torch.ones(to // 3, of // 3)) * (kind == "B"),
            "only_the_own_group",
        ),
    ],
)
def test_the_usual_slips_are_told_by_name(centre: Callable, mistake: str) -> None:
    for seed in range(2):
        outcome = check("rgb_mask", mask_with_this_centre(centre), seed)
        assert outcome.mistake == mistake, outcome.message
