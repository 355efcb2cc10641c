"""Lesson 08's samplers: both draw the same pixels, the cached one computes each place once, and known pixels stay."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import cached_sampler
import lesson_code
import pytest
import torch
from torch import Tensor

from course_utils import runtime
from course_utils.exercises.catalogue import definition

SIZES = [(7, 11), (11, 4), (5, 5), (9, 16)]
complete = definition("complete").reference


@pytest.fixture
def lesson() -> SimpleNamespace:
    wanted = (*cached_sampler.MODEL, *cached_sampler.SAMPLERS, "rows_known")
    return lesson_code.load("08", *wanted, device=torch.device("cpu"))


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


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
    slow = complete(image, known, lesson.slow_pixel(net, uniforms), torch.Generator())
    cached, logits = lesson.sample_cached(net, image, known, uniforms)
    assert torch.equal(slow, cached)
    assert logits.shape == (3, outputs, *size)
    torch.testing.assert_close(logits, net(cached), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dilations", [(), (1,), (3,), (8, 1, 2), (16,)])
def test_any_dilations_will_do_even_beyond_the_image(lesson: SimpleNamespace, dilations: tuple[int, ...]) -> None:
    net, (image, known, uniforms) = net_of(lesson, 1, dilations), task((9, 8))
    slow = complete(image, known, lesson.slow_pixel(net, uniforms), torch.Generator())
    cached, logits = lesson.sample_cached(net, image, known, uniforms)
    assert torch.equal(slow, cached)
    torch.testing.assert_close(logits, net(cached), rtol=0, atol=1e-12)


def test_in_single_precision_the_logits_agree_to_five_digits(lesson: SimpleNamespace) -> None:
    net, (image, known, uniforms) = net_of(lesson).float(), task((28, 28), batch=8)
    cached, logits = lesson.sample_cached(net, image.float(), known, uniforms.float())
    assert logits.dtype == torch.float32
    assert cached_sampler.largest_difference(net, cached, logits) < 1e-5


def test_the_samplers_agree_at_another_temperature(lesson: SimpleNamespace) -> None:
    net, (image, known, uniforms) = net_of(lesson), task((6, 7))
    half = lesson.GatedPixelCNN(5, (1, 2, 4)).double()
    half.load_state_dict(net.state_dict())
    with torch.no_grad():
        half.head[-1].weight.mul_(2)
        half.head[-1].bias.mul_(2)
    colder, logits = lesson.sample_cached(net, image, known, uniforms, temperature=0.5)
    assert torch.equal(colder, lesson.sample_cached(half, image, known, uniforms)[0])
    torch.testing.assert_close(logits, net(colder), rtol=0, atol=1e-12)  # before division by the temperature


def test_known_pixels_stay_and_the_callers_image_too(lesson: SimpleNamespace) -> None:
    net, (image, known, uniforms) = net_of(lesson), task((7, 6))
    before = image.clone()
    cached, _ = lesson.sample_cached(net, image, known, uniforms)
    assert torch.equal(cached[:, :, known], image[:, :, known])
    assert torch.equal(image, before)
    everything, logits = lesson.sample_cached(net, image, torch.ones(7, 6, dtype=torch.bool), uniforms)
    assert torch.equal(everything, image)
    torch.testing.assert_close(logits, net(image), rtol=0, atol=1e-12)


def test_what_is_given_below_does_not_change_what_is_drawn_above(lesson: SimpleNamespace) -> None:
    net, (image, _, uniforms) = net_of(lesson), task((8, 8))
    lower = ~lesson.rows_known(4, 8)
    one, _ = lesson.sample_cached(net, image, lower, uniforms)
    other, _ = lesson.sample_cached(net, 1 - image, lower, uniforms)
    assert torch.equal(one[:, :, :4], other[:, :, :4])
    assert not torch.equal(one[:, :, 4:], other[:, :, 4:])


def test_the_net_learns_on_after_sampling(lesson: SimpleNamespace) -> None:
    """What the sampler returns is no inference tensor, and new weights count at once."""
    net, (image, known, uniforms) = net_of(lesson), task((5, 6))
    cached, logits = lesson.sample_cached(net, image, known, uniforms)
    net(cached).sum().backward()
    with torch.no_grad():
        net.head[-1].bias.add_(1)
    everything = torch.ones(5, 6, dtype=torch.bool)
    _, shifted = lesson.sample_cached(net, cached, everything, uniforms)
    torch.testing.assert_close(shifted, logits + 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("bad", ["known", "uniforms", "batch"])
def test_shapes_that_do_not_fit_are_refused(lesson: SimpleNamespace, bad: str) -> None:
    net, (image, known, uniforms) = net_of(lesson), task((6, 7))
    known = known[:, :-1] if bad == "known" else known
    uniforms = {"known": uniforms, "uniforms": uniforms[:, :-1], "batch": uniforms[:-1]}[bad]
    with pytest.raises(ValueError, match=r"do not fit images \(3, 1, 6, 7\)"):
        lesson.sample_cached(net, image, known, uniforms)


@pytest.mark.parametrize("outputs", [1, 5])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_pixels_are_chosen_as_often_as_they_are_likely(
    lesson: SimpleNamespace, outputs: int, temperature: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, outputs, generator=generator, dtype=torch.float64)
    uniforms = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000  # evenly spread: no chance in the counts
    drawn = lesson.choose(logits.expand(100_000, outputs), uniforms, temperature)
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
    drawn = lesson.choose(logits, uniforms)
    assert ((drawn >= 0) & (drawn <= 1)).all()


def test_the_number_of_threads_is_given_back(lesson: SimpleNamespace) -> None:
    torch.set_num_threads(2)
    with pytest.raises(RuntimeError), lesson.one_thread():
        assert torch.get_num_threads() == 1
        raise RuntimeError
    assert torch.get_num_threads() == 2


def test_grey_images_are_priced_by_256_levels(lesson: SimpleNamespace) -> None:
    """levels_nll is exact: a net that says the same everywhere pays a table's price; and what cannot be priced is refused."""
    session = runtime.Session("smoke", torch.device("cpu"), 0, "fp32", torch.Generator().manual_seed(0))
    levels_nll = lesson_code.load("08", "levels_nll", session=session).levels_nll
    net = lesson.GatedPixelCNN(4, (1,), 256)
    with torch.no_grad():
        net.head[-1].weight.zero_()
    levels = torch.randint(0, 256, (3, 1, 5, 6), generator=torch.Generator().manual_seed(0))
    prices = -torch.log_softmax(net.head[-1].bias, 0)[levels].sum((1, 2, 3))
    torch.testing.assert_close(levels_nll(net, levels / 255), prices)
    for images in (levels.float(), levels / 255 - 0.1):
        with pytest.raises(ValueError):
            levels_nll(net, images)
    with pytest.raises(ValueError, match="the net gives 1 logits a pixel"):
        levels_nll(lesson.GatedPixelCNN(4, (1,)), levels / 255)
