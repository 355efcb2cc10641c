"""Lesson 10's pictures: each shows what it is given, with its alt text."""

from typing import Any

import pytest
import torch
from torch import Tensor

from course_utils import flow_diagrams, plots

WORDS: dict[str, Any] = {"title": "A title", "alt": "An alt text."}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures, as matplotlib has them."""
    figures: list[Any] = []
    png = plots._png
    monkeypatch.setattr(plots, "_png", lambda canvas: figures.append(canvas) or png(canvas))
    return figures


def turn(x: Tensor, t: Tensor) -> Tensor:
    """A field that turns around the middle, the faster the later."""
    return t.unsqueeze(1) * torch.stack([-x[:, 1], x[:, 0]], 1)


def test_clouds_have_a_panel_each_with_its_points(alts: list[str], drawn: list[Any]) -> None:
    sets = {"few": torch.zeros(3, 2), "more": torch.ones(7, 2)}
    flow_diagrams.clouds(sets, **WORDS)
    assert alts == ["An alt text."]
    assert [panel.get_title(loc="left") or panel.get_title() for panel in drawn[0].axes] == ["few", "more"]
    assert [len(panel.lines[0].get_xdata()) for panel in drawn[0].axes] == [3, 7]


def test_fields_are_asked_at_their_times(alts: list[str], drawn: list[Any]) -> None:
    flow_diagrams.fields(turn, lambda x, t: t * torch.exp(-x.square().sum(1)), (0.5, 1.0), **WORDS)
    for panel, t in zip(drawn[0].axes, (0.5, 1.0), strict=True):
        (arrows,) = [part for part in panel.collections if hasattr(part, "U")]
        torch.testing.assert_close(torch.from_numpy(arrows.U), -t * flow_diagrams.ARROWS[:, 1])
        assert panel.images[0].get_array().max() == pytest.approx(t)


def test_a_density_stands_where_it_belongs(alts: list[str], drawn: list[Any]) -> None:
    """A spot at the right and above: rows of the picture go up, columns to the right."""
    away = flow_diagrams.square() - torch.tensor([2.0, 1.0])
    flow_diagrams.densities({"spot": torch.exp(-9 * away.square().sum(1))}, **WORDS)
    picture = torch.from_numpy(drawn[0].axes[0].images[0].get_array().data)
    row, column = divmod(int(picture.argmax()), flow_diagrams.PIXELS)
    places = torch.linspace(-flow_diagrams.SIDE, flow_diagrams.SIDE, flow_diagrams.PIXELS)
    assert abs(places[column] - 2) < 0.05 and abs(places[row] - 1) < 0.05


def test_a_way_follows_the_velocity_in_equal_steps() -> None:
    """dx/dt = 2 t, asked at 0, 1/4, 1/2 and 3/4."""
    path = flow_diagrams.way(lambda x, t: 2 * t.view(-1, 1).expand_as(x), torch.zeros(5, 3), 4)
    assert path.shape == (5, 5, 3)
    torch.testing.assert_close(path[:, 0, 0], torch.tensor([0.0, 0.0, 0.125, 0.375, 0.75]))


def test_walks_end_where_the_paths_end(alts: list[str], drawn: list[Any]) -> None:
    path = torch.arange(24.0).view(4, 3, 2)
    flow_diagrams.walks({"one": path, "two": path}, **WORDS)
    for panel in drawn[0].axes:
        assert len(panel.lines) == 3 + 2  # three ways, where they begin, where they end
        assert panel.lines[-1].get_xdata().tolist() == path[-1, :, 0].tolist()


def test_flows_show_points_between_noise_and_data(alts: list[str], drawn: list[Any]) -> None:
    def far(n: int, generator: torch.Generator) -> Tensor:
        return torch.full((n, 2), 1000.0, dtype=torch.float64)

    flow_diagrams.flows({"a": (turn, far), "b": (turn, far)}, (0.5, 0.9), torch.Generator().manual_seed(0), **WORDS)
    panels = drawn[0].axes
    assert len(panels) == 6 and len(panels[2].lines) == 25 + 2
    middles = [panels[k].lines[0].get_xdata().mean().item() for k in (0, 1, 3, 4)]
    assert middles == pytest.approx([500, 900, 500, 900], abs=0.2)


def test_a_path_under_way_stops_at_its_time(alts: list[str], drawn: list[Any]) -> None:
    path = torch.arange(11.0).view(11, 1, 1).expand(11, 2, 2)
    with plots.figure(**WORDS) as axes:
        flow_diagrams.under_way(axes, path, 0.3, torch.zeros(8, 2))
    assert axes.lines[-1].get_xdata().tolist() == [3.0, 3.0]


def test_stills_stand_column_by_column(alts: list[str], drawn: list[Any]) -> None:
    path = torch.arange(6.0).view(1, 6, 1, 1, 1).expand(3, 6, 3, 2, 2) / 10
    with plots.figure(**WORDS) as axes:
        flow_diagrams.stills(axes, path, 1.0, rows=2)
    mosaic = torch.from_numpy(axes.images[0].get_array().data)
    assert mosaic.shape == (4, 6, 3)
    torch.testing.assert_close(mosaic[::2, ::2, 0].float(), torch.tensor([[0.0, 0.2, 0.4], [0.1, 0.3, 0.5]]))


def test_the_two_walks_say_what_they_share(alts: list[str]) -> None:
    flow_diagrams.two_walks()
    assert "step_back and fresh noise" in alts[0] and "ddim_step, with the same noise again" in alts[0]
