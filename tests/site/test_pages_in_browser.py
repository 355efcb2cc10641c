"""The site in Chromium, opened from the disk: nothing from elsewhere, legible, reachable, at every width.

COURSE_ALL_PAGES=1 looks at every page; without it four stand for all.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromium
import pytest

from course_utils.site import build

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")

SOME = ("index.html", "lessons.html", "notebooks/03_autoencoders.html", "results/README.html")
WIDTHS = (360, 1024, 1920)
SETTLED = "() => window.MathJax?.startup?.promise?.then(() => true) ?? true"

pytestmark = chromium.needed


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium.browsing(sync_api) as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(site: build.Built) -> list[Path]:
    folder = site.index.parent
    every = [path for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts]
    return every if os.environ.get("COURSE_ALL_PAGES") else [folder / name for name in SOME]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_ask_nobody_fit_every_width_and_have_no_serious_fault(
    browser: Any, pages: list[Path], theme: str
) -> None:
    context = browser.new_context(color_scheme=theme)
    assert "\n".join(fault for path in pages for fault in faults(context, path)) == ""


def faults(context: Any, path: Path) -> Iterator[str]:
    """What is wrong with one page: asked of another host, missing, too wide, or serious in the eyes of axe."""
    page, wrong = context.new_page(), list[str]()
    page.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
    page.on("requestfailed", lambda request: wrong.append(f"{request.failure}: {request.url}"))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_function(SETTLED)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        wide = page.evaluate("document.documentElement.scrollWidth")
        wrong += [f"{wide} px wide at {width} px"] if wide > width else []
    yield from (f"{path.name}: {fault}" for fault in wrong)  # before axe reads style sheets in ways that files refuse
    for violation in axe.Axe().run(page).response["violations"]:
        if violation["impact"] in ("serious", "critical"):
            yield f"{path.name}: {violation['id']}: {violation['nodes'][0]['html'][:200]}"
    page.close()


def test_formulas_are_set_and_a_hint_unfolds(browser: Any, site: build.Built) -> None:
    page = browser.new_page()
    page.goto((site.index.parent / SOME[2]).as_uri())
    page.wait_for_function(SETTLED)
    assert page.locator("mjx-container").count() > 10 and page.locator("mjx-merror").count() == 0
    hint = page.locator(".exercise details").first
    assert not hint.locator(".sd-card-text").first.is_visible()
    hint.locator("summary").click()
    assert hint.locator(".sd-card-text").first.is_visible()


def test_search_finds_a_word_of_a_lesson(browser: Any, site: build.Built) -> None:
    page = browser.new_page()
    page.goto((site.index.parent / "search.html").as_uri() + "?q=bottleneck")
    page.wait_for_selector("ul.search li")
    assert "Autoencoders" in page.locator("ul.search").inner_text()
