"""Lesson 10's pictures: each shows what it is given, with its alt text."""

from typing import Any

import pytest
import torch
from torch import Tensor

from course_utils import flow_diagrams, plane, plots

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


def test_the_data_have_a_panel_each_with_two_thousand_points(alts: list[str], drawn: list[Any]) -> None:
    flow_diagrams.look({"ring": plane.ring, "moons": plane.moons}, torch.Generator().manual_seed(0))
    assert alts == ["Panels of points: ring and moons."]
    assert [panel.get_title(loc="left") or panel.get_title() for panel in drawn[0].axes] == ["ring", "moons"]
    assert [len(panel.lines[0].get_xdata()) for panel in drawn[0].axes] == [2000, 2000]


def test_what_is_spoiled_has_a_panel_each_with_its_points(alts: list[str], drawn: list[Any]) -> None:
    flow_diagrams.spoiled({"few": torch.zeros(3, 2), "more": torch.ones(7, 2)})
    assert [panel.get_title(loc="left") or panel.get_title() for panel in drawn[0].axes] == ["few", "more"]
    assert [len(panel.lines[0].get_xdata()) for panel in drawn[0].axes] == [3, 7]


def test_scores_are_asked_at_their_times(alts: list[str], drawn: list[Any]) -> None:
    flow_diagrams.scores(turn, lambda t: 1 - t, times=(0.5, 1.0))
    for panel, t in zip(drawn[0].axes, (0.5, 1.0), strict=True):
        (arrows,) = [part for part in panel.collections if hasattr(part, "U")]
        torch.testing.assert_close(torch.from_numpy(arrows.U), t * flow_diagrams.ARROWS[:, 1])
        density = torch.from_numpy(panel.images[0].get_array().data).max().log().item()
        middle = torch.zeros(1, 2, dtype=torch.float64)
        peak = max(plane.log_density(place, (1 - t) ** 0.5, t**0.5).item() for place in (middle, plane.CENTRES[:1]))
        assert density >= peak - 0.05


def test_a_density_stands_where_it_belongs(alts: list[str], drawn: list[Any]) -> None:
    """A spot at the right and above: rows of the picture go up, columns to the right."""
    away = flow_diagrams.square() - torch.tensor([2.0, 1.0])
    flow_diagrams.densities(torch.exp(-9 * away.square().sum(1)))
    true, learned = (torch.from_numpy(panel.images[0].get_array().data) for panel in drawn[0].axes)
    row, column = divmod(int(learned.argmax()), flow_diagrams.PIXELS)
    places = torch.linspace(-flow_diagrams.SIDE, flow_diagrams.SIDE, flow_diagrams.PIXELS)
    assert abs(places[column] - 2) < 0.05 and abs(places[row] - 1) < 0.05
    assert true[40, 60] > 100 * true[40, 40]  # a cloud is at the right, none in the middle


def test_a_path_follows_the_velocity_in_equal_steps() -> None:
    """dx/dt = 2 t, asked at 0, 1/4, 1/2 and 3/4."""
    path = flow_diagrams.follow(lambda x, t: 2 * t.view(-1, 1).expand_as(x), torch.zeros(5, 3), 4)
    assert path.shape == (5, 5, 3)
    torch.testing.assert_close(path[:, 0, 0], torch.tensor([0.0, 0.0, 0.125, 0.375, 0.75]))


def test_walks_end_where_the_paths_end(alts: list[str], drawn: list[Any]) -> None:
    path = torch.arange(24.0).view(4, 3, 2)
    flow_diagrams.walks({"one": path, "two": path})
    for panel in drawn[0].axes:
        assert len(panel.lines) == 3 + 2  # three paths, where they begin, where they end
        assert panel.lines[-1].get_xdata().tolist() == path[-1, :, 0].tolist()


def test_flows_show_points_between_noise_and_data(alts: list[str], drawn: list[Any]) -> None:
    def far(n: int, generator: torch.Generator) -> Tensor:
        return torch.full((n, 2), 1000.0, dtype=torch.float64)

    flow_diagrams.flows({"a": (turn, far), "b": (turn, far)}, torch.Generator().manual_seed(0), times=(0.5, 0.9))
    panels = drawn[0].axes
    assert len(panels) == 6 and len(panels[2].lines) == 25 + 2
    middles = [panels[k].lines[0].get_xdata().mean().item() for k in (0, 1, 3, 4)]
    assert middles == pytest.approx([500, 900, 500, 900], abs=0.2)


def test_a_path_under_way_stops_at_its_time(alts: list[str], drawn: list[Any]) -> None:
    path = torch.arange(11.0).view(11, 1, 1).expand(11, 2, 2)
    with plots.figure(**WORDS) as axes:
        flow_diagrams.under_way(axes, path, 0.3, torch.zeros(8, 2))
    assert axes.lines[-1].get_xdata().tolist() == [3.0, 3.0]


def test_orders_show_where_each_scale_ends(alts: list[str], drawn: list[Any]) -> None:
    paths = {scale: torch.full((21, 5, 2), scale / 10) for scale in (0.0, 1.0, 2.0, 4.0, 8.0)}
    flow_diagrams.orders(paths)
    ends = [panel.lines[-1].get_xdata()[0] for panel in drawn[0].axes]
    assert ends == pytest.approx([0.0, 0.1, 0.2, 0.8]) and "Scale 8: to a spot beyond it" in alts[0]


def test_groups_have_a_row_each(alts: list[str], drawn: list[Any]) -> None:
    pictures = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 3, 2, 2) / 10
    flow_diagrams.groups(pictures, ("flags", "food"), drawn=True)
    mosaic = torch.from_numpy(drawn[0].axes[0].images[0].get_array().data)
    assert mosaic[0, 0, 0] == 0 and mosaic[-1, 0, 0] == pytest.approx(0.3) and mosaic[-1, -1, 0] == pytest.approx(0.5)
    assert alts == ["A row each of pictures in colour that a network has drawn to order: flags, food."]


def test_distances_have_a_tick_at_each_number_of_evaluations(alts: list[str], drawn: list[Any]) -> None:
    curves = {name: plots.band([2, 8, 32], torch.rand(3, 3) + 0.1) for name in ("one", "other")}
    flow_diagrams.distances(curves, 0.01)
    (axes,) = drawn[0].axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["2", "8", "32"]
    assert axes.lines[-1].get_ydata().tolist() == [0.01] * 3


def test_the_two_samplers_say_what_they_share(alts: list[str]) -> None:
    flow_diagrams.two_walks()
    assert "step_back and fresh noise" in alts[0] and "ddim_step, with the same noise again" in alts[0]
