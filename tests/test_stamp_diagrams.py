"""Cells with numbers: colours say which pixel reached a cell, and the figures' words are what the numbers are."""

import torch
import torch.nn.functional as F

from course_utils import stamp_diagrams

PIXELS = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
KERNEL = torch.arange(1.0, 10.0).view(3, 3)


def test_one_by_one_leaves_a_single_pixel_in_each_copy() -> None:
    copies = stamp_diagrams.one_by_one(PIXELS)
    assert copies.shape == (4, 1, 2, 2)
    assert torch.equal(copies.sum((0, 1)), PIXELS) and (copies.flatten(1) > 0).sum(1).tolist() == [1, 1, 1, 1]


def test_a_cell_carries_the_colour_of_each_pixel_that_reached_it() -> None:
    reached = torch.zeros(4, 1, 3, dtype=torch.bool)
    reached[2, 0, 0] = reached[0, 0, 1] = reached[3, 0, 1] = True
    picture = stamp_diagrams.paint(reached)
    assert picture.shape == (2, 6, 3)
    colours = [picture[:, 2 * cell : 2 * cell + 2].flatten(0, 1).unique(dim=0) for cell in range(3)]
    assert [len(found) for found in colours] == [1, 2, 1]
    assert torch.equal(colours[0][0], stamp_diagrams.PASTEL[2]) and torch.equal(colours[2][0], stamp_diagrams.PAPER)


def test_numbers_stand_in_their_cells_and_zeros_can_be_left_out() -> None:
    from matplotlib.figure import Figure

    for hide, count in ((False, 4), (True, 3)):
        axes = Figure().subplots()
        stamp_diagrams.cells(axes, torch.tensor([[1.0, 0.0], [2.5, 3.0]]), frame=(0, 0, 1, 2), hide_zeros=hide)
        assert len(axes.texts) == count
        said = {text.get_position(): text.get_text() for text in axes.texts}
        assert said[0.5, 1.5] == "2.5" and said[0.5, 0.5] == "1"


def test_the_pictures_of_lesson_04_are_drawn(alts: list[str]) -> None:
    stamp_diagrams.prints(PIXELS, KERNEL, stride=2)
    stamp_diagrams.windows((3, 4, 5), kernel=3, stride=2, padding=1, title="Sizes")
    stamp_diagrams.matrix(torch.rand(4, 25), side=5)
    spread = F.pad(torch.tensor([[1.0, 0, 2], [0, 0, 0], [3, 0, 4]]), (2, 2, 2, 2))
    canvas = F.conv2d(spread[None], KERNEL.flip(0, 1)[None, None])[0]
    stamp_diagrams.sliding(spread, torch.ones(4, 7, 7) > 0, KERNEL, canvas, torch.ones(4, 5, 5) > 0)
    assert len(alts) == 4
    assert "5 by 5 canvas" in alts[0]
    assert alts[1].endswith("3 pixels become 2, 4 pixels become 2, 5 pixels become 3.")
