"""Widgets always have a static figure, and their controls draw it anew."""

import builtins
from collections.abc import Callable
from typing import Any

import pytest

from course_utils import widgets

TEXT = {"title": "The loss falls", "alt": "A line that falls from 3 to 1."}


class Draw:
    """Remembers what it was asked to draw."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(self, axes: Any, **values: Any) -> None:
        self.calls.append(values)
        axes.plot([0, 1])


@pytest.fixture
def views(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the widgets module hands to IPython's display."""
    import IPython.display

    displayed: list[Any] = []
    monkeypatch.setattr(IPython.display, "display", lambda *things, **_: displayed.extend(things))
    return displayed


def explore(draw: Callable[..., None], **changes: Any) -> None:
    controls = {"rate": (0.0, 1.0, 0.25), "size": (1, 9, 2), "kind": ["RNN", "LSTM"]}
    panels = [{"rate": 0.5, "size": 3, "kind": "LSTM"}, {"rate": 1.0, "size": 5, "kind": "RNN"}]
    widgets.explore(draw, **{"panels": panels, **TEXT, **controls, **changes})


def test_the_static_figure_shows_every_panel_without_any_widget(shown: list[Any], views: list[Any]) -> None:
    draw = Draw()
    explore(draw)
    assert draw.calls[:2] == [{"rate": 0.5, "size": 3, "kind": "LSTM"}, {"rate": 1.0, "size": 5, "kind": "RNN"}]
    assert shown[0].metadata == {"image/png": {"alt": TEXT["alt"]}}


def test_sliders_start_at_the_first_panel_and_moving_one_draws_anew(shown: list[Any], views: list[Any]) -> None:
    draw = Draw()
    explore(draw)
    rate, size, kind = views[0].children[:3]
    assert (rate.value, size.value, kind.value) == (0.5, 3, "LSTM")
    assert (rate.min, rate.max, rate.step, rate.readout_format) == (0.0, 1.0, 0.25, ".2f")
    size.value = 7
    assert draw.calls[-1] == {"rate": 0.5, "size": 7, "kind": "LSTM"}
    assert shown[-1].metadata["image/png"]["alt"].endswith("Here: rate = 0.5, size = 7, kind = LSTM.")


def test_an_error_in_draw_stops_the_cell() -> None:
    def broken(axes: Any, **values: Any) -> None:
        raise ValueError("the slider went too far")

    with pytest.raises(ValueError, match="the slider went too far"):
        explore(broken)


def ask(draw: Callable[..., None], panels: list[str], control: str = "ROMEO") -> None:
    widgets.explore(
        draw, panels=[{"prompt": text, "heat": 1} for text in panels], prompt=control, heat=(0, 2, 1), **TEXT
    )


def test_a_string_becomes_a_text_box_that_starts_with_the_first_panels_text(shown: list[Any], views: list[Any]) -> None:
    draw = Draw()
    ask(draw, ["any text, $5 or $6", ""])
    box = views[0].children[0]
    assert type(box).__name__ == "Text" and (box.value, box.placeholder) == ("any text, $5 or $6", "ROMEO")
    assert box.continuous_update is False and box.description == "prompt"
    assert [call["prompt"] for call in draw.calls] == ["any text, $5 or $6", "", "any text, $5 or $6"]
    box.value = "x" * 50
    assert draw.calls[-1] == {"prompt": "x" * 50, "heat": 1}
    assert shown[-1].metadata["image/png"]["alt"].endswith(f"Here: prompt = '{'x' * 39}…', heat = 1.")


@pytest.mark.parametrize("panel, control", [("ROMEO:\n", ""), ("", "ROMEO:\n")])
def test_a_text_with_newlines_gets_a_box_of_several_lines(
    panel: str, control: str, shown: list[Any], views: list[Any]
) -> None:
    ask(Draw(), [panel], control)
    assert type(views[0].children[0]).__name__ == "Textarea" and views[0].children[0].value == panel


def test_an_error_that_a_students_text_causes_is_one_line_below_the_box(shown: list[Any], views: list[Any]) -> None:
    def draw(axes: Any, prompt: str, heat: int) -> None:
        if "é" in prompt:
            raise ValueError("prompt has characters\nthat the model does not know: 'é'")

    ask(draw, ["a"])
    views[0].children[0].value = "café"
    assert shown[-1].bundle == {"text/plain": "ValueError: prompt has characters that the model does not know: 'é'"}
    before = len(shown)
    views[0].children[0].value = "cafe"
    assert len(shown) == before + 1 and shown[-1].png
    with pytest.raises(ValueError, match="characters"):
        ask(draw, ["é"])


def test_a_text_box_shows_strings_only(shown: list[Any], views: list[Any]) -> None:
    with pytest.raises(ValueError, match="prompt = 3, which its control ROMEO cannot show"):
        ask(Draw(), [3])  # type: ignore[list-item]
    assert shown == views == []


@pytest.mark.parametrize(
    "changes, why",
    [
        ({"panels": [{"rate": 0.5}]}, r"a panel gives \['rate'\], the controls are \['kind', 'rate', 'size'\]"),
        ({"panels": []}, "at least one panel"),
        ({"panels": [{"rate": 2.0, "size": 3, "kind": "RNN"}]}, r"rate = 2.0, which its control .* cannot show"),
        ({"panels": [{"rate": 0.5, "size": 3, "kind": "GRU"}]}, "kind = 'GRU', which its control .* cannot show"),
    ],
)
def test_panels_and_controls_that_do_not_fit_are_refused_before_anything_is_drawn(
    changes: dict[str, Any], why: str, shown: list[Any], views: list[Any]
) -> None:
    with pytest.raises(ValueError, match=why):
        explore(Draw(), **changes)
    assert shown == views == []


def test_without_ipywidgets_the_static_figure_stands(
    shown: list[Any], views: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("ipywidgets"):
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    explore(Draw())
    assert len(shown) == 1 and views == []


def test_only_what_ipywidgets_7_knows_is_used(
    monkeypatch: pytest.MonkeyPatch, shown: list[Any], views: list[Any]
) -> None:
    import ipywidgets

    in_version_7 = {
        "value",
        "min",
        "max",
        "step",
        "options",
        "description",
        "style",
        "continuous_update",
        "readout_format",
        "placeholder",
    }
    for name in ("IntSlider", "FloatSlider", "SelectionSlider", "Text", "Textarea"):
        kind = getattr(ipywidgets, name)

        def checked(kind: Any = kind, **arguments: Any) -> Any:
            assert set(arguments) <= in_version_7
            return kind(**arguments)

        monkeypatch.setattr(ipywidgets, name, checked)
    explore(Draw())
    ask(Draw(), ["a"])
    ask(Draw(), ["a\n"])
    assert len(views) == 3
