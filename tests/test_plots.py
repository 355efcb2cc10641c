"""Figures come with a title and alt text and leave matplotlib alone."""

import io
import struct
from collections.abc import Callable
from typing import Any

import matplotlib
import pytest
import torch

from course_utils import plots

TEXT = {"title": "The loss falls", "alt": "A line that falls from 3 to 1."}
BAND = plots.band([0, 1, 2], torch.tensor([[0.0, 1.0, 2.0], [2.0, 3.0, 4.0], [1.0, 5.0, 3.0]]))

DRAWINGS: dict[str, Callable[..., None]] = {
    "lines": lambda **t: plots.lines({"a": [3, 2, 1], "b": ([0, 4], torch.tensor([1.0, 2.0])), "c": BAND}, **t),
    "logarithmic lines": lambda **t: plots.lines({"": [3, 2, 1]}, log="xy", xlabel="step", ylabel="loss (nats)", **t),
    "grey images": lambda **t: plots.images(torch.rand(13, 8, 8), labels=range(13), **t),
    "one image": lambda **t: plots.images(torch.rand(1, 8, 8), **t),
    "images with a channel": lambda **t: plots.images(torch.rand(3, 1, 8, 8), **t),
    "colour images": lambda **t: plots.images(torch.rand(4, 3, 8, 8), columns=2, **t),
    "tracked images": lambda **t: plots.images(torch.rand(2, 8, 8, requires_grad=True), **t),
    "half precision": lambda **t: plots.images(torch.rand(2, 8, 8).bfloat16(), **t),
    "heatmap": lambda **t: plots.heatmap(torch.rand(3, 5), xlabel="to", ylabel="from", **t),
    "diverging heatmap": lambda **t: plots.heatmap(torch.randn(3, 5, requires_grad=True), diverging=True, **t),
    "heatmap of zeros": lambda **t: plots.heatmap(torch.zeros(3, 5), diverging=True, **t),
    "bars": lambda **t: plots.bars({"ours": 0.5, "theirs": (0.7, 0.1)}, ylabel="error (degC)", **t),
}
DRAWINGS |= {
    "points of ten classes": lambda **t: plots.scatter(torch.randn(2000, 2), torch.arange(2000) % 10, **t),
    "points of one class": lambda **t: plots.scatter(torch.zeros(1, 2), torch.tensor([3]), xlabel="z1", **t),
    "named points": lambda **t: plots.scatter(torch.randn(9, 2), torch.arange(9) % 2, names=["thin", "thick"], **t),
    "points with values": lambda **t: plots.scatter(torch.randn(500, 2), torch.randn(500), label="slant", **t),
    "tracked points": lambda **t: plots.scatter(torch.randn(9, 2, requires_grad=True), torch.zeros(9).bfloat16(), **t),
    "text": lambda **t: plots.text("To be,\nor not?", torch.rand(14), label="probability", limits=(0, 1), **t),
    "diverging text": lambda **t: plots.text("abc " * 75, torch.randn(300).requires_grad_(), diverging=True, **t),
    "text of one value": lambda **t: plots.text("$x$ 中\t\n\n", [0.5] * 8, **t),
}
every_drawing = pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS.keys())


def resolution(png: bytes) -> float:
    """Dots per inch, as the file says."""
    place = png.index(b"pHYs") + 4
    return struct.unpack(">I", png[place : place + 4])[0] * 0.0254


# --- every figure -----------------------------------------------------------------------------------------------


@every_drawing
def test_a_figure_is_one_small_png_with_alt_text(draw: Callable[..., None], shown: list[Any]) -> None:
    draw(**TEXT)
    (output,) = shown
    assert output.png.startswith(b"\x89PNG")
    assert output.metadata == {"image/png": {"alt": TEXT["alt"]}}
    assert output.text == f"[figure: {TEXT['alt']}]"
    assert resolution(output.png) <= 80.1
    assert len(output.png) < 60_000
    assert output.size[0] <= 1000


@every_drawing
@pytest.mark.parametrize("missing", ["title", "alt"])
def test_a_figure_without_title_or_alt_text_is_refused(
    draw: Callable[..., None], missing: str, shown: list[Any]
) -> None:
    with pytest.raises(ValueError, match="a title that states the finding, and alt text"):
        draw(**TEXT | {missing: ""})
    with pytest.raises(TypeError, match=missing):
        draw(**{name: text for name, text in TEXT.items() if name != missing})
    assert shown == []


@every_drawing
def test_matplotlibs_global_state_is_left_alone(draw: Callable[..., None], shown: list[Any]) -> None:
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams), plt.get_fignums()
    draw(**TEXT)
    assert (dict(matplotlib.rcParams), plt.get_fignums()) == before


def test_an_error_while_drawing_comes_through_and_shows_no_half_figure(shown: list[Any]) -> None:
    before = dict(matplotlib.rcParams)
    with pytest.raises(ZeroDivisionError):
        with plots.figure(**TEXT) as axes:
            axes.plot([1 / 0])
    assert shown == [] and dict(matplotlib.rcParams) == before


def test_a_figure_gives_as_many_axes_as_asked(shown: list[Any]) -> None:
    with plots.figure(**TEXT, rows=2, columns=3) as axes:
        assert axes.shape == (2, 3)
    with plots.figure(**TEXT, width=4, height=2) as axes:
        axes.plot([1, 2])
    assert shown[-1].size == (320, 160)


def test_the_title_is_on_the_figure_and_wide_ones_are_wrapped(shown: list[Any]) -> None:
    with plots.figure(title="A finding. " * 15, alt="x") as axes:
        figure = axes.figure
    assert figure.get_suptitle() == "A finding. " * 15
    boxes = figure._suptitle.get_window_extent()
    assert boxes.width <= figure.bbox.width * 1.01


def test_curves_take_their_colours_from_the_palette(shown: list[Any]) -> None:
    with plots.figure(**TEXT) as axes:
        plots.draw_lines(axes, {str(i): [i, i] for i in range(3)})
        assert [line.get_color() for line in axes.lines] == plots.COLOURS[:3]


def linear(channel: float) -> float:
    """Linear light of an sRGB channel."""
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


# Viénot, Brettel, Mollon, "Digital video colourmaps for checking the legibility of displays by dichromats" (1999)
DICHROMATS = {
    "protanope": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
    "deuteranope": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
}


@pytest.mark.parametrize("palette", [plots.COLOURS[:6], plots.CLASSES], ids=["lines", "classes"])
@pytest.mark.parametrize("eye", DICHROMATS)
def test_the_colours_differ_for_colour_blind_readers(eye: str, palette: list[str]) -> None:
    seen = []
    for colour in palette:
        light = torch.tensor([linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5)])
        seen.append((torch.tensor(DICHROMATS[eye]) @ light).clamp(0, 1) ** (1 / 2.2))
    distances = torch.pdist(torch.stack(seen))
    assert distances.min() > 0.12


def test_nothing_is_shown_but_the_text_outside_a_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    plots.lines({"a": [1, 2]}, **TEXT)
    assert capsys.readouterr().out == f"[figure: {TEXT['alt']}]\n"


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.images(torch.rand(2, 3, 3), columns=0, **TEXT),
        lambda: plots.images(torch.full((2, 3, 3), 255, dtype=torch.uint8), **TEXT),
        lambda: plots.heatmap(torch.zeros(3), **TEXT),
        lambda: plots.heatmap(torch.zeros(0, 3), diverging=True, **TEXT),
        lambda: plots.lines({"a": [1.0, 2.0]}, log="z", **TEXT),
        lambda: plots.band([0.0, 1.0], torch.zeros(0, 2)),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(draw: Any) -> None:
    with pytest.raises(ValueError, match=r"must|need"):
        draw()


# --- each kind --------------------------------------------------------------------------------------------------


def test_a_band_is_the_median_within_the_range() -> None:
    assert BAND.low.tolist() == [0, 1, 2]
    assert BAND.middle.tolist() == [1, 3, 3]
    assert BAND.high.tolist() == [2, 5, 4]


def test_a_band_refuses_runs_of_another_length() -> None:
    with pytest.raises(ValueError, match=r"runs must have shape \(R, 2\), not \(3, 4\)"):
        plots.band([0, 1], torch.ones(3, 4))


@pytest.mark.parametrize("shape", [(8, 8), (0, 8, 8), (1, 2, 3, 8, 8), (2, 2, 8, 8)])
def test_images_refuse_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images need shape \(N, H, W\), \(N, 1, H, W\) or \(N, 3, H, W\), not"):
        plots.images(torch.zeros(shape), **TEXT)


def test_grey_values_are_not_stretched(shown: list[Any]) -> None:
    from matplotlib.image import imread

    for level in (0.25, 0.75):
        plots.images(torch.full((1, 8, 8), level), scale=3, **TEXT)
    for output, level in zip(shown, (0.25, 0.75), strict=True):
        picture = imread(io.BytesIO(output.png))
        assert picture[picture.shape[0] * 2 // 3, picture.shape[1] // 2, 0] == pytest.approx(level, abs=0.01)


def test_a_diverging_heatmap_is_centred_on_zero(shown: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    seen: dict[str, Any] = {}
    original = Axes.imshow
    monkeypatch.setattr(Axes, "imshow", lambda self, x, **named: seen.update(named) or original(self, x, **named))
    plots.heatmap(torch.tensor([[-1.0, 3.0]]), diverging=True, **TEXT)
    assert (seen["vmin"], seen["vmax"]) == (-3.0, 3.0)


# --- points -----------------------------------------------------------------------------------------------------


def drawn_points(points: torch.Tensor, labels: torch.Tensor, **settings: Any) -> Any:
    """The picture that `draw_scatter` makes."""
    from matplotlib.figure import Figure

    axes: Any = Figure().subplots()
    picture = plots.draw_scatter(axes, points, labels, **settings)
    assert picture.axes is axes
    return picture


def test_each_class_has_its_colour_and_its_name_at_the_median_of_its_points() -> None:
    from matplotlib.colors import to_hex

    points = torch.tensor([[0.0, 0.0], [1.0, 5.0], [9.0, 1.0], [2.0, -3.0], [-4.0, 2.0]])
    picture = drawn_points(points, torch.tensor([7, 7, 7, 0, 7]))
    assert picture.get_offsets().tolist() == points.tolist()
    colours = [to_hex(colour) for colour in picture.get_facecolors()]
    assert colours == [plots.CLASSES[i] for i in (7, 7, 7, 0, 7)] and len(set(plots.CLASSES)) == 10
    written = {text.get_text(): text.get_position() for text in picture.axes.texts}
    assert written == {"7": (0.5, 1.5), "0": (2.0, -3.0)}
    named = drawn_points(points, torch.tensor([1, 1, 0, 0, 1]), names=["thin", "thick"])
    assert [text.get_text() for text in named.axes.texts] == ["thin", "thick"]


def test_a_classes_name_can_be_read_on_its_colour() -> None:
    from matplotlib.colors import to_rgb

    for text in drawn_points(torch.zeros(10, 2), torch.arange(10)).axes.texts:
        light, dark = sorted(
            (
                sum(w * linear(c) for w, c in zip((0.2126, 0.7152, 0.0722), to_rgb(colour), strict=True))
                for colour in (text.get_color(), plots.CLASSES[int(text.get_text())])
            ),
            reverse=True,
        )
        assert (light + 0.05) / (dark + 0.05) > 4.5


def test_values_are_colours_of_a_scale_and_get_a_bar(shown: list[Any]) -> None:
    values = torch.tensor([0.5, -1.0, 3.0])
    picture = drawn_points(torch.zeros(3, 2), values)
    assert picture.get_array().tolist() == values.tolist() and not picture.axes.texts
    plots.scatter(torch.rand(3, 2), values, width=4, height=3, **TEXT)
    assert shown[-1].size == (320, 240)


@pytest.mark.parametrize(
    "points, labels, names, why",
    [
        (torch.zeros(3, 3), torch.zeros(3), None, r"need points \(N, 2\) and labels \(N,\), not \(3, 3\) and \(3,\)"),
        (torch.zeros(3, 2), torch.zeros(4), None, r"not \(3, 2\) and \(4,\)"),
        (torch.zeros(0, 2), torch.zeros(0), None, r"not \(0, 2\)"),
        (torch.full((3, 2), float("nan")), torch.zeros(3), None, "points or values that are not finite"),
        (torch.zeros(3, 2), torch.tensor([0, float("inf"), 1]), None, "points or values that are not finite"),
        (torch.zeros(3, 2), torch.tensor([0, 10, 1]), None, "classes lie between 0 and 9; these run from 0 to 10"),
        (torch.zeros(3, 2), torch.tensor([0, -1, 1]), None, "these run from -1 to 1"),
        (torch.zeros(3, 2), torch.tensor([0, 2, 1]), ["a", "b"], "classes lie between 0 and 1; these run from 0 to 2"),
    ],
)
def test_points_that_cannot_be_drawn_are_refused(
    points: torch.Tensor, labels: torch.Tensor, names: Any, why: str, shown: list[Any]
) -> None:
    with pytest.raises(ValueError, match=why):
        plots.scatter(points, labels, names=names, **TEXT)
    assert shown == []


# --- text -------------------------------------------------------------------------------------------------------


def drawn_text(text: str, values: Any, **settings: Any) -> tuple[Any, torch.Tensor]:
    """The picture that `draw_text` makes, and the values of its cells (rows, columns + 1), NaN where there is none."""
    from matplotlib.figure import Figure

    axes: Any = Figure().subplots()
    picture = plots.draw_text(axes, text, values, **settings)
    assert picture.axes is axes
    return picture, torch.tensor(picture.get_array().filled(float("nan")))


def test_characters_stand_in_lines_that_break_at_newlines_and_at_the_last_column() -> None:
    _, cells = drawn_text("abcde\nf\n\nghij\nk", range(15), columns=4)
    nan = float("nan")
    rows = [[0, 1, 2, 3, nan], [4, 5, nan, nan, nan], [6, 7, nan, nan, nan], [8, nan, nan, nan, nan]]
    rows += [[9, 10, 11, 12, 13], [14, nan, nan, nan, nan]]
    torch.testing.assert_close(cells, torch.tensor(rows).double(), equal_nan=True)


def test_limits_are_the_values_range_or_symmetric_or_given() -> None:
    nan = float("nan")
    for values, settings, limits in [
        ([2.0, 5.0, nan], {}, (2, 5)),
        ([2.0, -5.0, 1.0], {"diverging": True}, (-5, 5)),
        ([2.0, 5.0, 3.0], {"limits": (0.0, 1.0)}, (0, 1)),
        ([3.0, 3.0, 3.0], {}, (3, 4)),
        ([0.0, 0.0, 0.0], {"diverging": True}, (-1, 1)),
        ([nan, nan, nan], {}, (0, 1)),
    ]:
        picture, _ = drawn_text("abc", values, **settings)
        assert picture.get_clim() == limits


def test_letters_stand_out_from_their_background_at_every_value() -> None:
    """By at least 4.5 to 1, as the Web Content Accessibility Guidelines ask for text."""
    for diverging in (False, True):
        picture, _ = drawn_text("x" * 101, torch.linspace(-1, 1, 101), columns=101, diverging=diverging)
        backgrounds = torch.from_numpy(picture.to_rgba(torch.linspace(-1, 1, 101).numpy()))[:, :3]
        light = torch.tensor(
            [
                sum(w * linear(c) for w, c in zip((0.2126, 0.7152, 0.0722), rgb, strict=True))
                for rgb in backgrounds.tolist()
            ]
        )
        ink = torch.full((101,), -1.0)
        for patch in picture.axes.patches:
            level = sum(w * linear(c) for w, c in zip((0.2126, 0.7152, 0.0722), patch.get_facecolor()[:3], strict=True))
            ink[torch.from_numpy(patch.get_path().vertices[:, 0]).floor().long().unique()] = level
        contrast = (torch.maximum(light, ink) + 0.05) / (torch.minimum(light, ink) + 0.05)
        assert ink.min() == 0 and ink.max() == 1 and contrast.min() > 4.5


def test_a_value_that_is_not_a_number_leaves_its_character_on_white(shown: list[Any]) -> None:
    picture, cells = drawn_text("ab", [float("nan"), 1.0])
    assert cells[0, 0].isnan() and cells[0, 1] == 1
    (ink,) = [patch for patch in picture.axes.patches if patch.get_path().vertices[:, 0].min() < 1]
    assert ink.get_facecolor()[:3] == (0, 0, 0)


@pytest.mark.parametrize(
    "text, values, columns", [("", [], 72), ("abc", [1.0, 2.0], 72), ("ab", [[1.0, 2.0]], 72), ("ab", [1.0, 2.0], 0)]
)
def test_a_text_that_cannot_be_drawn_is_refused(text: str, values: Any, columns: int, shown: list[Any]) -> None:
    with pytest.raises(ValueError, match=f"one value for each of its {len(text)} characters, not .* not {columns}$"):
        plots.text(text, values, columns=columns, **TEXT)
    assert shown == []


def test_panels_are_matrices_with_their_names_on_one_scale(shown: list[Any]) -> None:
    plots.panels(
        {"a": torch.rand(4, 3), "b": torch.randn(7, 7), "c": torch.zeros(2, 2)}, title="T", alt="A.", columns=2
    )
    plots.panels({"alone": torch.randn(3, 3)}, title="T", alt="A.", diverging=True)
    assert len(shown) == 2


@pytest.mark.parametrize("pictures", [{}, {"a": torch.zeros(1, 3, 3)}])
def test_panels_refuse_what_is_no_matrix(pictures: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="matrices"):
        plots.panels(pictures, title="T", alt="A.")


def test_an_atlas_reads_like_a_map() -> None:
    """To the right the first number grows, upwards the second; a tile's pixels stay together."""
    across, up = torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([5.0, 7.0])
    picture = plots.atlas(lambda z: (z[:, 0] + 10 * z[:, 1]).view(-1, 1, 1).expand(-1, 4, 6), across, up)
    assert picture.shape == (8, 18)
    for row in range(2):
        for column in range(3):
            tile = picture[4 * row : 4 * (row + 1), 6 * column : 6 * (column + 1)]
            assert torch.equal(tile, (across[column] + 10 * up[1 - row]).expand(4, 6))


def test_runs_are_drawn_as_points_with_a_bar_to_their_mean() -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    plots.draw_runs(axes, {"one": torch.tensor([1.0, 3.0]), "two": torch.tensor([4.0])}, "loss (nats)")
    assert [patch.get_width() for patch in axes.patches] == [2.0, 4.0]
    assert [list(line.get_xdata()) for line in axes.lines] == [[1.0, 3.0], [4.0]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]
