"""Lesson 08's pictures: what they say of masks, views, shapes and steps is what they are given."""

import torch
from torch import Tensor, nn

from course_utils import pixel_diagrams, plots


class ToyLayer(nn.Module):
    """What `gated_layer` needs to know of a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.vertical, self.horizontal = nn.Conv2d(4, 8, (2, 3), padding=(0, 1)), nn.Conv2d(4, 8, (1, 2))
        self.link, self.mix = nn.Conv2d(8, 8, 1), nn.Conv2d(4, 4, 1)

    def forward(self, v: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return v + 1, h + 1


def test_a_layer_is_drawn_with_its_channels(alts: list[str]) -> None:
    pixel_diagrams.gated_layer(ToyLayer(), torch.zeros(1, 4, 5, 5), torch.zeros(1, 4, 5, 5))
    assert "which gives 8 channels" in alts[0]


def test_masks_are_told_by_their_open_weights(alts: list[str]) -> None:
    pixel_diagrams.masks({"mask A": torch.ones(3, 3).tril(), "mask B": torch.ones(3, 3)})
    assert "mask A, 6 of 9 weights are open; mask B, 9 of 9" in alts[0]


def test_views_count_what_is_missed(alts: list[str]) -> None:
    before = torch.arange(6).view(2, 3) < 4
    seen = before & (torch.arange(6).view(2, 3) != 2)
    pixel_diagrams.views({"one": seen, "all": before}, before, (1, 1), title="…")
    assert "one: blind to 1 of 4 pixels; all: blind to 0 of 4 pixels." in alts[0]


def test_costs_are_added_up(alts: list[str]) -> None:
    pixel_diagrams.costs({"a": torch.ones(1, 1, 4, 5), "b": torch.zeros(4, 5)}, title="…")
    assert "a: 20 nats; b: 0 nats" in alts[0]


def test_a_reading_is_grey_from_the_next_pixel_on() -> None:
    image = torch.ones(3, 4)
    with plots.figure(title="…", alt="…") as axes:
        pixel_diagrams.reading(axes, image, 5)
        shown = axes.images[0].get_array()
        assert shown.flatten().tolist() == [1.0] * 5 + [0.5] * 7
        assert [line.get_xydata().tolist() for line in axes.lines] == [[[1.0, 1.0]]]
    assert image.min() == 1


def test_walks_over_an_image_are_drawn(alts: list[str]) -> None:
    turn = torch.arange(3)[:, None] + torch.arange(4) + 1.0
    skewed = torch.stack([nn.functional.pad(row, (n, 2 - n)) for n, row in enumerate(turn)])
    pixel_diagrams.row_lstm(rows=3, columns=5)
    pixel_diagrams.diagonal_lstm(turn, skewed)
    assert "A grid of 3 by 5 pixels" in alts[0] and "Left: 3 by 4 pixels" in alts[1]
