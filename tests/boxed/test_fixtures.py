"""Exercises whose arguments are networks and optimisers: what is built, what is recorded, what is said."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from toys import defined, registered

from course_utils.boxed.fixtures import Fixture
from course_utils.boxed.observe import Trial, observe
from course_utils.exercises import Outcome, check, define
from course_utils.exercises.catalogue import definition
from course_utils.exercises.define import randn
from course_utils.exercises.findings import leaves

# -- toys ----------------------------------------------------------------------------------------------------------


def taught(student, teacher, x, optimizer):
    """One step of the student towards what the teacher says of x; returns the loss before it."""
    with torch.no_grad():
        target = teacher(x)
    loss = F.mse_loss(student(x), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def wildness(critic, x):
    """Half the mean squared gradient of the critic's scores: it can be differentiated once more."""
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return 0.5 * slope.flatten(1).square().sum(1).mean()


def emptied(module, generator):
    """Draw the layer's weights anew; returns nothing."""
    if hasattr(module, "weight"):
        with torch.no_grad():
            module.weight.uniform_(generator=generator)


def make_toys() -> None:
    toy = defined(taught, "loss", updates=("student",))

    @toy.cases
    def _(generator: torch.Generator) -> Iterator[dict]:
        for seed, kind in ((1, "sgd"), (2, "adam")):
            student = Fixture("network", seed, (("sizes", (3, 4, 1)), ("batch_norm", True), ("stale", True)))
            teacher = Fixture("network", seed + 10, (("sizes", (3, 5, 1)),))
            yield dict(
                student=student, teacher=teacher, x=randn(generator, 6, 3), optimizer=Fixture(kind, of="student")
            )

    @toy.mistake("the teacher gets gradients: cut what it says from the graph.")
    def graph_kept(student, teacher, x, optimizer):
        loss = F.mse_loss(student(x), teacher(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    @defined(wildness, "wildness", gradients=("critic",)).cases
    def _(generator: torch.Generator) -> Iterator[dict]:
        for seed in (1, 2):
            yield dict(critic=Fixture("critic", seed, (("shape", (1, 2, 3)),)), x=randn(generator, 5, 1, 2, 3))

    toy = defined(emptied, "nothing", updates=("module",))

    @toy.cases
    def _(generator: torch.Generator) -> Iterator[dict]:
        for name, arguments in (("Conv2d", (2, 3, 2)), ("LeakyReLU", (0.2,))):
            options = (("name", name), ("arguments", arguments))
            yield dict(module=Fixture("layer", 3, options), generator=Fixture("generator", 5))

    @toy.claim("weights lie between 0 and 1.")
    def between_0_and_1(arguments: dict, result: dict) -> bool:
        return all(bool((value >= 0).all() and (value <= 1).all()) for key, value in result.items() if "weight" in key)


@pytest.fixture(scope="module", autouse=True)
def toys() -> Iterator[None]:
    with registered(make_toys):
        yield


def wrong(outcome: Outcome, *words: str) -> None:
    assert outcome.status == "wrong", outcome
    for word in words:
        assert word in outcome.message


# -- what is built -------------------------------------------------------------------------------------------------


def test_equal_fixtures_build_equal_networks_and_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    fixture = Fixture("network", 4, (("sizes", (3, 5, 2)), ("stale", True)))
    one, other, third = fixture.build(), fixture.build(), Fixture("network", 5, fixture.options).build()
    pairs = list(zip(one.parameters(), other.parameters(), third.parameters(), strict=True))
    assert all(torch.equal(a, b) and torch.equal(a.grad, b.grad) and not torch.equal(a, c) for a, b, c in pairs)
    assert torch.equal(before, torch.get_rng_state())


def test_networks_take_the_trials_dtype_and_generators_are_left_as_they_are() -> None:
    for dtype in (torch.float32, torch.float64):
        built = define.place(Fixture("critic", 1, (("shape", (1, 4, 5)),)), dtype, "cpu").build()
        assert built(torch.zeros(3, 1, 4, 5, dtype=dtype)).dtype == dtype
    generator = Fixture("generator", 1)
    assert define.place(generator, torch.float32, "cpu") == generator


IMAGES = torch.rand(3, 1, 4, 5, dtype=torch.float64)


def a_critic(remembers: int = 8) -> Any:
    return Fixture("critic", 1, (("shape", (1, 4, 5)), ("remembers", remembers))).build()


def test_a_critic_remembers_every_call_and_scores_each_image_for_itself() -> None:
    critic = a_critic()
    scores = critic(IMAGES)
    assert torch.allclose(critic(IMAGES[1:]), scores[1:])
    assert critic.asked == 5
    assert torch.equal(critic.seen[-5:], torch.cat([IMAGES, IMAGES[1:]]))


def test_a_critic_forgets_what_is_too_long_ago() -> None:
    critic = a_critic(remembers=2)
    critic(IMAGES)
    assert critic.asked == 3
    assert torch.equal(critic.seen, IMAGES[1:])


@pytest.mark.parametrize(
    "slopes",
    [
        lambda critic: torch.func.grad(lambda images: critic(images).sum())(IMAGES),
        lambda critic: torch.func.vmap(torch.func.grad(lambda image: critic(image[None])[0]))(IMAGES),
        lambda critic: torch.func.jacfwd(lambda images: critic(images).sum())(IMAGES),
    ],
    ids=["grad", "vmap", "jacfwd"],
)
def test_a_critic_asked_through_torch_func_remembers_and_answers_as_ever(slopes: Callable) -> None:
    critic, asked = a_critic(), IMAGES.clone().requires_grad_()
    (expected,) = torch.autograd.grad(critic(asked).sum(), asked)
    other = a_critic()
    assert torch.allclose(slopes(other), expected)
    assert other.asked == 3
    assert torch.equal(other.seen, critic.seen)


def test_a_critic_refuses_images_of_another_shape() -> None:
    with pytest.raises(ValueError, match=r"wants images of shape \(N, 1, 4, 5\), not \(3, 20\)"):
        a_critic()(IMAGES.flatten(1))


PIXELS = torch.rand(2, 1, 3, 4, dtype=torch.float64)


def asked(*calls: tuple[int, int], image: Tensor = PIXELS, seed: int | None = 5) -> list[Tensor]:
    """What a new sampler answers to these calls, and in the end its buffer `asked`."""
    sampler = Fixture("sampler", 1, (("height", 3), ("width", 4))).build()
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return [sampler(image, row, col, generator) for row, col in calls] + [sampler.asked]


def test_a_sampler_answers_for_each_image_by_itself_and_equal_ones_answer_alike() -> None:
    pixels, again = asked((1, 2))[0], asked((1, 2))[0]
    assert pixels.shape == (2,)
    assert ((pixels > 0) & (pixels < 1)).all()
    assert torch.equal(pixels, again)
    assert torch.equal(asked((1, 2), image=PIXELS[:1])[0], pixels[:1])
    doubled = asked((1, 2), image=PIXELS[:1].expand(2, -1, -1, -1))[0]
    assert doubled[0] == pixels[0] and doubled[1] != doubled[0]  # each draws a chance of its own


def test_a_samplers_answer_depends_on_every_pixel_the_place_and_the_generator() -> None:
    pixels = asked((1, 2))[0]
    for position in range(12):
        other = PIXELS.clone()
        other.view(2, -1)[:, position] += 0.01
        assert ((asked((1, 2), image=other)[0] - pixels).abs() > 1e-6).all()
    assert ((asked((2, 1))[0] - pixels).abs() > 1e-6).all()
    assert ((asked((1, 2), seed=6)[0] - pixels).abs() > 1e-6).all()
    assert ((asked((1, 2), seed=None)[0] - pixels).abs() > 1e-6).all()
    first, second, _ = asked((1, 2), (1, 2))
    assert not torch.equal(first, second)


def test_a_sampler_keeps_the_places_that_it_was_asked_about_and_the_record_shows_them() -> None:
    assert asked((1, 2), (0, 3))[-1].tolist() == [[1, 2], [0, 3]]
    sampler = Fixture("sampler", 1, (("height", 3), ("width", 4)))
    arguments = dict(image=PIXELS, sample_pixel=sampler, generator=Fixture("generator", 2))
    record = observe(lambda image, sample, generator: sample(image, 2, 0, generator), Trial("any", arguments, ("y",)))
    assert record.states["sample_pixel.asked"].tolist() == [[2, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sampler_takes_the_trials_dtype(dtype: torch.dtype) -> None:
    sampler = define.place(Fixture("sampler", 1, (("height", 1), ("width", 1))), dtype, "cpu").build()
    assert sampler(torch.zeros(3, 1, 1, 1, dtype=dtype), 0, 0, torch.Generator()).dtype == dtype
    assert sampler.asked.dtype == torch.long


@pytest.mark.parametrize("part", [PIXELS[:, 0], PIXELS[0], PIXELS[:, :, :2], PIXELS.expand(2, 3, 3, 4)])
def test_a_sampler_refuses_less_than_all_images_as_they_stand(part: Tensor) -> None:
    with pytest.raises(ValueError, match=r"\(B, 1, 3, 4\), not"):
        asked((0, 0), image=part)


PLACES, TIMES = torch.rand(2, 3, 4, dtype=torch.float64), torch.tensor([0.25, 0.5], dtype=torch.float64)


def a_field() -> Any:
    return Fixture("field", 1, (("shape", (3, 4)),)).build()


def test_a_field_answers_for_each_place_and_time_and_keeps_the_times() -> None:
    field = a_field()
    velocities = field(PLACES, TIMES)
    assert velocities.shape == PLACES.shape
    torch.testing.assert_close(a_field()(PLACES[1:], TIMES[1:]), velocities[1:])
    for other in (a_field()(PLACES + 0.01, TIMES), a_field()(PLACES, TIMES + 0.01)):
        assert ((other - velocities).abs().amax((1, 2)) > 1e-6).all()
    field(PLACES, TIMES + 0.5)
    assert field.asked.tolist() == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("times", [0.25, TIMES[0], TIMES[:1], TIMES.long(), TIMES.unsqueeze(1)])
def test_a_field_refuses_times_that_are_not_one_for_each_place(times: Any) -> None:
    with pytest.raises(ValueError, match=r"times of shape \(2,\) and of x's dtype torch.float64, not"):
        a_field()(PLACES, times)


def test_a_field_takes_times_in_single_precision_for_what_they_are() -> None:
    assert torch.equal(a_field()(PLACES, TIMES.float()), a_field()(PLACES, TIMES.float().double()))


def test_a_field_refuses_places_of_another_shape() -> None:
    with pytest.raises(ValueError, match=r"places of shape \(N, 3, 4\), not \(2, 12\)"):
        a_field()(PLACES.flatten(1), TIMES)


def test_an_optimiser_is_made_for_the_network_that_is_passed() -> None:
    network = Fixture("network", 1, (("sizes", (2, 1)),)).build()
    optimizer = Fixture("adam", of="net", options=(("lr", 0.5),)).build({"net": network})
    assert optimizer.param_groups[0]["params"] == list(network.parameters())
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_a_kind_that_does_not_exist_is_named() -> None:
    with pytest.raises(KeyError, match="'nonsense'; known: adam, critic"):
        Fixture("nonsense").build()


# -- what is recorded ----------------------------------------------------------------------------------------------


def test_the_state_of_every_network_is_recorded_and_the_gradients_of_those_that_are_not_trained() -> None:
    trial = definition("taught").trials(0)[0]
    record = observe(taught, trial)
    assert list(record.outputs) == ["loss"]
    assert "student.0.weight" in record.states
    assert "student.0.weight.grad" not in record.states
    assert "teacher.0.weight.grad" in record.states


def test_every_call_gets_networks_of_its_own() -> None:
    trial = definition("taught").trials(0)[0]
    first, second = observe(taught, trial), observe(taught, trial)
    values, again = leaves(first), leaves(second)
    assert all(torch.equal(torch.as_tensor(value), torch.as_tensor(again[leaf])) for leaf, value in values.items())


def test_the_gradient_with_respect_to_a_network_is_that_of_its_parameters() -> None:
    trial = Trial(
        "any",
        dict(net=Fixture("network", 1, (("sizes", (3, 2)),)), x=torch.ones(4, 3, dtype=torch.float64)),
        ("y",),
        ("net",),
    )
    gradients = observe(lambda net, x: net(x), trial).gradients
    probe = torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(gradients["net.0.bias"], probe.sum(0))
    assert torch.allclose(gradients["net.0.weight"], probe.sum(0)[:, None].expand(2, 3))


# -- what is said --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [taught, wildness, emptied])
def test_the_reference_is_right(answer: Callable) -> None:
    assert check(answer.__name__, answer).status == "right"


def test_the_way_to_the_same_state_is_free() -> None:
    def other(student, teacher, x, optimizer):
        for parameter in student.parameters():
            parameter.grad = None
        loss = (student(x) - teacher(x).detach()).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    assert check("taught", other).status == "right"


def test_gradients_left_on_another_network_are_a_named_mistake() -> None:
    outcome = check("taught", definition("taught").mistakes["graph_kept"].function)
    assert (outcome.status, outcome.mistake) == ("diagnosed", "graph_kept")


def test_a_network_that_was_not_trained_is_named_with_its_parameter() -> None:
    def untrained(student, teacher, x, optimizer):
        return F.mse_loss(student(x), teacher(x).detach()).item()

    outcome = check("taught", untrained)
    assert (outcome.status, outcome.mistake) == ("diagnosed", "generic:slip:a line is missing")

    def trained_twice(student, teacher, x, optimizer):
        loss = taught(student, teacher, x, optimizer)
        taught(student, teacher, x, optimizer)
        return loss

    wrong(check("taught", trained_twice), "after the call, student.0.weight")


def test_old_gradients_that_were_not_cleared_are_noticed() -> None:
    def heaped(student, teacher, x, optimizer):
        loss = F.mse_loss(student(x), teacher(x).detach())
        loss.backward()
        optimizer.step()
        return loss.item()

    outcome = check("taught", heaped)
    assert (outcome.status, outcome.mistake) == ("diagnosed", "generic:slip:a line is missing")


@pytest.mark.parametrize("careless", ["eval", "requires_grad_"])
def test_a_network_left_in_another_mode_or_frozen_is_noticed(careless: str) -> None:
    def answer(student, teacher, x, optimizer):
        loss = taught(student, teacher, x, optimizer)
        teacher.eval() if careless == "eval" else teacher.requires_grad_(False)
        return loss

    word = "training" if careless == "eval" else "requires_grad"
    wrong(check("taught", answer), f"`after the call, teacher.{word}` is False; True was expected")


def test_a_result_that_cannot_be_differentiated_again_is_told() -> None:
    def once(critic, x):
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(critic(x).sum(), x)
        return 0.5 * slope.flatten(1).square().sum(1).mean()

    outcome = check("wildness", once)
    assert (outcome.status, outcome.mistake) == ("diagnosed", "generic:cut")
    assert "`critic.first.weight`" in outcome.message


def test_none_is_a_result_where_none_is_asked_for_and_so_is_the_module_that_was_given() -> None:
    def chained(module: nn.Module, generator: torch.Generator) -> nn.Module:
        emptied(module, generator)
        return module

    def generous(module: nn.Module, generator: torch.Generator) -> float:
        emptied(module, generator)
        return 1.0

    assert check("emptied", chained).status == "right"
    wrong(check("emptied", generous), "should be None")
    wrong(check("taught", lambda student, teacher, x, optimizer: None), "Did you forget `return`?")


def test_claims_see_the_networks_state_by_name() -> None:
    def halved(module: nn.Module, generator: torch.Generator) -> None:
        if isinstance(weight := getattr(module, "weight", None), Tensor):
            with torch.no_grad():
                weight.copy_(weight - 2)

    wrong(check("emptied", halved), "weights lie between 0 and 1.")
