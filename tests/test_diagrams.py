"""Diagrams say what the code does: the shapes in them are those of the tensors, the slopes those of the edges."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from course_utils import diagrams, plots


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `plots.figure` is asked for, each with the texts on it, as the diagrams are drawn."""
    seen: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def figure(*, title: str, alt: str, width: float, height: float, rows: int = 1, columns: int = 1) -> Iterator[Any]:
        canvas = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(canvas)
        yield canvas.subplots(rows, columns)
        canvas.canvas.draw()
        texts = [text.get_text() for cell in canvas.axes for text in cell.texts if text.get_text()]
        seen.append({"title": title, "alt": alt, "texts": texts, "figure": canvas})

    monkeypatch.setattr(plots, "figure", figure)
    return seen


def weights(blocks: int = 1, **more: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"weight_ih": torch.zeros(7 * blocks, 3), "weight_hh": torch.zeros(7 * blocks, 7)} | more


TWO_LAYERS = {"weight1": (7, 5), "bias1": (7,), "weight2": (3, 7), "bias2": (3,)}
DIAGRAMS: dict[str, Callable[[], None]] = {
    "two_layers": lambda: diagrams.two_layers({name: torch.zeros(shape) for name, shape in TWO_LAYERS.items()}),
    "unrolled": lambda: diagrams.unrolled(weights(weight_out=torch.zeros(5, 7)), steps=3),
    "lstm_cell": lambda: diagrams.lstm_cell(weights(4)),
    "gru_cell": lambda: diagrams.gru_cell(weights(3)),
}


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("two_layers", {"weight1 (7, 5)", "bias1 (7,)", "weight2 (3, 7)", "bias2 (3,)", "(N, 5)", "(N, 7)", "(N, 3)"}),
        ("unrolled", {"(7, 3)", "(7, 7)", "(5, 7)", "(batch, 3)", "(batch, 7)"}),
        ("lstm_cell", {"(28, 3)", "(28, 7)"}),
        ("gru_cell", {"(21, 3)", "(21, 7)"}),
    ],
)
def test_the_shapes_in_a_diagram_are_those_of_the_tensors(
    name: str, shapes: set[str], drawn: list[dict[str, Any]]
) -> None:
    DIAGRAMS[name]()
    said = " ".join(drawn[0]["texts"])
    assert {shape for shape in shapes if shape not in said} == set()


def test_an_unrolled_network_has_one_copy_per_step_and_a_gradient_back_from_each(drawn: list[dict[str, Any]]) -> None:
    DIAGRAMS["unrolled"]()
    texts = drawn[0]["texts"]
    for letter in ("x", "h", "y", "g"):
        assert [t for t in range(1, 5) if f"${letter}_{t}$" in texts] == [1, 2, 3]
    assert sum("delta" in text for text in texts) == 3
    assert "$h_0$" in texts


def test_an_edge_carries_its_local_derivative_and_a_node_its_gradient(drawn: list[dict[str, Any]]) -> None:
    nodes = {"a": ((1.0, 1.0), "a", 2.0, -24.0), "z": ((3.0, 1.0), "z = ab", -6.0, 8.0)}
    diagrams.graph(nodes, {("a", "z"): -3.0}, title="a title", alt="an alternative")
    assert drawn[0]["texts"] == ["× -3", "$a$ = 2", "-24", "$z = ab$ = -6", "+8"]
    assert drawn[0]["alt"] == "an alternative"


@pytest.mark.parametrize("name", DIAGRAMS)
def test_no_text_of_a_diagram_lies_outside_its_picture(name: str, drawn: list[dict[str, Any]]) -> None:
    DIAGRAMS[name]()
    figure = drawn[0]["figure"]
    whole, painter = figure.bbox, figure.canvas.get_renderer()
    boxes = [text.get_window_extent(painter) for cell in figure.axes for text in cell.texts]
    assert [
        box for box in boxes if box.x0 < whole.x0 or box.x1 > whole.x1 or box.y0 < whole.y0 or box.y1 > whole.y1
    ] == []


@pytest.mark.parametrize("name", DIAGRAMS)
def test_every_diagram_has_words_for_those_who_cannot_see_it(name: str, drawn: list[dict[str, Any]]) -> None:
    DIAGRAMS[name]()
    assert len(drawn[0]["alt"]) > 100
    assert drawn[0]["title"]
