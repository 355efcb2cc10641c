"""Every lesson and detour in JupyterLab: run whole, each control moved, no code cut off; answered, restarted, run out of order.

`make test` opens two of them, `make test-browser` all. Screenshots are kept in out/browser.
"""

import sys
from collections.abc import Iterator
from typing import Any

import chromium
import in_lab
import nbformat
import pytest

from course_utils.exercises.catalogue import definition, names
from course_utils.notebooks import normalise
from course_utils.notebooks.find import Lesson, lessons

sys.path.insert(0, str(in_lab.ROOT / "tests" / "grading"))
import demo

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = chromium.needed

ALWAYS = ("02a", "03a")  # in `make test`: two of the quickest
ANSWERED = ("02a", "04")  # a detour and a main lesson
WIDGET = ".jupyter-widgets.widget-vbox"


def each(numbers: tuple[str, ...] | None = None) -> list[Any]:
    """The lessons, or those with such numbers, as parameters of a test; most of them for `make test-browser` only."""
    marks = {lesson: () if lesson.number in ALWAYS else pytest.mark.nightly for lesson in lessons(in_lab.ROOT)}
    wanted = [lesson for lesson in marks if numbers is None or lesson.number in numbers]
    return [pytest.param(lesson, id=lesson.number, marks=marks[lesson]) for lesson in wanted]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with in_lab.jupyter_lab(tmp_path_factory.mktemp("lab"), in_lab.ROOT.glob("notebooks/*.ipynb")) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium.browsing(sync_api) as browser:
        yield browser


@pytest.fixture
def page(lesson: Lesson, lab: str, browser: Any) -> Iterator[Any]:
    """The lesson, every cell run; its kernel ends with the test."""
    page = in_lab.run_all(in_lab.opened(browser, lab.format(lesson.path.name)))
    yield page
    page.evaluate(in_lab.SHUT_DOWN)
    page.close()


@pytest.mark.parametrize("lesson", each())
def test_a_lesson_runs_whole_and_each_control_answers(lesson: Lesson, page: Any) -> None:
    assert in_lab.unfinished(page) == []
    assert in_lab.cut_off(page) == []
    for number in range(page.locator(WIDGET).count()):
        widget = page.locator(WIDGET).nth(number)
        widget.scroll_into_view_if_needed()
        for slider in widget.locator(".noUi-handle").all():
            figure = widget.locator("img")
            before = figure.get_attribute("src")
            at_the_end = slider.get_attribute("aria-valuenow") == slider.get_attribute("aria-valuemax")
            slider.press("ArrowLeft" if at_the_end else "ArrowRight")
            sync_api.expect(figure).not_to_have_attribute("src", before)
        for box in widget.locator("input[type=text], textarea").all():
            before = widget.inner_html()
            box.fill(box.input_value()[:-1])
            box.blur()
            page.wait_for_function(in_lab.IDLE)
            assert widget.inner_html() != before
        page.screenshot(path=in_lab.SCREENSHOTS / f"{lesson.number}-control-{number}.png")
    assert in_lab.unfinished(page) == []
    in_lab.cell_at(page, len(in_lab.cells(page)) - 1)
    page.screenshot(path=in_lab.SCREENSHOTS / f"{lesson.number}-end.png")


@pytest.mark.parametrize("lesson", each(ALWAYS[:1]))
def test_code_that_is_cut_off_at_1024_pixels_is_noticed(lesson: Lesson, lab: str, browser: Any) -> None:
    page = in_lab.opened(browser, lab.format(lesson.path.name))
    assert in_lab.cut_off(page) == []
    page.evaluate(in_lab.UNWRAPPED)
    assert len(in_lab.cut_off(page)) > 10
    page.evaluate(in_lab.SHUT_DOWN)
    page.close()


@pytest.mark.parametrize("lesson", each(ALWAYS[:1]))
def test_a_copy_that_was_opened_and_saved_counts_as_untouched(lesson: Lesson, lab: str, browser: Any) -> None:
    page = in_lab.opened(browser, lab.format(lesson.path.name))
    saved = nbformat.from_dict(page.evaluate(in_lab.SAVE, lesson.path.name))
    assert normalise.source_hash(saved) == saved.metadata["course"]["source_hash"]  # so it will follow its lesson
    assert "/work/" in (in_lab.ROOT / ".gitignore").read_text().splitlines()
    page.evaluate(in_lab.SHUT_DOWN)
    page.close()


@pytest.mark.parametrize("lesson", each(ANSWERED))
def test_wrong_then_right_then_a_hint_then_the_summary(lesson: Lesson, page: Any) -> None:
    name = names(lesson.number)[0]
    index = in_lab.index_of(page, f"@exercise\ndef {name}(")
    key = next(iter(definition(name).mistakes))
    wrong = in_lab.run(page, index, demo.mistaken(name, key)).locator(".jp-OutputArea")
    sync_api.expect(wrong).to_contain_text(f"✘ {name}: {definition(name).mistakes[key].sentence[:60]}")
    right = in_lab.run(page, index, demo.reference(name)).locator(".jp-OutputArea")
    sync_api.expect(right).to_contain_text(f"✔ {name}")
    last = len(in_lab.cells(page)) - 1
    hint = in_lab.run(page, last, f'hint("{name}")').locator(".jp-OutputArea")
    sync_api.expect(hint).to_contain_text("Hint 1")
    summary = in_lab.run(page, last, "exercise.summary()").get_by_role("table")
    row = summary.get_by_role("row").filter(has_text=name)
    sync_api.expect(row).to_contain_text("✔")


@pytest.mark.parametrize("lesson", each(ALWAYS))
def test_a_kernel_restarted_in_the_middle_and_cells_out_of_order(lesson: Lesson, page: Any) -> None:
    page.evaluate(in_lab.RESTART)
    code = [index for index, cell in enumerate(in_lab.cells(page)) if cell["cell_type"] == "code"]
    answers = [in_lab.index_of(page, f"@exercise\ndef {name}(") for name in names(lesson.number)]
    beginning = [index for index in code if index < answers[0]]
    for index in [*beginning, *reversed(answers), *answers]:
        in_lab.run(page, index)
    in_lab.run_all(page)
    assert in_lab.unfinished(page) == []
