"""Every fault that a page may have is found, and only those."""

from pathlib import Path

import pytest

from course_utils.site.check import problems


def faults(folder: Path, body: str) -> list[str]:
    (folder / "other.html").write_text('<p id="there">x</p>')
    (folder / "style.css").write_text("")
    (folder / "page.html").write_text(f"<html><body>{body}</body></html>")
    return problems(folder)


@pytest.mark.parametrize(
    "body",
    [
        '<a href="other.html">x</a>',
        '<a href="other.html#there">x</a>',
        '<a href="#me">x</a><p id="me"></p>',
        '<a href="https://example.org/x">x</a>',
        '<link rel="stylesheet" href="style.css?digest=3">',
        '<link rel="canonical" href="https://example.org/page.html">',
        '<img src="style.css" alt="A line.">',
        '<a href="mailto:x@example.org">x</a>',
    ],
)
def test_a_sound_page_has_no_fault(tmp_path: Path, body: str) -> None:
    assert faults(tmp_path, body) == []


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="nobody.html">x</a>', "nobody.html leads nowhere"),
        ('<a href="other.html#nobody">x</a>', "other.html#nobody leads to a page without that anchor"),
        ('<a href="#nobody">x</a>', "#nobody leads to a page without that anchor"),
        ('<img src="nobody.png" alt="A line.">', "nobody.png leads nowhere"),
        ('<img src="style.css">', "the picture style.css has no alt text"),
        ('<img src="style.css" alt=" ">', "the picture style.css has no alt text"),
        ('<img src="style.css" alt="style.css">', "the picture style.css has no alt text"),
        (
            '<script src="https://cdn.example.org/x.js"></script>',
            "https://cdn.example.org/x.js is asked of another host",
        ),
        ('<link rel="stylesheet" href="//cdn.example.org/x.css">', "//cdn.example.org/x.css is asked of another host"),
        ('<img src="https://example.org/x.png" alt="A line.">', "https://example.org/x.png is asked of another host"),
    ],
)
def test_a_fault_is_named_with_its_page(tmp_path: Path, body: str, fault: str) -> None:
    assert faults(tmp_path, body) == [f"page.html: {fault}"]
