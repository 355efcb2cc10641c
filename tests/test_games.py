"""Small games: those side by side do not meet, the ring is even, a die and a penalty are what they say."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Normal

from course_utils import games


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_points_of_the_ring_lie_evenly_on_its_modes() -> None:
    points = games.ring(3, 4000, seeded())
    assert points.shape == (3, 4000, 2)
    distances, place = torch.cdist(points, games.CENTRES).min(2)
    assert (distances <= 4 * games.NOISE).double().mean() > 0.998
    shares = torch.bincount(place.flatten(), minlength=games.MODES) / 12_000
    assert (shares - 1 / games.MODES).abs().max() < 0.02
    torch.testing.assert_close(games.CENTRES.norm(dim=1), torch.full((games.MODES,), games.RADIUS))


def test_a_batch_gets_its_spread_appended() -> None:
    x = torch.randn(2, 5, 3, generator=seeded())
    seen = games.WithSpread()(x)
    assert seen.shape == (2, 5, 6)
    assert torch.equal(seen[..., :3], x)
    for game in range(2):
        assert torch.allclose(seen[game, :, 3:], x[game].std(0).expand(5, 3))


def test_games_side_by_side_do_not_meet() -> None:
    torch.manual_seed(0)
    network = games.networks(3, 2, 1, nn.ReLU(), width=4)
    x = torch.randn(3, 6, 2, generator=seeded())
    network(x)[1].sum().backward()
    for weights in network.parameters():
        assert weights.grad is not None
        assert not weights.grad[[0, 2]].any()
    layer = network[0]
    assert isinstance(layer, games.Dense)
    assert layer.weight.grad is not None and layer.weight.grad[1].any()
    torch.testing.assert_close(layer(x)[2], F.linear(x[2], layer.weight[2].T, layer.bias[2, 0]))


def test_a_game_is_played_as_if_it_were_alone() -> None:
    """The mean over games divides each one's gradient by their number, which Adam does not mind."""
    torch.manual_seed(0)
    together = games.networks(4, 2, 1, nn.ReLU(), width=8).double()
    alone = games.networks(1, 2, 1, nn.ReLU(), width=8).double()
    with torch.no_grad():
        for mine, all_of_them in zip(alone.parameters(), together.parameters(), strict=True):
            mine.copy_(all_of_them[2:3])
    x = torch.randn(4, 16, 2, generator=seeded(), dtype=torch.float64)
    for network, seen in ((together, x), (alone, x[2:3])):
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2, betas=(0.5, 0.999))
        for _ in range(10):
            loss = F.softplus(network(seen)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for mine, all_of_them in zip(alone.parameters(), together.parameters(), strict=True):
        torch.testing.assert_close(
            mine, all_of_them[2:3], rtol=0, atol=1e-3
        )  # of steps of 0.1 in all; eps is not scaled


def test_a_die_shows_each_face_as_often_and_weighs_as_much_as_a_normal_number() -> None:
    normals = torch.randn(2, 3000, 4, generator=seeded())
    noise = games.with_die(normals, 3, seeded())
    assert noise.shape == (2, 3000, 7)
    assert torch.equal(noise[..., :4], normals)
    faces = noise[..., 4:]
    assert torch.equal((faces > 0).sum(2), torch.ones(2, 3000, dtype=torch.int64))
    torch.testing.assert_close(faces.square().mean((0, 1)), torch.ones(3), rtol=0, atol=0.1)


def test_the_slope_s_price_is_the_r1_penalty() -> None:
    """For a linear discriminator the slope is its weights: one step of SGD shrinks them by lr * price."""
    linear = nn.Linear(12, 1)
    discriminator = nn.Sequential(nn.Flatten(), linear, nn.Flatten(0))
    before = linear.weight.detach().clone()
    optimizer = torch.optim.SGD(discriminator.parameters(), lr=0.1)
    real = torch.randn(5, 1, 3, 4, generator=seeded())
    games.slope_step(discriminator, real, optimizer, price=2.0)
    torch.testing.assert_close(linear.weight.detach(), before * (1 - 0.1 * 2.0))
    assert not real.requires_grad


def test_every_game_pays_for_its_own_slope() -> None:
    layer = games.Dense(3, 2, 1)
    before = layer.weight.detach().clone()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.3)
    games.slope_step(layer, torch.randn(3, 7, 2, generator=seeded()), optimizer, price=1.0)
    torch.testing.assert_close(layer.weight.detach(), before * (1 - 0.3 / 3))  # a mean over three games


@pytest.mark.parametrize("line", [torch.linspace(-8, 8, 4001, dtype=torch.float64), torch.linspace(-6, 9, 500)])
def test_a_density_of_points_is_that_of_their_distribution(line: torch.Tensor) -> None:
    points = torch.randn(200_000, generator=seeded()) * 0.5 + 1
    found = games.density(points, line)
    assert found.dtype == line.dtype
    assert torch.trapezoid(found, line).item() == pytest.approx(1.0, abs=1e-3)
    wanted = Normal(1.0, (0.5**2 + 0.1**2) ** 0.5).log_prob(line).exp()
    assert (found - wanted).abs().max() < 0.02
    assert games.density(points + 100, line).abs().max() == 0
