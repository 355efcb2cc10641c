"""What a network sees: gradients tell dependence exactly, and leave the network as it was."""

import torch
from torch import nn

from course_utils import causality


def test_a_convolution_sees_its_window() -> None:
    net = nn.Conv2d(1, 2, 3, padding=1)
    seen = causality.sees(net, (6, 7), 2, 5)
    expected = torch.zeros(6, 7, dtype=torch.bool)
    expected[1:4, 4:7] = True
    assert torch.equal(seen, expected)


def test_raster_order_counts_row_by_row() -> None:
    assert causality.before_in_order((2, 3), 1, 1).tolist() == [[True, True, True], [True, False, False]]


def test_asking_leaves_the_network_and_the_generator_as_they_were() -> None:
    net = nn.Conv2d(1, 1, 3, padding=1)
    state, chance = {name: value.clone() for name, value in net.state_dict().items()}, torch.get_rng_state()
    causality.sees(net, (6, 6), 3, 3)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None and p.dtype == torch.float32 for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), chance)


def test_a_proof_counts_leaks_and_whole_views() -> None:
    net = nn.Conv2d(1, 1, 1)  # sees its own pixel and nothing else
    assert causality.prove(net, (2, 3)) == "2 × 3: 6 of 6 places see themselves or a later pixel, 1 all earlier ones"
