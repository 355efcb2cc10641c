"""Whether built pages hold together: links and pictures inside, no request to another host, alt text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {
    "img": "src",
    "script": "src",
    "link": "href",
    "source": "src",
    "iframe": "src",
    "video": "src",
    "audio": "src",
}
NOT_FETCHED = {"canonical", "next", "prev", "index", "search", "author", "copyright"}  # relations that load nothing


@dataclass
class _Page(HTMLParser):
    """What one page refers to: anchors of its own, links, what it loads, and pictures without alt text."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADED and LOADED[tag] in given and given.get("rel") not in NOT_FETCHED:
            self.loads.append(given[LOADED[tag]])
        if tag == "img" and given.get("alt", "").strip() in ("", given.get("src")):
            self.silent.append(given.get("src", ""))


def problems(site: Path) -> list[str]:
    """All that is wrong with the pages below `site`, a sentence each."""
    pages = {path: _read(path) for path in sorted(site.rglob("*.html")) if "_static" not in path.parts}
    return [
        f"{path.relative_to(site)}: {fault}" for path, page in pages.items() for fault in _faults(path, page, pages)
    ]


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _faults(path: Path, page: _Page, pages: dict[Path, _Page]) -> Iterator[str]:
    for source in page.silent:
        yield f"the picture {source} has no alt text"
    for source in page.loads:
        if urlsplit(source).scheme in ("http", "https") or source.startswith("//"):
            yield f"{source} is asked of another host"
    for target in page.links + page.loads:
        parts = urlsplit(target)
        if parts.scheme or target.startswith("//"):
            continue
        there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if not there.is_file():
            yield f"{target} leads nowhere"
        elif parts.fragment and there in pages and unquote(parts.fragment) not in pages[there].anchors:
            yield f"{target} leads to a page without that anchor"
