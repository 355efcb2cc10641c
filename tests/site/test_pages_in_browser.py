"""The site in Chromium: nothing from elsewhere, legible, reachable, at every width, and quickly there.

COURSE_ALL_PAGES=1 looks at every page; without it four stand for all, and the largest lesson for the quickness.
"""

import functools
import gzip
import os
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import chromium
import pytest

from course_utils.site import build

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")

ALL = bool(os.environ.get("COURSE_ALL_PAGES"))
SOME = ("index.html", "lessons.html", "notebooks/03_autoencoders.html", "results/README.html")
WIDTHS = (360, 1024, 1920)
SETTLED = "() => window.MathJax?.startup?.promise?.then(() => true) ?? true"
SIDEWAYS = """() => [...document.querySelectorAll('.cell_input pre, .highlight pre')]
  .filter(code => !code.closest('.cell_output') && code.scrollWidth > code.clientWidth)
  .map(code => code.innerText.slice(0, 60))"""
COMPRESSED = (".html", ".css", ".js", ".svg", ".json")
FIRST_VIEW = 1_500_000  # bytes of a lesson, before anybody scrolls
LESSONS = 25_000_000  # bytes of the pages of all lessons, with their pictures

pytestmark = chromium.needed


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium.browsing(sync_api) as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(site: build.Built) -> list[Path]:
    folder = site.index.parent
    every = [path for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts]
    return every if ALL else [folder / name for name in SOME]


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
        wrong += [f"code is cut off at {width} px: {start}" for start in page.evaluate(SIDEWAYS)]
    yield from (f"{path.name}: {fault}" for fault in wrong)  # before axe reads style sheets in ways that files refuse
    for violation in axe.Axe().run(page).response["violations"]:
        if violation["impact"] in ("serious", "critical"):
            yield f"{path.name}: {violation['id']}: {violation['nodes'][0]['html'][:200]}"
    page.close()


def test_code_that_does_not_fit_is_noticed(browser: Any, site: build.Built) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 900})
    page.goto((site.index.parent / SOME[2]).as_uri())
    assert page.evaluate(SIDEWAYS) == []
    page.add_style_tag(content=".cell_input pre { white-space: pre !important; }")
    assert len(page.evaluate(SIDEWAYS)) > 10
    page.close()


@pytest.fixture(scope="module")
def served(site: build.Built) -> Iterator[str]:
    """The address of the site on a server that compresses text, as GitHub Pages does."""
    handler = functools.partial(Compressing, directory=str(site.index.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class Compressing(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        body, text = path.read_bytes(), path.suffix in COMPRESSED
        if text:
            body = gzip.compress(body, 6)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Length", str(len(body)))
        if text:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *_: Any) -> None:
        pass


def weight(page: Path) -> int:
    """Bytes of a page and of all its pictures."""
    return page.stat().st_size + sum(file.stat().st_size for file in pictures(page))


def pictures(page: Path) -> set[Path]:
    return {file for file in (page.parents[1] / "_images").iterdir() if file.name in page.read_text(encoding="utf-8")}


def transferred(browser: Any, address: str) -> dict[str, int]:
    """The bytes that a new reader's browser gets before anybody scrolls, by file; on a large screen."""
    context = browser.new_context(viewport={"width": 1920, "height": 1080})
    page, got = context.new_page(), dict[str, int]()
    page.on("response", lambda response: got.update({response.url: int(response.headers.get("content-length", 0))}))
    page.goto(address, wait_until="networkidle")
    page.wait_for_function(SETTLED)
    page.wait_for_load_state("networkidle")
    context.close()
    return got


def test_a_lesson_is_quickly_there_and_brings_its_pictures_when_they_are_wanted(
    browser: Any, served: str, site: build.Built
) -> None:
    lessons = sorted((site.index.parent / "notebooks").glob("*.html"), key=weight, reverse=True)
    for path in lessons if ALL else lessons[:1]:
        got = transferred(browser, f"{served}/notebooks/{path.name}")
        print(
            f"{path.stem}: {sum(got.values()) / 1e6:.2f} MB in {len(got)} files, pictures {sum(p.stat().st_size for p in pictures(path)) / 1e6:.2f} MB"
        )
        assert 100_000 < sum(got.values()) <= FIRST_VIEW, (path.name, got)


def test_the_pages_of_all_lessons_are_not_heavy(site: build.Built) -> None:
    assert sum(map(weight, (site.index.parent / "notebooks").glob("*.html"))) <= LESSONS


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
