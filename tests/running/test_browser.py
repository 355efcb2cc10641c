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


MESSAGES = """from course_utils.exercises import notebook
from course_utils import runtime

for sign in notebook.COLOURS:
    notebook.show(f"{sign} `name`: words.", printed="what it printed")
for goal, met in ((None, None), ("<= 2", True), (">= 2", False)):
    text, page = runtime._report_text("loss", 1.0, "nats", goal, met, "")
    notebook.display.show({"text/plain": text, "text/html": page})
notebook._show_table(("exercise", "points"), [("name", "1 of 2")])
"""
CONTRASTS = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map(part => part / 255);
  };
  const over = (ink, paper) => [0, 1, 2].map(k => ink[k] * ink[3] + paper[k] * (1 - ink[3]));
  const linear = part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const paper = element => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.unshift(rgba(getComputedStyle(at).backgroundColor));
    return layers.reduce((below, layer) => over(layer, below), [1, 1, 1]);
  };
  const texts = [...document.querySelectorAll('.jp-RenderedHTMLCommon.jp-OutputArea-output *')]
    .filter(element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
  return texts.map(element => {
    const below = paper(element), pair = [light(over(rgba(getComputedStyle(element).color), below)), light(below)];
    return [element.innerText, (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05), light(below)];
  });
}"""
DARKER = "() => jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A JupyterLab with lesson 00, a notebook with a text box, and one with every kind of message."""
    place = tmp_path_factory.mktemp("lab")
    for name, source in (("box", BOX), ("messages", MESSAGES)):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
        }  # else JupyterLab asks for one
        nbformat.write(notebook, place / f"{name}.ipynb")
    with in_lab.jupyter_lab(place, [LESSON, place / "box.ipynb", place / "messages.ipynb"]) as address:
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


def test_messages_are_legible_in_a_light_and_in_a_dark_theme(lab: str, browser: Any) -> None:
    page = in_lab.run_all(in_lab.opened(browser, lab.format("messages.ipynb")))
    assert in_lab.unfinished(page) == []
    for theme in ("light", "dark"):
        found = page.evaluate(CONTRASTS)
        assert len(found) >= 20
        assert [words for words, contrast, _ in found if contrast < 4.5] == [], theme
        assert all((paper < 0.1) == (theme == "dark") for *_, paper in found)
        page.screenshot(path=in_lab.SCREENSHOTS / f"messages-{theme}.png")
        page.evaluate(DARKER)
        page.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
        page.wait_for_selector("#jupyterlab-splash", state="detached")
