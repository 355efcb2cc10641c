"""A student opens lesson 00 in JupyterLab, runs it, solves an exercise wrongly, moves a slider, and types into a box."""

from collections.abc import Iterator
from typing import Any

import chromium
import in_lab
import nbformat
import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

LESSON = next(in_lab.ROOT.glob("notebooks/00_*.ipynb"))

pytestmark = chromium.needed

WRONG = """@exercise
def linear_backward(x, weight, grad_output):
    return grad_output @ weight, grad_output.T @ x, grad_output.mean(0)
"""
BOX = """from course_utils import widgets

def draw(axes, prompt):
    if "é" in prompt:
        raise ValueError("the prompt has characters outside the vocabulary: 'é'")
    axes.text(0.1, 0.5, prompt)

widgets.explore(draw, panels=[{"prompt": "O king"}], prompt="your words", title="A prompt", alt="The prompt, written.")
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A JupyterLab with lesson 00, and a notebook with a text box."""
    place = tmp_path_factory.mktemp("lab")
    box = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(BOX)])
    box.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}  # else JupyterLab asks for a kernel
    nbformat.write(box, place / "box.ipynb")
    with in_lab.jupyter_lab(place, [LESSON, place / "box.ipynb"]) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium.browsing(sync_api) as browser:
        yield browser


@pytest.fixture(scope="module")
def page(lab: str, browser: Any) -> Any:
    """The lesson, open in a browser, with every cell run."""
    return in_lab.run_all(in_lab.opened(browser, lab.format(LESSON.name)))


def test_all_cells_run_and_the_summary_is_on_the_screen(page: Any) -> None:
    assert in_lab.unfinished(page) == []
    last = in_lab.cell_at(page, len(in_lab.cells(page)) - 1)
    sync_api.expect(last.get_by_role("table")).to_contain_text("all exercises")
    page.screenshot(path=in_lab.SCREENSHOTS / "summary.png")


def test_figures_are_drawn_and_their_alt_text_travels_with_them(page: Any) -> None:
    assert page.locator(".jp-RenderedImage img").count() >= 5
    # JupyterLab 4 puts no alt text into the page; exported HTML has it, from here
    outputs = [output for cell in in_lab.cells(page) for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert pictures and all(output["metadata"]["image/png"]["alt"] for output in pictures)


def test_a_wrong_answer_is_told_what_is_wrong(page: Any) -> None:
    cell = in_lab.run(page, in_lab.index_of(page, "@exercise\ndef linear_backward"), WRONG)
    sync_api.expect(cell.locator(".jp-OutputArea")).to_contain_text("✘ linear_backward: your bias gradient is averaged")
    page.screenshot(path=in_lab.SCREENSHOTS / "diagnosis.png")


def test_moving_a_slider_draws_the_figure_anew(page: Any) -> None:
    widget = page.locator(".jupyter-widgets.widget-vbox").first
    widget.scroll_into_view_if_needed()
    label, figure = widget.locator(".widget-readout").first, widget.locator("img").first
    before = label.inner_text(), figure.get_attribute("src")
    widget.locator(".noUi-handle").first.press("ArrowRight")
    sync_api.expect(label).not_to_have_text(before[0])
    sync_api.expect(figure).not_to_have_attribute("src", before[1])
    page.wait_for_function(in_lab.IDLE)
    assert widget.locator("img").count() == 1
    page.screenshot(path=in_lab.SCREENSHOTS / "slider.png")


def test_a_text_box_redraws_and_shows_a_mistake_in_one_line(lab: str, browser: Any) -> None:
    page = in_lab.run_all(in_lab.opened(browser, lab.format("box.ipynb")))
    widget = page.locator(".jupyter-widgets.widget-vbox").first
    box, figure = widget.locator("input[type=text]"), widget.locator("img")
    sync_api.expect(box).to_have_value("O king")
    before = figure.get_attribute("src")
    box.fill("O queen")
    box.press("Enter")
    sync_api.expect(figure).not_to_have_attribute("src", before)
    box.fill("café")
    box.press("Enter")
    message = "ValueError: the prompt has characters outside the vocabulary: 'é'"
    sync_api.expect(widget.locator(".jp-OutputArea")).to_have_text(message)
    assert widget.locator("img").count() == 0
    page.screenshot(path=in_lab.SCREENSHOTS / "box.png")
    box.fill("cafe")
    box.press("Enter")
    sync_api.expect(figure).to_be_visible()
    sync_api.expect(widget.get_by_text("ValueError")).to_have_count(0)
